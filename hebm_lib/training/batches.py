"""What `Trainer.fit` takes: image sets of this library, tensors, and any torch data set, as batches of one form."""

import warnings
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from hebm_lib.data import ImageDataset

__all__ = ["Batches", "as_batches"]

LIMIT = 1.5
"""Images lie in [-1, 1]; what passes 1 a little, such as an image with noise on it, is let through."""


class Batches(Protocol):
    """A set of images that can be read many at a time. An `ImageDataset` is one."""

    def __len__(self) -> int: ...

    def batch(self, indices: Tensor | slice) -> Tensor:
        """The images at ``indices``, floats ``(n, …)`` in [-1, 1]."""

    def to(self, device) -> "Batches":
        """The same set, whose batches come on ``device``."""


def as_batches(data: ImageDataset | Tensor | Dataset, dtype: torch.dtype = torch.float32) -> Batches:
    """Anything that holds images, as `Batches`.

    Args:
        data: an `ImageDataset`; a tensor ``(n, …)``; or a torch data set whose items are ``x``, ``(x,)`` or ``(x, y)``. The
            labels y are not read. Floats are taken as they are, in [-1, 1]; uint8 becomes ``v / 127.5 - 1``.
        dtype: type of the batches, the model's.

    Raises:
        TypeError: for another kind of object, or of numbers.
        ValueError: for no images at all, images of several shapes, NaN, and values far outside [-1, 1]. Of a data set that
            is neither an `ImageDataset` nor a `TensorDataset` only the first items are read at once, the others when their
            batch comes.

    Example:
        >>> as_batches(torch.tensor([[0, 255], [255, 0]], dtype=torch.uint8)).batch(slice(0, 1))
        tensor([[-1.,  1.]])
        >>> as_batches(torch.full((10, 1, 8, 8), 255.0))
        Traceback (most recent call last):
        ...
        ValueError: image 0 holds 255, expected values in [-1, 1]: divide images of 0 … 255 by 127.5 and subtract 1
    """
    if isinstance(data, ImageDataset):
        return data
    if isinstance(data, TensorDataset):
        if len(data.tensors) > 2:
            raise ValueError(f"a TensorDataset of images, or of images and labels: got {len(data.tensors)} tensors")
        data = data.tensors[0]
    if isinstance(data, Tensor):
        return TensorBatches(data, dtype)
    if isinstance(data, DataLoader):
        raise TypeError("fit makes its own batches, so that a run can be repeated: give it the loader's .dataset")
    if isinstance(data, IterableDataset):
        raise TypeError("fit reads images by their number, which an IterableDataset does not have: give a Dataset")
    if isinstance(data, Dataset):
        return DatasetBatches(data, dtype)
    raise TypeError(
        f"fit takes a tensor of images (n, …) or a torch Dataset, got {type(data).__module__}.{type(data).__name__}; "
        "torch.as_tensor turns an array or a list into a tensor"
    )


class TensorBatches:
    """Images in one tensor."""

    def __init__(self, images: Tensor, dtype: torch.dtype):
        check_kind(images, "images")
        if images.ndim < 2 or not images.numel():
            raise ValueError(f"expected images (n, …), at least one, got a tensor of shape {tuple(images.shape)}")
        if images.is_floating_point():
            images = images.detach().to(dtype)
            check_values(images, range(len(images)))
            warn_of_half_range(images)
        self.images, self.dtype = images, dtype

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Tensor | slice) -> Tensor:
        return scaled(self.images[indices], self.dtype)

    def to(self, device) -> "TensorBatches":
        moved = object.__new__(TensorBatches)  # checked already
        moved.images, moved.dtype = self.images.to(device), self.dtype
        return moved


class DatasetBatches:
    """Items of a data set, read one by one when their batch comes, so that it may be large or change what it gives."""

    def __init__(self, data: Dataset, dtype: torch.dtype, device="cpu"):
        self.data, self.dtype, self.device = data, dtype, device
        if len(data) == 0:
            raise ValueError("expected images, got a data set with no item")
        first = self._read(range(min(8, len(data))))
        warn_of_half_range(first)

    def __len__(self) -> int:
        return len(self.data)

    def batch(self, indices: Tensor | slice) -> Tensor:
        chosen = range(len(self.data))[indices] if isinstance(indices, slice) else indices.tolist()
        return self._read(chosen).to(self.device)

    def to(self, device) -> "DatasetBatches":
        return DatasetBatches(self.data, self.dtype, device)

    def _read(self, indices: Sequence[int]) -> Tensor:
        images = [image_of(self.data[i], i) for i in indices]
        for i, image in zip(indices, images, strict=True):
            if image.shape != images[0].shape:
                raise ValueError(
                    f"item {i} has shape {tuple(image.shape)}, item {indices[0]} {tuple(images[0].shape)}: a model takes "
                    "images of one shape; crop or resize them in the data set"
                )
        batch = torch.stack([scaled(image, self.dtype) for image in images])
        check_values(batch, indices)
        return batch


def image_of(item, index: int) -> Tensor:
    """The image of an item ``x``, ``(x,)`` or ``(x, y)``."""
    if isinstance(item, tuple | list) and 1 <= len(item) <= 2:
        item = item[0]
    if not isinstance(item, Tensor):
        raise TypeError(
            f"item {index} is a {type(item).__name__}: items must be x, (x,) or (x, y) with a tensor x; torchvision's sets "
            "give tensors with transform=torchvision.transforms.v2.PILToTensor()"
        )
    check_kind(item, f"item {index}")
    return item.detach()


def check_kind(images: Tensor, what: str) -> None:
    """Raise `TypeError` for numbers of which nobody can tell what black and white are."""
    if not images.is_floating_point() and images.dtype != torch.uint8:
        raise TypeError(f"{what}: expected floats in [-1, 1], or uint8 of 0 … 255, got {images.dtype}")


def check_values(images: Tensor, indices: Sequence[int]) -> None:
    """Raise `ValueError` for an image with NaN or a value far outside [-1, 1], by its number."""
    most = images.abs().flatten(1).amax(1) if images[0].numel() else images.new_zeros(len(images))
    wrong = (~(most <= LIMIT)).nonzero().flatten().tolist()  # a NaN is not
    if wrong:
        value = most[wrong[0]].item()
        hint = "divide images of 0 … 255 by 127.5 and subtract 1" if value > LIMIT else "clean or leave out such images"
        raise ValueError(f"image {indices[wrong[0]]} holds {value:g}, expected values in [-1, 1]: {hint}")


def warn_of_half_range(images: Tensor) -> None:
    """Warn where no value is negative: torchvision's ToTensor gives [0, 1], and a model would never see black."""
    if images.min() >= 0:
        warnings.warn(
            "no image has a value below 0: images are expected in [-1, 1], so those in [0, 1] need 2 * x - 1",
            stacklevel=2,
        )


def scaled(images: Tensor, dtype: torch.dtype) -> Tensor:
    """uint8 as floats in [-1, 1], as `ImageDataset` has it; floats as they are."""
    if images.dtype == torch.uint8:
        return images.to(dtype).div_(127.5).sub_(1)
    return images.to(dtype)
