"""Published results: ``book/results/<name>.json``, read by pages, by the scoreboard and by the README's table."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path

from hebm_lib.provenance import ROOT

__all__ = [
    "load_classifier_accuracy",
    "load_paper",
    "load_result",
    "load_seeds",
    "mean_and_sd",
    "mean_and_spread",
    "paired",
    "result_names",
    "results_folder",
]


def results_folder() -> Path:
    """Where published numbers stand; raises `FileNotFoundError` where the library was installed without the book."""
    folder = ROOT / "book" / "results"
    if not folder.is_dir():
        raise FileNotFoundError(
            "the book's results are not here, the library is installed without them: use a clone of the repository, "
            "with `pip install -r requirements.txt -e .`"
        )
    return folder


def result_names() -> list[str]:
    """Names of all published runs; raises as `results_folder` does."""
    return sorted(
        p.stem
        for p in results_folder().glob("*.json")
        if p.stem not in ("paper", "classifiers") and not p.stem.startswith(("bench-", "study-"))
    )


def load_classifier_accuracy() -> dict[str, dict[str, float]]:
    """What the two digit classifiers read on MNIST's test images, as they are and worn: per classifier, per kind."""
    return json.loads((results_folder() / "classifiers.json").read_text())["accuracy"]


def load_result(name: str) -> dict:
    """One published result: ``metrics``, ``curves`` and ``provenance``."""
    path = results_folder() / f"{name}.json"
    if not path.is_file():
        raise ValueError(f"no result is published for {name!r}; there are {', '.join(result_names()) or 'none'}")
    return json.loads(path.read_text())


def load_paper() -> dict:
    """The paper's own figures, by table: the only numbers in the book that were typed in."""
    return json.loads((results_folder() / "paper.json").read_text())


def load_seeds(name: str) -> list[dict]:
    """The results of all published seeds of an experiment: ``name`` and ``name@2``, ``name@3``, …"""
    return [load_result(n) for n in result_names() if n == name or n.startswith(f"{name}@")]


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation; NaN for what fewer values do not give.

    >>> mean_and_spread([1.0, 2.0, 3.0]), mean_and_spread([4.0])
    ((2.0, 1.0), (4.0, nan))
    """
    mean = statistics.fmean(values) if values else float("nan")
    return mean, statistics.stdev(values) if len(values) > 1 else float("nan")


def mean_and_sd(results: list[dict], key: str) -> list[tuple[float, float]] | tuple[float, float]:
    """`mean_and_spread` of a metric over seeds, per level where it has levels."""
    values = [result["metrics"][key] for result in results]
    levelled = isinstance(values[0], list)
    return [mean_and_spread(level) for level in zip(*values, strict=True)] if levelled else mean_and_spread(values)


def paired(first: Sequence[float], second: Sequence[float]) -> tuple[float, float, float]:
    """Mean of the differences ``first - second`` and its 95 % interval by Student's t; NaN for one pair.

    Example:
        >>> [round(v, 2) for v in paired([3.0, 5.0, 4.0], [1.0, 2.0, 3.0])]
        [2.0, -0.48, 4.48]
    """
    from scipy.stats import t

    differences = [a - b for a, b in zip(first, second, strict=True)]
    mean, n = statistics.fmean(differences), len(differences)
    if n < 2:
        return mean, float("nan"), float("nan")
    half = float(t.ppf(0.975, n - 1)) * statistics.stdev(differences) / n**0.5
    return mean, mean - half, mean + half
