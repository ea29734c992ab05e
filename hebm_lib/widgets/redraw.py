"""Page 09: one level redrawn by two ways, from other samples or given the sample's own other levels."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from hebm_lib.metrics.hierarchy import style_variation
from hebm_lib.plotting import ALPHA, REFERENCE, draw_images

__all__ = [
    "draw_redraws",
    "given_the_others",
    "level_ties",
    "plot_forgetting",
    "shape_and_shade",
    "style_spread",
]


def given_the_others(prior, z: Tensor, steps: int, step_size: float, *, generator=None) -> Tensor:
    """Donors for `LatentSpec.redraw` whose every level was drawn given the other levels of ``z``: ``(n, d) -> (n, d)``.

    Row by row, ``redraw(z, i, donors)`` is then ``prior.sample_level(z, i)``. A row as a whole is no sample of the prior.
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
    """
    one, two = ((images.flatten(1) + 1) / 2 for images in (before, after))
    first, second = one > threshold, two > threshold
    either = (first | second).sum(1)
    overlap = torch.where(either > 0, (first & second).sum(1) / either.clamp_min(1), 1.0)
    bright = [(x * inside).sum(1) / inside.sum(1).clamp_min(1) for x, inside in ((one, first), (two, second))]
    return overlap.mean().item(), (bright[0] - bright[1]).abs().mean().item()


@torch.no_grad()
def draw_redraws(model, z: Tensor, ways: dict[str, Tensor], *, scale: float = 0.4) -> Figure:
    """Fig. 4 and 5, once per way: a line of panels each, one per level; in each row of a panel one sample is redrawn.

    Args:
        z: ``(rows, d)`` samples; each stands left of its redraws.
        ways: donors by the name of the way, ``(columns, d)`` for all rows or ``(rows, columns, d)``.
    """
    levels, rows = model.latents.levels, len(z)
    columns = next(iter(ways.values())).shape[-2] + 1
    size = (levels * columns * scale + 0.6, len(ways) * (rows * scale + 0.15) + 0.25)
    fig, axes = plt.subplots(len(ways), levels, figsize=size, squeeze=False)
    for number, (name, donors) in enumerate(ways.items()):
        for level, ax in enumerate(axes[number], start=1):
            codes = torch.cat([z[:, None], model.latents.redraw(z[:, None], level, donors)], 1)
            draw_images(model.decode(codes.flatten(0, 1)), columns, ax=ax)
            place = " (bottom)" if level == 1 else " (top)" if level == levels else ""
            ax.set_title("" if number else f"only $z_{level}$ redrawn{place}")
            ax.axvline(ax.images[0].get_array().shape[1] / columns, color=ALPHA, linewidth=1.5)
        left = axes[number, 0]
        left.text(-0.03, 0.5, name, rotation=90, ha="right", va="center", transform=left.transAxes)
    return fig


def plot_forgetting(steps: Sequence[int], rates: dict[str, Sequence[float]]) -> Figure:
    """The share of samples whose class changes against the number of Langevin steps, a line for each start of the chain."""
    fig, ax = plt.subplots(figsize=(5.2, 2.9))
    for (start, rate), color, style in zip(rates.items(), (REFERENCE, ALPHA), ("--", "-"), strict=True):
        ax.plot(steps, [100 * r for r in rate], style, marker="o", color=color, label=start)
    ax.set_xscale("symlog", linthresh=2)
    ax.set(xticks=steps, xticklabels=steps, xlabel="Langevin steps", ylabel="class changes (%)", ylim=(0, 100))
    ax.minorticks_off()
    ax.legend(loc="lower right")
    return fig
