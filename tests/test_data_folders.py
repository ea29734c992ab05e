"""A folder of image files as a data set: ``python -m hebm_lib pack``, and the training that follows."""

import re
import shlex

import numpy as np
import pytest
import torch
from PIL import Image
from shared import draw_folder, picture

from hebm_lib import load_dataset
from hebm_lib.__main__ import main
from hebm_lib.data import pack_folder
from hebm_lib.data.packs import decode_image


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder with HEBM_DATA in it, ``packs``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEBM_DATA", str(tmp_path / "packs"))
    return tmp_path


# ---- one file -------------------------------------------------------------------------------------------------------


def stored(image, path, **options):
    image.save(path, **options)
    return decode_image(path)


def test_sixteen_bits_become_eight(tmp_path):
    grey = np.array([[0, 257, 65535], [128 * 257, 300, 65406]], np.uint16)
    found = stored(Image.fromarray(grey), tmp_path / "deep.png")
    assert found.tolist() == [[[0, 1, 255], [128, 1, 254]]]  # the nearest, not the upper byte alone


def test_what_is_transparent_lies_on_black(tmp_path):
    colour = Image.new("RGBA", (2, 1), (200, 100, 50, 255))
    colour.putpixel((1, 0), (255, 255, 255, 0))
    assert stored(colour, tmp_path / "colour.png").tolist() == [[[200, 0]], [[100, 0]], [[50, 0]]]
    assert stored(colour, tmp_path / "colour.webp", lossless=True).shape == (3, 1, 2)
    grey = Image.new("LA", (2, 1), (200, 255))
    grey.putpixel((1, 0), (200, 0))
    assert stored(grey, tmp_path / "grey.png").tolist() == [[[200, 0]]]


def test_a_palette_is_its_colours(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 150, 100])
    image.putpixel((1, 0), 1)
    assert stored(image, tmp_path / "palette.png")[:, 0].T.tolist() == [[10, 20, 30], [200, 150, 100]]
    clear = stored(image, tmp_path / "clear.png", transparency=1)
    assert clear[:, 0].T.tolist() == [[10, 20, 30], [0, 0, 0]]


@pytest.mark.parametrize("mode, channels", [("1", 1), ("L", 1), ("CMYK", 3), ("YCbCr", 3)])
def test_other_kinds_of_colour(tmp_path, mode, channels):
    path = tmp_path / ("image.png" if mode in ("1", "L") else "image.jpg")
    assert stored(Image.new(mode, (4, 3)), path).shape == (channels, 3, 4)


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_a_photograph_is_turned_as_its_exif_tag_says(tmp_path, kind):
    """Tag 6: what the camera saw at the top is stored at the right."""
    lying = np.zeros((8, 16, 3), np.uint8)
    lying[:, :8] = 255
    image, exif = Image.fromarray(lying), Image.Exif()
    exif[0x0112] = 6
    upright = stored(image, tmp_path / f"photo.{kind}", exif=exif)
    assert upright.shape == (3, 16, 8)
    assert upright[:, :6].min() > 200 and upright[:, 10:].max() < 50


# ---- a folder -------------------------------------------------------------------------------------------------------


def test_class_folders_become_labels(here):
    draw_folder(here / "pets")
    packed = pack_folder(here / "pets", "pets", here / "packs", test_share=0.25)
    train, test = load_dataset("pets", "train"), load_dataset("pets", "test")
    assert (len(train), len(test)) == (30, 10) and packed.classes == ("cat", "dog")
    assert train.labels.bincount().tolist() == [15, 15] and test.labels.bincount().tolist() == [5, 5]
    assert train.about["label_names"].tolist() == ["cat", "dog"]
    assert not set(train.extra["names"]) & set(test.extra["names"])
    for data in (train, test):
        for image, label, name in zip(data.images, data.labels, data.extra["names"], strict=True):
            assert torch.equal(image, decode_image(here / "pets" / str(name)))
            assert data.about["label_names"][label] == str(name).split("/")[0]


def test_the_same_seed_chooses_the_same_test_images(here):
    draw_folder(here / "pets")
    one, two, three = (
        pack_folder(here / "pets", name, here / "packs", seed=seed).test.extra["names"].tolist()
        for name, seed in (("one", 0), ("two", 0), ("three", 1))
    )
    assert one == two != three


def test_a_flat_folder_has_no_labels(here):
    draw_folder(here / "all", classes=[""])
    packed = pack_folder(here / "all", "flat", here / "packs", test_share=0)
    data = load_dataset("flat", "train")
    assert len(data) == 20 and data.classes == [] and packed.test is None
    assert "20 to train and none to test; no labels" in str(packed)
    with np.load(here / "packs" / "flat" / "train.npz") as file:
        assert set(file.files) == {"images", "names"}


def test_a_split_that_is_there_is_kept(here):
    draw_folder(here / "set" / "train", n=4)
    draw_folder(here / "set" / "test", classes=("dog",), n=3)
    packed = pack_folder(here / "set", "kept", here / "packs")
    assert packed.train.labels.tolist() == [0] * 4 + [1] * 4 and packed.test.labels.tolist() == [1] * 3


@pytest.mark.parametrize("kind, mode", [("png", "RGBA"), ("jpg", "RGB"), ("jpeg", "L"), ("webp", "RGB")])
def test_files_of_every_kind_are_packed(here, kind, mode):
    draw_folder(here / "set", n=3, mode=mode, kind=kind)
    assert pack_folder(here / "set", "set", here / "packs").channels == (1 if mode == "L" else 3)


def test_size_crop_and_colour(here):
    image = np.zeros((10, 20, 3), np.uint8)
    image[2:8, 7:13] = (255, 0, 0)
    (here / "set").mkdir()
    for i in range(2):
        Image.fromarray(image).save(here / "set" / f"{i}.png")
    packed = pack_folder(here / "set", "crop", here / "packs", size=4, crop=6, channels=1, test_share=0)
    assert packed.train.images.unique().tolist() == [76]  # nothing but red, as grey
    assert "found 2 of 10×20 (height×width); the centred 6×6 pixels of each, resized: 4×4, grey" in str(packed)
    packed = pack_folder(here / "set", "pad", here / "packs", size=24, fit="pad", test_share=0)
    assert packed.train.images[:, :, 7:17, 2:22].sum() == packed.train.images.sum() > 0
    assert pack_folder(here / "set", "all", here / "packs").train.images.shape[1:] == (3, 10, 10)


def test_several_sizes_need_one(here):
    draw_folder(here / "set", classes=("a",), size=(8, 8))
    draw_folder(here / "set", classes=("b",), size=(9, 12))
    with pytest.raises(ValueError, match=r"of 2 sizes .* give one side .* size=32 .*--size 32"):
        pack_folder(here / "set", "set", here / "packs")
    assert not (here / "packs").exists()
    assert pack_folder(here / "set", "set", here / "packs", size=8).size == 8


def test_what_cannot_be_read_is_left_out_and_named(here):
    folder = draw_folder(here / "set", n=3)
    (folder / "cat" / "broken.png").write_bytes(b"no image")
    whole = (folder / "cat" / "00.png").read_bytes()
    (folder / "cat" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "cat" / ".hidden.png").write_bytes(b"")
    (folder / "notes.txt").write_text("nothing")
    frames = [picture(i, "L", (8, 8)) for i in range(2)]
    frames[0].save(folder / "dog" / "moving.webp", save_all=True, append_images=frames[1:])
    (folder / "empty").mkdir()
    packed = pack_folder(folder, "set", here / "packs")
    assert packed.skipped.keys() == {"cat/broken.png", "cat/cut.png", "dog/moving.webp"}
    assert packed.classes == ("cat", "dog") and len(packed.train) == 6
    assert "left out cat/broken.png: cannot identify" in str(packed) and "animation of 2 frames" in str(packed)


@pytest.mark.parametrize(
    "change, kind, message",
    [
        ({"folder": "nowhere"}, FileNotFoundError, "there is no folder nowhere"),
        ({"folder": "empty"}, ValueError, "empty holds no PNG, JPEG or WebP image"),
        ({"name": "../up"}, ValueError, "becomes a folder's name"),
        ({"name": "mnist"}, ValueError, "'mnist' is the name of a data set that the library has"),
        ({"test_share": 1.0}, ValueError, "test_share must be at least 0 and less than 1"),
        ({"fit": "squeeze"}, ValueError, "fit must be 'pad' or 'resize'"),
        ({"size": 4, "fit": "pad"}, ValueError, r"cat/00.png: images of 8×8 do not fit into 4×4"),
        ({"crop": 9}, ValueError, "cat/00.png: a square of side 9 cannot be cut"),
        ({"size": -4}, ValueError, "size must be positive"),
    ],
)
def test_what_cannot_be_packed(here, change, kind, message):
    draw_folder(here / "set", n=2)
    (here / "empty").mkdir()
    with pytest.raises(kind, match=message):
        pack_folder(**{"folder": "set", "name": "set", "root": here / "packs"} | change)
    assert not (here / "packs").exists()


def test_an_older_pack_is_replaced_only_where_that_is_said(here, capsys):
    draw_folder(here / "set", n=10)
    assert main(["pack", "set", "mine"]) == 0
    assert main(["pack", "set", "mine", "--test-share", "0"]) == 2
    assert "is a data set already" in capsys.readouterr().err and len(load_dataset("mine", "test")) == 2
    assert main(["pack", "set", "mine", "--test-share", "0", "--overwrite"]) == 0
    assert len(load_dataset("mine", "train")) == 20 and not (here / "packs" / "mine" / "test.npz").exists()


# ---- the command, and what it says to do next -----------------------------------------------------------------------


def test_pack_asks_where_to(here, monkeypatch, capsys):
    draw_folder(here / "set", n=2)
    monkeypatch.delenv("HEBM_DATA")
    assert main(["pack", "set", "mine"]) == 2
    assert "Set the variable HEBM_DATA to a folder for data sets, or name one with --out" in capsys.readouterr().err
    assert main(["pack", "set", "mine", "--out", "there"]) == 0
    assert "HEBM_DATA=there python -m hebm_lib train" in capsys.readouterr().out
    assert (here / "there" / "mine" / "train.npz").is_file()


@pytest.mark.parametrize("mode, size", [("L", 8), ("RGB", 8), ("L", 10)])
def test_the_command_that_pack_prints_trains(here, capsys, mode, size):
    draw_folder(here / "set", n=30, mode=mode, size=(size, size))
    assert main(["pack", "set", "mine"]) == 0
    said = capsys.readouterr().out
    assert "packed 60 images" in said and "54 to train and 6 to test; 2 classes: cat, dog" in said
    command = re.search(r"python -m hebm_lib (train .*)", said)[1]
    assert main([*shlex.split(command), "--training.epochs", "1", "--training.langevin.steps", "2"]) == 0
    assert (here / "runs" / "mine" / "checkpoints").is_dir()


def test_settings_that_do_not_fit_the_pack_say_what_must(here, capsys):
    draw_folder(here / "set", n=30, size=(12, 12))
    assert main(["pack", "set", "mine"]) == 0
    assert main(["train", "digits", "--data.name", "mine"]) == 2
    assert "images of 12×12 do not fit into 8×8 by padding" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["train", "digits", "--data.name", "mine", "--data.size", "12"])
    said = " ".join(capsys.readouterr().err.split())
    assert "side 12 with 1 channel(s), the model expects 8 with 1: set data.size and model.image_size" in said
