"""Page 04: the ladder as a drawing, what a place of it reaches, and what a level changes in the picture."""

import copy
from collections.abc import Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch
from torch import Tensor

from hebm_lib.config import ModelConfig
from hebm_lib.networks import LadderGenerator, LadderInference
from hebm_lib.plotting import BETA, DATA, PHI

__all__ = [
    "draw_ladder",
    "draw_signed",
    "draw_units",
    "jacobians",
    "near_ink",
    "reach",
    "roughness",
    "view",
]


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


# ---- what one place reaches and sees --------------------------------------------------------------------------------


@torch.no_grad()
def reach(generator: LadderGenerator, level: int) -> Tensor:
    """Pixels that the middle place of the feature which z_level joins can change: a mask ``(H, W)``.

    A random vector is added there, to all channels, at a random code. Raises `ValueError` for a level that joins no map.
    """
    if not 1 <= level <= generator.maps:
        raise ValueError(f"level {level} joins no map; the levels that do are 1 … {generator.maps}")

    def nudge(module, inputs):
        h, *rest = inputs
        moved = h.clone()
        moved[..., h.shape[-2] // 2, h.shape[-1] // 2] += torch.randn(h.shape[:2]).to(h)
        return moved, *rest

    # In double precision: a pixel outside must not move by rounding.
    generator = _double(generator)
    z = torch.randn(1, generator.latents.total, dtype=torch.float64)
    before = generator(z)
    rung = generator.rungs[generator.rung_levels.index(level - 1)]
    hook = rung.register_forward_pre_hook(nudge)
    after = generator(z)
    hook.remove()
    return (after - before).abs().amax((0, 1)) > 1e-12


def view(inference: LadderInference, level: int) -> Tensor:
    """Pixels that the middle place of the feature which z_level is read from depends on: a mask ``(H, W)``.

    Raises `ValueError` for the top level, which is read by a fully connected network.
    """
    if not 1 <= level <= len(inference.branches):
        raise ValueError(f"level {level} has no branch; the levels that do are 1 … {len(inference.branches)}")
    inference = _double(inference)
    x = torch.randn(1, inference.channels, inference.image_size, inference.image_size, dtype=torch.float64)
    h = x.requires_grad_()
    for stage in inference.trunk[: level - 1]:
        h = stage(h)
    h = inference.branches[level - 1](h)
    (gradient,) = torch.autograd.grad(h[..., h.shape[-2] // 2, h.shape[-1] // 2].sum(), x)
    return gradient.abs().amax((0, 1)) > 0


def _double(module):
    """A copy in double precision that leaves the module as it is."""
    return copy.deepcopy(module).double()


# ---- what a level changes in the picture ----------------------------------------------------------------------------


def jacobians(model, z: Tensor) -> Tensor:
    """``∂g(z)/∂z``: how each pixel answers to each unit, ``(n, d) -> (n, d, C, H, W)``, detached."""
    columns = []
    for unit in range(z.shape[1]):
        direction = torch.zeros_like(z)
        direction[:, unit] = 1
        columns.append(torch.autograd.functional.jvp(model.decode, z, direction)[1].detach())
    return torch.stack(columns, dim=1)


def roughness(pictures: Tensor) -> Tensor:
    """How much neighbouring pixels differ: 0 for a flat picture, about 1 for white noise; ``(..., H, W) -> (...)``.

    The mean squared difference of neighbours over twice the mean square. NaN for a picture of zeros.
    """
    across = pictures.diff(dim=-1).square().mean((-2, -1))
    along = pictures.diff(dim=-2).square().mean((-2, -1))
    return (across + along) / (4 * pictures.square().mean((-2, -1)))


def near_ink(before: Tensor, after: Tensor, threshold: float = -0.5) -> Tensor:
    """Share of a squared change that falls on the old strokes or next to them, ``(n, 1, H, W)`` twice ``-> (n,)``.

    Args:
        threshold: brighter pixels of ``before`` are ink; their eight neighbours count too.
    """
    ink = torch.nn.functional.max_pool2d((before > threshold).float(), 3, stride=1, padding=1)
    change = (after - before).square()
    return (change * ink).flatten(1).sum(1) / change.flatten(1).sum(1)


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
