"""How a number, a budget and a Markdown table are written, the same in every table of the book."""

import re

from hebm_lib.reproduction.results import mean_and_sd

__all__ = ["budget", "each_level", "number", "percent", "table"]


def percent(pair: tuple[float, float]) -> str:
    """``67.6 ± 0.4`` from shares; without the deviation where there is one run."""
    mean, sd = pair
    return f"{100 * mean:.1f}" + (f" ± {100 * sd:.1f}" if sd == sd else "")


def number(pair: tuple[float, float], digits: int) -> str:
    """``0.033 ± 0.002``; without the deviation where there is one run.

    Example:
        >>> number((0.0334, 0.0021), 3), number((-0.01, float("nan")), 1)
        ('0.033 ± 0.002', '0.0')
    """
    mean, sd = pair
    return f"{mean:z.{digits}f}" + (f" ± {sd:.{digits}f}" if sd == sd else "")


def each_level(runs: list[dict], key: str, digits: int | None = None) -> str:
    """One metric of all levels in one cell, z_1 first: in %, or as numbers with so many ``digits``."""
    pairs = mean_and_sd(runs, key)
    return " / ".join(percent(pair) if digits is None else number(pair, digits) for pair in pairs)


def budget(results: list[dict]) -> str:
    """What the runs cost: seeds, epochs, minutes, device."""
    first = results[0]
    minutes = sum(r["provenance"]["seconds"] for r in results) / len(results) / 60
    seeds = f"{len(results)} seeds" if len(results) > 1 else "1 seed"
    epochs = first["config"]["training"]["epochs"]
    return f"{seeds}, {epochs} epochs, {minutes:.0f} min each, {device_in_words(first['provenance']['device'])}"


def device_in_words(device: str) -> str:
    """A run's device as a reader would say it.

    >>> device_in_words("CPU, 1 thread(s)"), device_in_words("NVIDIA H100 80GB HBM3, shared by 18 runs")
    ('one CPU thread', 'an H100 shared by 18 runs')
    """
    found = re.fullmatch(r"CPU, (\d+) thread\(s\)", device)
    if found:
        return "one CPU thread" if found[1] == "1" else f"{found[1]} CPU threads"
    shared = re.fullmatch(r"NVIDIA (\S+) .*, shared by (\d+) runs", device)
    return f"an {shared[1]} shared by {shared[2]} runs" if shared else device


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
