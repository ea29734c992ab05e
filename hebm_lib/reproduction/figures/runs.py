"""Pages 09 and 10: walks along a unit, the plane of two units, one level moved by itself, diagnostics of a run."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from torch import Tensor

from hebm_lib.metrics.classifier import predict
from hebm_lib.metrics.pixels import decoded
from hebm_lib.plotting import ALPHA, BETA, REFERENCE, draw_images, image_grid

__all__ = [
    "CLASS_COLORS",
    "class_legend",
    "curve_rows",
    "draw_atlas",
    "draw_level_paths",
    "draw_plane",
    "draw_progress",
    "draw_transition",
    "draw_walks",
    "explore_latent",
    "explore_level",
    "plane_box",
    "plot_diagnostics",
    "read_plane",
]


CLASS_COLORS = ("#E69F00", "#56B4E9", "#CC79A7")
"""Orange, light blue and purple for the classes 0, 1 and 2; none of them is a network's colour."""
OTHER = "#d9d9d9"

Box = tuple[float, float, float, float]
"""A part of the plane: smallest and largest z_1, smallest and largest z_2."""


# ---- walks along a unit ---------------------------------------------------------------------------------------------


@torch.no_grad()
def draw_walks(models: dict, z: dict, values: dict, *, scale: float = 0.36) -> Figure:
    """Fig. 6 for several models: a row of panels each, one panel per level; all dicts have the same keys.

    Args:
        models: models with one unit per level.
        z: per model the samples ``(rows, d)`` to start from.
        values: per model the values of each level's walk, ``(L, columns)``.
    """
    levels, columns = values[next(iter(models))].shape
    rows = len(z[next(iter(models))])
    size = (levels * columns * scale + 0.3, len(models) * (rows * scale + 0.35))
    fig, axes = plt.subplots(len(models), levels, figsize=size, squeeze=False)
    for line, (name, model) in zip(axes, models.items(), strict=True):
        for level, (ax, steps) in enumerate(zip(line, values[name], strict=True), start=1):
            walks = model.latents.traverse(z[name], level, 0, steps).flatten(0, 1)
            title = f"{name}: $z_{level}$ from {steps[0]:.1f} to {steps[-1]:.1f}"
            draw_images(model.decode(walks), columns, ax=ax, title=title)
    return fig


@torch.no_grad()
def draw_progress(models: dict, x: Tensor, z: dict, values: dict, *, scale: float = 0.33) -> Figure:
    """One run at several moments, a row each: reconstructions, prior samples, and a walk along each level.

    Args:
        models: snapshots of a model with one unit per level; the key is written beside the row.
        x: images ``(columns, C, H, W)``, drawn above their reconstructions.
        z: per snapshot prior samples, at least ``(2 columns, d)``.
        values: per snapshot the values of each level's walk, ``(L, columns)``; the first two samples walk.
    """
    columns = len(x)
    levels = next(iter(models.values())).latents.levels
    size = ((2 + levels) * columns * scale + 0.5, len(models) * (2 * scale + 0.1) + 0.3)
    fig, axes = plt.subplots(len(models), 2 + levels, figsize=size, squeeze=False)
    titles = ["images, reconstructions", "prior samples", *(f"walks along $z_{i + 1}$" for i in range(levels))]
    for number, (name, model) in enumerate(models.items()):
        panels = [torch.cat([x, model.reconstruct(x)]), model.decode(z[name][: 2 * columns])]
        for level, steps in enumerate(values[name], start=1):
            panels.append(model.decode(model.latents.traverse(z[name][:2], level, 0, steps).flatten(0, 1)))
        for ax, panel, title in zip(axes[number], panels, titles, strict=True):
            ax.imshow(image_grid(panel, columns), cmap="gray", vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[], title=title if number == 0 else "")
            ax.grid(False)
        axes[number, 0].set_ylabel(name)
    return fig


# ---- the plane of two units -----------------------------------------------------------------------------------------


def plane_box(samples: Tensor, margin: float = 0.15) -> Box:
    """The part of the plane that shows samples ``(n, 2)``: their middle 99 % along each axis, and a margin around."""
    low, high = torch.quantile(samples.float(), torch.tensor([0.005, 0.995]), dim=0)
    low, high = low - margin * (high - low), high + margin * (high - low)
    return float(low[0]), float(high[0]), float(low[1]), float(high[1])


def _places(box: Box, points: int) -> Tensor:
    """``(points², 2)``: a grid over the box, row by row from the smallest z_2 up."""
    first, second = torch.linspace(box[0], box[1], points), torch.linspace(box[2], box[3], points)
    return torch.stack(torch.meshgrid(first, second, indexing="xy"), -1).flatten(0, 1)


@torch.no_grad()
def read_plane(model, classifier, box: Box, points: int = 61) -> Tensor:
    """Which class the generator draws at each place of the plane of two units: ``(points, points)``, z_2 along rows."""
    images = decoded(model, _places(box, points))
    return predict(classifier, images).view(points, points)


def draw_plane(classes: Tensor, box: Box, *, ax: Axes, samples=None, at=None, title: str = "") -> Axes:
    """The plane of z_1 and z_2 in the colours of the classes 0, 1, 2 (grey: another), prior samples as dots.

    Args:
        classes: what `read_plane` returns for the same box.
        samples: ``(n, 2)``.
        at: a place to mark, two numbers.
    """
    picture, palette = classes.clamp(max=3).cpu().numpy(), ListedColormap([*CLASS_COLORS, OTHER])
    ax.imshow(picture, origin="lower", extent=box, cmap=palette, vmin=-0.5, vmax=3.5, alpha=0.75, aspect="auto")
    if samples is not None:
        ax.plot(samples[:, 0], samples[:, 1], ".", color="black", markersize=2)
    if at is not None:
        ax.plot(*at, "o", markersize=9, markerfacecolor="white", markeredgecolor="black", markeredgewidth=1.5)
    ax.set(xlim=box[:2], ylim=box[2:], xlabel="$z_1$", ylabel="$z_2$", title=title, box_aspect=1)
    ax.grid(False)
    return ax


@torch.no_grad()
def draw_atlas(model, box: Box, *, ax: Axes, points: int = 11, title: str = "") -> Axes:
    """What the generator draws all over the same plane: ``points × points`` images, each at its own place."""
    images = model.decode(_places(box, points)).unflatten(0, (points, points)).flip(0).flatten(0, 1)
    # A grid's outermost images are centred on the edge of the box: half a step more on each side.
    half = [(box[1] - box[0]) / (points - 1) / 2, (box[3] - box[2]) / (points - 1) / 2]
    extent = (box[0] - half[0], box[1] + half[0], box[2] - half[1], box[3] + half[1])
    ax.imshow(image_grid(images, points), cmap="gray", vmin=0, vmax=1, extent=extent, aspect="auto")
    ax.set(xlabel="$z_1$", ylabel="$z_2$", title=title, box_aspect=1)
    ax.grid(False)
    return ax


def class_legend(fig: Figure, *, other: bool = True) -> None:
    """Name the colours of `draw_plane` below a figure; without the fourth colour where every image reads 0, 1 or 2."""
    names = {"reads 0": CLASS_COLORS[0], "reads 1": CLASS_COLORS[1], "reads 2": CLASS_COLORS[2]}
    names |= {"another": OTHER} if other else {}
    marks = [
        plt.Line2D([], [], marker="s", linestyle="", color=color, markersize=8, label=label)
        for label, color in names.items()
    ]
    fig.legend(handles=marks, loc="outside lower center", ncols=4)


@torch.no_grad()
def explore_latent(model, classes: Tensor, box: Box, z: Sequence[float], *, samples=None) -> Figure:
    """The explorer: where a code of two units stands on the plane of `read_plane`, and what the generator draws there."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(6.2, 3.1))
    draw_plane(classes, box, ax=left, samples=samples, at=z)
    draw_images(model.decode(torch.tensor([list(z)])), 1, ax=right, title=f"$g_\\beta({z[0]:.1f},\\ {z[1]:.1f})$")
    return fig


@torch.no_grad()
def draw_transition(model, trajectory: Tensor, labels: Tensor, steps: Sequence[int]) -> Figure:
    """Fig. 7: chains with two units per level, a row per level (top first), a column per step; below, their images.

    Args:
        trajectory: ``(K + 1, n, d)``.
        labels: ``(n,)``, the class that each chain is drawn in.
        steps: which steps to show.
    """
    latents, side = model.latents, 6
    size = (2.1 * len(steps), 2.1 * (latents.levels + 1) + 0.4)
    fig, axes = plt.subplots(latents.levels + 1, len(steps), figsize=size, squeeze=False)
    for row, level in enumerate(range(latents.levels, 0, -1)):
        codes = trajectory[..., latents.columns(level)]
        bound = 1.05 * float(codes[list(steps)].abs().max())
        for ax, step in zip(axes[row], steps, strict=True):
            for c, color in enumerate(CLASS_COLORS):
                ax.plot(*codes[step][labels == c].T, ".", color=color, markersize=2.5)
            ax.set(xlim=(-bound, bound), ylim=(-bound, bound), aspect="equal")
            if ax is not axes[row, 0]:
                ax.set_yticklabels([])
        axes[row, 0].set_ylabel(f"$z_{level}$")
    for ax, head, step in zip(axes[-1], axes[0], steps, strict=True):
        draw_images(model.decode(trajectory[step, : side**2]), side, ax=ax)
        head.set_title(f"step {step}")
    class_legend(fig, other=False)
    return fig


# ---- one level by itself --------------------------------------------------------------------------------------------


def _part_way(model, z: Tensor, donor: Tensor, level: int, share: float) -> Tensor:
    """``z`` with one level moved by ``share`` of the way to the same level of ``donor``."""
    return z + share * (model.latents.redraw(z, level, donor) - z)


@torch.no_grad()
def draw_level_paths(model, z: Tensor, donor: Tensor, shares: Sequence[float], *, scale: float = 0.42) -> Figure:
    """One panel per level: each row moves that level alone from a sample to another one's, in ``shares`` of the way.

    Args:
        z, donor: ``(rows, d)`` prior samples, paired.
        shares: from 0 (the sample) to 1 (the level of its donor).
    """
    levels, columns = model.latents.levels, len(shares)
    fig, axes = plt.subplots(1, levels, figsize=(levels * columns * scale + 0.3, len(z) * scale + 0.35), squeeze=False)
    for level, ax in enumerate(axes[0], start=1):
        codes = torch.stack([_part_way(model, z, donor, level, share) for share in shares], 1)
        place = " (bottom)" if level == 1 else " (top)" if level == levels else ""
        draw_images(model.decode(codes.flatten(0, 1)), columns, ax=ax, title=f"only $z_{level}$ moves{place}")
    return fig


@torch.no_grad()
def explore_level(model, z: Tensor, donor: Tensor, level: int, share: float) -> Figure:
    """The explorer: samples above, and below them the same with one level moved by ``share`` towards their donors."""
    pair = torch.cat([model.decode(z), model.decode(_part_way(model, z, donor, level, share))])
    title = f"above: samples; below: $z_{level}$ moved by {share:.0%}"
    return draw_images(pair, len(z), title=title, scale=0.75).figure


# ---- curves ---------------------------------------------------------------------------------------------------------


def curve_rows(curves: dict[str, list]) -> list[dict]:
    """The columns of a published run (``result["curves"]``) as the rows that a trainer logs; what is None is left out."""
    rows = [dict(zip(curves, values, strict=True)) for values in zip(*curves.values(), strict=True)]
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def plot_diagnostics(history: Sequence[dict]) -> Figure:
    """What to watch in a long run: f on codes minus f on prior samples, and the gradient norms of both updates.

    The first tenth of the run is left out of the difference, whose start would hide the rest.

    Args:
        history: rows as a trainer logs them; a term that a row lacks is a gap in its line.
    """

    def column(name: str) -> list[float]:
        return [row.get(name, np.nan) for row in history]

    steps, start = column("step"), len(history) // 10
    fig, (left, right) = plt.subplots(1, 2, figsize=(8.4, 2.8))
    left.axhline(0, color=REFERENCE, linewidth=1)
    left.plot(steps[start:], column("f_difference")[start:], color=ALPHA)
    left.set(xlabel="step", title="f posterior − f prior")
    right.plot(steps, column("grad_norm_beta_phi"), color=BETA, label=r"$\beta, \phi$")
    right.plot(steps, column("grad_norm_alpha"), color=ALPHA, label=r"$\alpha$")
    right.set(xlabel="step", title="gradient norm", yscale="log")
    right.legend()
    return fig
