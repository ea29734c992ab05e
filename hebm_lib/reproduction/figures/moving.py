"""Explorers of few positions: every picture is drawn beforehand, and a page moves through them without a kernel.

What the reader moves is a slider or a menu per question, and each combination has one picture. All of it is one piece of
HTML: pictures as WebP inside, thirty lines of script, nothing to load. It works in JupyterLab, in the built book and on a
phone. Where scripts are off, the first picture stands alone.
"""

import base64
import html
import io
import itertools
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from uuid import NAMESPACE_URL, uuid5

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from hebm_lib.reproduction.explorers import Html

__all__ = ["MOST_FRAMES", "frames"]

PACE = 250
"""Milliseconds between two pictures of a film."""
MOST_FRAMES = 200
"""More pictures than this make a page heavy: about ten kilobytes each."""
SCRIPT = """
(() => {
  const box = document.getElementById("NAME"), pictures = PICTURES, order = ORDER, sizes = SIZES, words = WORDS;
  const image = box.querySelector("img"), inputs = [...box.querySelectorAll("input, select")];
  const show = () => {
    const places = inputs.map((input) => Number(input.value));
    image.src = "data:image/webp;base64," + pictures[order[places.reduce((sum, place, i) => sum * sizes[i] + place, 0)]];
    const told = places.map((place, i) => words[i][place]);
    box.querySelectorAll("output").forEach((output) => { output.textContent = told[Number(output.dataset.axis)]; });
    inputs.forEach((input, i) => { if (input.type === "range") input.setAttribute("aria-valuetext", told[i]); });
    const names = box.dataset.names.split("|");
    image.alt = image.dataset.alt + " Shown: " + told.map((word, i) => names[i] + " " + word).join(", ") + ".";
  };
  inputs.forEach((input) => { input.disabled = false; input.addEventListener("input", show); });
  box.querySelectorAll("button").forEach((button) => {
    const slider = inputs[Number(button.dataset.axis)], end = Number(slider.max);
    let timer = null;
    const still = () => { clearInterval(timer); timer = null; button.textContent = "play"; };
    const on = () => {
      slider.value = Number(slider.value) + 1;
      show();
      if (Number(slider.value) >= end) still();
    };
    button.disabled = false;
    slider.addEventListener("input", still);
    button.addEventListener("click", () => {
      if (timer !== null) return still();
      if (Number(slider.value) >= end) { slider.value = 0; show(); }
      button.textContent = "pause";
      timer = setInterval(on, PACE);
    });
  });
  show();
})();
"""
STYLE = """
#NAME { max-width: 100%; }
#NAME .moves { display: flex; flex-wrap: wrap; gap: .4rem 1.4rem; margin: 0 0 .5rem; font: 14px system-ui, sans-serif; }
#NAME label { display: flex; align-items: center; gap: .5rem; min-height: 2rem; }
#NAME input { width: 9rem; accent-color: #0072b2; }
#NAME select { font: inherit; padding: .2rem; max-width: 15rem; }
#NAME button { font: inherit; padding: .2rem .7rem; min-width: 4rem; }
#NAME output { min-width: 2.5rem; font-variant-numeric: tabular-nums; }
#NAME img { display: block; max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
"""


def frames(
    draw: Callable[..., Figure | None],
    axes: Mapping[str, Sequence | Mapping[str, object]],
    *,
    alt: str,
    start: Mapping[str, object] | None = None,
    play: str | None = None,
    dpi: int = 100,
    quality: int = 80,
) -> str:
    """Draw a picture for every combination of choices, and return an explorer that moves through them.

    Args:
        draw: called with one value per axis, by name; returns a figure, or None for the current one.
        axes: name of an argument of ``draw`` to its values in order. A mapping from words to values, or a sequence of
            text, becomes a menu; a sequence of numbers becomes a slider.
        alt: what the picture shows, for readers who do not see it.
        start: the values shown first; left out is the first of an axis.
        play: the slider that a button beside it moves to its end, four pictures a second: a film.
        dpi: of the pictures, pixels per inch.
        quality: of WebP, 1 to 100.

    Where the variable HEBM_FRAMES is ``first``, only the picture of the start is drawn and stands for all of them: the tests
    of the pages do so, and `make nightly` draws every one.

    Returns:
        HTML with all pictures inside, which Jupyter shows.

    Raises:
        ValueError: for no axis, an empty one, more than `MOST_FRAMES` pictures, a start that is no value of its axis, no
            words for the picture, or a film along what is no slider.

    Example:
        >>> def draw(level):
        ...     fig, ax = plt.subplots(figsize=(1, 1))
        ...     _ = ax.plot([0, level])
        ...     return fig
        >>> page = frames(draw, {"level": (1, 2, 3)}, alt="A line that rises with the level.")
        >>> page.count("<input"), "A line that rises" in page
        (1, True)
    """
    choices = {name: _choices(name, values) for name, values in axes.items()}
    count = 1
    for values in choices.values():
        count *= len(values)
    if not choices or count > MOST_FRAMES:
        raise ValueError(
            f"{count if choices else 'no'} pictures: an explorer has one axis or more and at most {MOST_FRAMES}"
        )
    if not alt.strip():
        raise ValueError("say in `alt` what the pictures show, for readers who do not see them")
    first = {name: _place(name, values, (start or {}).get(name)) for name, values in choices.items()}
    if unknown := sorted(set(start or {}) - set(choices)):
        raise ValueError(f"start names {', '.join(unknown)}; the axes are {', '.join(choices)}")
    if play is not None and (play not in choices or _is_menu(axes[play])):
        raise ValueError(
            f"play names a slider, one of {', '.join(a for a in axes if not _is_menu(axes[a]))}; not {play}"
        )
    combinations = list(itertools.product(*(values.values() for values in choices.values())))
    sizes = [len(values) for values in choices.values()]
    place = 0
    for name, size in zip(choices, sizes, strict=True):
        place = place * size + first[name]
    drawn = [place] * count if os.environ.get("HEBM_FRAMES") == "first" else range(count)
    pictures = {
        i: _webp(draw(**dict(zip(choices, combinations[i], strict=True))), dpi, quality) for i in dict.fromkeys(drawn)
    }
    different = list(dict.fromkeys(pictures.values()))
    order = [different.index(pictures[i]) for i in drawn]
    name = f"frames-{uuid5(NAMESPACE_URL, alt + ''.join(choices)).hex[:12]}"
    fill = {
        "NAME": name,
        "PICTURES": json.dumps(different),
        "ORDER": json.dumps(order),
        "SIZES": json.dumps(sizes),
        "PACE": str(PACE),
        "WORDS": json.dumps([list(values) for values in choices.values()]).replace("</", "<\\/"),
    }
    script, style = (re.sub("|".join(fill), lambda found: fill[found[0]], text) for text in (SCRIPT, STYLE))
    moves = "".join(
        _control(i, axis, list(values), menu=_is_menu(axes[axis]), place=first[axis], play=axis == play)
        for i, (axis, values) in enumerate(choices.items())
    )
    said = html.escape(alt)
    shown = f"data:image/webp;base64,{different[order[place]]}"
    return Html(
        f'<div id="{name}" class="hebm-frames" data-names="{html.escape("|".join(choices))}"><style>{style}</style>'
        f'<div class="moves" role="group" aria-label="What to show">{moves}</div>'
        f'<img src="{shown}" alt="{said}" data-alt="{said}"><script>{script}</script></div>'
    )


def _is_menu(values: Sequence | Mapping) -> bool:
    return isinstance(values, Mapping) or any(isinstance(value, str) for value in values)


def _choices(name: str, values: Sequence | Mapping[str, object]) -> dict[str, object]:
    """Words as the reader sees them, and what ``draw`` gets."""
    found = dict(values) if isinstance(values, Mapping) else {_word(value): value for value in values}
    if not found or len(found) < len(values):
        raise ValueError(f"the axis {name} needs values, each once, not {list(values)}")
    return found


def _word(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _place(name: str, values: dict[str, object], value: object) -> int:
    if value is None:
        return 0
    if value not in list(values.values()):
        raise ValueError(f"{name} cannot start at {value}: its values are {', '.join(values)}")
    return list(values.values()).index(value)


def _control(axis: int, name: str, words: list[str], *, menu: bool, place: int, play: bool) -> str:
    """A menu, or a slider with its value and perhaps a button beside it; disabled until the script runs."""
    said = html.escape(name.replace("_", " "))
    if menu:
        options = "".join(
            f'<option value="{i}"{" selected" if i == place else ""}>{html.escape(word)}</option>'
            for i, word in enumerate(words)
        )
        return f"<label><span>{said}</span><select disabled>{options}</select></label>"
    button = f'<button type="button" data-axis="{axis}" disabled>play</button>' if play else ""
    return (
        f"{button}<label><span>{said}</span>"
        f'<input type="range" min="0" max="{len(words) - 1}" step="1" value="{place}" disabled>'
        f'<output data-axis="{axis}">{html.escape(words[place])}</output></label>'
    )


def _webp(figure: Figure | None, dpi: int, quality: int) -> str:
    """A figure as WebP in base 64; it is closed."""
    figure = figure if isinstance(figure, Figure) else plt.gcf()
    png, small = io.BytesIO(), io.BytesIO()
    figure.savefig(png, dpi=dpi, format="png")
    plt.close(figure)
    Image.open(png).convert("RGB").save(small, "WEBP", quality=quality, method=6)
    return base64.b64encode(small.getvalue()).decode()
