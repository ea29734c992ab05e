"""The supplement's Table 1: clothes in, digits out."""

from hebm_lib.results import load_paper
from hebm_lib.studies.study import load_study
from hebm_lib.tables import table

__all__ = ["out_of_distribution"]

PAPER = {"ours": "joint EBM", "vlae": "VLAE", "hvae": "HVAE", "hvae-llr": "HVAE, LLR"}
OURS = {
    "fashion": ("joint EBM", "-log p(x, z)"),
    "fashion-vlae": ("VLAE", "-log p(x, z)"),
    "fashion-hvae": ("HVAE", "-ELBO"),
    "fashion-vlae, Bernoulli pixels": ("VLAE, Bernoulli pixels", "-ELBO"),
    "fashion-hvae, Bernoulli pixels": ("HVAE, Bernoulli pixels", "-ELBO"),
}
"""Part of the study → our row's name and its score."""


def out_of_distribution() -> str:
    """The paper's rows and ours, as far as they have been measured."""
    paper = load_paper()["supplement_table1_ood_fashion_in_mnist_out"]
    rows = [
        [f"paper, {name}", "not stated", f"{paper[key]['auprc']:.3f}", f"{paper[key]['auroc']:.3f}"]
        for key, name in PAPER.items()
    ]
    parts = load_study("out-of-distribution")
    for part, (name, score) in OURS.items():
        if part in parts:
            found = parts[part]["scores"][score]
            rows.append([f"this book, {name}", score, f"{found['auprc']:.3f}", f"{found['auroc']:.3f}"])
    return table(["Fashion-MNIST in, MNIST out", "score", "AUPRC", "AUROC"], rows)
