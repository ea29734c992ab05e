"""A network that gives an image, or an image and a code, one number: what adversarial baselines learn beside a generator."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from hebm_lib.config import InferenceConfig
from hebm_lib.networks import check_images, way_to_the_top
from hebm_lib.networks.blocks import dense, full_precision

__all__ = ["ImageCritic", "gradient_penalty"]


class ImageCritic(nn.Module):
    """``(n, C, H, W) -> (n,)``: an energy of images, or the logit of a classifier; with ``units`` of images and codes.

    The image goes the way that an encoder of the same config goes to its top level; a code passes one layer of that level's
    width and joins there.

    Args:
        image_size, channels: of the images.
        config: places and widths; of an encoder with one level. Batch norm is left out.
        units: of the code that is shown as well; 0 for none.

    Example:
        >>> config = InferenceConfig(factors=(), widths=(), reads=(), plain_factors=(2,), plain_widths=(8,), top_hidden=(16,))
        >>> x, z = torch.zeros(4, 1, 8, 8), torch.zeros(4, 3)
        >>> ImageCritic(8, 1, config)(x).shape, ImageCritic(8, 1, config, units=3)(x, z).shape
        (torch.Size([4]), torch.Size([4]))
    """

    def __init__(self, image_size: int, channels: int, config: InferenceConfig, *, units: int = 0):
        super().__init__()
        config = replace(config, batch_norm=False)  # real and made images stand in one batch
        self.image_size, self.channels = image_size, channels
        self.plain, self.top, head = way_to_the_top(config, channels, 1, image_size, 1)
        width = head.mean.in_features
        self.code = dense((units, width), config.slope) if units else None
        self.joint = dense((2 * width, width), config.slope) if units else None
        self.out = nn.Linear(width, 1)

    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        """The number per image; `ValueError` for images of another shape, or a code that is missing or not asked for."""
        check_images(x, self.channels, self.image_size)
        if (z is None) != (self.code is None):
            raise ValueError("this critic looks at an image and a code" if z is None else "this critic sees no code")
        h = self.top(self.plain(x).flatten(1))
        if z is not None:
            h = self.joint(torch.cat([h, self.code(z).to(h.dtype)], 1))
        with full_precision(h):
            return self.out(h.to(self.out.weight.dtype)).squeeze(1)


def gradient_penalty(critic: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """``E ‖∇_x critic(x)‖² / places``, a scalar whose own gradient reaches the critic; around 0, at the images given.

    It is divided by the number of places of an image, not by its channels.

    Example:
        >>> linear = nn.Sequential(nn.Flatten(), nn.Linear(16, 1, bias=False), nn.Flatten(0))
        >>> x, w = torch.randn(5, 1, 4, 4), linear[1].weight
        >>> torch.allclose(gradient_penalty(linear, x), w.square().sum() / 16)
        True
    """
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return gradient.square().sum(1).mean()
