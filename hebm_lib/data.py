"""Named image data sets as tensors.

Three sources, asked in this order: image packs under the folder that the variable HEBM_DATA names, the digits that
come embedded in scikit-learn, and torchvision (which downloads with a checksum where the network allows). Images are
kept as uint8, the whole set in one tensor that can stand on the device, and become float32 in [-1, 1] when read.
"""

import difflib
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from hebm_lib.config import DataConfig

__all__ = ["ImageDataset", "MissingDataError", "available_datasets", "fetch", "load_dataset", "load_split"]

TORCHVISION = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}
DIGITS_TEST = 360
"""The last 360 of scikit-learn's 1,797 digits are the test images; the set is in order of writers, so that hands that
the model has not seen are tested."""


class MissingDataError(FileNotFoundError):
    """A data set is neither under HEBM_DATA nor in the cache, and nothing could be downloaded."""


class ImageDataset(Dataset):
    """Square images of one size with labels.

    Args:
        images: ``(n, C, S, S)`` uint8.
        labels: ``(n,)`` int64; -1 where a set has no labels.
        name: what the set is called in reports.

    ``dataset[i]`` is ``(image (C, S, S) float32 in [-1, 1], label int)``. `batch` reads many at once.
    """

    def __init__(self, images: Tensor, labels: Tensor, name: str = "images"):
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise ValueError(f"expected uint8 images (n, C, H, W), got {images.dtype} {tuple(images.shape)}")
        if labels.shape != images.shape[:1]:
            raise ValueError(f"{len(images)} images need as many labels, got {tuple(labels.shape)}")
        self.images, self.labels, self.name = images, labels, name

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.batch(i), int(self.labels[i])

    def batch(self, indices) -> Tensor:
        """Images at ``indices`` (a tensor, slice or integer) as float32 in [-1, 1]."""
        return self.images[indices].float().div_(127.5).sub_(1)

    def batches(self, size: int, device=None) -> Iterator[Tensor]:
        """All images in order, ``(size, C, S, S)`` float32 in [-1, 1] at a time, on ``device``; the last may be fewer.

        >>> data = ImageDataset(torch.zeros(5, 1, 2, 2, dtype=torch.uint8), torch.zeros(5, dtype=torch.int64))
        >>> [tuple(x.shape) for x in data.batches(3)]
        [(3, 1, 2, 2), (2, 1, 2, 2)]
        """
        for start in range(0, len(self), size):
            x = self.batch(slice(start, start + size))
            yield x if device is None else x.to(device)

    def to(self, device) -> "ImageDataset":
        """The same set with images and labels on ``device``."""
        return ImageDataset(self.images.to(device), self.labels.to(device), self.name)

    def subset(self, indices) -> "ImageDataset":
        """The images at ``indices``, in that order."""
        return ImageDataset(self.images[indices], self.labels[indices], self.name)

    def digest(self) -> str:
        """SHA-256 over shape, pixels and labels: the data's name in a result's provenance."""
        digest = hashlib.sha256(str(tuple(self.images.shape)).encode())
        digest.update(self.images.cpu().numpy().tobytes())
        digest.update(self.labels.cpu().numpy().tobytes())
        return digest.hexdigest()


def load_dataset(
    name: str,
    split: str,
    classes: Sequence[int] | None = None,
    *,
    size: int | None = None,
    fit: str = "pad",
    crop: int = 0,
    channels: int | None = None,
) -> ImageDataset:
    """A named data set.

    Args:
        name: ``digits`` (embedded), ``mnist``, ``fashion-mnist``, or the name of any folder
            ``<HEBM_DATA>/<name>/{train,test}.npz`` in the image-pack format.
        split: ``train`` or ``test``.
        classes: keep only these labels.
        size: side of the returned square images; None keeps a square image's own size.
        fit: ``pad`` puts a black border around smaller images, ``resize`` scales the centred square.
        crop: with ``resize``, the side of that square in source pixels; 0 takes the largest.
        channels: 1 or 3; None keeps what the set has.

    Raises:
        ValueError: for an unknown name (near ones are suggested), split, class or an impossible size.
        MissingDataError: if a known set is nowhere to be found and cannot be downloaded.
    """
    if split not in ("train", "test"):
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
    if fit not in ("pad", "resize"):
        raise ValueError(f"fit must be 'pad' or 'resize', got {fit!r}")
    images, labels = _read(name, split, size, fit, crop)
    if channels == 3 and images.shape[1] == 1:
        images = images.expand(-1, 3, -1, -1).contiguous()
    elif channels == 1 and images.shape[1] == 3:
        luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
        images = (images * luma).sum(1, keepdim=True).round().to(torch.uint8)
    dataset = ImageDataset(images, labels, name)
    if classes is not None:
        wanted = torch.as_tensor(list(classes), dtype=labels.dtype)
        missing = [int(c) for c in wanted if not bool((labels == c).any())]
        if missing:
            present = sorted(set(labels.tolist()))
            raise ValueError(f"{name} has no images of class {missing}; its labels are {present[:20]}")
        dataset = dataset.subset(torch.isin(labels, wanted))
    return dataset


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
    )


def available_datasets() -> list[str]:
    """Names that can be asked for: the embedded set, torchvision's, and every pack under HEBM_DATA."""
    root = pack_root()
    packs = [p.parent.name for p in root.glob("*/train.npz")] if root else []
    return sorted({"digits", *TORCHVISION, *packs})


def pack_root() -> Path | None:
    """The folder of image packs that HEBM_DATA names, if it is set and exists."""
    value = os.environ.get("HEBM_DATA", "")
    return Path(value).expanduser() if value and Path(value).expanduser().is_dir() else None


def cache_root() -> Path:
    """Where torchvision keeps its downloads: HEBM_CACHE, or ``~/.cache/hebm``."""
    return Path(os.environ.get("HEBM_CACHE", "~/.cache/hebm")).expanduser()


def fetch(name: str) -> None:
    """Download a torchvision data set into the cache, checked against its checksum."""
    for split in ("train", "test"):
        _torchvision(name, split, download=True)


def _read(name, split, size, fit, crop) -> tuple[Tensor, Tensor]:
    root = pack_root()
    if root is not None and (root / name / f"{split}.npz").is_file():
        images, labels = _read_pack(root / name / f"{split}.npz", size, fit, crop)
    elif name == "digits":
        images, labels = _read_digits(split)
    elif name in TORCHVISION:
        images, labels = _torchvision(name, split, download=True)
    else:
        near = difflib.get_close_matches(name, available_datasets(), n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else f"; known are {', '.join(available_datasets())}."
        raise ValueError(
            f"there is no data set {name!r}{hint} Any folder <HEBM_DATA>/{name}/ with train.npz and test.npz would be one"
            f" (HEBM_DATA is {os.environ.get('HEBM_DATA') or 'not set'})."
        )
    return fit_images(images, size, fit, crop), labels


def _read_digits(split: str) -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    # Grey levels 0 … 16 as 0 … 255.
    pixels = torch.from_numpy(np.rint(images.reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8))
    part = slice(None, -DIGITS_TEST) if split == "train" else slice(-DIGITS_TEST, None)
    return pixels[part], torch.from_numpy(labels.astype(np.int64))[part]


def _torchvision(name: str, split: str, download: bool) -> tuple[Tensor, Tensor]:
    import torchvision

    if name not in TORCHVISION:
        raise ValueError(f"{name!r} is not downloaded by torchvision here; known are {', '.join(sorted(TORCHVISION))}")
    loader = getattr(torchvision.datasets, TORCHVISION[name])
    root = cache_root()
    try:
        found = loader(root, train=split == "train", download=False)
    except RuntimeError:
        try:
            found = loader(root, train=split == "train", download=download)
        except Exception as error:  # torchvision raises URLError, RuntimeError or OSError, by the kind of failure
            raise MissingDataError(
                f"The data set {name!r} ({split}) was not found. Looked for the pack "
                f"{os.environ.get('HEBM_DATA') or '<HEBM_DATA, which is not set>'}/{name}/{split}.npz and for torchvision's "
                f"files under {root}; a download failed ({type(error).__name__}). Set the variable HEBM_DATA to a folder "
                f"of image packs, or run `python -m hebm_lib fetch {name}` where there is a network."
            ) from error
    return found.data[:, None].contiguous(), found.targets.to(torch.int64)


def _read_pack(path: Path, size, fit, crop) -> tuple[Tensor, Tensor]:
    try:
        with np.load(path, allow_pickle=False) as pack:
            keys = set(pack.files)
            if "images" in keys:
                images = torch.from_numpy(pack["images"])
                images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()
            elif {"data", "offsets"} <= keys:
                images = _decode(pack["data"], pack["offsets"], size, fit, crop)
            else:
                raise ValueError(f"it holds {sorted(keys)}, expected images, or data and offsets")
            labels = torch.from_numpy(pack["labels"].astype(np.int64)) if "labels" in keys else None
    except Exception as error:  # a cut zip, a pickle, a wrong array: numpy raises half a dozen types
        raise ValueError(f"{path} is not an image pack that can be read ({error}); copy or make it again") from error
    return images, torch.full((len(images),), -1) if labels is None else labels


def _decode(data: np.ndarray, offsets: np.ndarray, size, fit, crop) -> Tensor:
    """Encoded JPEG or PNG files, decoded one by one and brought to size at once, so that memory holds small images."""
    from torchvision.io import decode_image

    stream = torch.from_numpy(data)
    parts = [
        fit_images(decode_image(stream[a:b])[None], size, fit, crop) for a, b in zip(offsets, offsets[1:], strict=False)
    ]
    return torch.cat(parts)


def pad_black(images: Tensor, size: int, black: float = -1.0) -> Tensor:
    """Images ``(n, C, H, W)`` in the middle of black squares of side ``size``, ``(n, C, size, size)``.

    Args:
        black: the value of black: -1 for images in [-1, 1], 0 for uint8.

    Raises:
        ValueError: for images that are larger.

    >>> pad_black(torch.zeros(1, 1, 1, 1), 3)[0, 0].tolist()
    [[-1.0, -1.0, -1.0], [-1.0, 0.0, -1.0], [-1.0, -1.0, -1.0]]
    """
    height, width = images.shape[-2:]
    if max(height, width) > size:
        raise ValueError(f"images of {height}×{width} do not fit into {size}×{size} by padding; use fit='resize'")
    left, top = (size - width) // 2, (size - height) // 2
    return F.pad(images, (left, size - width - left, top, size - height - top), value=black)


def fit_images(images: Tensor, size: int | None, fit: str, crop: int = 0) -> Tensor:
    """uint8 images ``(n, C, H, W)`` as squares of side ``size``: padded with black, or the centred square resized."""
    height, width = images.shape[-2:]
    size = size or min(height, width)
    if (height, width) == (size, size) and not crop:
        return images
    if fit == "pad":
        return pad_black(images, size, black=0)
    from torchvision.transforms.v2.functional import center_crop, resize

    side = crop or min(height, width)
    # In slices: resizing works in float32, four times the size of the stored images.
    parts = [resize(center_crop(part, [side, side]), [size, size], antialias=True) for part in images.split(4096)]
    return torch.cat(parts)
