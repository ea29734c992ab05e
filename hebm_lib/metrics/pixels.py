"""What an image says without any model: its brightness, the entropy of its greys, its nearest training image."""

import torch
from torch import Tensor

from hebm_lib.data import ImageDataset

__all__ = ["grey_entropy", "ink", "nearest"]


def ink(data: ImageDataset) -> Tensor:
    """Mean brightness of every image, ``(n,)``: a score that no model is needed for.

    Example:
        >>> images = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
        >>> ink(ImageDataset(images, torch.zeros(2, dtype=torch.int64))).tolist()
        [0.0, 1.0]
    """
    return (data.images.flatten(1).float().mean(1) / 255).cpu()


def grey_entropy(data: ImageDataset) -> Tensor:
    """``Σ_j H(u_j)`` of every image in nats, ``(n,)``: 0 for black and white, ``D log 2`` for middle grey.

    Example:
        >>> images = torch.tensor([0, 51], dtype=torch.uint8).view(2, 1, 1, 1)
        >>> grey_entropy(ImageDataset(images, torch.zeros(2, dtype=torch.int64))).exp()  # black, and a fifth of white
        tensor([1.0000, 1.6494])
    """
    share = data.images.flatten(1).double() / 255
    return -(torch.xlogy(share, share) + torch.xlogy(1 - share, 1 - share)).sum(1).float().cpu()


def nearest(data: ImageDataset, train: ImageDataset, batch: int = 500) -> torch.Tensor:
    """Distance from every image to the nearest training image, ``(n,)``, in grey values of [0, 1].

    Example:
        >>> images = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
        >>> data = ImageDataset(images, torch.zeros(2, dtype=torch.int64))
        >>> nearest(data, data.subset([0])).tolist()
        [0.0, 1.0]
    """
    flat = train.images.flatten(1).float() / 255
    parts = (data.images[rows].flatten(1).float() / 255 for rows in torch.arange(len(data)).split(batch))
    return torch.cat([torch.cdist(part, flat).min(1).values for part in parts])
