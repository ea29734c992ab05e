"""The supplement's Table 1: clothes in, digits out, and the other way round."""

from hebm_lib.reproduction.claims.evidence import parts_of
from hebm_lib.reproduction.results import load_paper, mean_and_spread
from hebm_lib.reproduction.studies.out_of_distribution import DRAWS, PIXELS
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


def bounds_of(run: str, name: str) -> tuple[tuple[str, str, str], ...]:
    """Rows of HVAE: its bound and the ratio of two, of one draw each and of many, which not every run was asked for."""
    ratios = ("LLR>2", f"LLR>2, {DRAWS} draws", f"LLR>2 without KL, {DRAWS} draws")
    return tuple((run, name, score) for score in ("-ELBO", *ratios))


OURS = {
    "fashion in, MNIST out": (
        *pairs_of("fashion"),
        *bounds_of("fashion-hvae", "HVAE"),
        *bounds_of("fashion-hvae-bernoulli", "HVAE, Bernoulli pixels"),
        *bounds_of("fashion-hvae-binary", "HVAE, images black or white"),
        *bounds_of("fashion-hvae-binary-long", "HVAE, the same for 30 epochs"),
        ("fashion-map", "joint EBM, no walls", "-log p(x, z)"),
        ("fashion-map", "joint EBM, no walls", "-f(z)"),
        ("fashion-capped", "joint EBM, capped", "-log p(x, z)"),
        ("fashion-capped", "joint EBM, capped", "-f(z)"),
    ),
    "MNIST in, fashion out": (
        *pairs_of("mnist"),
        *bounds_of("mnist-hvae", "HVAE"),
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
