"""The paper's tables of other data: its numbers, what our row waits for, and where MNIST was asked instead, its answer."""

from hebm_lib.experiments.ablations import STEPS, WIDTHS
from hebm_lib.reproduction.results import load_paper
from hebm_lib.reproduction.studies.ablations import over_seeds
from hebm_lib.reproduction.studies.study import load_study
from hebm_lib.reproduction.tables import number, table

__all__ = ["BY_STEPS", "BY_WIDTH", "disentanglement", "svhn_levels", "table2", "table4", "table5", "table6"]

BY_STEPS = {k: "ablation" if k == 60 else f"ablation-k{k}" for k in STEPS}
BY_WIDTH = {w: "ablation" if w == 100 else f"ablation-h{w}" for w in WIDTHS}
"""Setting → entry of the registry."""

NAMES = {"ours": "joint EBM, paper", "vlae": "VLAE, paper"}


def cell(value: float | None) -> str:
    """A number as the paper prints it; nothing where it has none."""
    return "" if value is None else f"{value:g}"


def label(key: str) -> str:
    """A model's row of the paper."""
    return NAMES.get(key, f"{key.upper()}, paper")


def waiting_row(columns: int, reason: str) -> list[str]:
    """Our row of a table that cannot be filled here."""
    return ["joint EBM, this book", f"waits: {reason}", *[""] * (columns - 2)]


def table2() -> str:
    """Table 2: test MSE and FID."""
    svhn, celeba = (load_paper()["table2_mse_and_fid"][data] for data in ("svhn", "celeba-64"))
    rows = [[label(key), *map(cell, svhn[key]), *map(cell, celeba[key])] for key in svhn]
    rows.append(waiting_row(5, "SVHN and CelebA images, a GPU"))
    return table(["model", "SVHN, MSE", "SVHN, FID", "CelebA-64, MSE", "CelebA-64, FID"], rows)


def one_row(key: str, what: str, reason: str, ablations: dict[int, str]) -> str:
    """Tables 4 and 5: one number of the paper per setting; our row waits, and MNIST's stands below it."""
    values, parts = load_paper()[key], load_study("ablations")
    rows = [["joint EBM, paper, FID", *map(cell, values.values())], waiting_row(len(values) + 1, reason)]
    ours = [number(over_seeds(parts, name, "distance", "prior"), 0) for name in ablations.values()]
    rows.append(["small joint EBM, MNIST, digit Fréchet distance, 3 seeds", *ours])
    return table([what, *values], rows)


def table4() -> str:
    """Table 4: FID on CelebA-64 against Langevin steps."""
    return one_row("table4_fid_against_langevin_steps_celeba64", "K", "CelebA images, a GPU", BY_STEPS)


def table5() -> str:
    """Table 5: FID on SVHN against hidden units of f."""
    return one_row("table5_fid_against_hidden_units", "hidden units", "SVHN images, a GPU", BY_WIDTH)


def table6() -> str:
    """Table 6: FID on CIFAR-10."""
    rows = [[label(key), cell(value)] for key, value in load_paper()["table6_fid_cifar10"].items()]
    return table(["model", "CIFAR-10, FID"], [*rows, waiting_row(2, "CIFAR-10 images, a GPU")])


def svhn_levels() -> str:
    """Table 1's part on SVHN."""
    values = load_paper()["table1_latent_classifier_accuracy_percent"]["svhn"]
    rows = [[label(key), *map(cell, row)] for key, row in values.items()]
    return table(["SVHN, accuracy in %", "z_1", "z_2", "z_3", "z_4"], [*rows, waiting_row(5, "SVHN images")])


def disentanglement() -> str:
    """Table 2 of the supplement."""
    values = load_paper()["supplement_table2_disentanglement_3dshapes"]
    rows = [[label(key), cell(row["mig"]), cell(row["mig_sup"])] for key, row in values.items()]
    return table(["3D Shapes", "MIG", "MIG-sup"], [*rows, waiting_row(3, "3D Shapes images")])
