"""Many images from codes, and what an image says without any model: brightness, entropy of greys, nearest training image."""

import torch
from torch import Tensor

from hebm_lib.data import ImageDataset

__all__ = ["PART", "decoded", "grey_entropy", "ink", "nearest"]

PART = 100
"""Images that a network is given at once where there are many and no gradient is asked for.

The feature maps of 1,000 are larger than what the C library keeps from call to call; fetched anew, they take longer than
the reading of a digit itself."""


@torch.no_grad()
def decoded(model, z: Tensor) -> Tensor:
    """``g_β(z)`` of many codes, in parts: ``(n, d) -> (n, C, H, W)``.

    Example:
        >>> from types import SimpleNamespace
        >>> decoded(SimpleNamespace(decode=lambda z: z[:, :, None, None]), torch.zeros(250, 3)).shape
        torch.Size([250, 3, 1, 1])
    """
    return torch.cat([model.decode(part) for part in z.split(PART)])


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
