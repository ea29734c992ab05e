"""BIVA: every level below the top has two codes, one inferred on the way up and one on the way down.

Model and bound::

    z_i = (z_i^BU, z_i^TD) for i < L,   one z_L
    p(x, z) = p(x|z) p(z_L) Π_{i<L} p(z_i^BU | z_{>i}) p(z_i^TD | z_{>i})
    q(z|x) = Π_{i<L} q(z_i^BU | z_{<i}^BU, x) · q(z_L | z_{<L}^BU, x) · Π_{i<L} q(z_i^TD | z_{>i}, z^BU, x)
    log p(x) ≥ E_q [ log p(x|z) - Σ_i (log q(z_i) - log p(z_i | z_{>i})) ],   2L - 1 groups of units

The way up draws z^BU and z_L, each code joining the features that go on (skip connections). The way down, which is the
generator's own, carries everything drawn above; q(z_i^TD) is read off the feature of the way up merged with it.

Source: Maaløe, Fraccaro, Liévin and Winther (2019), and vlievin/biva-pytorch. As there the KL terms are ``log q - log p``
at the draw and each group has free bits (2 nats), spread evenly over its units.

``latent_dims`` counts both codes of a level: half of a lower level's units are BU, in its first columns, half TD.

What differs from the published MNIST settings (entry ``published-biva``: 6 levels with groups of 48, 40, 32, 24, 16 and 8
units, 64 channels, 500 epochs, batch 48): one pair of convolutions per level instead of three weight-normed residual
blocks; one trunk going up instead of a stochastic and a deterministic one; 3×3 kernels throughout; Adam at 2e-3 instead of
Adamax; no averaging of the weights, no dropout, no initialisation by data; leaky ReLU instead of ELU; free bits are a floor
under the batch's mean per unit instead of under each image's; deviations have a floor of 0.05. The entry ``mnist-biva`` has
Gaussian pixels, the joint EBM's widths, batch norm, a warm-up of two epochs, stride 2 at levels 1 and 2, and ten groups of
2 units under a top of 8: a bottom that could carry everything would, at this length of training.
"""

import torch
from torch import Tensor, nn

from hebm_lib.baselines.common import gaussian_log_prob, no_energy
from hebm_lib.baselines.conditional_prior import ConditionalPrior, positive
from hebm_lib.baselines.hierarchy import BottomUp, HierarchicalBaseline, Source
from hebm_lib.config import ModelConfig
from hebm_lib.latents import LatentSpec
from hebm_lib.model import Draw, register
from hebm_lib.networks import GaussianHead, LadderGenerator

__all__ = ["BIVA"]


def bottom_up_sizes(latents: LatentSpec) -> tuple[int, ...]:
    """Units drawn on the way up per level: half of each lower level, all of the top.

    Raises:
        ValueError: where a lower level has an odd number of units.
    """
    if any(dim % 2 for dim in latents.dims[:-1]):
        raise ValueError(f"BIVA halves every level below the top, so these must be even, got {latents.dims}")
    return tuple(dim // 2 for dim in latents.dims[:-1]) + latents.dims[-1:]


class Merge(nn.Module):
    """``q(z_i^TD | …)``: the features of the way up and of the way down, merged place by place."""

    def __init__(self, width_up: int, width_down: int, side: int, units: int, slope: float):
        super().__init__()
        self.conv, self.act = nn.Conv2d(width_up + width_down, width_up, 1), nn.LeakyReLU(slope)
        self.head = GaussianHead(width_up * side**2, units)

    def forward(self, up: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
        h = self.act(self.conv(torch.cat([up, self.act(down)], 1)))
        return positive(self.head(h.flatten(1)))


class BIVA(HierarchicalBaseline):
    """Bidirectional inference; see the module's docstring. Its `BottomUp` holds one `Merge` per lower level, ``merges``.

    Example:
        >>> from hebm_lib import load_pretrained
        >>> model = load_pretrained("mnist-biva")
        >>> len(model.latents.dims), len(model.free_share.unique()), model.elbo(torch.zeros(1, 1, 28, 28)).kl.shape
        (6, 2, torch.Size([1, 6]))
    """

    def walk(self, x: Tensor, source: Source) -> Draw:
        """Up for z^BU and z_L, then down for z^TD, with the prior of every level on the way."""
        drawn: list[list[tuple[Tensor, ...]]] = [
            [] for _ in self.latents.dims
        ]  # per level: (z, mean, scale) of each group

        def choose_up(level: int, mean: Tensor, scale: Tensor) -> Tensor:
            z = source.code(level, mean, scale)
            drawn[level - 1].append((z, mean, scale))
            return z

        features = self.inference.ascend(x, choose_up)
        log_p: list[Tensor] = [x] * self.latents.levels

        def choose_down(level: int, feature: Tensor | None) -> Tensor:
            groups = drawn[level - 1]
            if feature is not None:
                mean, scale = self.inference.merges[level - 1](features[level - 1], feature)
                groups.append((source.code(level, mean, scale, first=mean.shape[1]), mean, scale))
            z = torch.cat([group[0] for group in groups], 1)
            log_p[level - 1] = gaussian_log_prob(z, *self.prior.conditional(level, feature, z))
            return z

        image = self.generator.descend(choose_down)
        columns = zip(*(group for level in drawn for group in level), strict=True)
        z, mean, scale = (torch.cat(groups, 1) for groups in columns)
        return Draw(z, image, mean, scale, gaussian_log_prob(z, mean, scale) - self.latents.join(log_p))


@register("biva")
def build_biva(config: ModelConfig) -> BIVA:
    """Raises `ValueError` for odd lower levels, and where the two ways do not meet at the same places."""
    latents = LatentSpec(no_energy(config).latent_dims)
    size, up, down = config.image_size, config.inference, config.generator
    if up.factors != down.factors or down.local_levels:
        raise ValueError(
            "BIVA merges both ways at each level: generator.factors and inference.factors must be equal and no level "
            f"local, got {down.factors} and {up.factors}, local {down.local_levels}"
        )
    sizes = bottom_up_sizes(latents)
    generator = LadderGenerator(latents, size, config.image_channels, down)
    inference = BottomUp(latents, size, config.image_channels, up, sizes, True, generator.local)
    inference.merges = nn.ModuleList(
        Merge(a, b, size // f, units, up.slope)
        for a, b, f, units in zip(up.widths, down.widths, up.factors, sizes, strict=False)
    )
    groups = [units for units in sizes[:-1] for _ in range(2)] + [sizes[-1]]
    return BIVA(generator, inference, ConditionalPrior(generator), config.sigma, config.baseline, groups)
