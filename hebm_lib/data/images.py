"""A set of images in memory, and how images of any size become squares of one."""

import hashlib
from collections.abc import Iterator, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

__all__ = ["ImageDataset", "fit_images", "pad_black"]


class ImageDataset(Dataset):
    """Images of one size with labels.

    Args:
        images: ``(n, C, H, W)`` uint8.
        labels: ``(n,)`` int64; -1 where an image has no label.
        name: what the set is called in reports.
        extra: further arrays with one entry per image, such as ``attributes`` or ``names``: numpy, by name.
        about: arrays that say something of the whole set, such as ``label_names``.

    ``dataset[i]`` is ``(image (C, H, W) float32 in [-1, 1], label int)``. `batch` reads many at once.

    Raises:
        ValueError: for images of another form, or where labels or an extra array are not as many.

    Example:
        >>> images = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
        >>> data = ImageDataset(images, torch.tensor([3, -1]), extra={"names": np.array(["a.png", "b.png"])})
        >>> data[1]
        (tensor([[[1.]]]), -1)
        >>> data.classes, data.subset([1]).extra["names"].tolist()
        ([3], ['b.png'])
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        name: str = "images",
        *,
        extra: Mapping[str, np.ndarray] | None = None,
        about: Mapping[str, np.ndarray] | None = None,
    ):
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise ValueError(f"expected uint8 images (n, C, H, W), got {images.dtype} {tuple(images.shape)}")
        if labels.shape != images.shape[:1]:
            raise ValueError(f"{len(images)} images need as many labels, got {tuple(labels.shape)}")
        self.images, self.labels, self.name = images, labels, name
        self.extra, self.about = dict(extra or {}), dict(about or {})
        for key, values in self.extra.items():
            if values.shape[:1] != tuple(images.shape[:1]):
                raise ValueError(f"{len(images)} images need as many {key}, got {values.shape}")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.batch(i), int(self.labels[i])

    @property
    def classes(self) -> list[int]:
        """The labels that occur, ascending, without -1; empty where no image has one."""
        return [label for label in self.labels.unique().tolist() if label >= 0]

    def batch(self, indices) -> Tensor:
        """Images at ``indices`` (a tensor, slice or integer) as float32 in [-1, 1]."""
        return self.images[indices].float().div_(127.5).sub_(1)

    def batches(self, size: int, device=None) -> Iterator[Tensor]:
        """All images in order, ``(size, C, H, W)`` float32 in [-1, 1] at a time, on ``device``; the last may be fewer.

        >>> data = ImageDataset(torch.zeros(5, 1, 2, 2, dtype=torch.uint8), torch.zeros(5, dtype=torch.int64))
        >>> [tuple(x.shape) for x in data.batches(3)]
        [(3, 1, 2, 2), (2, 1, 2, 2)]
        """
        for start in range(0, len(self), size):
            x = self.batch(slice(start, start + size))
            yield x if device is None else x.to(device)

    def to(self, device) -> "ImageDataset":
        """The same set with images and labels on ``device``; other arrays stay numpy's."""
        images, labels = self.images.to(device), self.labels.to(device)
        return ImageDataset(images, labels, self.name, extra=self.extra, about=self.about)

    def subset(self, indices) -> "ImageDataset":
        """The images at ``indices`` (a tensor of numbers or of truth values, a list, a range or a slice), in that order."""
        rows = indices
        if not isinstance(indices, slice):
            rows = indices.cpu().numpy() if isinstance(indices, Tensor) else np.asarray(indices, dtype=np.int64)
        extra = {key: values[rows] for key, values in self.extra.items()}
        return ImageDataset(self.images[indices], self.labels[indices], self.name, extra=extra, about=self.about)

    def labelled(self) -> "ImageDataset":
        """The images that have a label; the set itself where all have one."""
        has = self.labels >= 0
        return self if bool(has.all()) else self.subset(has)

    def digest(self) -> str:
        """SHA-256 over shape, pixels and labels: the data's name in a result's provenance."""
        digest = hashlib.sha256(str(tuple(self.images.shape)).encode())
        digest.update(self.images.cpu().numpy().tobytes())
        digest.update(self.labels.cpu().numpy().tobytes())
        return digest.hexdigest()


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
        raise ValueError(
            f"images of {height}×{width} do not fit into {size}×{size} by padding; use fit='resize' (in a run's settings "
            f"data.fit=resize), or a size of {max(height, width)} (data.size and model.image_size)"
        )
    left, top = (size - width) // 2, (size - height) // 2
    return F.pad(images, (left, size - width - left, top, size - height - top), value=black)


def fit_images(images: Tensor, size: int | None, fit: str, crop: int = 0) -> Tensor:
    """uint8 images ``(n, C, H, W)`` as squares of side ``size``.

    Args:
        size: the side; None keeps that of the crop, or without one the shorter side of the images.
        fit: ``pad`` puts a black border around them, ``resize`` scales their centred square.
        crop: side of the centred square, in source pixels, that is cut out first; 0 cuts nothing with ``pad``, and takes the
            largest square with ``resize``.

    Raises:
        ValueError: for a crop that is larger than the images, or images that are larger than what they are padded to.

    Example:
        >>> images = torch.arange(16, dtype=torch.uint8).view(1, 1, 4, 4)
        >>> fit_images(images, 4, "pad", crop=2)[0, 0].tolist()
        [[0, 0, 0, 0], [0, 5, 6, 0], [0, 9, 10, 0], [0, 0, 0, 0]]
    """
    height, width = images.shape[-2:]
    if crop > min(height, width):
        raise ValueError(
            f"a square of side {crop} cannot be cut out of images of {height}×{width}: take a smaller crop"
        )
    if crop and (height, width) != (crop, crop):
        images, height, width = _centre(images, crop), crop, crop
    size = size or min(height, width)
    if (height, width) == (size, size):
        return images
    if fit == "pad":
        return pad_black(images, size, black=0)
    if len(images) == 0:
        return images.new_zeros(0, images.shape[1], size, size)
    from torchvision.transforms.v2.functional import resize

    side = min(height, width)
    # In slices: resizing works in float32, four times the size of the stored images.
    parts = [resize(_centre(part, side), [size, size], antialias=True) for part in images.split(4096)]
    return torch.cat(parts)


def _centre(images: Tensor, side: int) -> Tensor:
    """The centred square of a side that the images have room for."""
    from torchvision.transforms.v2.functional import center_crop

    return center_crop(images, [side, side])
