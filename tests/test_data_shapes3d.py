"""3D shapes: the stand-in that is drawn on demand, and the published file's format."""

import hashlib

import numpy as np
import pytest
import torch

from hebm_lib import load_dataset
from hebm_lib.config import DataConfig
from hebm_lib.data import (
    FACTORS,
    MissingDataError,
    factor_values,
    grid_index,
    grid_size,
    load_split,
    render_shapes,
    shapes3d,
    shapes3d_render,
)

NAMES = list(FACTORS)


def image(**factors) -> torch.Tensor:
    """One image, signed, with the factors given; the others are 3."""
    row = torch.tensor([[factors.get(name.replace(" ", "_"), 3) for name in NAMES]])
    return render_shapes(grid_index(row))[0].int()


def maps(scale=3, shape=3, orientation=3) -> torch.Tensor:
    """The four maps of a geometry, (4, 64, 64)."""
    g = (scale * FACTORS["shape"] + shape) * FACTORS["orientation"] + orientation
    return shapes3d_render.cast(g).T.reshape(4, 64, 64)


def changed(one, other) -> torch.Tensor:
    return (one != other).any(0)


def test_the_grid_has_the_original_s_order():
    counts = list(FACTORS.values())
    assert counts == [10, 10, 10, 8, 4, 15] and grid_size() == 480_000
    every = torch.arange(0, 480_000, 7)
    factors = factor_values(every)
    assert torch.equal(grid_index(factors), every)
    assert np.array_equal(factors.numpy(), np.stack(np.unravel_index(every.numpy(), counts), 1))
    for wrong in (-1, 480_000):
        with pytest.raises(ValueError, match="numbered 0 … 479,999"):
            render_shapes(torch.tensor([wrong]))
    with pytest.raises(ValueError, match="shape to 3"):
        grid_index(torch.tensor([[0, 0, 0, 0, 4, 0]]))


@pytest.mark.parametrize(("name", "layer"), [("floor_hue", 0), ("wall_hue", 1), ("object_hue", 2)])
def test_a_hue_changes_the_pixels_of_its_thing_and_no_others(name, layer):
    here = maps()[layer] > 0
    looks = [image(**{name: value}) for value in range(10)]
    for one, other in zip(looks, looks[1:]):
        assert not changed(one, other)[~here].any()
        seen = maps()[layer] > 200  # colours that differ, on pixels with more than a trace of the thing
        assert changed(one, other)[seen].float().mean() > 0.99
    assert len({look.numpy().tobytes() for look in looks}) == 10


@pytest.mark.parametrize("name", ["scale", "shape"])
def test_scale_and_shape_change_the_object_and_its_shadow_only(name):
    looks = [image(**{name: value}) for value in range(FACTORS[name])]
    for a, (one, other) in enumerate(zip(looks, looks[1:])):
        moved = changed(one, other)
        assert moved.any() and not moved[:, :6].any() and not moved[:3].any(), "far from the object nothing moves"
        things = [maps(**{name: value}) for value in (a, a + 1)]
        walls = torch.stack([(m[2:] == 0).all(0) & (m[0] == 0) for m in things]).all(0)
        assert not moved[walls].any(), "and no wall that the object does not hide"


def test_orientation_turns_the_room_and_of_the_objects_only_the_cube():
    left, right = maps(orientation=0, shape=2), maps(orientation=14, shape=2)
    assert (left[1] != right[1]).float().mean() > 0.1
    assert torch.equal(left[2] > 0, right[2] > 0), "a ball has the same outline from everywhere"
    cubes = [maps(orientation=o, shape=0)[2] > 0 for o in (0, 7, 14)]
    assert not torch.equal(cubes[0], cubes[1]) and not torch.equal(cubes[1], cubes[2])


def test_every_pixel_is_made_of_its_things():
    for shape in range(4):
        total = maps(shape=shape)
        assert (total >= 0).all() and (total[:3].sum(0) > 0).all(), "no pixel is empty"
    areas = [(maps(scale=s)[2] > 0).sum().item() for s in range(8)]
    assert areas == sorted(areas) and len(set(areas)) == 8, "a larger object covers more"


def test_each_shape_is_drawn_with_edges_between_pixels():
    outlines = [maps(shape=shape)[2] > 0 for shape in range(4)]
    assert all(not torch.equal(a, b) for i, a in enumerate(outlines) for b in outlines[:i])
    ball = maps(shape=2)
    shared = (ball[2] > 0) & (ball[0] + ball[1] > 0)
    assert shared.sum() > 20, "pixels at the rim show both the object and what lies behind"


def test_images_are_the_same_everywhere():
    """Any order, any batch; and, digit for digit, what was drawn when this was written."""
    indices = torch.arange(0, 480_000, 39_983)
    together = render_shapes(indices)
    alone = torch.cat([render_shapes(i[None]) for i in indices.flip(0)]).flip(0)
    assert torch.equal(together, alone) and together.dtype == torch.uint8
    assert hashlib.sha256(together.numpy().tobytes()).hexdigest()[:16] == DIGEST
    assert render_shapes(torch.empty(0, dtype=torch.int64)).shape == (0, 3, 64, 64)


DIGEST = "9f28ad45b384514e"


# ---- as a data set --------------------------------------------------------------------------------------------------


def test_it_is_a_data_set_with_factors(no_data):
    data = load_dataset("shapes3d-render", "train", subsample=40)
    assert data.images.shape == (40, 3, 64, 64) and data.name == "shapes3d-render"
    assert data.about["factor_names"].tolist() == NAMES and data.about["factor_sizes"].tolist() == list(
        FACTORS.values()
    )
    assert torch.equal(data.images, render_shapes(grid_index(torch.from_numpy(data.extra["factors"]))))
    assert data.labels.tolist() == data.extra["factors"][:, 4].tolist()
    assert data.subset([3, 1]).extra["factors"].tolist() == data.extra["factors"][[3, 1]].tolist()


def test_splits_do_not_meet_and_a_larger_subsample_holds_the_smaller(monkeypatch):
    monkeypatch.setattr(
        shapes3d, "render_shapes", lambda indices: torch.zeros(len(indices), 1, 4, 4, dtype=torch.uint8)
    )
    train, test = (shapes3d.read_rendered(split).extra["grid_index"] for split in ("train", "test"))
    assert len(train) == len(test) == 48_000 and not set(train) & set(test)
    every = shapes3d.read_rendered("train", subsample=432_000).extra["grid_index"]
    assert len(set(every)) == 432_000 and set(train) < set(every) and not set(test) & set(every)
    small = shapes3d.read_rendered("train", subsample=100).extra["grid_index"]
    assert set(small) < set(train) and (np.diff(small) > 0).all()
    with pytest.raises(ValueError, match="432,001, but the train split has 432,000"):
        shapes3d.read_rendered("train", subsample=432_001)


def test_settings_of_a_run_reach_it(no_data):
    config = DataConfig(name="shapes3d-render", size=32, fit="resize", channels=3, subsample=12, classes=(2,))
    data = load_split(config, "test")
    assert data.images.shape == (12, 3, 32, 32) and data.classes == [2]
    with pytest.raises(ValueError, match="no images of class"):
        load_dataset("shapes3d-render", "train", classes=(1, 7), subsample=9)
    with pytest.raises(ValueError, match="no images of class .7.: a shape is 0 … 3"):
        load_dataset("shapes3d-render", "test", classes=(7,))
    with pytest.raises(ValueError, match="subsample must be at least 1"):
        DataConfig(subsample=0)


def test_any_set_can_be_thinned_out():
    whole, part = load_dataset("digits", "train"), load_dataset("digits", "train", subsample=100)
    assert len(part) == 100 and torch.equal(part.images, load_dataset("digits", "train", subsample=100).images)
    rows = {image.numpy().tobytes() for image in whole.images}
    assert all(image.numpy().tobytes() in rows for image in part.images)
    assert len(load_dataset("digits", "train", classes=(0, 1), subsample=50)) == 50
    for number, message in ((0, "at least 1"), (2000, "2,000, but there are 1,437")):
        with pytest.raises(ValueError, match=message):
            load_dataset("digits", "train", subsample=number)


# ---- the published file ---------------------------------------------------------------------------------------------


@pytest.fixture
def little_file(tmp_path, monkeypatch):
    """A file in the published form: two floors, two scales, four shapes, three angles."""
    h5py = pytest.importorskip("h5py")
    axes = [np.array([0.0, 0.1]), [0.5], [0.9], np.array([0.75, 1.25]), np.arange(4.0), np.array([-30.0, 0.0, 30.0])]
    labels = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], 1)
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 64, 64, 3), dtype=np.uint8)
    folder = tmp_path / "packs" / "3dshapes"
    folder.mkdir(parents=True)
    with h5py.File(folder / "3dshapes.h5", "w") as file:
        file["images"], file["labels"] = images, labels
    monkeypatch.setenv("HEBM_DATA", str(tmp_path / "packs"))
    digest = hashlib.md5((folder / "3dshapes.h5").read_bytes(), usedforsecurity=False).hexdigest()
    monkeypatch.setattr(
        shapes3d.read_shapes3d, "__kwdefaults__", shapes3d.read_shapes3d.__kwdefaults__ | {"checksum": digest}
    )
    return images, labels, folder / "3dshapes.h5"


def test_the_published_file_is_read(little_file, monkeypatch):
    images, labels, _ = little_file
    monkeypatch.setattr(shapes3d, "SLAB", 10)
    test, train = load_dataset("3dshapes", "test"), load_dataset("3dshapes", "train", subsample=44)
    assert (len(test), len(train)) == (4, 44)
    rows = np.concatenate([test.extra["grid_index"], train.extra["grid_index"]])
    assert sorted(rows) == list(range(48))
    for data in (test, train):
        rows = data.extra["grid_index"]
        assert np.array_equal(data.images.permute(0, 2, 3, 1).numpy(), images[rows])
        assert np.array_equal(data.extra["factors"][:, 4], labels[rows, 4]) and data.about["factor_sizes"].tolist() == [
            2,
            1,
            1,
            2,
            4,
            3,
        ]
        assert np.array_equal(data.extra["factors"][:, 5] * 30 - 30, labels[rows, 5])


def test_another_file_is_refused(little_file, tmp_path):
    h5py = pytest.importorskip("h5py")
    path = little_file[2]
    with open(path, "ab") as file:
        file.write(b"more")
    with pytest.raises(ValueError, match="damaged or another file: its MD5 is"):
        load_dataset("3dshapes", "train")
    path.write_bytes(b"no HDF5")
    with pytest.raises(ValueError, match="does not hold 3D Shapes"):
        shapes3d.read_shapes3d(path, "train", checksum=None)
    with h5py.File(path, "w") as file:
        file["images"], file["labels"] = np.zeros((5, 8, 8, 3), np.uint8), np.zeros((5, 6))
    with pytest.raises(ValueError, match="does not hold 3D Shapes"):
        shapes3d.read_shapes3d(path, "train", checksum=None)


def test_where_it_is_missing_the_stand_in_is_named(no_data):
    with pytest.raises(MissingDataError, match="3dshapes.h5.*or take 'shapes3d-render'"):
        load_dataset("3dshapes", "train")
