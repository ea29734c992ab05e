"""A study measures published models once and stores what it found, with its provenance, in ``book/results``.

It comes in parts, most of them one model each. Every part is written as soon as it is measured, so that a study can be
interrupted; a part that is there, and was measured with the weights that are published now, is not measured again.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from hebm_lib.checkpoint import pretrained_folder, weights_digest, write_atomically
from hebm_lib.provenance import ROOT, provenance
from hebm_lib.reproduction.results import results_folder
from hebm_lib.training import DivergenceError

__all__ = ["Study", "load_study", "open_parts", "run_study", "stored_study", "write_redraws"]


@dataclass(frozen=True)
class Study:
    """What a study is; `hebm_lib.reproduction.studies.STUDIES` holds all of them.

    Args:
        name: its numbers are stored as ``study-<name>.json``, its picture as ``book/images/<name>.png``.
        description: one line.
        parts: name of each part → names of the published models that it needs, which may be none.
        measure: takes a part's name and returns its numbers in JSON types; where it trains, ``precision`` too.
        draw: takes all parts' numbers and draws the study's picture; None where there is none.
        trains: whether a part is a training of an entry, in a precision that can be asked for.
    """

    name: str
    description: str
    parts: dict[str, tuple[str, ...]]
    measure: Callable[..., dict]
    draw: Callable[[dict[str, dict]], Figure] | None = None
    trains: bool = False


def weights_of(models: tuple[str, ...]) -> dict[str, str | None]:
    """Digest of each model's published weights; None where they are not published."""
    paths = {name: pretrained_folder() / f"{name}.safetensors" for name in models}
    return {name: weights_digest(path) if path.is_file() else None for name, path in paths.items()}


def load_study(name: str) -> dict[str, dict]:
    """The stored numbers of a study by part; raises `ValueError` where nothing is stored."""
    parts = stored_study(name)["parts"]
    if not parts:
        raise ValueError(f"nothing is stored of the study {name!r}: python -m hebm_lib study {name}")
    return parts


def stored_study(name: str) -> dict:
    """All that is stored of a study, provenance included; without parts where that is nothing."""
    path = results_folder() / f"study-{name}.json"
    return json.loads(path.read_text()) if path.is_file() else {"parts": {}, "provenance": {}}


def open_parts(study: Study) -> tuple[list[str], dict[str, list[str]]]:
    """Parts still to be measured, and parts that wait, with the models that they wait for."""
    stored, todo, waiting = stored_study(study.name), [], {}
    for part, models in study.parts.items():
        weights = weights_of(models)
        if missing := [name for name, digest in weights.items() if digest is None]:
            waiting[part] = missing
        elif part not in stored["parts"] or stored["provenance"][part]["weights"] != weights:
            todo.append(part)
    return todo, waiting


def run_study(
    study: Study, *, again: bool = False, precision: str = "32-true", say: Callable[[str], None] = print
) -> None:
    """Measure what is missing, store it part by part, and draw the picture.

    A part whose training diverges is told and passed over, so that hours of other parts are not lost with it.

    Args:
        study: which.
        again: measure all parts whose models are published, the stored ones too.
        precision: of the trainings of a study that trains.
        say: told about each part.

    Raises:
        DivergenceError: at the end, naming the parts that diverged.
    """
    todo, waiting = open_parts(study)
    for part, models in waiting.items():
        say(f"{study.name}: {part} waits for {', '.join(models)}")
    measured, diverged = [part for part in study.parts if part not in waiting] if again else todo, []
    for part in measured:
        say(f"{study.name}: {part}")
        clock = time.perf_counter()
        try:
            found = study.measure(part, precision=precision) if study.trains else study.measure(part)
        except DivergenceError as error:
            say(f"{study.name}: {part}: {error}")
            diverged.append(part)
            continue
        stored = stored_study(study.name)
        origin = provenance() | {
            "seconds": round(time.perf_counter() - clock, 1),
            "weights": weights_of(study.parts[part]),
        }
        stored = {
            "name": study.name,
            "description": study.description,
            "parts": {p: found if p == part else stored["parts"].get(p) for p in study.parts},
            "provenance": {p: origin if p == part else stored["provenance"].get(p) for p in study.parts},
        }
        for key in ("parts", "provenance"):
            stored[key] = {p: value for p, value in stored[key].items() if value is not None}
        write_atomically(results_folder() / f"study-{study.name}.json", json.dumps(stored, indent=1) + "\n")
    parts = stored_study(study.name)["parts"]
    if study.draw is not None and parts and (measured or not picture_of(study).is_file()):
        draw_picture(study, parts)
    say(f"{study.name}: {len(parts)} of {len(study.parts)} parts are stored")
    if diverged:
        raise DivergenceError(f"{study.name}: training diverged in {', '.join(diverged)}; the other parts are stored")


def picture_of(study: Study) -> Path:
    """Where the study's picture stands."""
    return ROOT / "book" / "images" / f"{study.name}.png"


def draw_picture(study: Study, parts: dict[str, dict]) -> None:
    """Write the study's picture into ``book/images``."""
    import matplotlib

    from hebm_lib.plotting import use_style

    with matplotlib.rc_context():
        use_style()
        figure = study.draw(parts)
        figure.savefig(picture_of(study))
        matplotlib.pyplot.close(figure)


def write_redraws(model, z, donors, path: Path, *, dpi: int, quality: int) -> None:
    """Write a picture of samples with one level at a time taken from others (Fig. 5): small enough to be committed.

    Args:
        z, donors: codes ``(n, d)`` and ``(m, d)``.
        path: of a WebP file; its folder is made.
        dpi, quality: of the picture.
    """
    import matplotlib

    from hebm_lib.plotting import plot_redraws, use_style

    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context():
        use_style()
        figure = plot_redraws(model, z, donors)
        figure.savefig(path, dpi=dpi, pil_kwargs={"quality": quality, "method": 6})
        matplotlib.pyplot.close(figure)
