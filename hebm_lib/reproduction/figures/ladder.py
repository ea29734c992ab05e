"""Page 05: the ladder as a drawing, and pictures of what a level changes."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch
from torch import Tensor

from hebm_lib.config import ModelConfig
from hebm_lib.plotting import BETA, DATA, PHI

__all__ = ["draw_ladder", "draw_signed", "draw_units"]


# ---- the ladder as a drawing ----------------------------------------------------------------------------------------


def draw_ladder(config: ModelConfig, *, ax: Axes | None = None, title: str = "") -> Axes:
    """The two ladders that a config describes: inference climbs on the left (Eq. 8), the generator on the right (Eq. 5).

    Boxes are features, channels × side²; green arrows are labelled with how a level is read, orange ones with how it
    enters. Stages that no level joins or reads are left out.
    """
    levels, size = len(config.latent_dims), config.image_size
    generator, inference = config.generator, config.inference
    if ax is None:
        _, ax = plt.subplots(figsize=(6.4, 0.85 * levels + 0.7))
    trunk, branch, code, joined = 0.0, 1.75, 3.3, 5.0

    def box(x: float, y: float, label: str, color: str) -> None:
        patch = FancyBboxPatch((x - 0.52, y - 0.2), 1.04, 0.4, boxstyle="round,pad=0.02", facecolor="white")
        patch.set(edgecolor=color, linewidth=1.4, zorder=2)
        ax.add_patch(patch)
        ax.text(x, y, label, ha="center", va="center", fontsize=8.5, zorder=3)

    def arrow(start, end, color: str, label: str = "") -> None:
        style = {"arrowstyle": "-|>", "color": color, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", end, start, arrowprops=style, zorder=1)
        if label:
            ax.text((start[0] + end[0]) / 2, start[1] + 0.09, label, ha="center", fontsize=8.5, color=color)

    def shape(width: int, factor: int) -> str:
        return f"{width} × {size // factor}²" if factor else f"{width}"

    image = shape(config.image_channels, 1)
    box(trunk, 0, f"$x$: {image}", DATA)
    box(joined, 0, f"$g(z)$: {image}", DATA)
    for i in range(levels - 1):
        y = i + 1.0
        feature = shape(inference.widths[i], inference.factors[i])
        box(trunk, y, f"$r_{i + 1}$: {feature}", PHI)
        arrow((trunk, y - 0.78), (trunk, y - 0.22), PHI)
        box(branch, y, feature, PHI)
        arrow((trunk + 0.5, y - 0.78), (branch - 0.3, y - 0.22), PHI)
        arrow((branch + 0.54, y), (code - 0.26, y), PHI, inference.reads[i])
        entry = generator.entries[i] if generator.factors[i] else "vector"
        arrow((code + 0.24, y), (joined - 0.56, y), BETA, entry)
        box(joined, y, f"$h_{i + 2}$: {shape(generator.widths[i], generator.factors[i])}", BETA)
        arrow((joined, y - 0.22), (joined, y - 0.78), BETA)
    box(branch, levels, "FC " + ", ".join(map(str, inference.top_hidden)), PHI)
    arrow((trunk + 0.5, levels - 0.78), (branch - 0.3, levels - 0.22), PHI)
    arrow((branch + 0.54, levels), (code - 0.26, levels), PHI)
    arrow((code + 0.24, levels), (joined - 0.56, levels), BETA)
    box(joined, levels, "FC " + ", ".join(map(str, generator.top_hidden)), BETA)
    arrow((joined, levels - 0.22), (joined, levels - 0.78), BETA)
    maps = sum(factor > 0 for factor in generator.factors)
    base = shape(generator.base_width, generator.base_factor)
    if not maps or base != shape(generator.widths[maps - 1], generator.factors[maps - 1]):
        ax.text(joined + 0.08, maps + 0.5, base, fontsize=8.5, va="center", color=BETA)
    for i, dim in enumerate(config.latent_dims, start=1):
        ax.add_patch(Circle((code, i), 0.24, facecolor="white", edgecolor=DATA, linewidth=1.4, zorder=2))
        ax.text(code, i, f"$z_{i}$", ha="center", va="center", fontsize=9.5, zorder=3)
        ax.text(code, i - 0.41, f"{dim} unit{'s' if dim > 1 else ''}", ha="center", fontsize=8)
    ax.set(xlim=(-0.62, 5.62), ylim=(-0.35, levels + 0.35), title=title)
    ax.axis("off")
    return ax


# ---- what a level changes in the picture ----------------------------------------------------------------------------


def draw_signed(
    rows: dict[str, Sequence[Tensor]], titles: Sequence[str] | None = None, *, scale: float = 1.5
) -> Figure:
    """Signed pictures ``(H, W)``, a row per key; red is up, blue is down, white is nothing.

    Each picture has its own range, so that patterns can be compared where sizes differ by orders of magnitude.

    Args:
        titles: of the columns; None numbers them as levels, bottom first.
    """
    columns = len(next(iter(rows.values())))
    if titles is None:
        ends = {1: " (bottom)", columns: " (top)"}
        titles = [f"$z_{i}$" + ends.get(i, "") for i in range(1, columns + 1)]
    size = (columns * scale + 0.4, len(rows) * scale + 0.35)
    fig, axes = plt.subplots(len(rows), columns, figsize=size, squeeze=False)
    for row, (name, pictures) in zip(axes, rows.items(), strict=True):
        for ax, picture in zip(row, pictures, strict=True):
            _signed(ax, picture, float(picture.abs().max()) or 1.0)
        row[0].set_ylabel(name)
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title)
    return fig


@torch.no_grad()
def draw_units(model, z: Tensor, moves: Sequence[tuple[int, int, float]], *, scale: float = 0.8) -> Figure:
    """What moving one unit does: per sample a column; the samples on top, then per move the images and their change.

    Args:
        z: samples ``(n, d)`` of a model for grey images.
        moves: ``(level, unit, distance)``: how far the unit moves from where it is in each sample.
    """
    before = model.decode(z)[:, 0].cpu()
    size = (len(z) * scale + 0.6, (1 + 2 * len(moves)) * scale + 0.2)
    fig, axes = plt.subplots(1 + 2 * len(moves), len(z), figsize=size, squeeze=False)
    for ax, picture in zip(axes[0], before, strict=True):
        _grey(ax, picture)
    axes[0, 0].set_ylabel("sample")
    for (level, unit, distance), images, changes in zip(moves, axes[1::2], axes[2::2], strict=True):
        moved = z.clone()
        moved[:, model.latents.columns(level)][:, unit] += distance
        after = model.decode(moved)[:, 0].cpu()
        for ax, below, picture, old in zip(images, changes, after, before, strict=True):
            _grey(ax, picture)
            _signed(below, picture - old, 2.0)
        name = f"$z_{level}$" if model.latents.dims[level - 1] == 1 else f"$z_{{{level},{unit + 1}}}$"
        images[0].set_ylabel(f"{name} {distance:+.1f}")
        changes[0].set_ylabel("change")
    return fig


def _grey(ax: Axes, picture: Tensor) -> None:
    ax.imshow(picture.detach().cpu().numpy(), vmin=-1, vmax=1)
    _bare(ax)


def _signed(ax: Axes, picture: Tensor, bound: float) -> None:
    ax.imshow(picture.detach().cpu().numpy(), cmap="RdBu_r", vmin=-bound, vmax=bound)
    _bare(ax)


def _bare(ax: Axes) -> None:
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_color("#cccccc")
        spine.set_visible(True)
