"""Page 16: a prior with one thing changed, as curves over seeds and as bars."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes

from hebm_lib.plotting import ALPHA, PHI, REFERENCE

__all__ = ["KIND_COLORS", "draw_kinds", "draw_setting"]

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
    curves: dict[str, dict[str, Pair]],
    *,
    ax: Axes,
    colors: Sequence[str] = (ALPHA,),
    floors: dict[str, tuple[float, str]] | None = None,
    xlabel: str = "",
) -> Axes:
    """One measure against one setting, a curve per way of training, mean and deviation over seeds where there are any.

    Args:
        curves: label → setting → (mean, deviation); the settings of the longest curve, in its order, are the axis.
        colors: of the curves.
        floors: name → (height, colour) of a line across the panel.
    """
    places = {name: i for i, name in enumerate(max(curves.values(), key=len))}
    for name, (height, color) in (floors or {}).items():
        ax.axhline(height, color=color, linestyle="--", linewidth=1.2, label=name)
    for (label, values), color in zip(curves.items(), colors, strict=True):
        means, deviations = zip(*values.values(), strict=True)
        at = [places[name] for name in values]
        ax.errorbar(at, means, deviations, marker="o", color=color, capsize=3, label=label)
    ax.set_xticks(range(len(places)), list(places))
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
