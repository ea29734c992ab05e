"""Page 02: the latent EBM's two units. Walks along them in the layout of Fig. 2, and posterior chains in the plane."""

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from hebm_lib.baselines.lebm import LatentEBM
from hebm_lib.exact import Grid2D, exact_log_posterior, grid_mean
from hebm_lib.langevin import langevin_dynamics
from hebm_lib.plotting import BETA, PHI, REFERENCE, draw_images, plot_density

__all__ = ["draw_unit_walks", "explore_chain", "name_units"]


@torch.no_grad()
def draw_unit_walks(model: LatentEBM, z: Tensor, values: Tensor, *, scale: float = 0.4) -> Figure:
    """Fig. 2: a panel per unit; each row walks one sample's unit through its values, which stand above the columns.

    Args:
        model: a model with one level.
        z: ``(rows, d)`` samples to start from.
        values: per unit the values of its walk, ``(d, columns)``.
    """
    rows, (units, columns) = len(z), values.shape
    fig, axes = plt.subplots(1, units, figsize=(units * (columns * scale + 0.2), rows * scale + 0.7), squeeze=False)
    for unit, (ax, steps) in enumerate(zip(axes[0], values, strict=True)):
        images = model.decode(model.latents.traverse(z, 1, unit, steps).flatten(0, 1))
        draw_images(images, columns, ax=ax, title=f"unit {unit + 1}")
        ax.axis("on")
        ax.grid(False)
        # The picture's columns are equally wide up to one line of padding.
        width = (np.ptp(ax.get_xlim()) - 1) / columns
        ax.set_xticks([(i + 0.5) * width for i in range(columns)], [f"{round(v, 1) + 0.0:.1f}" for v in steps.tolist()])
        ax.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
        ax.set_yticks([])
        ax.spines[:].set_visible(False)
    return fig


def name_units(*axes) -> None:
    """Write *unit 1* and *unit 2* at the axes of a plane: with one level, z_1 and z_2 would name levels."""
    for ax in axes:
        if ax.get_xlabel():
            ax.set_xlabel("unit 1")
        if ax.get_ylabel():
            ax.set_ylabel("unit 2")


@torch.no_grad()
def explore_chain(
    model: LatentEBM,
    x: Tensor,
    grid: Grid2D,
    steps: int,
    step_size: float,
    *,
    chains: int = 100,
    extent: float | None = None,
    seed: int = 0,
) -> Figure:
    """The explorer: chains of one image on its exact posterior, and what the generator draws along the first of them.

    The title compares the mean squared error at the chains' ends with its mean under the exact posterior.

    Args:
        model: a latent EBM with two units in evaluation mode, in float64 like the grid.
        x: one image ``(1, C, H, W)``.
        steps, step_size: K' and s' of the chains, in place of the model's own.
        chains: how many start from noise; their ends are dots, the first one's path is a line.
        extent: half the side of the square shown; None shows the whole grid.
    """
    x = x.to(grid.z)
    noise = torch.Generator().manual_seed(seed)
    z0 = torch.randn(chains, 2, dtype=grid.z.dtype, generator=noise)
    many = x.expand(chains, *x.shape[1:])
    path = langevin_dynamics(lambda z: model.log_joint(many, z), z0, steps, step_size, generator=noise, trajectory=True)
    log_p = exact_log_posterior(model, x, grid)[0]
    exact = float(grid_mean(log_p, model.sse(x, grid.z), grid))
    reached = float(model.sse(many, path[-1]).mean())

    shown = sorted({round(steps * share) for share in (0, 0.05, 0.15, 0.35, 1)})
    fig = plt.figure(figsize=(8.2, 3.3))
    left, right = fig.subfigures(1, 2, width_ratios=(1, 1.35))
    ax = left.subplots()
    density = log_p.exp().view(grid.points, grid.points)
    plot_density(density, grid.extent, ax=ax, color=REFERENCE)
    ax.plot(*path[-1].t(), ".", color=PHI, markersize=3)
    lines = {"levels": [0.1 * float(density.max()), 0.5 * float(density.max())], "colors": "black", "linewidths": 0.8}
    ax.contour(grid.axis, grid.axis, density, zorder=3, **lines)
    ax.plot(*path[:, 0].t(), "-", color=PHI, linewidth=0.8)
    ax.plot(*path[0, 0], "o", color="white", markeredgecolor="black", markersize=6)
    ax.plot(*path[-1, 0], "o", color=PHI, markeredgecolor="black", markersize=6)
    extent = grid.extent if extent is None else extent
    ax.set(xlim=(-extent, extent), ylim=(-extent, extent))
    name_units(ax)
    panels = np.atleast_1d(right.subplots(1, 1 + len(shown)))
    for panel, image, title in zip(
        panels, torch.cat([x, model.decode(path[shown, 0])]), ["$x$", *(f"step {k}" for k in shown)], strict=True
    ):
        draw_images(image[None], 1, ax=panel)
        panel.set_title(title, fontsize=9, color="black" if title == "$x$" else BETA)
    right.suptitle(f"mean SSE after $K' = {steps}$: {reached:.1f}; exact posterior: {exact:.1f}", y=0.78, fontsize=10)
    return fig
