"""Page 19: the factors of a scene, what units say of them, and what each unit draws (supplement, Fig. 1)."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from hebm_lib.data import FACTORS, grid_index, render_shapes
from hebm_lib.plotting import image_grid

__all__ = ["draw_factors", "draw_information", "draw_units_traversed", "factor_rows", "traverse_units"]


def factor_rows(base: Sequence[int] = (0, 6, 3, 5, 0, 4), columns: int = 8) -> Tensor:
    """Images of ``shapes3d-render`` in which one factor moves through its values and the others stand still.

    Args:
        base: where the others stand.
        columns: images per factor; a factor with fewer values begins again from its first.

    Returns:
        ``(6, columns, 3, 64, 64)`` uint8, one row per factor.
    """
    rows = torch.tensor(base).repeat(len(FACTORS), columns, 1)
    for k, count in enumerate(FACTORS.values()):
        steps = (
            torch.arange(columns) % count if count < columns else torch.linspace(0, count - 1, columns).round().long()
        )
        rows[k, :, k] = steps
    return render_shapes(grid_index(rows.flatten(0, 1))).unflatten(0, (len(FACTORS), columns))


def draw_factors(rows: Tensor | None = None) -> Figure:
    """`factor_rows` as a picture, each row with its factor's name and how many values it has."""
    rows = factor_rows() if rows is None else rows
    height, width = rows.shape[:2]
    figure, ax = plt.subplots(figsize=(0.78 * width + 1.4, 0.78 * height), layout="constrained")
    picture = rows.flatten(0, 1).float() / 127.5 - 1
    grid = image_grid(picture, width, pad=2)
    ax.imshow(grid, interpolation="nearest")
    pitch = grid.shape[0] / height
    ax.set_yticks(
        [(k + 0.5) * pitch for k in range(height)], [f"{name} ({count})" for name, count in FACTORS.items()][:height]
    )
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.grid(False)
    return figure


def draw_information(
    information: Tensor, dims: Sequence[int], *, ax: Axes, active: Sequence[bool] | None = None, title: str = ""
) -> Axes:
    """What each unit says of each factor, as a table of shades with its numbers; lines part the levels, z_1 left.

    Args:
        information: ``(6, d)``, shares of each factor's entropy.
        dims: units per level.
        active: per unit; names of silent units are grey.
    """
    shares = torch.as_tensor(information).clamp(0, 1)
    ax.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for k, row in enumerate(shares.tolist()):
        for j, share in enumerate(row):
            if share >= 0.05:
                ax.text(
                    j,
                    k,
                    f"{share:.1f}",
                    ha="center",
                    va="center",
                    color="white" if share > 0.55 else "black",
                    fontsize=8,
                )
    names = [f"$z_{{{level + 1},{unit + 1}}}$" for level, n in enumerate(dims) for unit in range(n)]
    ax.set_xticks(range(len(names)), names)
    ax.set_yticks(range(len(shares)), list(FACTORS)[: len(shares)])
    for label, speaks in zip(ax.get_xticklabels(), active or [True] * len(names), strict=True):
        label.set_color("black" if speaks else "0.6")
    for edge in torch.tensor(list(dims)).cumsum(0)[:-1].tolist():
        ax.axvline(edge - 0.5, color="black", linewidth=1.2)
    ax.tick_params(length=0)
    ax.grid(False)
    ax.set_title(title)
    return ax


@torch.no_grad()
def traverse_units(model, x: Tensor, *, columns: int = 9, reach: float = 2.0) -> Tensor:
    """Each unit moves from -reach to reach, the others stay at the posterior mean of one image.

    Args:
        model: of the library.
        x: the image, ``(1, C, H, W)``.

    Returns:
        Mean images ``(d, columns, C, H, W)``, units in the order of z's columns.
    """
    z = model.encode(x).mean
    d = z.shape[1]
    moved = z.expand(d, columns, d).clone()
    moved[torch.arange(d), :, torch.arange(d)] = torch.linspace(-reach, reach, columns, device=z.device)
    return model.decode(moved.flatten(0, 1)).unflatten(0, (d, columns))


def draw_units_traversed(images: Tensor, dims: Sequence[int], titles: Sequence[str] = ()) -> Figure:
    """`traverse_units` as in the supplement's Figure 1: one panel per level, the top level first, one row per unit.

    Args:
        images: ``(d, columns, C, H, W)`` in [-1, 1].
        dims: units per level, z_1 first.
        titles: one per level, z_1 first.
    """
    columns = images.shape[1]
    figure, axes = plt.subplots(
        len(dims), 1, figsize=(0.7 * columns + 0.6, 0.75 * sum(dims) + 0.3 * len(dims)), height_ratios=list(dims)[::-1]
    )
    panels = images.split(list(dims))
    for ax, level in zip(axes, reversed(range(len(dims))), strict=True):
        grid = image_grid(panels[level].flatten(0, 1), columns, pad=1)
        ax.imshow(grid, interpolation="nearest", cmap="gray", vmin=0, vmax=1)
        pitch = grid.shape[0] / dims[level]
        ax.set_yticks([(j + 0.5) * pitch for j in range(dims[level])], [str(j + 1) for j in range(dims[level])])
        ax.set_xticks([])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.grid(False)
        ax.set_title(titles[level] if titles else f"$z_{level + 1}$", loc="left")
    return figure
