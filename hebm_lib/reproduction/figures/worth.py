"""What an energy is worth: samples at several lengths of chain, gains of many recipes, a slider that needs no kernel."""

import base64
import io
import statistics
from collections.abc import Sequence
from html import escape

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hebm_lib.plotting import ALPHA, DATA, REFERENCE, draw_images, image_grid
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


def film(frames: Sequence[torch.Tensor], labels: Sequence[str], *, columns: int, alt: str, zoom: int = 2) -> str:
    """Grids of images behind a slider, as HTML that works without a kernel and without any other file.

    Args:
        frames: images ``(n, C, H, W)`` in [-1, 1], one set per stop of the slider.
        labels: what is said at each stop.
        columns: of the grid.
        alt: what the pictures show, for those who cannot see them.
        zoom: screen pixels per pixel.

    Raises:
        ValueError: for no frame, or another number of labels.
    """
    if not frames or len(frames) != len(labels):
        raise ValueError(f"a film needs as many labels as frames and at least one, got {len(frames)} and {len(labels)}")
    pictures = [_png(image_grid(frame, columns)) for frame in frames]
    last, width = len(pictures) - 1, zoom * image_grid(frames[0], columns).shape[1]
    images = "".join(
        f'<img src="data:image/png;base64,{data}" alt="{escape(alt)}: {escape(label)}" '
        f'style="width:100%;image-rendering:pixelated;display:{"block" if i == last else "none"}">'
        for i, (data, label) in enumerate(zip(pictures, labels, strict=True))
    )
    said = "".join(
        f'<span style="display:{"inline" if i == last else "none"}">{escape(label)}</span>'
        for i, label in enumerate(labels)
    )
    move = (
        "const box=this.closest('.hebm-film');"
        "for(const kind of ['img','output span'])box.querySelectorAll(kind).forEach((node,i)=>"
        "node.style.display=i==this.value?(kind=='img'?'block':'inline'):'none')"
    )
    return (
        f'<div class="hebm-film" style="max-width:{width}px">{images}'
        f'<label style="display:block">drag: <input type="range" min="0" max="{last}" value="{last}" step="1" '
        f'style="width:60%" aria-label="{escape(alt)}" oninput="{move}"> <output>{said}</output></label></div>'
    )


def _png(picture: np.ndarray) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray((255 * picture).round().astype(np.uint8)).save(file, "png", optimize=True)
    return base64.b64encode(file.getvalue()).decode()
