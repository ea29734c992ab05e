"""The tables of MNIST's levels: Table 1, Figures 5 and 6 as numbers, the two readers."""

from hebm_lib.reproduction.results import load_classifier_accuracy, load_paper, load_seeds, mean_and_sd
from hebm_lib.reproduction.tables import budget, number, percent, table

__all__ = ["FASHION", "SECOND", "THREE_LEVELS", "figure5", "figure6", "readers", "table1"]

THREE_LEVELS = {
    "mnist": "joint EBM",
    "mnist-gaussian": "the same ladder, f = 0",
    "mnist-map": "joint EBM, no walls",
    "mnist-map-gaussian": "the same ladder, f = 0",
    "mnist-vlae": "VLAE",
}
"""Models of all ten digits on the same three levels."""
FASHION = {
    "fashion": "joint EBM",
    "fashion-gaussian": "the same ladder, f = 0",
    "fashion-map": "joint EBM, no walls",
    "fashion-map-gaussian": "the same ladder, f = 0",
    "fashion-vlae": "VLAE",
}
"""The same networks on Fashion-MNIST."""
SECOND = "read by the crisp-digit classifier"


def table1(title: str = "MNIST", names: dict[str, str] = THREE_LEVELS) -> str:
    """Table 1, latent classifier: the paper's rows and ours.

    Args:
        title: the data set, as the table's head names it; in small letters it is the paper's.
        names: the runs of our rows and what to call them.
    """
    paper = load_paper()["table1_latent_classifier_accuracy_percent"][title.lower()]
    titles = {"ours": "joint EBM", "vlae": "VLAE"}
    rows = [[f"paper, {titles[name]}", *(f"{v:.2f}" for v in values), "not stated"] for name, values in paper.items()]
    for name, label in names.items():
        runs = load_seeds(name)
        if runs:
            rows.append([f"this book, {label}", *map(percent, mean_and_sd(runs, "latent_accuracy")), budget(runs)])
    return table([f"{title}, accuracy in %", "z_1", "z_2", "z_3", "budget"], rows)


def figure5() -> str:
    """Fig. 5 as a number: class change when one level is redrawn."""
    rows = [["paper", "a picture", "a picture", "a picture"]]
    for name, label in THREE_LEVELS.items():
        runs = load_seeds(name)
        if not runs:
            continue
        rows.append([f"class change in %, {label}", *map(percent, mean_and_sd(runs, "class_change"))])
        rows.append([f"the same, {SECOND}", *map(percent, mean_and_sd(runs, "plain_class_change"))])
        for key, measure in (("stroke_width", "spread of stroke width, pixels"), ("slant", "spread of slant")):
            rows.append([f"{measure}, {label}", *(number(pair, 3) for pair in mean_and_sd(runs, key))])
    return table(["only this level redrawn", "z_1", "z_2", "z_3"], rows)


def figure6(variants: bool = False) -> str:
    """Fig. 6 as a number: stay and visit shares of the two traversals; ``variants`` adds the models changed on purpose."""
    rows = [["paper", "a picture", "a picture", "a picture", "a picture"]]
    names = {"mnist-012": "this book, joint EBM"}
    if variants:
        names |= {
            "mnist-012-gaussian": "no energy, f = 0",
            "mnist-012-capped": "f 10-Lipschitz, fresh chains",
            "mnist-012-mild": "f 1-Lipschitz, fresh chains",
            "mnist-012-rich": "rich bottom path",
        }
    for name, label in names.items():
        runs = load_seeds(name)
        for prefix, reader in (("", ""), ("plain_", f", {SECOND}")) if runs else ():
            stay, visit = (mean_and_sd(runs, f"{prefix}traversal_{kind}") for kind in ("stay", "visit"))
            cells = [stay[0], visit[1], visit[0], stay[1]]
            rows.append([label + reader, *map(percent, cells)])
    header = ["digits 0, 1, 2; one unit per level, %", "stays along z_1", "z_2 meets all three", "z_1 meets all three"]
    return table([*header, "stays along z_2"], rows)


def readers() -> str:
    """What the two classifiers read on real digits, as they are and worn."""
    accuracy = load_classifier_accuracy()
    kinds = next(iter(accuracy.values()))
    rows = [[name, *(percent((shares[kind], float("nan"))) for kind in kinds)] for name, shares in accuracy.items()]
    return table(["accuracy on MNIST's test images, %", *kinds], rows)
