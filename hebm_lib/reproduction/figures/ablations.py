"""Page 17: a prior with one thing changed, as curves over seeds and as bars."""

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hebm_lib.plotting import ALPHA, DATA, PHI, REFERENCE
from hebm_lib.reproduction.figures.worth import by_setting
from hebm_lib.reproduction.results import load_seeds, mean_and_spread
from hebm_lib.reproduction.studies.ablations import over_seeds
from hebm_lib.reproduction.studies.image_codes import across
from hebm_lib.reproduction.studies.natural_images import END_TO_END, LONG, end_to_end
from hebm_lib.reproduction.tables import number, table

__all__ = [
    "GROUPS",
    "TRAININGS",
    "draw_paper_and_ours",
    "draw_setting",
    "gain_distance",
    "learned_models",
    "learned_photographs",
    "photographs",
    "whole_models",
]


Pair = tuple[float, float]

STEPS, WIDTHS = ("15", "30", "60", "150", "300"), ("0", "10", "20", "50", "100")
TRAININGS = {
    "K": {
        "persistent chains": {k: "base" if k == "60" else f"k{k}" for k in STEPS},
        "fresh chains": {k: f"fresh-k{k}" for k in STEPS},
        "authors' kind": {k: f"paper-k{k}" for k in STEPS},
    },
    "width": {
        "persistent chains": {w: {"0": None, "100": "base"}.get(w, f"h{w}") for w in WIDTHS},
        "authors' kind": {w: {"0": None, "100": "paper-k60"}.get(w, f"paper-h{w}") for w in WIDTHS},
    },
}
"""Per setting of Tables 4 and 5 and per way to train f on fixed codes: the value → its recipe; None is f = 0."""

PHOTOGRAPHS = {"svhn-11k": ALPHA, "celeba-64": "#56B4E9"}
"""Image set → colour of its curves."""

TRAINING_COLORS = {"persistent chains": ALPHA, "fresh chains": "#CC79A7", "authors' kind": REFERENCE}

GROUPS = {
    "chains": {
        "base": "base",
        "fresh-k60": "fresh chains, K = 60",
        "fresh-k15": "fresh chains, K = 15",
        "fresh-k5": "fresh chains, K = 5",
        "k15": "persistent, K = 15",
        "k300": "persistent, K = 300",
        "restart0": "no restarts",
        "restart0.5": "half of the chains restart",
        "jumps0": "no jumps between modes",
    },
    "step size": {"s0.05": "s = 0.05", "s0.1": "s = 0.1", "s0.3": "s = 0.3", "s0.4": "s = 0.4"},
    "Lipschitz bound": {"lipschitz1": "1", "lipschitz3": "3", "lipschitz10": "10"},
    "authors' kind": {"paper-k60": "1-Lipschitz, s = 0.4, fresh", "paper-k300": "the same, K = 300"},
    "network": {
        "h10": "2 × 10 units",
        "h20": "2 × 20",
        "h50": "2 × 50",
        "h200": "2 × 200",
        "one-layer": "one hidden layer",
        "three-layers": "three hidden layers",
        "silu": "smooth activation (SiLU)",
        "separate": "one f per level, as many parameters",
    },
    "learning": {
        "rate0.0005": "a quarter of the rate",
        "rate0.004": "twice the rate",
        "ratio": "density ratio, no chains",
        "ratio-start": "density ratio first, then chains",
        "long-silu": "SiLU, 7,000 updates, 1,024 chains, K = 20",
        "long-wide": "2 × 200, 7,000 updates, 1,024 chains",
    },
}
"""Recipes of the study ``fixed-codes``, in groups that change one kind of thing, with what a table calls them."""

WHOLE = {
    "K = 15": "ablation-k15",
    "K = 60": "ablation",
    "K = 300": "ablation-k300",
    "no energy": "ablation-h0",
    "10 units": "ablation-h10",
    "one f per level": "ablation-separate",
    "no Lipschitz bound": "ablation-free",
    "the same, rate / 10": "ablation-free-slow",
}
"""Whole models of the study ``ablations``, with what a table calls them."""
LEARNED = {
    "mnist-map": ("published, K = 150", "base"),
    "mnist-map-k15": ("K = 15", "k15"),
    "mnist-map-h10": ("10 hidden units per layer", "h10"),
    "mnist-map-separate": ("one f per level", "separate"),
    "mnist-map-lipschitz3": ("3-Lipschitz", "lipschitz3"),
}
"""Runs whose energy is learned end to end → what is changed, and the same change on fixed codes."""
COMMON_SEEDS = 3
"""Training seeds that all of `LEARNED` have."""


def draw_setting(
    curves: dict[str, dict[str, Pair]],
    *,
    ax: Axes,
    colors: Sequence[str] = (ALPHA,),
    styles: Sequence[str] | None = None,
    floors: dict[str, tuple[float, str]] | None = None,
    xlabel: str = "",
) -> Axes:
    """One measure against one setting, a curve per way of training, mean and deviation over seeds where there are any.

    Args:
        curves: label → setting → (mean, deviation); the settings of the longest curve, in its order, are the axis.
        colors: of the curves.
        styles: of their lines; None draws all of them through.
        floors: name → (height, colour) of a line across the panel.
    """
    places = {name: i for i, name in enumerate(max(curves.values(), key=len))}
    for name, (height, color) in (floors or {}).items():
        ax.axhline(height, color=color, linestyle="--", linewidth=1.2, label=name)
    for (label, values), color, style in zip(curves.items(), colors, styles or ["-"] * len(curves), strict=True):
        means, deviations = zip(*values.values(), strict=True)
        at = [places[name] for name in values]
        ax.errorbar(at, means, deviations, marker="o", color=color, linestyle=style, capsize=3, label=label)
    ax.set_xticks(range(len(places)), list(places))
    ax.set(xlabel=xlabel, ylim=(0, None))
    return ax


def gain_distance(parts: dict[str, dict], name: str, *keys: str) -> Pair:
    """Mean and deviation over seeds of a recipe's number in the study ``fixed-codes``; a seed that diverged has none."""
    return mean_and_spread([value for value in by_setting(parts, name, *keys) if value is not None])


def photographs(codes: dict[str, dict], kind: str) -> dict[str, dict[str, Pair]]:
    """Curves of the study ``image-codes``: one per image set, after training's K steps and after 2,500; those that are whole.

    Args:
        codes: its parts.
        kind: of `SETTINGS`.
    """
    curves = {}
    for pack in PHOTOGRAPHS:
        for after, steps in (("K", "K steps"), ("long", "2,500 steps")):
            found = across(codes, pack, kind, after)
            if all(found.values()):
                curves[f"{pack}, {steps}"] = {column: mean_and_spread(values) for column, values in found.items()}
    return curves


def draw_whole(ax: Axes, whole: dict[str, dict], kind: str) -> float:
    """Add what all networks learned together, a diamond per image set and column that has a run; returns the highest.

    Args:
        ax: where a curve of `draw_setting` stands over all columns of the table.
        whole: the parts of ``natural-images``.
        kind: ``K`` or ``width``.
    """
    places, highest = STEPS if kind == "K" else WIDTHS, 0.0
    for pack, color in PHOTOGRAPHS.items():
        found = end_to_end(whole, pack, kind)
        if found:
            means, deviations = zip(*map(mean_and_spread, found.values()), strict=True)
            at = [places.index(column) for column in found]
            look = {"color": color, "marker": "D", "markerfacecolor": "white", "linestyle": "none", "capsize": 3}
            ax.errorbar(at, means, deviations, **look, label=f"{pack}, all learn")
            highest = max(highest, *means)
    return highest


def draw_paper_and_ours(study: dict, codes: dict, paper: dict, whole: dict) -> Figure:
    """Tables 4 and 5 above; below the same two settings on fixed codes, of ladders of photographs and of MNIST.

    Args:
        study: the parts of ``fixed-codes``.
        codes: the parts of ``image-codes``.
        whole: the parts of ``natural-images``.
        paper: `load_paper`.
    """
    noise = (study["references"]["distance"]["gaussian"], math.nan)
    theirs = ("table4_fid_against_langevin_steps_celeba64", "table5_fid_against_hidden_units")
    labels = ("Langevin steps K of training", "hidden units of f, each of two layers")
    fig, axes = plt.subplots(3, 2, figsize=(9, 8.4), sharex="col", sharey="row")
    for column, (kind, key, images) in enumerate(zip(TRAININGS, theirs, ("CelebA-64", "SVHN"), strict=True)):
        printed = {"single runs": {k: (v, math.nan) for k, v in paper[key].items()}}
        draw_setting(printed, ax=axes[0, column], colors=[DATA]).set_title(f"the paper's FID, {images}")
        curves = photographs(codes, kind)
        looks = {name: (PHOTOGRAPHS[name.partition(",")[0]], ":" if "2,500" in name else "-") for name in curves}
        colors, styles = zip(*looks.values(), strict=True) if looks else ((), ())
        ends = {
            pack: codes[f"{pack}/references"]["distance"]
            for pack in dict.fromkeys(name.split(",")[0] for name in curves)
        }
        names = ("codes of images", *(f"_{pack}" for pack in list(ends)[1:]))  # a legend leaves out what begins with _
        floors = {name: (end["codes"], PHI) for name, end in zip(names, ends.values(), strict=False)}
        draw_setting(curves, ax=axes[1, column], colors=colors, styles=styles, floors=floors)
        if ends:
            highest = draw_whole(axes[1, column], whole, kind)
            low, high = (pick(end[key] for end in ends.values()) for pick, key in ((min, "codes"), (max, "gaussian")))
            axes[1, column].set_ylim(0.9 * low, 1.08 * max(high, highest))
        axes[1, column].set_title("ours: FD in EfficientNet's features, photographs")
        ours = {
            way: {
                k: noise if name is None else gain_distance(study, name, "distance", "K") for k, name in names.items()
            }
            for way, names in TRAININGS[kind].items()
        }
        colors = [TRAINING_COLORS[way] for way in ours]
        draw_setting(ours, ax=axes[2, column], colors=colors, xlabel=labels[column])
        axes[2, column].set_title("ours: digit Fréchet distance, MNIST")
    for ax, top in zip(axes[[0, 2], 0], (62, 200), strict=True):
        ax.set_ylim(0, top)
    axes[1, 1].legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.6, 1.02))  # clear of the diamonds
    axes[2, 0].legend(fontsize=8)
    return fig


def learned_photographs(whole: dict[str, dict]) -> str:
    """Tables 4 and 5 on photographs with all networks learning, as a Markdown table; without lines where nothing is stored.

    Args:
        whole: the parts of ``natural-images``.
    """
    rows = []
    for kind, what in {"K": "K = {}", "width": "{} hidden units per layer"}.items():
        ends = [end_to_end(whole, pack, kind, key) for pack in PHOTOGRAPHS for key in ("samples", "long")]
        for column in END_TO_END[kind]:
            cells = [number(mean_and_spread(found[column]), 0) if column in found else "" for found in ends]
            if any(cells):
                rows.append([what.format(column), *cells])
    heads = [f"{pack}: FD {after}" for pack in PHOTOGRAPHS for after in ("at K", f"at {LONG:,} steps")]
    return table(["setting", *heads], rows)


def whole_models(study: dict[str, dict]) -> str:
    """The study ``ablations`` as an HTML table: distance at K and at 20 K, and how many seeds diverged."""
    head = "".join(f"<th>{name}</th>" for name in ("setting", "distance at K", "at 20 K", "diverged"))
    body = ""
    for label, name in WHOLE.items():
        at = [
            "{:.0f} ± {:.0f}".format(*over_seeds(study, name, "distance", kind))
            if kind in study[name]["distance"]
            else ""
            for kind in ("prior", "long")
        ]
        broke = sum(bool(part["diverged"]) for key, part in study.items() if key.split("@")[0] == name)
        body += f"<tr>{''.join(f'<td>{cell}</td>' for cell in (label, *at, f'{broke} of 3'))}</tr>"
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def learned_models(study: dict[str, dict]) -> str:
    """The same settings end to end and on fixed codes, as a Markdown table.

    Args:
        study: the study ``fixed-codes``.
    """
    rows = []
    for name, (label, recipe) in LEARNED.items():
        runs = load_seeds(name)[:COMMON_SEEDS]
        health = [run["metrics"]["health"] for run in runs]
        steps = (runs[0]["config"]["training"]["langevin"]["steps"], health[0]["steps"][-1])
        distances = [mean_and_spread([h["distance"][h["steps"].index(k)] for h in health]) for k in steps]
        gains = mean_and_spread([h["gain"] for h in health]), gain_distance(study, recipe, "gain")
        cells = [number(pair, digits) for pair, digits in zip((*gains, *distances), (1, 1, 0, 0), strict=True)]
        rows.append([label, str(len(runs)), *cells])
    return table(["changed", "seeds", "gain, nats", "on fixed codes", "distance at K", "at 2,500 steps"], rows)
