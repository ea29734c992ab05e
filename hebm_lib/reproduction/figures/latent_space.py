"""Pages 12 and 13: what each level knows of the class, and prior samples on their way to the aggregate posterior."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor, nn

from hebm_lib.latents import LatentSpec
from hebm_lib.plotting import ALPHA, PHI, REFERENCE
from hebm_lib.reproduction.figures.moving import frames

__all__ = [
    "animate_transition",
    "draw_approach",
    "draw_code_regions",
    "draw_levels_map",
    "draw_priors_over_codes",
    "draw_transition_over_codes",
]

Runs = tuple[Sequence[Sequence[float]], str]
"""Numbers per training seed and level, and a colour."""


# ---- what each level knows ------------------------------------------------------------------------------------------


def draw_levels_map(
    cells: dict[str, dict[str, dict[str, Runs]]],
    *,
    printed: dict[str, dict[str, tuple[Sequence[float], str]]] | None = None,
    chance: float | None = None,
) -> Figure:
    """Test accuracy in percent from level to level: a panel per cell of a map, a thin line per training seed, a thick mean.

    Args:
        cells: ``{row: {column: {label: (accuracies per seed and level, colour)}}}``; a row may lack columns.
        printed: ``{row: {label: (accuracies per level, colour)}}``, published numbers, drawn as diamonds in all its panels.
        chance: a dotted line, as a share.
    """
    columns = list(dict.fromkeys(column for row in cells.values() for column in row))
    figsize = (3.3 * len(columns), 2.35 * len(cells) + 0.5)
    fig, axes = plt.subplots(len(cells), len(columns), figsize=figsize, sharex=True, sharey=True, squeeze=False)
    handles = {}
    for line, (row, panels) in zip(axes, cells.items(), strict=True):
        first = line[columns.index(next(iter(panels)))]
        first.set_ylabel(f"{row}\naccuracy (%)")
        first.tick_params(labelleft=True)
        for ax, column in zip(line, columns, strict=True):
            if column not in panels:
                ax.set_axis_off()
                continue
            for label, (levels, color) in (printed or {}).get(row, {}).items():
                style = {"color": color, "linestyle": ":", "marker": "D", "markerfacecolor": "white", "linewidth": 1.2}
                (handles[label],) = ax.plot(range(len(levels)), 100 * np.array(levels), **style, zorder=2.6)
            for depth, (label, (runs, color)) in enumerate(panels[column].items()):
                values, style = 100 * np.array(runs), {"color": color, "zorder": 2.5 - 0.1 * depth}
                ax.plot(values.T, linewidth=0.9, alpha=0.45, **style)
                # What lies behind is wider: where two means agree, both are seen.
                (handles[label],) = ax.plot(values.mean(0), linewidth=2 + 3 * depth, marker="o", markersize=4, **style)
            if chance is not None:
                ax.axhline(100 * chance, color="black", linestyle=":", linewidth=1)
            ax.set(ylim=(0, 100), xlim=(-0.2, values.shape[1] - 0.8))
            ax.set_xticks(range(values.shape[1]), [f"$z_{i + 1}$" for i in range(values.shape[1])])
    for line, column in zip(axes.T, columns, strict=True):
        line[0].set_title(column)
        lowest = max(i for i, panels in enumerate(cells.values()) if column in panels)
        line[lowest].tick_params(labelbottom=True)
    fig.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles))
    return fig


@torch.no_grad()
def draw_code_regions(
    classifier: nn.Module, codes: Tensor, labels: Tensor, *, ax: Axes, title: str = "", points: int = 200
) -> Axes:
    """Codes of two units as dots in their class's colour, over the regions that a classifier gives to each class.

    Args:
        classifier: takes ``(n, 2)``.
        codes, labels: ``(n, 2)`` and ``(n,)``, at most ten classes.
    """
    colors = plt.get_cmap("tab10").colors
    low, high = codes.min(0).values - 0.3, codes.max(0).values + 0.3
    x, y = (torch.linspace(float(a), float(b), points) for a, b in zip(low, high, strict=True))
    seen = classifier(torch.cartesian_prod(x, y)).argmax(1).view(points, points).T
    extent = (float(low[0]), float(high[0]), float(low[1]), float(high[1]))
    shades = plt.matplotlib.colors.ListedColormap(colors)
    ax.imshow(seen.numpy(), origin="lower", extent=extent, aspect="auto", cmap=shades, vmin=0, vmax=9, alpha=0.3)
    for c in labels.unique().tolist():
        ax.plot(*codes[labels == c].T, ".", color=colors[c], markersize=4, label=str(c))
    ax.set(xlim=extent[:2], ylim=extent[2:], xlabel="first unit", ylabel="second unit", title=title)
    ax.grid(False)
    return ax


# ---- prior samples and posterior codes ------------------------------------------------------------------------------


def _scatter(latents: LatentSpec, level: int, samples: Tensor, codes: Tensor, ax: Axes, frame: Tensor) -> None:
    """Codes of one level (two units) in green, samples in blue on top; ``frame`` are the points that set the limits."""
    columns = latents.columns(level)
    ax.plot(*codes[:, columns].T, ".", color=PHI, markersize=4, alpha=0.45)
    ax.plot(*samples[:, columns].T, ".", color=ALPHA, markersize=2.5)
    points = torch.cat([codes, frame.flatten(0, -2)])[:, columns]
    low, high = points.min(0).values, points.max(0).values
    half = 0.54 * float((high - low).max())
    (x, y) = ((low + high) / 2).tolist()
    ax.set(xlim=(x - half, x + half), ylim=(y - half, y + half), aspect="equal")


def _legend(fig: Figure) -> None:
    marks = [
        Line2D([], [], linestyle="", marker="o", markersize=5, color=color, label=label)
        for color, label in ((ALPHA, "prior samples"), (PHI, "posterior codes"))
    ]
    fig.legend(handles=marks, loc="outside lower center", ncols=2)


def draw_transition_over_codes(
    latents: LatentSpec, trajectory: Tensor, codes: Tensor, steps: Sequence[int], *, width: float = 2.2
) -> Figure:
    """Fig. 7: prior samples (blue) over posterior codes (green); a row per level, top first, a column per step.

    Args:
        latents: two units on every level.
        trajectory: chains ``(K + 1, n, d)``, every step kept.
        codes: ``(m, d)``.
        steps: which steps to show.
    """
    rows = list(range(latents.levels, 0, -1))
    size = (width * len(steps), width * len(rows) + 0.6)
    fig, axes = plt.subplots(len(rows), len(steps), figsize=size, squeeze=False, sharex="row", sharey="row")
    for line, level in zip(axes, rows, strict=True):
        for ax, step in zip(line, steps, strict=True):
            _scatter(latents, level, trajectory[step], codes, ax, trajectory[list(steps)])
        line[0].set_ylabel(f"$z_{level}$")
    for ax, step in zip(axes[0], steps, strict=True):
        ax.set_title(f"step {step:,}")
    _legend(fig)
    return fig


def draw_priors_over_codes(
    latents: LatentSpec, panels: dict[str, tuple[Tensor, Tensor]], *, width: float = 2.4
) -> Figure:
    """Priors of several models, each over its own codes: a row per level, top first, a column per model.

    Args:
        latents: two units on every level, the same in all models.
        panels: title → prior samples ``(n, d)`` and posterior codes ``(m, d)``.
        width: of a panel, inches.
    """
    rows = list(range(latents.levels, 0, -1))
    size = (width * len(panels), width * len(rows) + 0.6)
    fig, axes = plt.subplots(len(rows), len(panels), figsize=size, squeeze=False, sharex="row", sharey="row")
    everything = torch.cat([part for pair in panels.values() for part in pair])
    for line, level in zip(axes, rows, strict=True):
        for ax, (samples, codes) in zip(line, panels.values(), strict=True):
            _scatter(latents, level, samples, codes, ax, everything)
        line[0].set_ylabel(f"$z_{level}$")
    for ax, title in zip(axes[0], panels, strict=True):
        ax.set_title(title)
    _legend(fig)
    return fig


def animate_transition(
    latents: LatentSpec,
    trajectory: Tensor,
    codes: Tensor,
    steps: Sequence[int],
    *,
    alt: str,
) -> str:
    """The same as a film: an explorer with one picture per step (`frames`), levels side by side, top left.

    Args:
        latents, trajectory, codes, steps: as of `draw_transition_over_codes`.
        alt: what the film shows, for readers who do not see it.
    """
    rows = list(range(latents.levels, 0, -1))

    def draw(step: int) -> Figure:
        fig, axes = plt.subplots(1, len(rows), figsize=(2.8 * len(rows), 3.2), squeeze=False)
        for ax, level in zip(axes[0], rows, strict=True):
            _scatter(latents, level, trajectory[step], codes, ax, trajectory[list(steps)])
            ax.set_title(f"$z_{level}$")
        _legend(fig)
        return fig

    return frames(draw, {"step": steps}, alt=alt, play="step")


def draw_approach(
    steps: Sequence[int], distances: dict[str, Sequence[float]], floors: dict[str, float], *, trained: int | None = None
) -> Figure:
    """MMD² to the codes along a chain, one line per level, and below which value codes differ from codes as much.

    Args:
        steps: of the chain, from 0.
        distances: ``{label: per step}``.
        floors: ``{label: the noise floor}``, the same labels.
        trained: K of the training.
    """
    fig, axes = plt.subplots(1, len(distances), figsize=(3.3 * len(distances), 2.8), sharey=True, squeeze=False)
    top = 2 * max(max(values) for values in distances.values())
    for ax, (label, values) in zip(axes[0], distances.items(), strict=True):
        floor = floors[label]
        ax.axhspan(1e-9, floor, color=PHI, alpha=0.15, linewidth=0)
        ax.plot(steps, np.maximum(values, floor / 3), ".-", color=ALPHA, linewidth=1.2)
        ax.axhline(values[0], color=REFERENCE, linestyle=":", linewidth=1.2)
        if trained is not None:
            ax.axvline(trained, color=REFERENCE, linestyle="--", linewidth=1)
        ax.set_xscale("symlog", linthresh=1)
        ax.set(yscale="log", title=label, xlabel="Langevin step", xlim=(0, steps[-1]))
        ax.set_ylim(min(floors.values()) / 4, top)
    axes[0, 0].set_ylabel("MMD² to the codes")
    return fig
