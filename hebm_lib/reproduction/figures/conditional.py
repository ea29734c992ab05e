"""Page 01: the noise of levels redrawn (Fig. 1), their shares as a picture, the KL of each level over a run, and the bound
of a chain of two levels."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from hebm_lib.exact.targets import LinearChain
from hebm_lib.plotting import BETA, PHI, REFERENCE, draw_images

__all__ = [
    "explore_noise",
    "plot_kl_per_level",
    "plot_linear_chain",
]


# ---- redrawing ------------------------------------------------------------------------------------------------------


@torch.no_grad()
def explore_noise(view, noise: Tensor, donor: Tensor, levels: Sequence[int]) -> Figure:
    """The explorer: samples above, and below them the same with the noise of ``levels`` taken from their donors.

    Args:
        view: a hierarchy seen through its noise, `hebm_lib.baselines.hierarchy.HierarchicalBaseline.noise_view`.
        noise, donor: ``(n, d)``, paired.
        levels: any of 1 … L, or none.
    """
    pair = torch.cat([view.decode(noise), view.decode(view.latents.redraw(noise, tuple(levels), donor))])
    names = ", ".join(rf"\epsilon_{level}" for level in levels)
    what = f"${names}$ redrawn" if levels else "nothing redrawn"
    return draw_images(pair, len(noise), title=f"above: samples; below: {what}", scale=0.75).figure


# ---- numbers as pictures --------------------------------------------------------------------------------------------


def plot_kl_per_level(
    runs: dict[str, Sequence[dict]], *, floors: Sequence[float] = (), top: float | None = None
) -> Figure:
    """The KL of each level over the steps of a training, a panel per run; the darker, the higher the level.

    Args:
        runs: ``{title: rows of the log}`` with ``step`` and ``kl_1`` … ``kl_L``.
        floors: nats that are free in each level; drawn as dashes at the right edge of every panel.
        top: where the vertical axis ends; None leaves it to the data behind the first tenth of the run.
    """
    fig, axes = plt.subplots(1, len(runs), figsize=(max(3.3 * len(runs), 5.2) + 0.4, 2.8), sharey=True, squeeze=False)
    highest = []
    for ax, (title, rows) in zip(axes[0], runs.items(), strict=True):
        steps = [row["step"] for row in rows]
        levels = sum(name.startswith("kl_") for name in rows[-1])
        for level, shade in enumerate(np.linspace(0.25, 1.0, levels), start=1):
            kl = [row[f"kl_{level}"] for row in rows]
            ax.plot(steps, kl, color=PHI, alpha=shade)
            highest.append(max(kl[len(kl) // 10 :]))
        _label_ends(ax, [rows[-1][f"kl_{level}"] for level in range(1, levels + 1)])
        for nats in sorted(set(floors)):
            ax.axhline(nats, color=REFERENCE, linestyle="--", linewidth=1)
        ax.set(title=title, xlabel="step")
    axes[0, 0].set(ylabel="KL per level (nats)", ylim=(0, top or 1.1 * max(highest)))
    return fig


def _label_ends(ax: Axes, values: Sequence[float], gap: float = 0.075) -> None:
    """Name the lines ``z_1 …`` right of their last values, at least ``gap`` of the axis apart."""

    def place():
        low, high = ax.get_ylim()
        spots, last = {}, -np.inf
        for i in np.argsort(values):
            last = max((values[i] - low) / (high - low), last + gap)
            spots[i] = last
        return spots

    texts = [
        ax.text(1.02, 0, f"$z_{i + 1}$", transform=ax.transAxes, va="center", fontsize=9) for i in range(len(values))
    ]

    def move(*_):
        for i, y in place().items():
            texts[i].set_y(y)

    ax.callbacks.connect("ylim_changed", move)
    move()


# ---- a chain whose bound is known -----------------------------------------------------------------------------------


def plot_linear_chain(shares: Sequence[float], bounds: Sequence[float], w: float) -> Figure:
    """Left: who pays the KL, against the top's part of the variance. Right: the bound of the same chains.

    Args:
        shares: values of `LinearChain.t`.
        bounds: the mean bound of each over the same images.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(8, 2.9))
    line = np.linspace(0, 1, 201)
    bottom, top = np.array([LinearChain(t, w).kl() for t in line]).T
    left.stackplot(line, bottom, top, labels=("$z_1$ (bottom)", "$z_2$ (top)"), colors=(PHI, PHI), alpha=1.0)
    for patch, shade in zip(left.collections, (0.35, 0.9), strict=True):
        patch.set_alpha(shade)
    left.set(xlabel="part of the variance from the top", ylabel="KL (nats)", xlim=(0, 1), title="who pays")
    left.legend(loc="lower left", frameon=True)
    right.plot(shares, bounds, "o", color=BETA)
    middle = float(np.mean(bounds))
    right.set(
        xlabel="part of the variance from the top", ylabel="bound (nats)", xlim=(-0.03, 1.03), title="what is paid for"
    )
    right.set_ylim(middle - 1, middle + 1)
    return fig
