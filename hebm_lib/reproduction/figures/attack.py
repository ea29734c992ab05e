"""Page 15: attacked images in the layout of Fig. 9, and curves of a sweep over C."""

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from hebm_lib.metrics.attack import Attack
from hebm_lib.plotting import PHI, REFERENCE, draw_images

__all__ = ["COLUMNS", "attack_rows", "draw_attacks", "draw_sweep", "explore_attack", "plot_sweep"]

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
def draw_sweep(
    model, attacks: dict[str, Attack], pair: int, weights: tuple[float, ...], *, scale: float = 0.55
) -> Figure:
    """One pair under every C: the attacked images and, below them, their reconstructions; a panel per attack."""
    size = (len(weights) * scale + 0.2, len(attacks) * (2 * scale + 0.55))
    fig, axes = plt.subplots(len(attacks), 1, figsize=size)
    for ax, (title, attack) in zip(np.atleast_1d(axes), attacks.items(), strict=True):
        images = attack.images[:, pair]
        draw_images(torch.cat([images, model.reconstruct(images)]), len(images), ax=ax, title=title)
        side = images.shape[-1] + 1
        for i, weight in enumerate(weights):
            ax.text((i + 0.5) * side, 2 * side + 2, f"{weight:.4g}", fontsize=7, ha="center", va="top")
    return fig


@torch.no_grad()
def explore_attack(model, x: Tensor, target: Tensor, attack: Attack, pair: int, row: int) -> Figure:
    """The explorer: one pair under the attack with the C of one row, in Fig. 9's columns, and what the change cost."""
    images = attack_rows(model, x[pair : pair + 1], target[pair : pair + 1], attack.images[row, pair : pair + 1])
    share = float(attack.distortion[row, pair] / (target[pair] - x[pair]).norm())
    title = f"changed by {share:.0%} of the way; KL left {float(attack.divergence[row, pair]):.2g} nats"
    return draw_images(images, len(COLUMNS), title=title, scale=1.1).figure


def plot_sweep(reports: dict[str, dict[str, dict]], *, end: float = 1.0) -> Figure:
    """What an attack gains for what it changes, a point per C, means over pairs; a shade per level, z_1 the lightest.

    Args:
        reports: per model, per level, lists over C named ``distortion``, ``distance`` and ``changed``. The first model is
            drawn with full lines, the others dashed.
        end: where the axis of the distortion ends.
    """
    fig, axes = plt.subplots(1, 2, figsize=(8.4, 3.1))
    titles = {"distance": "distance of the rebuilt image from the target", "changed": "rebuilt as another digit"}
    for number, (label, levels) in enumerate(reports.items()):
        shades = np.linspace(0.35, 1.0, len(levels))
        for (level, report), shade in zip(levels.items(), shades, strict=True):
            for ax, name in zip(axes, titles, strict=True):
                color = PHI if number == 0 else REFERENCE
                style = "o-" if number == 0 else "o--"
                x, y = report["distortion"], report[name]
                ax.plot(x, y, style, color=color, alpha=shade, ms=3, lw=1.5, label=f"$z_{level}$, {label}")
    for ax, title in zip(axes, titles.values(), strict=True):
        ax.set(title=title, xlabel=r"distortion $\|d\|\ /\ \|x - x_t\|$", xlim=(0, end), ylim=(0, 1.05))
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig
