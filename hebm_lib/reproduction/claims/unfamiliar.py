"""Table 3, a digit that was left out of the training; and the supplement's Table 1, clothes in, digits out."""

from hebm_lib.experiments import KIND_NAMES
from hebm_lib.reproduction.claims.evidence import parts_of
from hebm_lib.reproduction.results import load_paper, mean_and_spread
from hebm_lib.reproduction.studies.anomaly import KINDS, PAPER_LABELS
from hebm_lib.reproduction.studies.anomaly_settings import DIMS, SIGMAS, setting_name
from hebm_lib.reproduction.studies.out_of_distribution import PIXELS
from hebm_lib.reproduction.studies.study import load_study
from hebm_lib.reproduction.tables import number, table

__all__ = ["OURS", "SPLITS", "left_out_digit", "left_out_settings", "of_seeds", "of_setting", "out_of_distribution"]

SPLITS = {"standard": "standard test set", "pooled": "80/20", "leaking": "80/20 with its leak"}
"""Test sets of `hebm_lib.metrics.hold_out`, and what the table calls them."""
PAPER_ROWS = {"vae": "VAE", "hvae": "HVAE", "meg": "MEG", "bigan-sigma": "BiGAN-σ", "lebm": "latent EBM"} | {
    "ours": "joint EBM"
}

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


def left_out_digit() -> str:
    """Table 3: the paper's rows, then ours on three test sets, with what every number is to be read against."""
    paper, parts = load_paper()["table3_anomaly_auprc"], load_study("anomaly")
    rows = [[f"paper, {name}", "not stated", *(f"{v:.3f}" for v in paper[key])] for key, name in PAPER_ROWS.items()]
    for split, called in SPLITS.items():
        for kind in KINDS:
            # HVAE's decision function in the paper is its bound.
            which = "bounds" if kind == "hvae" else "tests"
            found = [parts.get(f"{kind}/{label}") for label in PAPER_LABELS]
            cells = ["not run" if part is None else number(part[which][split]["auprc"], 3) for part in found]
            rows.append([f"this book, {KIND_NAMES[kind]}", called, *cells])
        pixels = [parts[f"pixels/{label}"] for label in PAPER_LABELS]
        for score in ("nearest image", "dark"):
            cells = [f"{part['terms'][split][score]:.3f}" for part in pixels]
            rows.append([f"no model, {score}", called, *cells])
        for key, name in (("prevalence", "a random score"), ("worst", "the worst score")):
            rows.append([name, called, *(f"{part['tests'][split][key]:.3f}" for part in pixels)])
    return table(["digit left out, AUPRC", "test set", *map(str, PAPER_LABELS)], rows)


def of_setting(parts: dict[str, dict], units: str, sigma: float, split: str = "pooled") -> dict[int, list[float]]:
    """AUPRC after every epoch of a setting of the study ``anomaly-settings``, by the digits that it has been asked for.

    Example:
        >>> part = {"tests": {"pooled": {"by_epoch": [0.4, 0.5]}}}
        >>> of_setting({"222/0.4/9": part}, "222", 0.4)
        {9: [0.4, 0.5]}
    """
    names = {label: setting_name(units, sigma, label) for label in PAPER_LABELS}
    return {label: parts[name]["tests"][split]["by_epoch"] for label, name in names.items() if name in parts}


def left_out_settings(split: str = "pooled") -> str:
    """AUPRC of ``-log p(x, z)`` for every number of units and every σ in training, of the digits that all of them have."""
    parts = load_study("anomaly-settings")
    settings = {(units, sigma): of_setting(parts, units, sigma, split) for units in DIMS for sigma in SIGMAS}
    labels = [label for label in PAPER_LABELS if all(label in found for found in settings.values())]
    rows = []
    for (units, sigma), found in settings.items():
        first, last = ([found[label][i] for label in labels] for i in (0, -1))
        means = [sum(values) / len(values) for values in (last, first)]
        cells = [f"{value:.3f}" for value in (*last, *means)]
        rows.append(["/".join(map(str, DIMS[units])), f"{sigma:g}", *cells])
    return table(["units", "σ in training", *map(str, labels), "mean", "mean after one epoch"], rows)
