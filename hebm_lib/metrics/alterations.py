"""Unfamiliar images made from familiar ones, for scores that need no second data set."""

from collections.abc import Callable

import torch
from torch import Tensor

from hebm_lib.data import ImageDataset

__all__ = ["ALTERATIONS", "altered"]


def _shuffled(images: Tensor, generator: torch.Generator) -> Tensor:
    order = torch.randperm(images[0, 0].numel(), generator=generator)
    return images.flatten(2)[..., order].view_as(images)


def _halves(images: Tensor, generator: torch.Generator) -> Tensor:
    middle = images.shape[-1] // 2
    return torch.cat([images[..., :middle], images.roll(1, 0)[..., middle:]], -1)


ALTERATIONS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "inverted": lambda images, _: 255 - images,
    "noise": lambda images, generator: torch.randint(256, images.shape, generator=generator),
    "shuffled pixels": _shuffled,
    "blank": lambda images, _: torch.zeros_like(images),
    "black or white": lambda images, _: (images > 127) * 255,
    "mirrored": lambda images, _: images.flip(-1),
    "two halves": _halves,
}
"""Unfamiliar images made from familiar ones; the pixels of all images are shuffled in the same way."""


def altered(data: ImageDataset, how: str, seed: int = 0) -> ImageDataset:
    """The images of a data set after one of `ALTERATIONS`; raises `ValueError` for another name.

    Example:
        >>> data = ImageDataset(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([3, 5]), "black")
        >>> inverted = altered(data, "inverted")
        >>> inverted.images.unique().tolist(), inverted.labels.tolist(), inverted.name
        ([255], [3, 5], 'black, inverted')
    """
    if how not in ALTERATIONS:
        raise ValueError(f"there is no alteration {how!r}; there are {', '.join(ALTERATIONS)}")
    images = ALTERATIONS[how](data.images, torch.Generator().manual_seed(seed))
    return ImageDataset(images.to(torch.uint8), data.labels, f"{data.name}, {how}")
