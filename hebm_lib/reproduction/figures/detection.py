"""Pages 16 and 18: how well scores find unfamiliar images, as bars, histograms and curves."""

import html
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from hebm_lib.metrics.detection import JointTerms, auprc_at, detection, read_auprc, worst_auprc
from hebm_lib.plotting import ALPHA, BETA, DATA, REFERENCE
from hebm_lib.reproduction.explorers import Html

__all__ = [
    "MODEL_COLORS",
    "NEAR",
    "FAR",
    "READ_AUPRC",
    "auprc_calculator",
    "draw_bars",
    "draw_sigma",
    "explore_left_out",
    "explore_prevalence",
    "explore_sigma",
    "term_scores",
]

MODEL_COLORS = {
    "joint-ebm": ALPHA,
    "vlae": "#56B4E9",
    "vae": "#CC79A7",
    "hvae": "#E69F00",
    "lebm": "#4B3B8F",
    "meg": "#117733",
    "bigan": "#661100",
}
"""A colour per kind of model; what needs no model is grey."""
NEAR, FAR = REFERENCE, "#CC79A7"
"""Grey for familiar images, purple for unfamiliar ones."""
TERM_COLORS = {"SSE": BETA, "-f(z)": ALPHA, "-log N(z; 0, I)": REFERENCE, "-log p(x, z)": DATA}


def draw_bars(
    values: dict[str, Sequence],
    groups: Sequence[str],
    *,
    ax: Axes,
    colors: dict[str, str],
    marks: dict[str, Sequence] | Sequence = (),
    floors: dict[str, Sequence[float]] | None = None,
    missing: str = "not run yet",
    title: str = "",
) -> Axes:
    """Grouped bars with the paper's numbers as white diamonds.

    Args:
        values: per series one entry per group: a number, ``(mean, deviation)``, or None where there is none.
        groups: names along the axis.
        colors: per series.
        marks: the paper's numbers, None where it has none: per series one per group, drawn on its bars, or just one per
            group, drawn in its middle.
        floors: at most two kinds of lines across each group (a random score, the worst): name → one number per group.
        missing: what is written in the place of a bar that is None.
    """
    width, middle = 0.8 / len(values), np.arange(len(groups))
    offset = {name: (i - (len(values) - 1) / 2) * width for i, name in enumerate(values)}
    for name, row in values.items():
        pairs = [v if isinstance(v, (tuple, list)) else (v, None) for v in row]
        heights, errors = (
            np.array([np.nan if v is None else v for v in column]) for column in zip(*pairs, strict=True)
        )
        places = middle + offset[name]
        ax.bar(places, heights, 0.9 * width, color=colors[name], label=name)
        if np.isfinite(errors).any():
            ax.errorbar(places, heights, errors, fmt="none", ecolor="black", elinewidth=1, capsize=2)
        for place in places[np.isnan(heights)]:
            ax.text(place, 0.02, missing, rotation=90, ha="center", va="bottom", fontsize=7, color="#555555")
    marks = marks if isinstance(marks, dict) else {"": marks}
    dots = [
        (place + offset.get(name, 0), mark)
        for name, row in marks.items()
        for place, mark in zip(middle, row, strict=False)
        if mark is not None
    ]
    if dots:
        ax.plot(*zip(*dots, strict=True), "D", ms=5, mfc="white", mec="black", mew=1.1, label="the paper")
    for style, (name, levels) in zip(("--", ":"), (floors or {}).items(), strict=False):
        ax.hlines(levels, middle - 0.46, middle + 0.46, colors="black", linestyles=style, linewidth=1.2, label=name)
    ax.set(xticks=middle, xticklabels=groups, ylim=(0, 1.05), title=title)
    ax.grid(False, axis="x")
    return ax


def term_scores(terms: JointTerms) -> dict[str, Tensor]:
    """The decision function's terms as scores, each higher for the less familiar; without f where that is 0."""
    scores = {"SSE": terms.sse, "-f(z)": -terms.energy, "-log N(z; 0, I)": -terms.base}
    if not terms.energy.any():
        del scores["-f(z)"]
    return scores | {"-log p(x, z)": -terms.log_joint}


def _two_histograms(ax: Axes, inside: Tensor, outside: Tensor, names: Sequence[str]) -> float:
    """Both kinds' values of one score, all of the largest in the last bin; returns how often the second's is the larger."""
    both = torch.cat([inside, outside])
    low, high = torch.quantile(both, torch.tensor([0.0, 0.995]))
    bins = np.linspace(float(low), float(high) + 1e-6, 36)
    for values, color, label in zip((inside, outside), (NEAR, FAR), names, strict=True):
        ax.hist(values.numpy().clip(bins[0], bins[-1]), bins, density=True, color=color, alpha=0.55, label=label)
    ax.set_yticks([])
    ax.grid(False)
    return detection(both, torch.arange(len(both)) >= len(inside)).auroc


def explore_left_out(score: Tensor, positive: Tensor, digit: int, name: str) -> Figure:
    """The explorer: one score of the images of nine digits and of the one that was left out."""
    fig, ax = plt.subplots(figsize=(5.2, 2.9))
    _two_histograms(ax, score[~positive], score[positive], ("the other nine", f"the {digit}, left out"))
    found = detection(score, positive)
    ax.set(xlabel=name, title=f"without the {digit}: AUPRC {found.auprc:.2f}, AUROC {found.auroc:.2f}")
    ax.legend(fontsize=8)
    return fig


def explore_prevalence(score: Tensor, positive: Tensor, prevalence: float) -> Figure:
    """The explorer: one ranking, and what its AUPRC is where the positives are another share of the images."""
    fig, ax = plt.subplots(figsize=(5.2, 2.9))
    shares = np.linspace(0.02, 0.6, 30)
    ax.plot(shares, [auprc_at(score, positive, share) for share in shares], color=DATA, label="this score")
    ax.plot(shares, shares, "--", color=REFERENCE, linewidth=1, label="a random score")
    ax.fill_between(shares, [worst_auprc(share) for share in shares], color="#dddddd", linewidth=0, label="impossible")
    here = auprc_at(score, positive, prevalence)
    ax.plot(prevalence, here, "o", ms=8, mfc="white", mec="black", mew=1.5)
    title = f"prevalence {prevalence:.2f}: AUPRC {here:.2f}, AUROC {detection(score, positive).auroc:.2f}"
    ax.set(xlabel="prevalence", ylabel="AUPRC", xlim=(0, 0.62), ylim=(0, 1.02), title=title)
    ax.legend(fontsize=8)
    return fig


READ_AUPRC = """
const [area, share, said] = this.elements, v = +area.value, p = +share.value;
const floor = 1 + (1 - p) * Math.log(1 - p) / p, way = Math.round(100 * (v - p) / (1 - p));
said.value = !(area.value && v >= 0 && v <= 1 && p > 0 && p < 1) ? "both numbers lie between 0 and 1"
  : `floor ${floor.toFixed(3)}, chance ${p.toFixed(3)}: ` + (v < floor ? "impossible, it was measured at another share"
  : v < p ? "worse than random" : `better than random, ${way} % of the way to a perfect ranking`);
""".strip().replace("\n", " ")
"""`read_auprc` for the reader's browser: the handler of a form with two numbers and an output."""


def auprc_calculator(value: float, prevalence: float) -> Html:
    """A form that reads an AUPRC at a share of anomalies, on the page itself: no kernel, no script to load.

    Args:
        value, prevalence: what stands in it at first.
    """
    found = read_auprc(value, prevalence)
    ends = {
        "impossible": "impossible, it was measured at another share",
        "worse than random": "worse than random",
        "better than random": f"better than random, {round(100 * found.way)} % of the way to a perfect ranking",
    }
    said = f"floor {found.floor:.3f}, chance {prevalence:.3f}: {ends[found.verdict]}"
    number = 'type="number" min="0" max="1" step="0.001" style="width:6em;font-size:1em"'
    return Html(
        f'<form class="calculator" onsubmit="return false" oninput="{html.escape(READ_AUPRC)}">'
        f'<p><label>AUPRC <input {number} value="{value}"></label> &ensp; '
        f'<label>share of anomalies <input {number} value="{prevalence}"></label></p>'
        f'<p><output aria-live="polite"><strong>{said}</strong></output></p></form>'
    )


def draw_sigma(
    curves: dict[str, Sequence[float]],
    sigmas: Sequence[float],
    *,
    ax: Axes,
    colors: dict[str, str],
    trained: float | None = None,
    measure: str = "AUROC",
    chance: float = 0.5,
    title: str = "",
) -> Axes:
    """AUROC, or another ``measure``, of ``-log p(x, z)`` against the σ in it; the σ of training and chance as lines.

    Without ``trained`` every σ is that of a training.
    """
    for name, values in curves.items():
        ax.plot(sigmas, values, "o-", ms=4, color=colors[name], label=name)
    if trained is not None:
        ax.axvline(trained, color=REFERENCE, linestyle="--", linewidth=1)
    ax.axhline(chance, color=REFERENCE, linestyle=":", linewidth=1)
    where = r"$\sigma$ in training" if trained is None else r"$\sigma$ in the decision function"
    ax.set(xscale="log", xlabel=where, ylabel=measure, ylim=(0, 1.03), title=title)
    ax.legend()
    return ax


def explore_sigma(near: JointTerms, far: JointTerms, log2_sigma: float) -> Figure:
    """The explorer: ``-log p(x, z)`` as it is with another σ, on familiar and unfamiliar images."""
    sigma = 2.0**log2_sigma
    fig, ax = plt.subplots(figsize=(4.6, 2.7))
    auroc = _two_histograms(ax, -near.at_sigma(sigma), -far.at_sigma(sigma), ("familiar", "unfamiliar"))
    ax.set(xlabel=r"$-\log p(x, z)$ without its constants", title=rf"$\sigma = {sigma:.2f}$: AUROC {auroc:.2f}")
    ax.legend()
    return fig
