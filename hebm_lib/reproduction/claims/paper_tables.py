"""The paper's tables of natural images and of 3D shapes, and the ablations: its numbers, and ours."""

import math
import statistics
from collections.abc import Callable

from hebm_lib.experiments import KIND_NAMES, load_experiment
from hebm_lib.experiments.ablations import STEPS, WIDTHS
from hebm_lib.experiments.shapes import SHAPES_RUNS
from hebm_lib.reproduction.results import load_paper, load_seeds, mean_and_sd, mean_and_spread
from hebm_lib.reproduction.studies.ablations import over_seeds
from hebm_lib.reproduction.studies.image_codes import SETTINGS, across
from hebm_lib.reproduction.studies.natural_images import end_to_end
from hebm_lib.reproduction.studies.study import load_study
from hebm_lib.reproduction.tables import number, percent, table

__all__ = [
    "BY_STEPS",
    "BY_WIDTH",
    "disentanglement",
    "natural_images",
    "rank_correlation",
    "svhn_levels",
    "table2",
    "table4",
    "table5",
    "table6",
]

BY_STEPS = {k: "ablation" if k == 60 else f"ablation-k{k}" for k in STEPS}
BY_WIDTH = {w: "ablation" if w == 100 else f"ablation-h{w}" for w in WIDTHS}
"""Setting → entry of the registry."""

NAMES = {
    "ours": "joint EBM",
    "lebm": "latent EBM",
    "2s-vae": "2s-VAE",
    "multi-ncp": "Multi-NCP",
    **{f"pro-vlae-s{s}": f"pro-VLAE, s = {s}" for s in (1, 2, 3)},
}
"""Rows of the paper that are not just an abbreviation."""


def cell(value: float | None, digits: int = 2) -> str:
    """A number with as many decimals as the paper prints; nothing where it has none."""
    return "" if value is None else f"{value:.{digits}f}"


def label(key: str) -> str:
    """A model's row of the paper.

    >>> label("ours"), label("ncp-vae")
    ('joint EBM, paper', 'NCP-VAE, paper')
    """
    return f"{NAMES.get(key, key.upper())}, paper"


def table2() -> str:
    """Table 2 as the paper has it: test MSE and FID."""
    svhn, celeba = (load_paper()["table2_mse_and_fid"][data] for data in ("svhn", "celeba-64"))
    rows = [
        [
            label(key),
            *(cell(value, digits) for data in (svhn, celeba) for value, digits in zip(data[key], (3, 2), strict=True)),
        ]
        for key in svhn
    ]
    return table(["model", "SVHN, MSE", "SVHN, FID", "CelebA-64, MSE", "CelebA-64, FID"], rows)


def natural_rows(pack: str, kind: str) -> list[dict]:
    """What the study found for one system, a dict per training seed."""
    parts, base = load_study("natural-images"), f"{pack}-{kind}" if kind else pack
    found = [part for name, part in parts.items() if name == base or name.startswith(f"{base}@")]
    # Without a chain, what a run stored as a longer one is a second draw of N(0, I).
    if found and not load_experiment(base).training.langevin.steps:
        found = [{key: value for key, value in part.items() if key != "long"} for part in found]
    return found


def mean_of(found: list[dict], pick: Callable[[dict], float], digits: int) -> str:
    """Mean over seeds, with the deviation where there are several; empty where there is none."""
    values = [pick(part) for part in found]
    return number(mean_and_spread(values), digits) if values else ""


def natural_images(packs: tuple[str, ...] = ("svhn-11k", "celeba-64")) -> str:
    """Table 2's systems on our subsets, in our features: every row from a run, best distance on the first set first.

    Args:
        packs: image sets, three columns each; ``("cifar10",)`` is Table 6.
    """
    kinds = {"": "joint EBM", **{kind: name for kind, name in KIND_NAMES.items() if kind != "joint-ebm"}}
    rows = []
    for kind, name in kinds.items():
        of_packs = [natural_rows(pack, kind) for pack in packs]
        if not any(of_packs):
            continue
        cells = []
        for found in of_packs:
            cells += [
                mean_of(found, lambda part: part["mse01"], 4),
                mean_of(found, lambda part: part["samples"]["frechet"], 1),
                mean_of(found, lambda part: 100 * part["samples"]["kernel"], 1),
            ]
        seeds = "/".join(str(len(found)) for found in of_packs)
        longer = [[part["long"] for part in found if "long" in part] for found in of_packs]
        first = of_packs[0]
        order = statistics.fmean(part["samples"]["frechet"] for part in first) if first else math.inf
        rows.append((order, [name, *cells, seeds]))
        if any(longer):
            cells = []
            for found in longer:
                cells += ["", mean_of(found, lambda far: far["frechet"], 1)]
                cells += [mean_of(found, lambda far: 100 * far["kernel"], 1)]
            rows.append((order, ["the same, chains ten times as long", *cells, ""]))
    lines = [row for _, row in sorted(rows, key=lambda row: row[0])]
    references = load_study("natural-images")
    ends = ["other real images"]
    for part in (references.get(f"{pack}, real images") for pack in packs):
        ends += ["", mean_of([part] if part else [], lambda p: p["samples"]["frechet"], 1)]
        ends += [mean_of([part] if part else [], lambda p: 100 * p["samples"]["kernel"], 1)]
    head = ["model, this book"]
    for pack in packs:
        head += [f"{pack}: MSE", "FD", "KD × 100"]
    return table([*head, "seeds"], [*lines, [*ends, ""]])


OUR_KINDS = {"ours": "", "2s-vae": "twostage", "ncp-vae": "ncpvae", "multi-ncp": "multincp"}
"""Rows of the paper's Table 2 → the kinds of our entries, where the two names differ."""


def rank_correlation(data: str, pack: str) -> tuple[float, int]:
    """Spearman's correlation of the paper's FID column with our Fréchet distances, and over how many systems.

    Args:
        data: the paper's image set: ``svhn`` or ``celeba-64`` of Table 2, ``cifar10`` of Table 6.
        pack: ours.
    """
    from scipy.stats import spearmanr

    paper = load_paper()
    column = {key: fid for key, (_, fid) in paper["table2_mse_and_fid"].get(data, {}).items()}
    pairs = []
    for key, fid in (column or paper["table6_fid_cifar10"]).items():
        found = natural_rows(pack, OUR_KINDS.get(key, key))
        if found:
            pairs.append((fid, statistics.fmean(part["samples"]["frechet"] for part in found)))
    return float(spearmanr(*zip(*pairs, strict=True)).statistic), len(pairs)


def along_columns(kind: str, key: str, what: str, ablations: dict[int, str]) -> str:
    """Tables 4 and 5: the paper's number per setting; below it ours: of all networks learning on photographs, where a column
    was trained so, of f alone on the codes of their ladders, and of MNIST.

    Args:
        kind: of `hebm_lib.reproduction.studies.image_codes.SETTINGS`.
        key: of the paper's row.
        what: heads the columns.
        ablations: setting → entry of the small models of MNIST.
    """
    values, codes = load_paper()[key], load_study("image-codes")
    rows, whole = [["joint EBM, paper, FID", *map(cell, values.values())]], load_study("natural-images")
    for pack in ("celeba-64", "svhn-11k"):
        found = end_to_end(whole, pack, kind)
        if found:
            cells = [number(mean_and_spread(found[column]), 1) if column in found else "" for column in values]
            counts = " or ".join(str(count) for count in sorted({len(far) for far in found.values()}))
            rows.append([f"all networks learn, {pack}, FD after training's steps, seeds: {counts}", *cells])
    for pack in ("celeba-64", "svhn-11k"):
        for after, steps in (("K", "training's steps"), ("long", "2,500 steps")):
            found = across(codes, pack, kind, after)
            learned = [len(found[column]) for column, setting in SETTINGS[kind].items() if setting is not None]
            if min(learned):
                cells = [number(mean_and_spread(distances), 1) for distances in found.values()]
                rows.append([f"f on VLAE's codes, {pack}, FD after {steps}, {min(learned)} seeds", *cells])
    ours = [number(over_seeds(load_study("ablations"), name, "distance", "prior"), 0) for name in ablations.values()]
    rows.append(["small joint EBM, MNIST, digit Fréchet distance, 3 seeds", *ours])
    return table([what, *values], rows)


def table4() -> str:
    """Table 4: distance against Langevin steps."""
    return along_columns("K", "table4_fid_against_langevin_steps_celeba64", "K", BY_STEPS)


def table5() -> str:
    """Table 5: distance against hidden units of f."""
    return along_columns("width", "table5_fid_against_hidden_units", "hidden units", BY_WIDTH)


def table6() -> str:
    """Table 6: FID on CIFAR-10, as the paper has it."""
    return table(
        ["model", "CIFAR-10, FID"],
        [[label(key), cell(value)] for key, value in load_paper()["table6_fid_cifar10"].items()],
    )


def svhn_levels() -> str:
    """Table 1's part on SVHN."""
    values = load_paper()["table1_latent_classifier_accuracy_percent"]["svhn"]
    rows = [[label(key), *map(cell, row)] for key, row in values.items()]
    for name, what in {"svhn": "joint EBM", "svhn-gaussian": "the same ladder, f = 0"}.items():
        runs = load_seeds(name)
        if runs:
            cells = map(percent, mean_and_sd(runs, "latent_accuracy"))
            rows.append([f"{what}, this book, svhn-11k, {len(runs)} seeds", *cells])
    return table(["SVHN, accuracy in %", "z_1", "z_2", "z_3", "z_4"], rows)


def disentanglement() -> str:
    """Table 2 of the supplement."""
    values = load_paper()["supplement_table2_disentanglement_3dshapes"]
    rows = [[label(key), cell(row["mig"], 3), cell(row["mig_sup"], 3), ""] for key, row in values.items()]
    parts = load_study("disentanglement")
    for entry in SHAPES_RUNS:
        found = [part for name, part in parts.items() if name.partition("@")[0] == entry]
        if found:
            what = load_experiment(entry).description.partition(": ")[2]
            cells = [mean_of(found, lambda part, key=key: part[key], 2) for key in ("mig", "mig_sup")]
            rows.append([f"{what}; this book, our renderer", *cells, str(len(found))])
    return table(["3D Shapes", "MIG", "MIG-sup", "seeds"], rows)
