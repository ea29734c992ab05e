"""What both ladders are built from, and the checks at their doors."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from hebm_lib.sampling.cpu_speed import FewChannels, LeakyReLU

__all__ = [
    "Stage",
    "activated",
    "check_images",
    "check_range",
    "conv",
    "dense",
    "diagonal_gaussian",
    "down",
    "full_precision",
    "up",
]


def full_precision(x: Tensor) -> AbstractContextManager:
    """Autocast off where x lies: in mixed precision too, codes and f are computed in float32.

    Half precision keeps three digits. A code is known to a hundredth of its spread, and f's differences are what counts.

    Example:
        >>> layer, x = nn.Linear(2, 1), torch.zeros(3, 2)
        >>> with torch.autocast("cpu", dtype=torch.bfloat16):
        ...     half = layer(x)
        ...     with full_precision(x):
        ...         full = layer(x)
        >>> half.dtype, full.dtype
        (torch.bfloat16, torch.float32)
    """
    device = x.device.type
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


def conv(c_in: int, c_out: int) -> nn.Conv2d:
    """Three by three, same size, no bias, Xavier-normal: the ladder's plain convolution.

    Example:
        >>> import torch
        >>> conv(3, 8)(torch.zeros(1, 3, 6, 6)).shape
        torch.Size([1, 8, 6, 6])
    """
    layer = FewChannels if c_out <= 4 else nn.Conv2d
    return _xavier(layer(c_in, c_out, 3, padding=1, bias=False))


def down(c_in: int, c_out: int) -> nn.Conv2d:
    """Four by four with stride 2: halves the side.

    Example:
        >>> import torch
        >>> down(3, 8)(torch.zeros(1, 3, 6, 6)).shape
        torch.Size([1, 8, 3, 3])
    """
    return _xavier(nn.Conv2d(c_in, c_out, 4, stride=2, padding=1, bias=False))


def up(c_in: int, c_out: int) -> nn.ConvTranspose2d:
    """Four by four transposed with stride 2: doubles the side.

    Example:
        >>> import torch
        >>> up(3, 8)(torch.zeros(1, 3, 6, 6)).shape
        torch.Size([1, 8, 12, 12])
    """
    return _xavier(nn.ConvTranspose2d(c_in, c_out, 4, stride=2, padding=1, bias=False))


def _xavier(layer):
    nn.init.xavier_normal_(layer.weight)
    return layer


def activated(
    layer: nn.Module, width: int, slope: float, batch_norm: bool = False, *, feeds_convolution: bool = False
) -> list[nn.Module]:
    """A layer that gives ``width`` channels, batch norm where it is asked for, and a leaky ReLU.

    ``feeds_convolution``: what follows is a convolution and nothing else, which `cpu_speed` may make use of.

    Example:
        >>> [type(part).__name__ for part in activated(nn.Linear(2, 4), 4, 0.2, batch_norm=True)]
        ['Linear', 'BatchNorm1d', 'LeakyReLU']
    """
    norm = nn.BatchNorm1d if isinstance(layer, nn.Linear) else nn.BatchNorm2d
    return [layer, *([norm(width)] if batch_norm else []), LeakyReLU(slope, feeds_convolution=feeds_convolution)]


def dense(widths: tuple[int, ...], slope: float, batch_norm: bool = False) -> nn.Sequential:
    """Linear layers through ``widths``, a leaky ReLU after each.

    Example:
        >>> import torch
        >>> dense((2, 16, 8), 0.2)(torch.zeros(5, 2)).shape
        torch.Size([5, 8])
    """
    layers: list[nn.Module] = []
    for a, b in zip(widths, widths[1:], strict=False):
        layers += activated(nn.Linear(a, b), b, slope, batch_norm)
    return nn.Sequential(*layers)


class Stage(nn.Sequential):
    """Two convolutions of the inference trunk: per halving a stride-2 and a plain one; without halving two plain ones.

    Example:
        >>> import torch
        >>> Stage(1, 6, halvings=2, slope=0.2)(torch.zeros(1, 1, 28, 28)).shape
        torch.Size([1, 6, 7, 7])
    """

    def __init__(self, c_in: int, c_out: int, halvings: int, slope: float, batch_norm: bool = False):
        layers: list[nn.Module] = []
        for shrink in [down] * halvings or [conv]:
            layers += activated(shrink(c_in, c_out), c_out, slope, batch_norm)
            layers += activated(conv(c_out, c_out), c_out, slope, batch_norm)
            c_in = c_out
        super().__init__(*layers)


def diagonal_gaussian(mean: Tensor, scale: Tensor) -> Independent:
    """``N(mean, diag(scale²))`` over the last axis.

    Example:
        >>> import torch
        >>> q = diagonal_gaussian(torch.zeros(4, 2), torch.ones(4, 2))
        >>> q.batch_shape, q.event_shape, q.log_prob(torch.zeros(2))[0].exp().item()  # 1 / (2π)
        (torch.Size([4]), torch.Size([2]), 0.159...)
    """
    # Argument checks would read the values back from the device at every step; `Trainer` looks for NaN instead.
    return Independent(Normal(mean, scale, validate_args=False), 1, validate_args=False)


def check_images(x: Tensor, channels: int, size: int) -> None:
    """Raise `ValueError` unless ``x`` is a batch ``(n, channels, size, size)`` of floating-point images.

    Example:
        >>> import torch
        >>> check_images(torch.zeros(4, 1, 28, 28), channels=1, size=32)
        Traceback (most recent call last):
        ...
        ValueError: expected images of shape (n, 1, 32, 32), got (4, 1, 28, 28)
    """
    if x.ndim != 4 or tuple(x.shape[1:]) != (channels, size, size):
        raise ValueError(f"expected images of shape (n, {channels}, {size}, {size}), got {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(
            f"expected floating-point images in [-1, 1], got {x.dtype}: load_dataset returns them ready, or divide "
            "uint8 images by 127.5 and subtract 1"
        )


def check_range(x: Tensor) -> None:
    """Raise `ValueError` for images that hold NaN or lie far outside [-1, 1]. Waits for the device: not for a training step.

    Example:
        >>> import torch
        >>> check_range(torch.full((4, 1, 8, 8), 255.0))
        Traceback (most recent call last):
        ...
        ValueError: expected images in [-1, 1], got values up to 255: ...
    """
    most = float(x.detach().abs().max()) if x.numel() else 0.0
    if not most <= 1.5:  # a NaN is not; a perturbed image may pass 1 a little
        raise ValueError(
            f"expected images in [-1, 1], got values up to {most:g}: load_dataset returns them ready, or divide images of "
            "0 … 255 by 127.5 and subtract 1"
        )
