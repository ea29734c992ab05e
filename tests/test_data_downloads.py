"""The sets that torchvision downloads, read from small files in their original formats that the tests write."""

import hashlib
import pickle

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image
from shared import write_pack
from torchvision import datasets

from hebm_lib import load_dataset
from hebm_lib.data import CELEBA_BOX, MissingDataError, cache_root, fetch, pack_root
from hebm_lib.data.packs import decode_image


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def md5(path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


# ---- files as they are published --------------------------------------------------------------------------------------


def write_svhn(monkeypatch, *, digits=(10, 1, 2, 10)) -> np.ndarray:
    """`{train,test,extra}_32x32.mat`: X (32, 32, 3, n), y (n, 1) with 10 for the digit 0. The images (n, 32, 32, 3)."""
    images, sums = noise(len(digits), 32, 32, 3), {}
    cache_root().mkdir(parents=True, exist_ok=True)
    for split, (address, file, _) in datasets.SVHN.split_list.items():
        labels = np.array(digits, np.uint8)[:, None]
        scipy.io.savemat(cache_root() / file, {"X": images.transpose(1, 2, 3, 0), "y": labels})
        sums[split] = [address, file, md5(cache_root() / file)]
    monkeypatch.setattr(datasets.SVHN, "split_list", sums)
    return images


def write_cifar10(monkeypatch) -> np.ndarray:
    """Five pickled batches of two images and a test batch of three; the test images (3, 3, 32, 32)."""
    folder = cache_root() / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    sums = {}
    for name, n in [(f"data_batch_{i}", 2) for i in range(1, 6)] + [("test_batch", 3)]:
        batch = {"data": noise(n, 3072), "labels": list(range(n))}
        (folder / name).write_bytes(pickle.dumps(batch))
        sums[name] = md5(folder / name)
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["airplane", "automobile", "bird"]}))
    cifar = datasets.CIFAR10
    monkeypatch.setattr(cifar, "train_list", [[name, sums[name]] for name, _ in cifar.train_list])
    monkeypatch.setattr(cifar, "test_list", [[name, sums[name]] for name, _ in cifar.test_list])
    monkeypatch.setattr(cifar, "meta", cifar.meta | {"md5": md5(folder / "batches.meta")})
    return noise(3, 3072).reshape(3, 3, 32, 32)


def write_celeba(monkeypatch, parts=(0, 0, 1, 1, 2, 2)) -> list[np.ndarray]:
    """Aligned faces of 178×218 and the five lists; the decoded images (218, 178, 3). 0 trains, 1 validates, 2 tests."""
    folder = cache_root() / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    names = [f"{i + 1:06d}.jpg" for i in range(len(parts))]
    faces = []
    for i, name in enumerate(names):
        # A smooth picture, so that JPEG changes little, with its own colour.
        rows, columns = np.mgrid[0:218, 0:178]
        face = np.stack([rows, columns, np.full_like(rows, 40 * i)], axis=2).clip(0, 255).astype(np.uint8)
        path = folder / "img_align_celeba" / name
        Image.fromarray(face).save(path, quality=95)
        faces.append(np.asarray(Image.open(path)))

    def table(header: list[str], row) -> str:
        return "\n".join(header + [f"{name} {row(i)}" for i, name in enumerate(names)]) + "\n"

    number = str(len(names))
    lists = {
        "list_attr_celeba.txt": table([number, "Bald Smiling Young "], lambda i: "-1  1 " + ("1" if i % 2 else "-1")),
        "identity_CelebA.txt": table([], lambda i: str(100 + i)),
        "list_bbox_celeba.txt": table([number, "image_id x_1 y_1 width height"], lambda i: "1 2 3 4"),
        "list_landmarks_align_celeba.txt": table([number, "lefteye_x lefteye_y"], lambda i: "69 111"),
        "list_eval_partition.txt": table([], lambda i: str(parts[i])),
    }
    for name, text in lists.items():
        (folder / name).write_text(text)
    found = [(a, md5(folder / name) if name in lists else b, name) for a, b, name in datasets.CelebA.file_list]
    monkeypatch.setattr(datasets.CelebA, "file_list", found)
    return faces


# ---- what the library makes of them -----------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["train", "test", "extra"])
def test_svhn(no_data, monkeypatch, split):
    images = write_svhn(monkeypatch)
    data = load_dataset("svhn", split)
    assert torch.equal(data.images, torch.from_numpy(images).permute(0, 3, 1, 2)), "not turned, colours in order"
    assert data.labels.tolist() == [0, 1, 2, 0] and data.name == "svhn"


def test_cifar10(no_data, monkeypatch):
    images = write_cifar10(monkeypatch)
    train, test = (load_dataset("cifar10", split) for split in ("train", "test"))
    assert len(train) == 10 and train.labels.tolist() == [0, 1] * 5
    assert torch.equal(test.images, torch.from_numpy(images))
    assert test.about["label_names"].tolist() == ["airplane", "automobile", "bird"]


def test_celeba_is_cut_as_the_authors_cut_it(no_data, monkeypatch):
    faces = write_celeba(monkeypatch)
    whole, small = load_dataset("celeba", "train"), load_dataset("celeba", "train", size=64, fit="resize")
    left, top, right, bottom = CELEBA_BOX
    assert (right - left, bottom - top) == (148, 148)
    expected = np.stack([np.asarray(Image.fromarray(face).crop(CELEBA_BOX)) for face in faces[:2]])
    assert torch.equal(whole.images, torch.from_numpy(expected).permute(0, 3, 1, 2))
    assert small.images.shape == (2, 3, 64, 64)
    pooled = whole.images.float()[..., :148, :148].mean((2, 3))
    assert torch.allclose(small.images.float().mean((2, 3)), pooled, atol=1)


def test_celebas_own_crop_goes_before_the_authors_box(no_data, monkeypatch):
    faces = write_celeba(monkeypatch)
    data = load_dataset("celeba", "valid", crop=148)
    assert torch.equal(data.images[0].permute(1, 2, 0), torch.from_numpy(faces[2][35:183, 15:163].copy()))


def test_celebas_lists_come_along(no_data, monkeypatch):
    write_celeba(monkeypatch)
    data = load_dataset("celeba", "test", size=16, fit="resize")
    assert data.extra["names"].tolist() == ["000005.jpg", "000006.jpg"]
    assert data.extra["identity"].tolist() == [104, 105]
    assert data.extra["attributes"].tolist() == [[0, 1, 0], [0, 1, 1]]
    assert data.about["attribute_names"].tolist() == ["Bald", "Smiling", "Young"]
    assert data.labels.tolist() == [-1, -1] and data.classes == []


def test_a_pack_of_that_name_goes_first(no_data, monkeypatch):
    write_svhn(monkeypatch)
    write_pack(no_data / "packs", "svhn", noise(9, 32, 32, 3), range(9))
    monkeypatch.setenv("HEBM_DATA", str(no_data / "packs"))
    assert len(load_dataset("svhn", "train")) == 9
    assert len(load_dataset("svhn", "extra")) == 4, "the pack has no such split; torchvision's file does"


# ---- what is refused --------------------------------------------------------------------------------------------------


def damage_svhn(monkeypatch):
    write_svhn(monkeypatch)
    (cache_root() / "train_32x32.mat").write_bytes(b"another file")


def damage_cifar10(monkeypatch):
    write_cifar10(monkeypatch)
    (cache_root() / "cifar-10-batches-py" / "data_batch_3").write_bytes(b"another file")


def damage_celeba(monkeypatch):
    write_celeba(monkeypatch)
    (cache_root() / "celeba" / "list_eval_partition.txt").write_bytes(b"another file")


@pytest.mark.parametrize(
    "damage, name", [(damage_svhn, "svhn"), (damage_cifar10, "cifar10"), (damage_celeba, "celeba")]
)
def test_a_file_with_another_checksum_is_not_read(no_data, monkeypatch, damage, name):
    """A damaged pickle is never opened: the sum is compared first. Without a network the error says what to do."""
    damage(monkeypatch)
    with pytest.raises(MissingDataError, match=f"python -m hebm_lib fetch {name}") as error:
        load_dataset(name, "train")
    assert str(cache_root()) in str(error.value) and "no network in tests" in str(error.value)


@pytest.mark.parametrize("name", ["svhn", "cifar10", "celeba"])
def test_fetching_without_a_network_says_so(no_data, name):
    with pytest.raises(MissingDataError, match="a download failed"):
        fetch(name)


@pytest.mark.parametrize(
    "name, split", [("mnist", "extra"), ("svhn", "valid"), ("celeba", "extra"), ("digits", "extra")]
)
def test_a_split_that_a_set_does_not_have_is_named(no_data, name, split):
    with pytest.raises(ValueError, match=f"split must be 'train' or 'test'.*got '{split}'"):
        load_dataset(name, split)


# ---- the real set, where it is at hand ---------------------------------------------------------------------------------


def test_the_cifar10_pack_is_the_original_in_the_original_order():
    """The first binary batch, put together again, has the sum of the published one."""
    root = pack_root()
    if root is None or not (root / "cifar10" / "train.npz").is_file():
        pytest.skip("cifar10 is no pack under HEBM_DATA")
    with np.load(root / "cifar10" / "train.npz") as pack:
        stream, offsets, labels = pack["data"].tobytes(), pack["offsets"], pack["labels"]
    assert len(labels) == 50_000
    batch = hashlib.md5()
    for i in range(10_000):
        image = decode_image(stream[offsets[i] : offsets[i + 1]])
        batch.update(bytes([labels[i]]) + image.numpy().tobytes())
    assert batch.hexdigest().startswith("5dd7e06a")
