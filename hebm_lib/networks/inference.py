"""The ladder inference network (Eq. 8): which feature each z_i is read from, which is all that it may see. See
`InferenceConfig`.
"""

import math

import torch
from torch import Tensor, nn
from torch.distributions import Independent

from hebm_lib.config import InferenceConfig
from hebm_lib.latents import LatentSpec
from hebm_lib.networks.blocks import Stage, check_images, dense, diagonal_gaussian, full_precision
from hebm_lib.sampling.cpu_speed import lies_channels_last

__all__ = ["GaussianHead", "LadderInference", "LocalHead", "read", "way_to_the_top"]

VARIANCE_FLOOR = 1e-6


class GaussianHead(nn.Module):
    """Two linear maps, of a vector ``(n, width)`` or of a feature map with as many places: mean and log-variance.

    Example:
        >>> [output.shape for output in GaussianHead(16 * 7 * 7, 3)(torch.zeros(2, 16, 7, 7))]
        [torch.Size([2, 3]), torch.Size([2, 3])]
    """

    def __init__(self, width: int, dim: int):
        super().__init__()
        self.mean, self.log_variance = nn.Linear(width, dim), nn.Linear(width, dim)

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        with full_precision(h):
            return self._read(h.to(self.mean.weight.dtype))

    def _read(self, h: Tensor) -> tuple[Tensor, Tensor]:
        if not lies_channels_last(h):
            h = h.flatten(1)
            return self.mean(h), self.log_variance(h)
        # To flatten this map would copy it. The weights are smaller: they are put in the map's order, both maps at once.
        weight = torch.cat([self.mean.weight, self.log_variance.weight]).unflatten(1, h.shape[1:])
        bias = torch.cat([self.mean.bias, self.log_variance.bias])
        flat = nn.functional.linear(h.permute(0, 2, 3, 1).flatten(1), weight.permute(0, 2, 3, 1).flatten(1), bias)
        return flat.tensor_split(2, dim=1)


class LocalHead(nn.Module):
    """The same for a local code: a feature map ``(n, width, s, s)`` gives ``channels`` units at each place, flat.

    Example:
        >>> [output.shape for output in LocalHead(16, channels=2)(torch.zeros(5, 16, 7, 7))]
        [torch.Size([5, 98]), torch.Size([5, 98])]
    """

    def __init__(self, width: int, channels: int):
        super().__init__()
        self.mean, self.log_variance = nn.Conv2d(width, channels, 1), nn.Conv2d(width, channels, 1)

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        with full_precision(h):
            h = h.to(self.mean.weight.dtype)
            return self.mean(h).flatten(1), self.log_variance(h).flatten(1)


def read(feature: Tensor, reads: str) -> Tensor:
    """What a level is shown of its feature ``(n, c, h, w)``: all places, their average, or that of the busy places.

    ``salient`` weighs each place by how far its feature lies from the image's mean feature. The amount of ink cancels:
    a level reads what the strokes are like, not how many there are.

    Example:
        >>> feature = torch.tensor([[[[0.0, 0.0], [0.0, 4.0]]]])
        >>> read(feature, "map").tolist(), read(feature, "pooled").item(), round(read(feature, "salient").item(), 3)
        ([[0.0, 0.0, 0.0, 4.0]], 1.0, 3.0)
    """
    if reads == "map":
        return feature.flatten(1)
    mean = feature.mean(dim=(2, 3))
    if reads == "pooled":
        return mean
    weight = (feature - mean[:, :, None, None]).square().sum(1, keepdim=True)
    return (weight * feature).sum(dim=(2, 3)) / (weight.sum(dim=(2, 3)) + 1e-6)


def way_to_the_top(
    config: InferenceConfig, width: int, factor: int, image_size: int, units: int
) -> tuple[nn.Sequential, nn.Sequential, GaussianHead]:
    """What lies above the last level that is read off a map: stages, linear layers, and the top level's head.

    Args:
        config: places and widths.
        width, factor: of the map that arrives: its channels, and how often its side goes into the image's.
        image_size: side of the image.
        units: how many units the head gives.

    Returns:
        Three modules, to be applied one after the other, the map flattened after the first.

    Example:
        >>> config = InferenceConfig(factors=(2,), widths=(16,), reads=("map",), top_hidden=(32,))
        >>> plain, top, head = way_to_the_top(config, 16, 2, image_size=8, units=3)
        >>> mean, log_variance = head(top(plain(torch.zeros(4, 16, 4, 4)).flatten(1)))
        >>> mean.shape
        torch.Size([4, 3])
    """
    plain = []
    for below, f in zip(config.plain_widths, config.plain_factors, strict=True):
        plain.append(Stage(width, below, int(math.log2(f / factor)), config.slope, config.batch_norm))
        width, factor = below, f
    flat = width * (image_size // factor) ** 2
    top = dense((flat, *config.top_hidden), config.slope, config.batch_norm)
    return nn.Sequential(*plain), top, GaussianHead(config.top_hidden[-1] if config.top_hidden else flat, units)


class LadderInference(nn.Module):
    """``q_φ`` of Eq. 7 and 8: a bottom-up trunk r_1, r_2, …; level i is read by its own branch off the trunk below it.

    Args:
        latents: sizes of z_1 … z_L.
        image_size: side of the image, a multiple of 4.
        channels: 1 (grey) or 3 (colour).
        config: which feature each level is read from, and whether it sees places or only averages.

    Shapes: ``forward(x)`` maps ``(n, channels, image_size, image_size)`` to ``Independent(Normal)`` with batch shape
    ``(n,)`` and event shape ``(d,)``. Raises `ValueError` for images of another shape or type.

    Example:
        >>> config = InferenceConfig(factors=(2,), widths=(16,), reads=("map",), top_hidden=(32,))
        >>> posterior = LadderInference(LatentSpec((2, 3)), 8, 1, config)(torch.zeros(4, 1, 8, 8))
        >>> posterior.batch_shape, posterior.event_shape
        (torch.Size([4]), torch.Size([5]))
    """

    def __init__(self, latents: LatentSpec, image_size: int, channels: int, config: InferenceConfig):
        super().__init__()
        self.latents, self.image_size, self.channels = latents, image_size, channels
        slope, norm = config.slope, config.batch_norm
        self.trunk, self.branches, self.heads = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        width, factor = channels, 1
        for dim, below, f, reads in zip(latents.dims, config.widths, config.factors, config.reads, strict=False):
            halvings = int(math.log2(f / factor))
            self.trunk.append(Stage(width, below, halvings, slope, norm))
            # Each branch has convolutions of its own: a level need not see what the trunk keeps for the levels above.
            self.branches.append(Stage(width, below, halvings, slope, norm))
            self.heads.append(GaussianHead(below if reads != "map" else below * (image_size // f) ** 2, dim))
            width, factor = below, f
        self.reads, self.deviation = config.reads, config.deviation
        self.plain, self.top, head = way_to_the_top(config, width, factor, image_size, latents.dims[-1])
        self.heads.append(head)

    def forward(self, x: Tensor, strength: Tensor | None = None) -> Independent:
        """``q_φ(z|x)``; ``strength``, ``(L,)`` between 0 and 1, dims the feature that each lower level reads."""
        check_images(x, self.channels, self.image_size)
        means, spreads = [], []
        h = x
        for i, (trunk, branch, head, reads) in enumerate(zip(self.trunk, self.branches, self.heads, self.reads)):
            seen = branch(h if strength is None else strength[i] * h)
            mean, spread = head(seen if reads == "map" else read(seen, reads))
            means.append(mean)
            spreads.append(spread)
            h = trunk(h)
        mean, spread = self.heads[-1](self.top(self.plain(h).flatten(1)))
        mean, spread = torch.cat([*means, mean], 1), torch.cat([*spreads, spread], 1)
        precise = torch.promote_types(mean.dtype, torch.float32)  # at least: half precision is too coarse for a KL
        spread = spread.to(precise)
        if self.deviation == "sigmoid":
            scale = spread.sigmoid() + 0.001
        else:
            scale = (spread.exp() + VARIANCE_FLOOR).sqrt()
        return diagonal_gaussian(mean.to(precise), scale)
