"""Data sets by their names: image packs under HEBM_DATA, the embedded digits, 3D Shapes and its stand-in, torchvision's."""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hebm_lib.config import DataConfig
from hebm_lib.data.downloads import TORCHVISION, DownloadError, cache_root, download, read_downloaded
from hebm_lib.data.images import ImageDataset, fit_images
from hebm_lib.data.packs import read_pack
from hebm_lib.data.shapes3d import RENDERED, SHAPES3D, find_file, read_rendered, read_shapes3d

__all__ = [
    "MissingDataError",
    "MissingSplitError",
    "available_datasets",
    "black_or_white",
    "fetch",
    "load_dataset",
    "load_split",
    "pack_root",
]

EMBEDDED = "digits"
SPLITS = ("train", "test")
DIGITS_TEST = 360
"""The last 360 of scikit-learn's 1,797 digits are the test images; the set is in order of writers, so that hands that
the model has not seen are tested."""


class MissingDataError(FileNotFoundError):
    """A data set is neither under HEBM_DATA nor in the cache, and nothing could be downloaded."""


class MissingSplitError(MissingDataError):
    """A pack has no such file: one without test images can be trained on all the same."""


def load_dataset(
    name: str,
    split: str,
    classes: Sequence[int] | None = None,
    *,
    size: int | None = None,
    fit: str = "pad",
    crop: int = 0,
    channels: int | None = None,
    subsample: int | None = None,
    binary: bool = False,
) -> ImageDataset:
    """A named data set.

    Args:
        name: ``digits`` (embedded), ``shapes3d-render`` (drawn on demand), ``3dshapes`` (from ``3dshapes.h5``), ``mnist``,
            ``fashion-mnist``, ``svhn``, ``cifar10``, ``celeba`` (downloaded), or the name of any folder
            ``<HEBM_DATA>/<name>/{train,test}.npz`` in the image-pack format.
        split: ``train`` or ``test``; ``extra`` of ``svhn``; ``valid`` of ``celeba``.
        classes: keep only these labels.
        size: side of the returned square images; None keeps a square image's own size.
        fit: ``pad`` puts a black border around smaller images, ``resize`` scales the centred square.
        crop: side of the centred square, in source pixels, that is cut out first; 0 cuts nothing with ``pad``, and takes
            the largest with ``resize``. Of ``celeba``, 0 takes the square of the paper's authors, `CELEBA_BOX`.
        channels: 1 or 3; None keeps what the set has.
        subsample: keep so many images, drawn by a fixed seed from those of the classes, in the set's order. None keeps
            all, but for the two sets of 3D shapes a tenth of the 480,000: all are 5.9 GB.
        binary: draw every pixel black or white: see `black_or_white`.

    Further arrays of a pack are in `ImageDataset.extra` and `ImageDataset.about`.

    Raises:
        ValueError: for an unknown name (near ones are suggested), split, class or an impossible size, for a class that is
            named twice, for more images than there are, and for a damaged pack.
        MissingDataError: if a known set is nowhere to be found and cannot be downloaded.
        MissingSplitError: if a pack has no such split.

    Example:
        >>> zeros = load_dataset("digits", "test", classes=(0,), size=12)
        >>> zeros.images.shape, zeros.classes
        (torch.Size([35, 1, 12, 12]), [0])
    """
    splits = tuple(TORCHVISION[name].options) if name in TORCHVISION else SPLITS
    if split not in splits:
        raise ValueError(f"split must be {' or '.join(map(repr, splits))}, got {split!r}")
    if fit not in ("pad", "resize"):
        raise ValueError(f"fit must be 'pad' or 'resize', got {fit!r}")
    if classes is not None and not 0 < len(set(classes)) == len(classes):
        raise ValueError(f"classes: name each label once, or give None for all of them; got {tuple(classes)}")
    if subsample is not None and subsample < 1:
        raise ValueError(f"subsample must be at least 1, or None for all images; got {subsample}")
    in_grid = _read_grid(name, split, classes, subsample, (size, fit, crop))
    dataset = _read(name, split, size, fit, crop) if in_grid is None else in_grid
    dataset.images = grey_or_colour(dataset.images, channels)
    if binary:
        dataset.images = black_or_white(dataset.images)
    if classes is not None:
        missing = [int(c) for c in classes if int(c) not in dataset.classes]
        if missing:
            present = f"its labels are {dataset.classes[:20]}" if dataset.classes else "it has no labels"
            raise ValueError(f"{name} ({split}) has no images of class {missing}; {present}")
        dataset = dataset.subset(torch.isin(dataset.labels, torch.as_tensor(list(classes))))
    if subsample is None or subsample == len(dataset):
        return dataset
    if subsample > len(dataset):
        raise ValueError(f"subsample is {subsample:,}, but there are {len(dataset):,} images")
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0))
    return dataset.subset(order[:subsample].sort().values)


def black_or_white(images: Tensor) -> Tensor:
    """uint8 images with every pixel 0 or 255, the latter with the probability that its value says; the same draw every time.

    Models with Bernoulli pixels are often trained so (Salakhutdinov and Murray 2008). Drawn once: an image's own noise is
    part of it, and can be learned.

    Example:
        >>> black_or_white(torch.tensor([0, 255, 128], dtype=torch.uint8))[:2].tolist()
        [0, 255]
    """
    dice = torch.rand(images.shape, generator=torch.Generator().manual_seed(0))
    return (dice < images.float() / 255).to(torch.uint8) * 255


def grey_or_colour(images: Tensor, channels: int | None) -> Tensor:
    """uint8 images ``(n, C, H, W)`` with so many channels: the usual luma of colours, or grey three times; None keeps C."""
    if channels == 3 and images.shape[1] == 1:
        return images.expand(-1, 3, -1, -1).contiguous()
    if channels == 1 and images.shape[1] == 3:
        luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
        return (images * luma).sum(1, keepdim=True).round().to(torch.uint8)
    return images


def load_split(config: DataConfig, split: str) -> ImageDataset:
    """The data that an experiment's config names."""
    return load_dataset(
        config.name,
        split,
        config.classes,
        size=config.size,
        fit=config.fit,
        crop=config.crop,
        channels=config.channels,
        subsample=config.subsample,
        binary=config.binary,
    )


def available_datasets() -> list[str]:
    """Names that can be asked for: the embedded set, 3D shapes, torchvision's, and every pack under HEBM_DATA."""
    root = pack_root()
    packs = [p.parent.name for p in root.glob("*/t*.npz") if p.stem in ("train", "test")] if root else []
    return sorted({EMBEDDED, RENDERED, SHAPES3D, *TORCHVISION, *packs})


def pack_root() -> Path | None:
    """The folder of image packs that HEBM_DATA names, if it is set and exists."""
    value = os.environ.get("HEBM_DATA", "")
    return Path(value).expanduser() if value and Path(value).expanduser().is_dir() else None


def fetch(name: str) -> None:
    """Download a torchvision data set into the cache, checked against its checksum."""
    try:
        download(name)
    except DownloadError as error:
        raise _not_downloaded(name, "train, test", error) from error


def _read(name: str, split: str, size: int | None, fit: str, crop: int) -> ImageDataset:
    root = pack_root()
    if root is not None and (root / name / f"{split}.npz").is_file():
        return read_pack(root / name / f"{split}.npz", size=size, fit=fit, crop=crop)
    if name == EMBEDDED:
        images, labels = _read_digits(split)
    elif name in TORCHVISION:
        try:
            return read_downloaded(name, split, (size, fit, crop))
        except DownloadError as error:
            raise _not_downloaded(name, split, error) from error
    else:
        raise _not_there(name, split, root)
    return ImageDataset(fit_images(images, size, fit, crop), labels, name)


def _read_grid(name: str, split: str, classes, subsample: int | None, fitted: tuple) -> ImageDataset | None:
    """One of the two sets of 3D shapes, of which only the images that are asked for are made; None for another name.

    A pack of that name goes before them, as before all sets."""
    root = pack_root()
    if name not in (RENDERED, SHAPES3D) or (root is not None and (root / name / f"{split}.npz").is_file()):
        return None
    if name == RENDERED:
        return read_rendered(split, classes=classes, subsample=subsample, fitted=fitted)
    path = find_file([*([] if root is None else [root]), cache_root()])
    if path is None:
        raise MissingDataError(
            f"3D Shapes is not here: put 3dshapes.h5 (268 MB, https://storage.googleapis.com/3d-shapes/3dshapes.h5) into "
            f"{os.environ.get('HEBM_DATA') or '<HEBM_DATA, which is not set>'}/{SHAPES3D}/ or {cache_root()}; or take "
            f"{RENDERED!r}, a scene of the same kind that is drawn on demand"
        )
    try:
        return read_shapes3d(path, split, classes=classes, subsample=subsample, fitted=fitted)
    except ImportError as error:
        raise MissingDataError(str(error)) from error


def _not_there(name: str, split: str, root: Path | None) -> Exception:
    """What to say of a name that is no data set's, or of a pack that lacks a split."""
    other = {"train": "test", "test": "train"}[split]
    if root is not None and (root / name / f"{other}.npz").is_file():
        return MissingSplitError(
            f"the data set {name!r} has {other}.npz, but no {split}.npz in {root / name}: ask for {other!r}, or make the pack "
            "again with both (python -m hebm_lib pack FOLDER NAME --test-share 0.1)"
        )
    near = [other for other in difflib.get_close_matches(name, available_datasets(), n=3) if other != name]
    hint = f"; did you mean {' or '.join(near)}?" if near else f"; known are {', '.join(available_datasets())}."
    return ValueError(
        f"there is no data set {name!r}{hint} Any folder <HEBM_DATA>/{name}/ with train.npz and test.npz would be one"
        f" (HEBM_DATA is {os.environ.get('HEBM_DATA') or 'not set'}); `python -m hebm_lib pack FOLDER NAME` makes one of images."
    )


def _not_downloaded(name: str, split: str, error: DownloadError) -> MissingDataError:
    return MissingDataError(
        f"The data set {name!r} ({split}) was not found. Looked for the pack "
        f"{os.environ.get('HEBM_DATA') or '<HEBM_DATA, which is not set>'}/{name}/{split}.npz and for torchvision's files, "
        f"whole, under {cache_root()}; a download failed ({error}). Set the variable HEBM_DATA to a folder of image packs, "
        f"or run `python -m hebm_lib fetch {name}` where there is a network."
    )


def _read_digits(split: str) -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    # Grey levels 0 … 16 as 0 … 255.
    pixels = torch.from_numpy(np.rint(images.reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8))
    part = slice(None, -DIGITS_TEST) if split == "train" else slice(-DIGITS_TEST, None)
    return pixels[part], torch.from_numpy(labels.astype(np.int64))[part]
