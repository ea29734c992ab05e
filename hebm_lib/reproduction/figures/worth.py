"""What an energy is worth: samples at several lengths of chain, gains of many recipes, a film of samples."""

import statistics
from collections.abc import Sequence
from html import escape

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hebm_lib.plotting import ALPHA, DATA, REFERENCE, draw_images, image_grid
from hebm_lib.reproduction.figures.moving import frames
from hebm_lib.reproduction.results import mean_and_spread, paired
from hebm_lib.reproduction.tables import number

__all__ = ["by_setting", "draw_gains", "draw_lengths", "film", "paired", "study_table"]


@torch.no_grad()
def draw_lengths(
    models: dict[str, tuple], *, columns: int = 12, seed: int = 3, captions: dict[str, list[str]] | None = None
) -> Figure:
    """Rows of samples: per model the same chains at several lengths.

    Args:
        models: label → (model, step size, lengths of chain, ascending).
        columns: chains.
        captions: label → what stands above each of its rows.
    """
    rows = sum(len(lengths) for _, _, lengths in models.values())
    fig, axes = plt.subplots(rows, 1, figsize=(0.58 * columns, 0.86 * rows), squeeze=False)
    free = iter(axes[:, 0])
    for label, (model, size, lengths) in models.items():
        noise = torch.Generator().manual_seed(seed)
        z, at = torch.randn(columns, model.latents.total, generator=noise), 0
        for i, steps in enumerate(lengths):
            z, at = model.prior.sample(columns, steps - at, size, z0=z, generator=noise), steps
            ax = draw_images(model.decode(z), columns, ax=next(free))
            ax.set_title(captions[label][i] if captions else f"{label}, {steps:,} steps", loc="left", fontsize=10)
    return fig


def by_setting(parts: dict[str, dict], name: str, *keys: str) -> list[float | None]:
    """One number of a recipe of the study of fixed codes, in the order of seeds; None where a run diverged.

    >>> by_setting({"base": {"gain": 3.0}, "base@2": {"gain": 3.5}, "base@3": {"diverged": True}}, "base", "gain")
    [3.0, 3.5, None]
    """
    values = []
    for part, found in parts.items():
        if part.split("@")[0] == name:
            for key in keys:
                found = found.get(key) if found is not None else None
            values.append(found)
    return values


def draw_gains(
    parts: dict[str, dict],
    settings: dict[str, dict[str, str]],
    *,
    axes: Sequence[Axes],
    xlabel: str,
    measures: Sequence[tuple[tuple[str, ...], str]] = (
        (("gain",), "gain, nats"),
        (("distance", "long"), "distance, 2,500"),
    ),
) -> None:
    """Curves of the study of fixed codes over one setting, mean and deviation over seeds, a panel per measure.

    Args:
        parts: the study's.
        settings: label of a curve → place on the axis → recipe.
        axes: a panel for each measure.
        xlabel: what is on the axis.
        measures: keys of a number, and the panel's title.
    """
    colors = [ALPHA, "#CC79A7", REFERENCE, DATA]
    for ax, (keys, title) in zip(axes, measures, strict=True):
        for (label, recipes), color in zip(settings.items(), colors):
            found = {
                place: [v for v in by_setting(parts, name, *keys) if v is not None] for place, name in recipes.items()
            }
            found = {place: values for place, values in found.items() if values}
            means = [statistics.fmean(values) for values in found.values()]
            spread = [statistics.stdev(values) if len(values) > 1 else 0.0 for values in found.values()]
            ax.errorbar(list(found), means, spread, marker="o", capsize=3, color=color, label=label)
        ax.set(xlabel=xlabel, title=title)


def study_table(parts: dict[str, dict], rows: dict[str, str]) -> str:
    """An HTML table of recipes: gain, distances after K and after 2,500 steps, seconds; mean ± deviation over seeds.

    Args:
        parts: the study's.
        rows: recipe → what it is called.
    """
    header = ["recipe", "n", "gain, nats", "distance at K", "at 2,500 steps", "seconds"]
    lines = ["<table><thead><tr>" + "".join(f"<th>{escape(h)}</th>" for h in header) + "</tr></thead><tbody>"]
    for name, label in rows.items():
        cells = [escape(label), str(len(by_setting(parts, name, "seconds")))]
        for keys, digits in ((("gain",), 2), (("distance", "K"), 0), (("distance", "long"), 0), (("seconds",), 0)):
            values = by_setting(parts, name, *keys)
            known = [v for v in values if v is not None]
            cell = number(mean_and_spread(known), digits) if known else ""
            if len(known) < len(values) and keys == ("gain",):
                cell += f" ({len(values) - len(known)} diverged)"
            cells.append(cell)
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return "".join(lines) + "</tbody></table>"


def film(pictures: Sequence[torch.Tensor], stops: Sequence[int], *, columns: int, name: str, alt: str) -> str:
    """Grids of images behind a slider with a button that plays them (`frames`).

    Args:
        pictures: images ``(n, C, H, W)`` in [-1, 1], one set per stop of the slider.
        stops: the number that each stop shows.
        columns: of the grid.
        name: what the numbers are; spaces as underscores.
        alt: what the pictures show, for those who cannot see them.

    Raises:
        ValueError: for no picture, or another number of stops.
    """
    if not pictures or len(pictures) != len(stops):
        raise ValueError(f"a film needs as many stops as pictures, at least one; got {len(stops)} and {len(pictures)}")
    shape = image_grid(pictures[0], columns).shape

    def draw(**at) -> Figure:
        fig, ax = plt.subplots(figsize=(6, 6 * shape[0] / shape[1]))
        return draw_images(pictures[list(stops).index(at[name])], columns, ax=ax).figure

    return frames(draw, {name: stops}, alt=alt, play=name)
