"""What the joint energy is worth: every pair of a model with its energy and the same ladder with f = 0, seed by seed."""

import math
import statistics

from hebm_lib.reproduction.results import load_result, paired, result_names
from hebm_lib.reproduction.tables import table

__all__ = ["PAIRS", "bounds_of_pair", "worth_of_energies"]

PAIRS = {
    "digits": "8×8 digits, two levels",
    "mnist-012": "MNIST 0–2, a unit per level",
    "mnist-012-2d": "MNIST 0–2, two units per level",
    "mnist": "MNIST, three levels",
    "mnist-map": "MNIST, the same without walls",
    "fashion": "Fashion-MNIST, three levels",
    "fashion-map": "Fashion-MNIST, without walls",
}
"""Entry with an energy → what a table calls it; the control is called ``…-gaussian``. What walls are: page 04."""


def bounds_of_pair(name: str) -> list[tuple[float, float]]:
    """The bounds of a pair in nats, energy first, of every seed of which both are published."""
    names = set(result_names())
    pairs = []
    for seed in range(1, 11):
        ends = [entry if seed == 1 else f"{entry}@{seed}" for entry in (name, f"{name}-gaussian")]
        if names.issuperset(ends):
            pairs.append(tuple(load_result(end)["metrics"]["elbo"] for end in ends))
    return pairs


def distances(name: str) -> str:
    """Digit Fréchet distance of the first seed: of N(0, I), of the chains after K and 2,500 steps, of codes of test images."""
    health = load_result(name)["metrics"]["health"]
    if "distance" not in health:
        return ""
    at = dict(zip(health["steps"], health["distance"], strict=True))
    k = health["steps"][1]
    ends = health["references"]
    return f"{ends['gaussian']:.0f} → {at[k]:.0f} → {at[2500]:.0f} (codes {ends['codes']:.0f})"


def worth_of_energies() -> str:
    """Bounds with and without the energy, their difference paired by seed, and what the chains make of noise."""
    rows = []
    for name, label in PAIRS.items():
        pairs = bounds_of_pair(name)
        mean, low, high = paired(*zip(*pairs, strict=True))
        ours, theirs = (statistics.fmean(side) for side in zip(*pairs, strict=True))
        interval = "" if math.isnan(low) else f" [{low:+.1f}, {high:+.1f}]"
        health = load_result(name)["metrics"]["health"]
        rows.append(
            [
                f"{label} (`{name}`)",
                f"{len(pairs)}",
                f"{theirs:.1f}",
                f"{ours:.1f}",
                f"{mean:+.1f}{interval}",
                f"{health['gain']:.1f}",
                distances(name),
                f"{health['acceptance']:.2f}",
            ]
        )
    header = ["model", "seeds", "ELBO, f = 0", "ELBO, joint EBM", "difference, 95 %", "gain of f on the codes"]
    return table([*header, "digit FD: noise → K steps → 2,500 steps", "acceptance"], rows)
