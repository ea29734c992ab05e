"""Table 3: a digit that was left out of the training, then looked for."""

from hebm_lib.experiments import KIND_NAMES
from hebm_lib.reproduction.results import load_paper, mean_and_spread
from hebm_lib.reproduction.studies.anomaly import KINDS, PAPER_LABELS
from hebm_lib.reproduction.studies.anomaly_settings import DIMS, SIGMAS, setting_name
from hebm_lib.reproduction.studies.study import stored_study
from hebm_lib.reproduction.tables import number, table

__all__ = [
    "SPLITS",
    "auprc_of",
    "left_out_all_digits",
    "left_out_digit",
    "left_out_settings",
    "of_setting",
    "over_seeds",
    "seeds_of",
]

SPLITS = {"standard": "standard test set", "pooled": "80/20", "leaking": "80/20 with its leak"}
"""Test sets of `hebm_lib.metrics.hold_out`, and what the table calls them."""
PAPER_ROWS = {"vae": "VAE", "hvae": "HVAE", "meg": "MEG", "bigan-sigma": "BiGAN-σ", "lebm": "latent EBM"} | {
    "ours": "joint EBM"
}


def seeds_of(kind: str) -> dict[int, dict[int, dict]]:
    """Parts by training seed and digit: of the study ``anomaly-systems`` those seeds that have all of the table's digits.

    Where it has none, the one seed of the study ``anomaly``, which trains on fewer images.
    """
    parts, found = stored_study("anomaly-systems")["parts"], {}
    for name, part in parts.items():
        stem, _, seed = name.partition("@")
        of, _, label = stem.partition("/")
        if of == kind:
            found.setdefault(int(seed), {})[int(label)] = part
    whole = {seed: by for seed, by in sorted(found.items()) if set(PAPER_LABELS) <= by.keys()}
    if whole:
        return whole
    older = stored_study("anomaly")["parts"]
    one = {label: older[f"{kind}/{label}"] for label in range(10) if f"{kind}/{label}" in older}
    return {1: one} if set(PAPER_LABELS) <= one.keys() else {}


def auprc_of(part: dict, split: str = "pooled", measure: str = "auprc") -> tuple[float, float | None]:
    """Mean and deviation over a part's last epochs, by the decision function of its row: HVAE's is its bound.

    Example:
        >>> auprc_of({"kind": "vae", "tests": {"pooled": {"auprc": [0.4, 0.1]}}})
        (0.4, 0.1)
    """
    return tuple(part["bounds" if part["kind"] == "hvae" else "tests"][split][measure])


def over_seeds(
    seeds: dict[int, dict[int, dict]], label: int, split: str = "pooled", measure: str = "auprc"
) -> tuple[float, float | None]:
    """Mean and deviation over the training seeds of `seeds_of`; of a single seed those over its last epochs.

    Example:
        >>> parts = [{"kind": "vae", "tests": {"pooled": {"auprc": [value, 0.1]}}} for value in (0.5, 0.5)]
        >>> over_seeds({1: {9: parts[0]}}, 9), over_seeds({1: {9: parts[0]}, 2: {9: parts[1]}}, 9)
        ((0.5, 0.1), (0.5, 0.0))
    """
    found = [auprc_of(by[label], split, measure) for by in seeds.values()]
    return found[0] if len(found) == 1 else mean_and_spread([mean for mean, _ in found])


def left_out_digit() -> str:
    """Table 3: the paper's rows, then ours on three test sets, with what every number is to be read against.

    ± is over training seeds; over the last epochs where there is one.
    """
    paper, pixels = load_paper()["table3_anomaly_auprc"], stored_study("anomaly")["parts"]
    systems = {kind: seeds_of(kind) for kind in KINDS}
    rows = [[f"paper, {name}", "not stated", "", *(f"{v:.3f}" for v in paper[key])] for key, name in PAPER_ROWS.items()]
    for split, called in SPLITS.items():
        for kind, seeds in systems.items():
            cells = [number(over_seeds(seeds, label, split), 3) if seeds else "not run" for label in PAPER_LABELS]
            rows.append([f"this book, {KIND_NAMES[kind]}", called, str(len(seeds)), *cells])
        bare = [pixels[f"pixels/{label}"] for label in PAPER_LABELS]
        for score in ("nearest image", "dark"):
            cells = [f"{part['terms'][split][score]:.3f}" for part in bare]
            rows.append([f"no model, {score}", called, "", *cells])
        for key, name in (("prevalence", "a random score"), ("worst", "the worst score")):
            rows.append([name, called, "", *(f"{part['tests'][split][key]:.3f}" for part in bare)])
    return table(["digit left out, AUPRC", "test set", "seeds", *map(str, PAPER_LABELS)], rows)


def left_out_all_digits() -> str:
    """The joint EBM without each of the ten digits: ``-log p(x, z)`` on three test sets, then what 80/20 is to be read against.

    ± is over training seeds; over the last epochs where there is one. A digit that was not left out yet has no row.
    """
    seeds, pixels, rows = seeds_of("joint-ebm"), stored_study("anomaly")["parts"], []
    for label in range(10):
        having = {seed: by for seed, by in seeds.items() if label in by}
        if not having:
            continue
        prior = [by[label]["terms"]["pooled"]["-f(z) - log N(z; 0, I)"] for by in having.values()]
        bare = pixels[f"pixels/{label}"]
        cells = [number(over_seeds(having, label, split), 3) for split in SPLITS]
        cells += [f"{sum(prior) / len(prior):.3f}", f"{bare['terms']['pooled']['nearest image']:.3f}"]
        rows.append([str(label), str(len(having)), *cells, f"{bare['tests']['pooled']['prevalence']:.3f}"])
    alone = ("its prior alone, 80/20", "nearest of 10,000 images, 80/20", "a random score, 80/20")
    return table(["digit left out", "seeds", *SPLITS.values(), *alone], rows)


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
    parts = stored_study("anomaly-settings")["parts"]
    settings = {(units, sigma): of_setting(parts, units, sigma, split) for units in DIMS for sigma in SIGMAS}
    labels = [label for label in PAPER_LABELS if all(label in found for found in settings.values())]
    rows = []
    for (units, sigma), found in settings.items():
        first, last = ([found[label][i] for label in labels] for i in (0, -1))
        means = [sum(values) / len(values) for values in (last, first)]
        cells = [f"{value:.3f}" for value in (*last, *means)]
        rows.append(["/".join(map(str, DIMS[units])), f"{sigma:g}", *cells])
    return table(["units", "σ in training", *map(str, labels), "mean", "mean after one epoch"], rows)
