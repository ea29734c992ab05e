"""Page 15: attacked images in the layout of Fig. 9, and how often an attack succeeds."""

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from hebm_lib.metrics.attack import Attack
from hebm_lib.plotting import PHI, REFERENCE, draw_images

__all__ = ["COLUMNS", "attack_rows", "draw_attacks", "explore_attack", "plot_success"]

COLUMNS = ("original", "target", "attacked", "rebuilt")
"""Fig. 9's four columns."""


@torch.no_grad()
def attack_rows(model, x: Tensor, target: Tensor, attacked: Tensor) -> Tensor:
    """Originals, targets, attacked images ``(n, C, H, W)`` and the latter's reconstructions, row by row: ``(4 n, C, H, W)``."""
    return torch.stack([x, target, attacked, model.reconstruct(attacked)], 1).flatten(0, 1)


def draw_attacks(panels: list[list[tuple[str, Tensor]]], *, scale: float = 0.5) -> Figure:
    """Panels of `attack_rows` with their titles: a row of panels per model, one panel per attacked level."""
    rows = len(panels[0][0][1]) // len(COLUMNS)
    width, height = len(COLUMNS) * scale + 0.25, rows * scale + 0.5
    size = (len(panels[0]) * width, len(panels) * height)
    fig, axes = plt.subplots(len(panels), len(panels[0]), figsize=size, squeeze=False)
    for line, row in zip(np.asarray(axes), panels, strict=True):
        for ax, (title, images) in zip(line, row, strict=True):
            draw_images(images, len(COLUMNS), ax=ax)
            ax.set_title(title, pad=13)
            side = images.shape[-1] + 1
            for i, name in enumerate(COLUMNS):
                ax.text((i + 0.5) * side, -1, name, fontsize=7, ha="center", va="bottom")
    return fig


@torch.no_grad()
def explore_attack(model, x: Tensor, target: Tensor, attack: Attack, pair: int, row: int) -> Figure:
    """The explorer: one pair under the attack of one row, in Fig. 9's columns, and what the change cost."""
    images = attack_rows(model, x[pair : pair + 1], target[pair : pair + 1], attack.images[row, pair : pair + 1])
    share = float(attack.distortion[row, pair] / (target[pair] - x[pair]).norm())
    title = f"changed by {share:.0%} of the way; KL left {float(attack.divergence[row, pair]):.2g} nats"
    return draw_images(images, len(COLUMNS), title=title, scale=1.1).figure


def plot_success(models: dict[str, list[dict]]) -> Figure:
    """How often another digit is rebuilt, a panel per attacked level: a line per model and training seed.

    Args:
        models: label → per seed its ``levels`` as the study has them: ``{"1": {"budgets": {"0.1": {"changed": …}}}}``. The
            first model is drawn with full lines, the others dashed; dotted, a random change of the same length.
    """
    levels = list(next(iter(models.values()))[0])
    fig, axes = plt.subplots(1, len(levels), figsize=(8.4, 2.8), sharey=True, squeeze=False)
    for ax, level in zip(axes[0], levels, strict=True):
        for number, (label, seeds) in enumerate(models.items()):
            color, style = (PHI, "o-") if number == 0 else (REFERENCE, "s--")
            for seed, found in enumerate(seeds):
                budgets = found[level]["budgets"]
                x = [0.0, *map(float, budgets)]
                for key, how, alpha in (("changed", style, 1.0), ("noise", ":", 0.7)):
                    name = {"changed": label, "noise": f"{label}, random change"}[key] if seed == 0 else None
                    shares = [0.0, *(at[key] for at in budgets.values())]
                    ax.plot(x, shares, how, color=color, alpha=alpha, ms=4, lw=1.4, label=name)
        ax.set(title=f"$z_{level}$ attacked", xlabel=r"budget $\|d\|\ /\ \|x - x_t\|$", ylim=(-0.02, 1))
    axes[0, 0].set_ylabel("rebuilt as another digit")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return fig
