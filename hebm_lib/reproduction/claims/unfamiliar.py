"""The supplement's Table 1: clothes in, digits out, and the other way round."""

from hebm_lib.reproduction.claims.evidence import parts_of
from hebm_lib.reproduction.results import load_paper, mean_and_spread
from hebm_lib.reproduction.studies.out_of_distribution import PIXELS
from hebm_lib.reproduction.tables import number, table

__all__ = ["OURS", "of_seeds", "out_of_distribution"]

PAPER = {"ours": "joint EBM", "vlae": "VLAE", "hvae": "HVAE", "hvae-llr": "HVAE, LLR"}


def pairs_of(base: str) -> tuple[tuple[str, str, str], ...]:
    """Rows of the joint EBM and its twin for all pixels in training; f alone where the paper's score hides it."""
    found = []
    for words, mark in PIXELS.items():
        run, score = f"{base}{mark}", "-log p(x, z)"
        found += [(run, f"joint EBM{words}", score), (f"{run}-gaussian", f"VLAE{words}", score)]
        if mark in ("", "-bernoulli"):
            found.append((run, f"joint EBM{words}", "-f(z)"))
    return tuple(found)


OURS = {
    "fashion in, MNIST out": (
        *pairs_of("fashion"),
        ("fashion-hvae", "HVAE", "-ELBO"),
        ("fashion-hvae", "HVAE", "LLR>2"),
        ("fashion-hvae-bernoulli", "HVAE, Bernoulli pixels", "-ELBO"),
        ("fashion-hvae-bernoulli", "HVAE, Bernoulli pixels", "LLR>2"),
        ("fashion-hvae-binary", "HVAE, images black or white", "-ELBO"),
        ("fashion-hvae-binary", "HVAE, images black or white", "LLR>2"),
        ("fashion-map", "joint EBM, no walls", "-log p(x, z)"),
        ("fashion-map", "joint EBM, no walls", "-f(z)"),
        ("fashion-capped", "joint EBM, capped", "-log p(x, z)"),
        ("fashion-capped", "joint EBM, capped", "-f(z)"),
    ),
    "MNIST in, fashion out": (
        *pairs_of("mnist"),
        ("mnist-hvae", "HVAE", "-ELBO"),
        ("mnist-hvae", "HVAE", "LLR>2"),
    ),
}
"""Per direction run, our row's name and its score."""


def of_seeds(run: str, score: str, measure: str) -> list[float]:
    """A measure of a score, of every training seed of a run that the study has; empty where a run has no such score."""
    seeds = [part["scores"] for part in parts_of("out-of-distribution", run).values()]
    return [scores[score][measure] for scores in seeds if score in scores]


def out_of_distribution(direction: str = "fashion in, MNIST out") -> str:
    """The paper's rows, which are of one direction, and ours, as far as they are measured; ± is over training seeds."""
    rows = []
    if direction == "fashion in, MNIST out":
        paper = load_paper()["supplement_table1_ood_fashion_in_mnist_out"]
        for key, name in PAPER.items():
            cells = [f"{paper[key][measure]:.3f}" for measure in ("auprc", "auroc")]
            rows.append([f"paper, {name}", "", "not stated", *cells])
    for run, name, score in OURS[direction]:
        if seeds := of_seeds(run, score, "auroc"):
            cells = [number(mean_and_spread(of_seeds(run, score, measure)), 3) for measure in ("auprc", "auroc")]
            rows.append([f"this book, {name}", f"{len(seeds)}", score, *cells])
    return table([direction.replace("fashion", "Fashion-MNIST"), "seeds", "score", "AUPRC", "AUROC"], rows)
