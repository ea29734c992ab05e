"""What the joint energy is worth: every pair of a model with its energy and the same ladder with f = 0, seed by seed."""

import math
import statistics

from hebm_lib.reproduction.results import load_result, load_seeds, mean_and_spread, paired, result_names
from hebm_lib.reproduction.studies.study import load_study
from hebm_lib.reproduction.tables import number, table

__all__ = ["PAIRS", "bounds_of_pair", "finding", "worth_of_energies"]

LONG = 2500
"""Steps of the longest chain."""
PAIRS = {
    "digits": "8×8 digits, two levels",
    "mnist-012": "MNIST 0–2, a unit per level",
    "mnist-012-2d": "MNIST 0–2, two units per level",
    "mnist": "MNIST, three levels",
    "mnist-map": "MNIST, the same without walls",
    "fashion": "Fashion-MNIST, three levels",
    "fashion-map": "Fashion-MNIST, without walls",
    "svhn": "SVHN (svhn-11k), four levels",
}
"""Entry with an energy → what a table calls it; the control is called ``…-gaussian``. What walls are: page 05."""


def bounds_of_pair(name: str) -> list[tuple[float, float]]:
    """The bounds of a pair in nats, energy first, of every seed of which both are published."""
    names = set(result_names())
    pairs = []
    for seed in range(1, 11):
        ends = [entry if seed == 1 else f"{entry}@{seed}" for entry in (name, f"{name}-gaussian")]
        if names.issuperset(ends):
            pairs.append(tuple(load_result(end)["metrics"]["elbo"] for end in ends))
    return pairs


def health_of(name: str) -> list[dict]:
    """What each seed's run says of its own chains (`hebm_lib.metrics.chain_health`)."""
    return [run["metrics"]["health"] for run in load_seeds(name)]


def mean_distance(runs: list[dict], of: int | str) -> float:
    """Mean over seeds of the digit Fréchet distance after so many steps, or of one of the references by name."""
    if isinstance(of, str):
        return statistics.fmean(run["references"][of] for run in runs)
    return statistics.fmean(run["distance"][run["steps"].index(of)] for run in runs)


def distances(runs: list[dict]) -> str:
    """Digit Fréchet distance of N(0, I), of chains after K and 2,500 steps, of test images' codes; empty without digits."""
    if any("distance" not in run for run in runs):
        return ""
    start, at_k, end, codes = (mean_distance(runs, of) for of in ("gaussian", runs[0]["steps"][1], LONG, "codes"))
    return f"{start:.0f} → {at_k:.0f} → {end:.0f} (codes {codes:.0f})"


def worth_of_energies() -> str:
    """Bounds with and without the energy, their difference paired by seed, and what the chains make of noise."""
    rows = []
    for name, label in PAIRS.items():
        pairs = bounds_of_pair(name)
        mean, low, high = paired(*zip(*pairs, strict=True))
        ours, theirs = (statistics.fmean(side) for side in zip(*pairs, strict=True))
        interval = "" if math.isnan(low) else f" [{low:+.1f}, {high:+.1f}]"
        health = health_of(name)
        rows.append(
            [
                f"{label} (`{name}`)",
                f"{len(pairs)}",
                f"{theirs:.1f}",
                f"{ours:.1f}",
                f"{mean:+.1f}{interval}",
                number(mean_and_spread([run["gain"] for run in health]), 1),
                distances(health),
                f"{statistics.fmean(run['acceptance'] for run in health):.2f}",
            ]
        )
    header = ["model", "seeds", "ELBO, f = 0", "ELBO, joint EBM", "difference, 95 %", "gain of f on the codes"]
    return table([*header, "digit FD: noise → K steps → 2,500 steps", "acceptance"], rows)


def faces_found() -> list[str]:
    """What the energy's chain does to samples of faces: a row of `finding`."""
    parts = load_study("natural-images")

    def mean(base: str, key: str) -> str:
        found = [part[key]["frechet"] for name, part in parts.items() if name.partition("@")[0] == base]
        return f"{statistics.fmean(found):.0f}"

    of = "celeba-64"
    return [
        f"**{mean(of, 'without')} → {mean(of, 'long')}**",
        "distance of samples to real faces, before and after a chain of ten times the steps of training",
        f"the same ladder trained with f = 0: {mean(f'{of}-vlae', 'samples')}; reconstructions: {mean(of, 'reconstructions')}",
    ]


def finding(name: str = "mnist") -> str:
    """The book's finding in four numbers: of one model nats, distance, and whether its chains stay; and faces."""
    pairs = bounds_of_pair(name)
    mean, low, high = paired(*zip(*pairs, strict=True))
    runs = health_of(name)
    k = runs[0]["steps"][1]
    start, at_k, end, shuffled, codes = (
        f"{mean_distance(runs, of):.0f}" for of in ("gaussian", k, LONG, "shuffled", "codes")
    )
    rows = [
        [
            f"**{mean:+.1f} nats** [{low:.1f}, {high:.1f}]",
            "of the bound on MNIST, over the same ladder with f = 0",
            f"{len(pairs)} seeds, paired, 95 %",
        ],
        [
            f"**{start} → {at_k}**",
            "distance of samples to real digits, before and after the energy's chain",
            f"levels of different images put together: {shuffled}; real codes: {codes}",
        ],
        [
            f"**{at_k} → {end}**",
            f"the same from {k} steps, the length of training, to {LONG:,}",
            "the chains stay, and get nearer",
        ],
        faces_found(),
    ]
    return table(["", "what it is", "for scale"], rows)
