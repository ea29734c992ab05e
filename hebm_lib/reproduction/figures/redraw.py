"""Page 11: one level redrawn by two ways, from other samples or given the sample's own other levels."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor

from hebm_lib.plotting import ALPHA, REFERENCE, draw_images

__all__ = ["draw_redraws", "plot_forgetting"]


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
