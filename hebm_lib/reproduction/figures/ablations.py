"""Page 16: a prior with one thing changed, as curves over seeds, and chains stopped early, as pictures."""

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hebm_lib.plotting import ALPHA, DATA, PHI, REFERENCE, draw_images

__all__ = ["KIND_COLORS", "draw_kinds", "draw_setting", "explore_steps"]

KIND_COLORS = {
    "gaussian": REFERENCE,
    "prior": ALPHA,
    "long": "#56B4E9",
    "persistent": "#CC79A7",
    "shuffled": "#E69F00",
    "codes": PHI,
}
"""A colour per kind of sample of `prior_report`: the prior's are blue, posterior codes green, noise grey."""

Pair = tuple[float, float]


def draw_setting(
    values: dict[str, Pair],
    *,
    ax: Axes,
    paper: dict[str, float] | None = None,
    base: str = "",
    floors: dict[str, tuple[float, str]] | None = None,
    xlabel: str = "",
) -> Axes:
    """One measure against one setting, mean and deviation over seeds, and the paper's curve beside it.

    Args:
        values: setting → (mean, deviation), in the order of the axis.
        paper: the paper's numbers; of another measure, so they are scaled to agree with ours at ``base``.
        base: the setting at which both agree.
        floors: name → (height, colour) of a line across the panel.
    """
    names = list(values)
    means, deviations = zip(*values.values(), strict=True)
    for name, (height, color) in (floors or {}).items():
        ax.axhline(height, color=color, linestyle="--", linewidth=1.2, label=name)
    ax.errorbar(range(len(names)), means, deviations, marker="o", color=ALPHA, capsize=3, label="this book, MNIST")
    if paper:
        scale = values[base][0] / paper[base]
        heights = [scale * paper[name] for name in names]
        label = f"the paper's FID, scaled to meet ours at {base}"
        ax.plot(range(len(names)), heights, "D:", color=DATA, mfc="white", ms=5, linewidth=1, label=label)
    ax.set_xticks(range(len(names)), names)
    ax.set(xlabel=xlabel, ylim=(0, None))
    return ax


def draw_kinds(rows: dict[str, dict[str, Pair]], *, ax: Axes, names: dict[str, str] | None = None) -> Axes:
    """Bars: per model one bar for every kind of sample that it has.

    Args:
        rows: model → kind → (mean, deviation).
        names: what a kind is called in the legend.
    """
    kinds = [kind for kind in KIND_COLORS if any(kind in row for row in rows.values())]
    width, seen = 0.82 / len(kinds), set()
    for i, row in enumerate(rows.values()):
        own = [kind for kind in kinds if kind in row]
        for j, kind in enumerate(own):
            mean, deviation = row[kind]
            label = None if kind in seen else (names or {}).get(kind, kind)
            error = None if math.isnan(deviation) else deviation
            place = i + (j - (len(own) - 1) / 2) * width
            ax.bar(place, mean, 0.92 * width, yerr=error, capsize=2, color=KIND_COLORS[kind], label=label)
            seen.add(kind)
    ax.set_xticks(range(len(rows)), list(rows))
    return ax


@torch.no_grad()
def explore_steps(model, steps: Sequence[int], step_size: float = 0.4, *, chains: int = 6, seed: int = 1) -> Figure:
    """The same chains after different numbers of Langevin steps: a row of images for each, and f beside it.

    Args:
        model: a `JointEBM`.
        steps: ascending; 0 is the noise that chains start from.
    """
    noise = torch.Generator(device=model.device).manual_seed(seed)
    stride = math.gcd(*steps) or 1
    path = model.prior.sample(200, max(steps), step_size, generator=noise, trajectory=True, every=stride)
    fig, axes = plt.subplots(len(steps), 1, figsize=(0.75 * chains + 0.6, 0.85 * len(steps)), squeeze=False)
    for ax, k in zip(axes[:, 0], steps, strict=True):
        z = path[k // stride]
        draw_images(model.decode(z[:chains]), chains, ax=ax)
        ax.set_title(f"K = {k}: mean f = {model.prior(z).mean().item():.2f}", fontsize=9, loc="left")
    return fig
