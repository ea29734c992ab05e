"""The book's figures: one style, one colour per network, the paper's layouts."""

from collections.abc import Sequence
from importlib import resources

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from hebm_lib.exact import Grid2D

__all__ = [
    "ALPHA",
    "BETA",
    "DATA",
    "PHI",
    "REFERENCE",
    "draw_images",
    "image_grid",
    "plot_conditionals",
    "plot_curves",
    "plot_densities",
    "plot_density",
    "plot_energy_profile",
    "plot_redraws",
    "plot_traversals",
    "use_style",
]

ALPHA = "#0072B2"
"""Blue: everything of the energy f_α and its prior."""
BETA = "#D55E00"
"""Vermillion: everything of the generator g_β."""
PHI = "#009E73"
"""Green: everything of the inference network q_φ, posterior codes among them."""
REFERENCE = "#7F7F7F"
"""Grey: the Gaussian reference p_0 and exact answers."""
DATA = "#000000"


def use_style() -> None:
    """Set matplotlib to the book's style sheet."""
    plt.style.use(str(resources.files("hebm_lib") / "hebm.mplstyle"))


# ---- images ---------------------------------------------------------------------------------------------------------


def image_grid(images: Tensor, columns: int, pad: int = 1) -> np.ndarray:
    """Images ``(n, C, H, W)`` in [-1, 1] as one picture ``(H', W')`` or ``(H', W', 3)`` in [0, 1], row by row."""
    from torchvision.utils import make_grid

    grid = make_grid((images.detach().cpu().float().clamp(-1, 1) + 1) / 2, nrow=columns, padding=pad, pad_value=0.35)
    grid = grid.permute(1, 2, 0).numpy()
    return grid[..., 0] if images.shape[1] == 1 else grid


def draw_images(images: Tensor, columns: int, *, ax: Axes | None = None, title: str = "", scale: float = 0.5) -> Axes:
    """Draw a grid of images; without ``ax`` on a figure whose size fits, ``scale`` inches per image."""
    if ax is None:
        rows = -(-len(images) // columns)
        wide = max(columns * scale, 0.08 * len(title))  # a title is not wider than its picture
        _, ax = plt.subplots(figsize=(wide, rows * scale + (0.3 if title else 0)))
    ax.imshow(image_grid(images, columns), cmap="gray", vmin=0, vmax=1)
    ax.set_title(title)
    ax.axis("off")
    return ax


@torch.no_grad()
def plot_redraws(
    model,
    z: Tensor,
    donors: Tensor,
    groups: Sequence[tuple[int, ...]] | None = None,
    *,
    symbol: str = "z",
    scale: float = 0.42,
) -> Figure:
    """Fig. 1, 4 and 5: a panel per group of levels; in each row one sample, with only these levels taken from other samples.

    Args:
        model: a model, or a hierarchy seen through its noise (`HierarchicalBaseline.noise_view`).
        z: ``(rows, d)`` samples to start from.
        donors: ``(columns, d)`` samples that lend their levels.
        groups: levels that are redrawn together, bottom first; None redraws each by itself.
        symbol: what is redrawn, in mathematical type: codes, or their noise ``\\epsilon``.
    """
    groups = groups or [(level,) for level in range(1, model.latents.levels + 1)]
    rows, columns = len(z), len(donors)
    fig, axes = plt.subplots(1, len(groups), figsize=(len(groups) * columns * scale + 0.3, rows * scale + 0.35))
    for i, (levels, ax) in enumerate(zip(groups, np.atleast_1d(axes), strict=True)):
        images = model.decode(model.latents.redraw(z[:, None], levels, donors[None]).flatten(0, 1))
        names = ", ".join(f"{symbol}_{level}" for level in levels)
        place = " (bottom)" if i == 0 else " (top)" if i == len(groups) - 1 else ""
        draw_images(images, columns, ax=ax, title=f"only ${names}$ redrawn{place}")
    return fig


@torch.no_grad()
def plot_traversals(
    model, z: Tensor, values: Tensor, units: Sequence[tuple[int, int]], *, scale: float = 0.42
) -> Figure:
    """Fig. 2 and 6: per unit ``(level, index)`` one panel; each row walks one sample's unit through ``values``."""
    rows, columns = len(z), len(values)
    fig, axes = plt.subplots(1, len(units), figsize=(len(units) * columns * scale + 0.3, rows * scale + 0.6))
    for (level, unit), ax in zip(units, np.atleast_1d(axes), strict=True):
        images = model.decode(model.latents.traverse(z, level, unit, values).flatten(0, 1))
        draw_images(images, columns, ax=ax)
        name = f"$z_{level}$" if model.latents.dims[level - 1] == 1 else f"$z_{{{level},{unit + 1}}}$"
        ax.set_title(f"{name} from {values[0]:.1f} to {values[-1]:.1f}")
    return fig


# ---- densities in two dimensions ------------------------------------------------------------------------------------


def plot_density(
    density: Tensor, extent: float, *, ax: Axes, color: str = ALPHA, title: str = "", samples=None
) -> Axes:
    """A 2-D density as filled contours in one network's colour, with samples as dots on top."""
    from matplotlib.colors import LinearSegmentedColormap

    shades = LinearSegmentedColormap.from_list("shades", ["white", color])
    axis = np.linspace(-extent, extent, density.shape[0])
    # Below 2 % of the peak the plane stays white.
    ax.contourf(axis, axis, density, levels=np.linspace(0.02, 1.0, 13) * float(density.max()), cmap=shades)
    if samples is not None:
        ax.plot(samples[:, 0], samples[:, 1], ".", color="black", markersize=1.5, alpha=0.4)
    ax.set(xlim=(-extent, extent), ylim=(-extent, extent), xlabel="$z_1$", ylabel="$z_2$", title=title, aspect="equal")
    ax.grid(False)
    return ax


def plot_densities(
    panels: dict[str, Tensor],
    extent: float,
    *,
    colors=ALPHA,
    samples=None,
    columns: int | None = None,
    width: float = 2.5,
) -> Figure:
    """Densities side by side: ``{title: density}``, one colour or one per panel, and samples ``(n, 2)`` per panel."""
    n = len(panels)
    columns = columns or n
    rows = -(-n // columns)
    size = (width * columns, (width + 0.35) * rows)
    fig, axes = plt.subplots(rows, columns, figsize=size, sharex=True, sharey=True, squeeze=False)
    colors = [colors] * n if isinstance(colors, str) else colors
    for i, (ax, (title, density)) in enumerate(zip(axes.flat, panels.items(), strict=True)):
        dots = None if samples is None else samples[i]
        plot_density(density, extent, ax=ax, color=colors[i], title=title, samples=dots)
        ax.locator_params(nbins=5, prune="both")  # neighbours' labels must not meet at the corners
        ax.label_outer()
    return fig


def plot_conditionals(grid: Grid2D, densities: dict[str, tuple[Tensor, str, str]], values: Sequence[float]) -> Figure:
    """``p(z_1 | z_2)`` at each of ``values``, a panel each, for densities ``{label: (density, colour, line style)}``."""
    fig, axes = plt.subplots(1, len(values), figsize=(2.9 * len(values), 2.9), sharey=True)
    for ax, z_2 in zip(np.atleast_1d(axes), values, strict=True):
        for label, (density, color, style) in densities.items():
            ax.plot(grid.axis, grid.conditional(density, z_2), style, color=color, label=label)
        ax.set(xlabel="$z_1$", title=rf"$p(z_1 \mid z_2 = {z_2:g})$", xlim=(-3, 3))
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=len(densities))
    return fig


# ---- curves ---------------------------------------------------------------------------------------------------------

CURVES = {
    "SSE per image": (("sse", BETA, ""),),
    "KL per level (nats)": (),
    "mean f": (("f_posterior", PHI, "on posterior codes"), ("f_prior", ALPHA, "on prior samples")),
    "f posterior − f prior": (("f_difference", ALPHA, ""),),
}


def plot_curves(history: Sequence[dict]) -> Figure:
    """A training run in four panels: SSE, KL per level, f on both sides, and their difference.

    A term that a row lacks, because its network stood still then, is a gap in its line.
    """
    steps = [row["step"] for row in history]
    levels = sorted({k for row in history for k in row if k.startswith("kl_")})
    fig, axes = plt.subplots(1, 4, figsize=(11, 2.6))
    for ax, (title, lines) in zip(axes, CURVES.items(), strict=True):
        if title.startswith("KL"):
            shades = np.linspace(0.35, 1.0, len(levels))
            for name, alpha in zip(levels, shades, strict=True):
                ax.plot(
                    steps, [row.get(name, np.nan) for row in history], color=PHI, alpha=alpha, label=f"$z_{name[3:]}$"
                )
        for name, color, label in lines:
            ax.plot(steps, [row.get(name, np.nan) for row in history], color=color, label=label)
        ax.set(title=title, xlabel="step")
        if ax.get_legend_handles_labels()[1] and any(ax.get_legend_handles_labels()[1]):
            ax.legend()
    return fig


@torch.no_grad()
def plot_energy_profile(prior, trajectory: Tensor, *, ax: Axes | None = None, trained_steps: int | None = None) -> Axes:
    """Fig. 8's profile: f_α along Langevin chains ``(K + 1, n, d)``, mean and the middle 80 % of the chains."""
    if ax is None:
        _, ax = plt.subplots()
    f = torch.stack([prior(z) for z in trajectory]).float().cpu()
    low, high = torch.quantile(f, torch.tensor([0.1, 0.9]), dim=1)
    steps = np.arange(len(f))
    ax.fill_between(steps, low, high, color=ALPHA, alpha=0.2, linewidth=0, label="middle 80 % of the chains")
    ax.plot(steps, f.mean(1), color=ALPHA, label="mean")
    if trained_steps is not None:
        ax.axvline(trained_steps, color=REFERENCE, linestyle="--", linewidth=1, label="K of training")
    ax.set(xlabel="Langevin step", ylabel=r"$f_\alpha$ (negative energy)")
    ax.legend()
    return ax
