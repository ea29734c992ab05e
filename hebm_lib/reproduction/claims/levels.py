"""The tables of MNIST's levels: Table 1, Figures 5 and 6 as numbers, the two readers."""

from hebm_lib.experiments.levels import BOTTOMS, cell_name
from hebm_lib.reproduction.results import (
    load_classifier_accuracy,
    load_paper,
    load_seeds,
    mean_and_sd,
    mean_and_spread,
    paired,
)
from hebm_lib.reproduction.studies.study import load_study
from hebm_lib.reproduction.tables import budget, number, percent, table

__all__ = [
    "FASHION",
    "SECOND",
    "THREE_LEVELS",
    "CALLED",
    "PRINTED",
    "ROWS",
    "cell_pairs",
    "cells_of",
    "figure5",
    "figure6",
    "levels_in_full",
    "levels_map",
    "readers",
    "table1",
    "table1_units",
    "top_over_bottom",
    "what_decides",
]

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


def figure6() -> str:
    """Fig. 6 as a number: stay and visit shares of the two traversals, of our model and of those changed on purpose."""
    rows = [["paper", "a picture", "a picture", "a picture", "a picture"]]
    names = {
        "mnist-012": "this book, joint EBM",
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


# ---- what orders the levels: units × bottom path × prior ------------------------------------------------------------

CALLED = {"walls": "walls at the bottom", "map": "no walls", "own": "VLAE's own networks"}
"""The bottom paths of `hebm_lib.experiments.levels.BOTTOMS`, as tables name them."""
ROWS = {"222": "MNIST, 2/2/2", "2210": "MNIST, 2/2/10", "fashion": "Fashion-MNIST, 2/2/2"}
"""Images and units, z_1 first, as tables name them."""
PRINTED = {"222": "mnist", "fashion": "fashion-mnist"}
"""Those of `ROWS` that Table 1 has, and its name for them."""


def cell_pairs(parts: dict[str, dict], units: str) -> dict[str, tuple[list[dict], list[dict]]]:
    """By bottom path the numbers with the energy and with f = 0, of the training seeds that have both, in the same order.

    Args:
        parts: of the study ``levels``.
        units: of `ROWS`.

    Example:
        >>> parts = {name: {"n": i} for i, name in enumerate(
        ...     ["levels-222-map", "levels-222-map-gaussian", "levels-222-map@2", "levels-222-own"])}
        >>> cell_pairs(parts, "222")
        {'map': ([{'n': 0}], [{'n': 1}])}
    """
    found = {}
    for bottom in BOTTOMS:
        with_energy, without = (cell_name(units, bottom, energy=energy) for energy in (True, False))
        seeds = [name.removeprefix(with_energy) for name in parts if name.partition("@")[0] == with_energy]
        seeds = [seed for seed in seeds if without + seed in parts]
        if seeds:
            found[bottom] = tuple([parts[name + seed] for seed in seeds] for name in (with_energy, without))
    return found


def cells_of(parts: dict[str, dict]) -> dict[tuple[str, str], tuple[list[dict], list[dict]]]:
    """All cells of the map that have a pair: images with units and the bottom path → `cell_pairs`.

    Example:
        >>> list(cells_of({"levels-222-map": {}, "levels-222-map-gaussian": {}}))
        [('222', 'map')]
    """
    return {(units, bottom): pair for units in ROWS for bottom, pair in cell_pairs(parts, units).items()}


def difference(ours: list[float], control: list[float], scale: float = 1.0) -> str:
    """Mean difference in the same order of seeds, with its 95 % interval where there are two or more.

    Example:
        >>> difference([0.5, 0.7], [0.4, 0.5], 100), difference([0.5], [0.4], 100)
        ('+15.0 [-48.5, +78.5]', '+10.0')
    """
    mean, low, high = (scale * value for value in paired(ours, control))
    return f"{mean:+z.1f} [{low:+z.1f}, {high:+z.1f}]" if low == low else f"{mean:+z.1f}"


def levels_map(parts: dict[str, dict]) -> str:
    """Per cell: in how many seeds accuracy rises from level to level, and what the energy does to each level.

    Differences are paired by training seed.
    """
    rows = []
    for (units, bottom), (ours, control) in cells_of(parts).items():
        rises = [
            sum(run["latent_accuracy"] == sorted(run["latent_accuracy"]) for run in side) for side in (ours, control)
        ]
        levels = [
            difference(*([run["latent_accuracy"][i] for run in side] for side in (ours, control)), scale=100)
            for i in range(3)
        ]
        nats = difference([run["elbo"] for run in ours], [run["elbo"] for run in control])
        told = [f"{count} of {len(ours)}" for count in rises]
        rows.append([ROWS[units], CALLED[bottom], *told, *levels, nats])
    head = ["images, units", "bottom path", "rises with the energy", "rises with f = 0"]
    return table([*head, "the energy moves z_1 by, points", "z_2", "z_3", "bound, nats"], rows)


def top_over_bottom(runs: list[dict]) -> list[float]:
    """How many points the top's accuracy is above the bottom's, by seed.

    Example:
        >>> top_over_bottom([{"latent_accuracy": [0.25, 0.5, 0.75]}])
        [50.0]
    """
    return [100 * (run["latent_accuracy"][-1] - run["latent_accuracy"][0]) for run in runs]


def what_decides(parts: dict[str, dict]) -> str:
    """By how many points the top's lead over the bottom changes with the energy, with the units, with the bottom path.

    A row per change, a column per bottom path. Models with the energy are compared where it is not the energy that changes.
    All differences are by training seed; only those of the energy share their first weights.
    """
    cells = cells_of(parts)
    ahead = {cell: [top_over_bottom(side) for side in pair] for cell, pair in cells.items()}

    def row(words: str, changed: dict[str, tuple[list[float], list[float]]]) -> list[str]:
        return [words, *(difference(*changed[bottom]) if bottom in changed else "" for bottom in CALLED)]

    rows = [
        row(
            f"the energy; {ROWS[units]}",
            {bottom: ahead[units, bottom] for bottom in CALLED if (units, bottom) in ahead},
        )
        for units in ROWS
    ]
    both = [bottom for bottom in CALLED if ("222", bottom) in ahead and ("2210", bottom) in ahead]
    rows.append(row("10 units at the top for 2; MNIST", {b: (ahead["2210", b][0], ahead["222", b][0]) for b in both}))
    for units in ("222", "2210"):
        if (units, "walls") in ahead:
            others = [bottom for bottom in CALLED if bottom != "walls" and (units, bottom) in ahead]
            walls = ahead[units, "walls"][0]
            rows.append(
                row(f"this path instead of walls; {ROWS[units]}", {b: (ahead[units, b][0], walls) for b in others})
            )
    return table(["z_3's accuracy above z_1's changes by, points", *CALLED.values()], rows)


def table1_units(units: str = "222") -> str:
    """Table 1 with other units than the published models': accuracies over training seeds, for every bottom path and prior.

    Args:
        units: of `ROWS`. The paper's rows, for which VLAE's structure is taken, stand beside ``222`` and ``fashion``.
    """
    paper = load_paper()["table1_latent_classifier_accuracy_percent"].get(PRINTED.get(units), {})
    rows = [
        [f"paper, {what}", *(f"{v:.2f}" for v in paper[key]), "1"]
        for key, what in (("ours", "joint EBM"), ("vlae", "VLAE"))
        if key in paper
    ]
    for bottom, pair in cell_pairs(load_study("levels"), units).items():
        for what, runs in zip(("joint EBM", "the same ladder, f = 0"), pair, strict=True):
            levels = map(mean_and_spread, zip(*(run["latent_accuracy"] for run in runs), strict=True))
            rows.append([f"this book, {what}, {CALLED[bottom]}", *map(percent, levels), str(len(runs))])
    return table([f"{ROWS[units]} units, accuracy in %", "z_1", "z_2", "z_3", "seeds"], rows)


MEASURES = {
    "accuracy of means, %": ("latent_accuracy", 100),
    "of means as they are, %": ("raw_accuracy", 100),
    "of draws, %": ("sampled_latent_accuracy", 100),
    "nats about the class, at least": ("mutual_information", 1),
    "KL, nats": ("kl", 1),
    "class changes, %": ("class_change", 100),
    "of readable digits, %": ("readable_class_change", 100),
    "spread of stroke width, pixels": ("stroke_width", 1),
}
"""What is told of every level: the key of the study's parts, and what it is multiplied by."""


def levels_in_full(parts: dict[str, dict]) -> str:
    """Every measure of every level: means over training seeds and deviations, a row per cell and measure."""
    rows = []
    for (units, bottom), pair in cells_of(parts).items():
        for what, runs in zip(("energy", "f = 0"), pair, strict=True):
            for label, (key, scale) in MEASURES.items():
                if key not in runs[0]:  # clothes have no strokes
                    continue
                values = [
                    [scale * value for value in level if value is not None] for level in zip(*(r[key] for r in runs))
                ]
                digits = 0 if scale == 100 else 2
                told = [number(mean_and_spread(level), digits) if level else "" for level in values]
                rows.append([ROWS[units], f"{CALLED[bottom]}, {what}", label, *told])
    return table(["images, units", "model", "measure", "z_1", "z_2", "z_3"], rows)
