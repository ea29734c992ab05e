"""The sets that torchvision downloads and checks: MNIST, Fashion-MNIST, SVHN, CIFAR-10 and CelebA, in their own formats."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hebm_lib.data.images import ImageDataset, fit_images
from hebm_lib.data.packs import decode_image, join_images

__all__ = ["CELEBA_BOX", "TORCHVISION", "DownloadError", "cache_root", "download", "read_downloaded"]

CELEBA_BOX = (15, 40, 163, 188)
"""Left, top, right and bottom of the square that the paper's authors cut out of CelebA's aligned images (178×218)."""


class DownloadError(RuntimeError):
    """A set's files are not there, or not what their checksums say, and could not be downloaded."""


@dataclass(frozen=True)
class Download:
    """How torchvision knows a set.

    Args:
        loader: its class in `torchvision.datasets`.
        options: what the class is given for each split.
        read: makes a set of the loader's object and of ``(size, fit, crop)``.
    """

    loader: str
    options: dict[str, dict]
    read: Callable[[object, tuple], ImageDataset]


def cache_root() -> Path:
    """Where torchvision keeps its downloads, and features of images are kept: HEBM_CACHE, or ``~/.cache/hebm``."""
    return Path(os.environ.get("HEBM_CACHE", "~/.cache/hebm")).expanduser()


def read_downloaded(name: str, split: str, fitted: tuple = (None, "pad", 0)) -> ImageDataset:
    """A split of one of these sets, downloaded where it is not in the cache yet.

    Args:
        name: one of `TORCHVISION`.
        split: ``train`` or ``test``; ``extra`` of SVHN, 531,131 easier images; ``valid`` of CelebA.
        fitted: ``(size, fit, crop)`` as of `fit_images`. Of CelebA's images the square `CELEBA_BOX` is taken first where
            crop is 0.

    Raises:
        ValueError: for a split that the set does not have.
        DownloadError: where the files are neither there nor to be had.
    """
    known = TORCHVISION[name]
    if split not in known.options:
        raise ValueError(f"{name} has the splits {', '.join(known.options)}; got {split!r}")
    found = known.read(_open(name, split), fitted)
    found.name = name
    return found


def download(name: str) -> None:
    """Make sure that a set's train and test images are in the cache, whole.

    Raises:
        ValueError: for a name that is not in `TORCHVISION`.
        DownloadError: as of `read_downloaded`.
    """
    if name not in TORCHVISION:
        raise ValueError(f"{name!r} is not downloaded by torchvision here; known are {', '.join(sorted(TORCHVISION))}")
    for split in ("train", "test"):
        _open(name, split)


def _open(name: str, split: str):
    import torchvision

    known = TORCHVISION[name]
    loader, options = getattr(torchvision.datasets, known.loader), known.options[split]
    try:
        return loader(cache_root(), download=False, **options)
    except RuntimeError:  # not there, or another checksum
        try:
            return loader(cache_root(), download=True, **options)
        except Exception as error:  # URLError, RuntimeError, OSError, ModuleNotFoundError: by the kind of failure
            raise DownloadError(f"{type(error).__name__}: {error}") from error


def _grey(found, fitted: tuple) -> ImageDataset:
    return ImageDataset(fit_images(found.data[:, None].contiguous(), *fitted), found.targets.to(torch.int64))


def _svhn(found, fitted: tuple) -> ImageDataset:
    """torchvision has made the file's label 10 into 0, the digit that it stands for."""
    images = torch.from_numpy(np.ascontiguousarray(found.data))
    return ImageDataset(fit_images(images, *fitted), torch.from_numpy(found.labels))


def _cifar10(found, fitted: tuple) -> ImageDataset:
    images = torch.from_numpy(found.data).permute(0, 3, 1, 2).contiguous()
    about = {"label_names": np.array(found.classes)}
    return ImageDataset(fit_images(images, *fitted), torch.tensor(found.targets), about=about)


def _celeba(found, fitted: tuple) -> ImageDataset:
    """Files decoded one by one and brought to size at once: all of them whole would be 19 GB. Faces have no class."""
    folder = Path(found.root) / found.base_folder / "img_align_celeba"
    crop, images = fitted[2], []
    for name in found.filename:
        image = decode_image(folder / name)[None]
        images.append(fit_images(image if crop else _box(image), *fitted))
    extra = {
        "names": np.array(found.filename),
        "identity": found.identity[:, 0].numpy(),
        "attributes": found.attr.numpy().astype(np.uint8),
    }
    names = [name for name in found.attr_names if name]
    none = torch.full((len(images),), -1)
    return ImageDataset(join_images(images, fitted[0]), none, extra=extra, about={"attribute_names": np.array(names)})


def _box(image: Tensor) -> Tensor:
    left, top, right, bottom = CELEBA_BOX
    return image[..., top:bottom, left:right]


BY_TRAIN = {"train": {"train": True}, "test": {"train": False}}

TORCHVISION = {
    "mnist": Download("MNIST", BY_TRAIN, _grey),
    "fashion-mnist": Download("FashionMNIST", BY_TRAIN, _grey),
    "svhn": Download("SVHN", {split: {"split": split} for split in ("train", "test", "extra")}, _svhn),
    "cifar10": Download("CIFAR10", BY_TRAIN, _cifar10),
    "celeba": Download("CelebA", {split: {"split": split} for split in ("train", "test", "valid")}, _celeba),
}
"""The sets by their names in this library."""
