import hashlib
import io
import struct
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from shared import require_data, write_pack

from hebm_lib import data as data_room
from hebm_lib import load_dataset
from hebm_lib.config import DataConfig
from hebm_lib.data import (
    ImageDataset,
    MissingDataError,
    MissingSplitError,
    available_datasets,
    black_or_white,
    fetch,
    fit_images,
    load_split,
)


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def packs(monkeypatch, tmp_path):
    """HEBM_DATA is an empty folder of this test."""
    root = tmp_path / "packs"
    root.mkdir()
    monkeypatch.setenv("HEBM_DATA", str(root))
    return root


# ---- the embedded digits --------------------------------------------------------------------------------------------


def test_digits_are_embedded_and_split_by_writer(no_data):
    train, test = load_dataset("digits", "train"), load_dataset("digits", "test")
    assert (len(train), len(test)) == (1437, 360)
    assert sorted(set(test.labels.tolist())) == list(range(10))


def test_digits_are_scikit_learns_pixel_for_pixel():
    from sklearn.datasets import load_digits

    source = load_digits()
    test = load_dataset("digits", "test")
    grey = (test.batch(slice(None)) + 1) * 8  # back to 0 … 16
    assert torch.equal(grey.round()[:, 0], torch.from_numpy(source.images[-360:]).float())
    assert torch.equal(test.labels, torch.from_numpy(source.target[-360:]))


def test_an_item_is_a_float_image_in_the_unit_range_and_an_int(digits):
    image, label = digits[3]
    assert image.shape == (1, 8, 8) and image.dtype == torch.float32
    assert type(label) is int and label == digits.labels[3]
    batch = digits.batch(torch.arange(len(digits)))
    assert batch.min() == -1 and batch.max() == 1
    assert torch.equal(batch[3], image)


def test_images_are_stored_in_one_byte_per_pixel(digits):
    assert digits.images.dtype == torch.uint8
    assert digits.labels.dtype == torch.int64


def test_the_byte_range_maps_onto_the_unit_range():
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 1, 3)
    assert ImageDataset(images, torch.zeros(1)).batch(0).flatten().tolist() == pytest.approx([-1, -0.6, 1])


def test_reading_does_not_change_what_is_stored(digits):
    before = digits.images.clone()
    digits.batch(slice(0, 10))
    assert torch.equal(digits.images, before)


def test_class_filter_keeps_the_order(digits):
    some = load_dataset("digits", "train", classes=(7, 2))
    wanted = [i for i, label in enumerate(digits.labels.tolist()) if label in (2, 7)]
    assert torch.equal(some.images, digits.images[wanted])
    assert torch.equal(some.labels, digits.labels[wanted])


def test_a_class_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"no images of class \[11\]; its labels are \[0, 1, 2"):
        load_dataset("digits", "train", classes=(1, 11))


def test_digest_names_pixels_and_labels(digits):
    again = load_dataset("digits", "train")
    assert digits.digest() == again.digest()
    again.images[5, 0, 3, 3] += 1
    assert digits.digest() != again.digest()
    again.images[5, 0, 3, 3] -= 1
    again.labels[5] += 1
    assert digits.digest() != again.digest()


@pytest.mark.parametrize("images", [torch.zeros(3, 8, 8, dtype=torch.uint8), torch.zeros(3, 1, 8, 8)])
def test_a_dataset_of_another_shape_or_type_is_refused(images):
    with pytest.raises(ValueError, match="uint8 images"):
        ImageDataset(images, torch.zeros(3))


def test_labels_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="3 images need as many labels"):
        ImageDataset(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), torch.zeros(2))


# ---- sizes and colours ----------------------------------------------------------------------------------------------


def test_padding_puts_the_image_in_the_middle_of_black(digits):
    padded = load_dataset("digits", "train", size=16)
    assert padded.images.shape[-2:] == (16, 16)
    assert torch.equal(padded.images[..., 4:12, 4:12], digits.images)
    assert padded.images.sum() == digits.images.sum()


def test_padding_an_odd_difference_and_an_oblong():
    images = torch.full((1, 1, 3, 5), 9, dtype=torch.uint8)
    out = fit_images(images, 8, "pad")
    assert out.shape == (1, 1, 8, 8)
    assert torch.equal(out[..., 2:5, 1:6], images)


def test_padding_never_cuts():
    with pytest.raises(ValueError, match="fit='resize'"):
        load_dataset("digits", "train", size=4)


def test_resizing_scales_the_centred_square():
    images = torch.zeros(1, 1, 4, 10, dtype=torch.uint8)
    images[..., 3:7] = 200  # the centred square is all 200, the rest must not leak in
    assert fit_images(images, 8, "resize").eq(200).all()


def test_crop_says_how_large_that_square_is():
    images = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    images[..., 3:5, 3:5] = 100
    assert fit_images(images, 4, "resize", crop=2).eq(100).all()
    assert fit_images(images, 8, "resize", crop=2).eq(100).all(), "crop holds also where the side is right already"


def test_crop_holds_with_padding_too():
    images = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8)
    cut = images[..., 2:6, 2:6]
    assert torch.equal(fit_images(images, None, "pad", crop=4), cut)
    padded = fit_images(images, 8, "pad", crop=4)
    assert torch.equal(padded[..., 2:6, 2:6], cut) and padded.sum() == cut.sum()


@pytest.mark.parametrize("fit", ["pad", "resize"])
def test_a_crop_larger_than_the_images_is_refused(fit):
    with pytest.raises(ValueError, match="a square of side 9 cannot be cut out of images of 8×8"):
        load_dataset("digits", "train", size=12, fit=fit, crop=9)


def test_resizing_averages():
    images = torch.zeros(1, 1, 16, 16, dtype=torch.uint8)
    images[..., ::2] = 200  # stripes of one pixel: a halved picture is grey, not black or white
    inner = fit_images(images, 8, "resize")[..., 2:-2, 2:-2]
    assert inner.float().sub(100).abs().max() <= 1


def test_grey_becomes_colour_and_colour_grey(packs):
    write_pack(packs, "three", np.full((2, 8, 8, 3), (255, 0, 0), np.uint8))
    assert load_dataset("digits", "test", channels=3).images.shape == (360, 3, 8, 8)
    grey = load_dataset("three", "train", channels=1).images
    assert grey.shape == (2, 1, 8, 8)
    assert grey.unique().tolist() == [76]  # 0.299 · 255: the usual luma of pure red


def test_load_split_reads_what_a_config_says():
    data = load_split(DataConfig(name="digits", classes=(1,), size=12, fit="resize", channels=3), "test")
    assert data.images.shape[1:] == (3, 12, 12)
    assert set(data.labels.tolist()) == {1}


@pytest.mark.parametrize("arguments", [{"split": "validation"}, {"split": "train", "fit": "squeeze"}])
def test_other_splits_and_fits_are_refused(arguments):
    with pytest.raises(ValueError, match="must be"):
        load_dataset("digits", **arguments)


# ---- packs ----------------------------------------------------------------------------------------------------------


def test_any_folder_is_a_data_set(packs):
    images = noise(5, 12, 12)
    write_pack(packs, "my-letters", images, [4, 3, 2, 1, 0])
    data = load_dataset("my-letters", "train")
    assert torch.equal(data.images[:, 0], torch.from_numpy(images))
    assert data.labels.tolist() == [4, 3, 2, 1, 0]
    assert data.name == "my-letters"
    assert "my-letters" in available_datasets()


def test_colour_pack(packs):
    images = noise(5, 12, 12, 3)
    write_pack(packs, "colour", images, range(5))
    assert torch.equal(load_dataset("colour", "train").images, torch.from_numpy(images).permute(0, 3, 1, 2))


def test_a_pack_without_labels_has_label_minus_one(packs):
    write_pack(packs, "bare", noise(5, 12, 12))
    bare = load_dataset("bare", "train")
    assert bare.labels.tolist() == [-1] * 5 and bare.classes == []


def encoded_pack(root, images, kind, **more):
    """A pack of files of a kind, ``png``, ``jpeg`` or ``webp``, one after another, from images ``(n, C, H, W)``."""
    stream, offsets = b"", [0]
    for image in images:
        pixels, file = image[0] if len(image) == 1 else image.transpose(1, 2, 0), io.BytesIO()
        Image.fromarray(pixels).save(file, kind, **({"lossless": True, "exact": True} if kind == "webp" else {}))
        stream += file.getvalue()
        offsets.append(len(stream))
    (root / "encoded").mkdir(exist_ok=True)
    data = np.frombuffer(stream, np.uint8)
    np.savez(root / "encoded" / "train.npz", data=data, offsets=np.array(offsets), **more)


@pytest.mark.parametrize("kind, channels", [("png", 1), ("png", 3), ("webp", 3)])
def test_a_pack_of_lossless_files_has_their_pixels(packs, kind, channels):
    images = noise(4, channels, 12, 12)
    encoded_pack(packs, images, kind, labels=np.arange(4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the decoder is none that is about to go
        data = load_dataset("encoded", "train")
    assert torch.equal(data.images, torch.from_numpy(images))
    assert data.labels.tolist() == [0, 1, 2, 3]


def test_jpeg_pack_with_names_only_is_brought_to_size(packs):
    smooth = np.linspace(0, 255, 24, dtype=np.uint8)[None, None, :, None].repeat(20, 3).repeat(3, 1).repeat(2, 0)
    encoded_pack(packs, smooth, "jpeg", names=np.array(["a.jpg", "b.jpg"]))
    data = load_dataset("encoded", "train", size=20, fit="resize")
    assert data.images.shape == (2, 3, 20, 20)
    assert data.labels.tolist() == [-1, -1]
    centre = torch.from_numpy(smooth)[:, :, 2:-2].float()
    assert (data.images.float() - centre).abs().mean() < 3


def test_grey_files_among_colour_ones_become_colour(packs):
    grey, colour = noise(1, 1, 4, 4), noise(1, 3, 4, 4)
    encoded_pack(packs, [grey[0], colour[0]], "png")
    data = load_dataset("encoded", "train")
    assert torch.equal(data.images[0], torch.from_numpy(grey[0]).expand(3, -1, -1))
    assert torch.equal(data.images[1], torch.from_numpy(colour[0]))


def test_files_of_several_sizes_need_one(packs):
    encoded_pack(packs, [noise(1, 4, 4), noise(1, 6, 6)], "png")
    with pytest.raises(ValueError, match=r"of 2 sizes \(4×4, 6×6\): give one side"):
        load_dataset("encoded", "train")
    assert load_dataset("encoded", "train", size=8).images.shape == (2, 1, 8, 8)


def test_further_arrays_of_a_pack_follow_its_images(packs):
    """``names`` and ``attributes`` go with the images, ``attribute_names`` with the set, though it has as many entries."""
    further = {"names": np.array(["a", "b", "c", "d"]), "attributes": np.arange(16).reshape(4, 4)}
    encoded_pack(
        packs, noise(4, 1, 4, 4), "png", labels=np.array([1, 0, 1, -1]), **further, attribute_names=np.arange(4)
    )
    data = load_dataset("encoded", "train", classes=(1,))
    assert data.extra["names"].tolist() == ["a", "c"]
    assert data.extra["attributes"].tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]]
    assert data.about["attribute_names"].tolist() == [0, 1, 2, 3] and data.extra.keys() == {"names", "attributes"}
    whole = load_dataset("encoded", "train")
    assert whole.classes == [0, 1] and whole.to("cpu").subset(slice(3, None)).extra["names"].tolist() == ["d"]
    assert whole.labelled().extra["names"].tolist() == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["celeba-64", "cifar10", "svhn-11k"])
def test_packs_of_webp_files(name):
    root = data_room.pack_root()
    if root is None or not (root / name / "test.npz").is_file():
        pytest.skip(f"{name} is no pack under HEBM_DATA")
    data = load_dataset(name, "test")
    assert data.images.shape[1] == 3 and 20 < data.images.float().mean() < 235
    assert all(len(values) == len(data) for values in data.extra.values())


def test_a_pack_wins_over_the_embedded_set(packs):
    write_pack(packs, "digits", noise(3, 8, 8), range(3))
    assert len(load_dataset("digits", "train")) == 3
    assert len(load_dataset("digits", "test")) == 360, "a split that the pack lacks still comes from elsewhere"


def test_a_relative_hebm_data_counts_from_the_working_directory(monkeypatch, tmp_path):
    write_pack(tmp_path / "here", "set", noise(3, 8, 8))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEBM_DATA", "here")
    assert len(load_dataset("set", "train")) == 3


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def overwrite(path):
    path.write_bytes(b"not a zip file at all")


@pytest.mark.parametrize("damage", [cut, flip, overwrite])
def test_a_damaged_pack_is_named(packs, damage):
    path = write_pack(packs, "damaged", noise(50, 12, 12), range(50))
    load_dataset("damaged", "train")
    damage(path)
    with pytest.raises(ValueError, match="damaged/train.npz is not an image pack that can be read"):
        load_dataset("damaged", "train")


def test_a_pickle_is_refused(packs):
    (packs / "evil").mkdir()
    np.savez(packs / "evil" / "train.npz", images=np.array([{"not": "pixels"}], dtype=object))
    with pytest.raises(ValueError, match="not an image pack that can be read .*allow_pickle"):
        load_dataset("evil", "train")


def test_another_npz_is_refused(packs):
    (packs / "other").mkdir()
    np.savez(packs / "other" / "train.npz", x=np.zeros(3))
    with pytest.raises(ValueError, match=r"it holds \['x'\], expected images"):
        load_dataset("other", "train")


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"images": np.zeros((3, 4, 4), np.float32)}, "float32"),
        ({"images": np.zeros((3, 4, 4, 2), np.uint8)}, r"\(3, 4, 4, 2\)"),
        ({"images": noise(3, 4, 4), "labels": np.array([0.5, 1, 2])}, "its labels are float64"),
        ({"images": noise(3, 4, 4), "labels": np.arange(4)}, "expected 3 whole numbers"),
        ({"data": noise(30), "offsets": np.array([0, 30])}, "image 0: cannot identify"),
    ],
)
def test_a_pack_of_other_arrays_is_refused(packs, arrays, message):
    (packs / "other").mkdir()
    np.savez(packs / "other" / "train.npz", **arrays)
    with pytest.raises(ValueError, match=f"not an image pack that can be read .*{message}"):
        load_dataset("other", "train")


# ---- names and missing data -----------------------------------------------------------------------------------------


def test_an_unknown_name_suggests_near_ones(packs):
    write_pack(packs, "my-letters", noise(3, 8, 8))
    with pytest.raises(ValueError, match="did you mean my-letters"):
        load_dataset("my-leters", "train")
    with pytest.raises(ValueError, match="did you mean .*fashion-mnist"):
        load_dataset("fashion_mnist", "train")
    with pytest.raises(
        ValueError,
        match="known are 3dshapes, celeba, cifar10, digits, fashion-mnist, mnist, my-letters, shapes3d-render, svhn",
    ):
        load_dataset("zzzzz", "train")


@pytest.mark.parametrize("there, lacking", [("train", "test"), ("test", "train")])
def test_a_pack_without_one_of_its_files_says_so(packs, there, lacking):
    write_pack(packs, "mine", noise(3, 8, 8), split=there)
    assert "mine" in available_datasets() and len(load_dataset("mine", there)) == 3
    with pytest.raises(MissingSplitError, match=f"'mine' has {there}.npz, but no {lacking}.npz") as error:
        load_dataset("mine", lacking)
    assert "did you mean" not in str(error.value)


@pytest.mark.parametrize("classes", [(3, 3), ()])
def test_classes_are_named_once(classes):
    with pytest.raises(ValueError, match="name each label once"):
        load_dataset("digits", "train", classes=classes)


def test_missing_data_names_the_variable_the_folders_and_the_command(no_data, monkeypatch):
    with pytest.raises(MissingDataError) as error:
        load_dataset("mnist", "train")
    for part in ("HEBM_DATA", "mnist/train.npz", str(no_data / "cache"), "python -m hebm_lib fetch mnist"):
        assert part in str(error.value)
    monkeypatch.setenv("HEBM_DATA", "/nowhere/packs")
    with pytest.raises(MissingDataError, match="/nowhere/packs/mnist/train.npz"):
        load_dataset("mnist", "train")


def test_fetching_without_a_network_is_the_same_error(no_data):
    with pytest.raises(MissingDataError, match="a download failed"):
        fetch("fashion-mnist")
    with pytest.raises(ValueError, match="not downloaded by torchvision"):
        fetch("digits")


# ---- torchvision ----------------------------------------------------------------------------------------------------


def idx_bytes(array: np.ndarray) -> bytes:
    """MNIST's own file format for uint8 arrays: a magic number with the rank, the sizes, the bytes."""
    return struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()


@pytest.mark.parametrize("name, folder", [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
def test_torchvisions_files_and_a_pack_give_the_same_tensors(no_data, monkeypatch, name, folder):
    raw = no_data / "cache" / folder / "raw"
    raw.mkdir(parents=True)
    for split, prefix, n in (("train", "train", 7), ("test", "t10k", 5)):
        images, labels = noise(n, 28, 28), np.arange(n, dtype=np.uint8)
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(idx_bytes(images))
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
        write_pack(no_data / "packs", name, images, labels, split)
    for split, n in (("train", 7), ("test", 5)):
        monkeypatch.delenv("HEBM_DATA", raising=False)
        downloaded = load_dataset(name, split, size=32)
        monkeypatch.setenv("HEBM_DATA", str(no_data / "packs"))
        packed = load_dataset(name, split, size=32)
        assert len(downloaded) == n
        assert downloaded.digest() == packed.digest()
        assert torch.equal(downloaded[2][0], packed[2][0]) and downloaded[2][1] == packed[2][1] == 2


# ---- the real sets, where they are at hand --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_real_set(name):
    require_data(name)
    train, test = load_dataset(name, "train"), load_dataset(name, "test", size=32)
    assert train.images.shape == (60_000, 1, 28, 28)
    assert test.images.shape == (10_000, 1, 32, 32)
    assert sorted(set(train.labels.tolist())) == list(range(10))
    assert (train.images.amin(), train.images.amax()) == (0, 255)


def test_mnist_is_the_original_file_byte_for_byte():
    require_data("mnist")
    images = load_dataset("mnist", "train").images[:, 0].numpy()
    assert hashlib.md5(idx_bytes(images)).hexdigest() == "6bbc9ace898e44ae57da46a324031adb"


def test_pixels_are_drawn_black_or_white_by_their_grey_values():
    """As often white as the grey value says, the same at every call, whatever classes are kept."""
    grey = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(2000, -1, -1, -1)
    drawn = black_or_white(grey)
    assert drawn.dtype == torch.uint8 and drawn.unique().tolist() == [0, 255]
    share = (drawn == 255).float().mean(0)
    torch.testing.assert_close(share, grey[0].float() / 255, atol=0.05, rtol=0)
    assert torch.equal(drawn, black_or_white(grey))
    digits = load_dataset("digits", "test", binary=True)
    threes = load_dataset("digits", "test", (3,), binary=True)
    assert torch.equal(threes.images, digits.images[digits.labels == 3])
    assert torch.equal(load_split(DataConfig(binary=True), "test").images, digits.images)
