"""One level redrawn in two ways, as numbers: how far the levels are tied, and what a redraw changes."""

import numpy as np
import torch
from torch import Tensor

from hebm_lib.metrics.hierarchy import style_variation

__all__ = ["given_the_others", "level_ties", "shape_and_shade", "style_spread"]


def given_the_others(prior, z: Tensor, steps: int, step_size: float, *, generator=None) -> Tensor:
    """Donors for `LatentSpec.redraw` whose every level was drawn given the other levels of ``z``: ``(n, d) -> (n, d)``.

    Row by row, ``redraw(z, i, donors)`` is then ``prior.sample_level(z, i)``. A row as a whole is no sample of the prior.

    Example:
        >>> from hebm_lib.latents import LatentSpec
        >>> from hebm_lib.prior import GaussianPrior
        >>> given_the_others(GaussianPrior(LatentSpec((1, 2))), torch.zeros(4, 3), 0, 0.4).shape
        torch.Size([4, 3])
    """
    donors = z.clone()
    for level in range(1, prior.latents.levels + 1):
        drawn = prior.sample_level(z, level, steps, step_size, generator=generator)
        donors = prior.latents.redraw(donors, level, drawn)
    return donors


@torch.no_grad()
def level_ties(prior, z: Tensor, donors: Tensor) -> Tensor:
    """By how much f falls when two samples swap one level: half of ``f(z) + f(z')`` minus the same after the swap.

    Whatever f says of a level by itself cancels in every pair. With independent samples of p_α the mean over pairs
    estimates ``KL(p ‖ q) + KL(q ‖ p)`` in nats, with ``q = p(z_i) p(z_1 … z_L without z_i)``.

    Args:
        z, donors: two independent sets of samples, each ``(n, d)``.

    Returns:
        ``(L, n)``, z_1 first.

    Example:
        >>> from hebm_lib.latents import LatentSpec
        >>> from hebm_lib.prior import JointEBMPrior
        >>> prior = JointEBMPrior(LatentSpec((1, 2)), hidden=(8,), separate=True).eval()  # nothing ties its levels
        >>> level_ties(prior, torch.randn(4, 3), torch.randn(4, 3)).abs().max().item() < 1e-5
        True
    """
    latents, together = prior.latents, prior(z) + prior(donors)
    swapped = [
        prior(latents.redraw(z, level, donors)) + prior(latents.redraw(donors, level, z))
        for level in range(1, latents.levels + 1)
    ]
    return (together - torch.stack(swapped)) / 2


def style_spread(model, z: Tensor, donors: Tensor) -> dict[str, list[float]]:
    """`style_variation` where every sample has donors of its own.

    Args:
        z: ``(n, d)``.
        donors: ``(n, m, d)``.

    Returns:
        ``{"stroke_width": [σ_1 … σ_L], "slant": […]}``.

    Example:
        >>> from hebm_lib import load_pretrained
        >>> spread = style_spread(load_pretrained("digits"), torch.randn(2, 10), torch.randn(2, 5, 10))
        >>> [(name, len(values)) for name, values in spread.items()]
        [('stroke_width', 2), ('slant', 2)]
    """
    each = [style_variation(model, one[None], own) for one, own in zip(z, donors, strict=True)]
    return {name: np.mean([spread[name] for spread in each], axis=0).tolist() for name in each[0]}


def shape_and_shade(before: Tensor, after: Tensor, threshold: float = 0.2) -> tuple[float, float]:
    """What changes between images of clothes, without a classifier: their silhouette, or how bright they are.

    Args:
        before, after: ``(n, 1, S, S)`` in [-1, 1], paired.
        threshold: brightness in [0, 1] above which a pixel belongs to the silhouette.

    Returns:
        Mean overlap of the silhouettes (pixels in both over pixels in either; 1 for two empty images), and mean absolute
        change of the brightness inside them, in [0, 1].

    Example:
        >>> white, grey = torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
        >>> shape_and_shade(white, grey)  # the same silhouette, half as bright
        (1.0, 0.5)
    """
    one, two = ((images.flatten(1) + 1) / 2 for images in (before, after))
    first, second = one > threshold, two > threshold
    either = (first | second).sum(1)
    overlap = torch.where(either > 0, (first & second).sum(1) / either.clamp_min(1), 1.0)
    bright = [(x * inside).sum(1) / inside.sum(1).clamp_min(1) for x, inside in ((one, first), (two, second))]
    return overlap.mean().item(), (bright[0] - bright[1]).abs().mean().item()
