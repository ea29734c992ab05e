"""Page 00: the models of the book side by side, as a diagram, as pictures and as what they cost."""

from dataclasses import replace

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from hebm_lib.config import DataConfig, ExperimentConfig
from hebm_lib.plotting import ALPHA, BETA, DATA, PHI, REFERENCE, draw_images
from hebm_lib.reproduction.figures.relations import CONDITIONAL, ONE_LEVEL, WITH_ENERGY, arrows, codes_of, followers
from hebm_lib.reproduction.figures.systems import FAMILY

__all__ = [
    "FAMILY",
    "draw_costs",
    "draw_family",
    "draw_gallery",
    "draw_member",
    "draw_redraws",
    "on_digits",
]


# ---- the diagram ----------------------------------------------------------------------------------------------------

CODE, DOT, DASHES = 9.5, 2.6, (0, (3, 2))
"""Radii in points, and the pattern of an inference arrow."""
BENDS = {
    "biva": {("r1", "t1"): -0.28, ("r2", "t2"): -0.28, ("h2", "t1"): -0.35, ("h3", "t2"): -0.35},
    "lvae": {("z3", "z2"): 0.6, ("z2", "z1"): 0.6},
    "vae": {("x", "z1"): -0.45},
    "lebm": {("x", "z1"): -0.45},
}
"""How far an inference arrow bows out, where something is in its way."""


def places(kind: str) -> dict[str, tuple[float, float]]:
    """Where nodes stand: features of the inference network left, codes in the middle, features of the generator right."""
    if kind in ONE_LEVEL:
        return {"x": (0.0, 0.0), "z1": (0.0, 1.5)}
    if kind == "biva":
        spots = {f"{way}{i}": (side, float(i)) for i in (1, 2) for way, side in (("b", -0.7), ("t", 0.7))}
        spots |= {"r1": (-1.75, 1.0), "r2": (-1.75, 2.0), "h3": (1.6, 2.6), "h2": (1.6, 1.5)}
    else:
        spots = {f"z{i}": (0.0, float(i)) for i in (1, 2)}
        spots |= {"r1": (-1.1, 1.0), "r2": (-1.1, 2.0), "h3": (0.85, 2.5), "h2": (0.85, 1.5)}
    return spots | {"x": (0.0, 0.0), "z3": (0.0, 3.0)}


def label_of(node: str, kind: str) -> str:
    """``$z_2$``; ``$z$`` where there is one level; BIVA's two codes with the direction in which they are inferred."""
    if node == "x" or kind in ONE_LEVEL:
        return f"${node[0]}$"
    ways = {"z": "", "b": r"^{\uparrow}", "t": r"^{\downarrow}"}
    return f"$z_{node[1]}{ways[node[0]]}$"


def draw_member(kind: str, *, ax: Axes | None = None, marked: int | None = None) -> Axes:
    """One model of three levels (VAE and latent EBM: one).

    Args:
        marked: a level that is drawn anew: it is filled, and so is, more lightly, all that is generated from it.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(3.2, 2.5))
    graph, spots, bends = arrows(kind), places(kind), BENDS.get(kind, {})
    moved = codes_of(kind, marked) if marked else ()
    following = followers(kind, marked) if marked else set()

    def arrow(start: str, end: str, color: str, style="-", bend: float = 0.0) -> None:
        shrink = {f"shrink{end_}": DOT if node[0] in "hr" else CODE for end_, node in (("A", start), ("B", end))}
        look = {"arrowstyle": "-" if end[0] in "hr" else "-|>", "color": color, "linestyle": style, "linewidth": 1.3}
        look |= {"mutation_scale": 9, "connectionstyle": f"arc3,rad={bend}"} | shrink
        ax.annotate("", spots[end], spots[start], arrowprops=look, zorder=1)

    for start, end in graph.generation:
        arrow(start, end, BETA)
    for start, end in graph.inference:
        arrow(start, end, DATA if kind == "lebm" else PHI, DASHES, bends.get((start, end), 0.0))
    if kind in WITH_ENERGY:
        draw_energy(ax, [spot for node, spot in spots.items() if node[0] == "z"])
    for node in {node for edge in graph.generation + graph.inference for node in edge}:
        x, y = spots[node]
        if node[0] in "hr":
            ax.plot(x, y, "o", color=PHI if node[0] == "r" else BETA, markersize=2 * DOT, zorder=3)
            continue
        face = BETA if node in moved else "#f6c9a8" if node in following else "white"
        frame = {"markerfacecolor": face, "markeredgecolor": DATA, "markersize": 2 * CODE, "zorder": 3}
        ax.plot(x, y, "s" if node == "x" else "o", **frame)
        ink = "white" if node in moved else DATA
        ax.text(x, y, label_of(node, kind), ha="center", va="center", fontsize=9.5, color=ink, zorder=4)
    if kind == "lebm":
        ax.text(-0.6, 0.75, "$K'$ steps", ha="right", va="center", fontsize=9)
    if kind == "provlae":
        for level, word in ((3, "learned first"), (2, "second"), (1, "third")):
            ax.text(1.2, level, word, va="center", fontsize=9)
    ax.set(xlim=(-2.3, 2.5), ylim=(-0.45, max(y for _, y in spots.values()) + 0.45))
    ax.set_title(f"{FAMILY[kind].name}\n{FAMILY[kind].density}", fontsize=10, linespacing=1.4)
    ax.axis("off")
    return ax


def draw_energy(ax: Axes, codes: list[tuple[float, float]]) -> None:
    """A square on the right, and from it a line to every code that f sees."""
    side, middle = 1.75, sum(y for _, y in codes) / len(codes)
    for x, y in codes:
        ax.plot([side, side, x], [middle, y, y], color=ALPHA, linewidth=1.6, zorder=0.5)
    ax.plot(side, middle, "s", color=ALPHA, markersize=2 * CODE - 1, zorder=3)
    ax.text(side, middle, r"$f_\alpha$", ha="center", va="center", fontsize=9.5, color="white", zorder=4)


def draw_family() -> Figure:
    """All models, two in a row, so that the labels can be read on a phone."""
    fig, axes = plt.subplots(4, 2, figsize=(6.4, 10.0), height_ratios=(2.4, 3.9, 3.9, 3.9))
    for ax, kind in zip(axes.flat, FAMILY, strict=True):
        draw_member(kind, ax=ax)
    handles = [
        Line2D([], [], color=BETA, label="generation"),
        Line2D([], [], color=PHI, linestyle=DASHES, label="inference by a network"),
        Line2D([], [], color=DATA, linestyle=DASHES, label="inference by a chain"),
        Line2D([], [], color=ALPHA, marker="s", markersize=8, label="energy, on the codes it sees"),
        Line2D([], [], color=REFERENCE, linestyle="", marker="o", markersize=2 * DOT, label="feature on the way"),
    ]
    fig.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=9)
    return fig


def draw_gallery(samples: dict[str, Tensor], told: dict[str, str]) -> Figure:
    """A row of samples per model, its name on the left, a word on it on the right.

    Args:
        samples: by kind, ``(n, c, h, w)``; as many for each.
        told: by kind, what stands at the end of its row.
    """
    fig, axes = plt.subplots(len(samples), 1, figsize=(4.4, 0.56 * len(samples)))
    for ax, (kind, images) in zip(axes, samples.items(), strict=True):
        draw_images(images, len(images), ax=ax)
        marked = {"fontweight": "bold"} if kind == "joint-ebm" else {}
        ax.text(-0.02, 0.5, FAMILY[kind].name, ha="right", va="center", transform=ax.transAxes, **marked)
        ax.text(1.02, 0.5, told[kind], ha="left", va="center", transform=ax.transAxes, **marked)
    return fig


@torch.no_grad()
def draw_redraws(model, kind: str, level: int, chain: dict, *, rows: int = 4, columns: int = 8) -> Figure:
    """One level drawn anew: in the diagram, and in pictures, a row per sample.

    In a conditional hierarchy the level's noise is drawn anew and what is below follows; elsewhere the level is that of
    other prior draws.

    Args:
        chain: ``steps`` and ``step_size`` of the prior's chain.
    """
    view = model.noise_view() if kind in CONDITIONAL else model
    level, noise = min(level, view.latents.levels), torch.Generator(model.device).manual_seed(0)
    kept, donors = (view.prior.sample(n, **chain, generator=noise) for n in (rows, columns))
    images = view.decode(view.latents.redraw(kept[:, None], level, donors[None]).flatten(0, 1))
    fig, (left, right) = plt.subplots(1, 2, figsize=(6.4, 2.5))
    draw_member(kind, ax=left, marked=level)
    draw_images(images, columns, ax=right, title=f"only {label_of(f'z{level}', kind)} redrawn")
    return fig


# ---- the table and the cost -----------------------------------------------------------------------------------------


def draw_costs(bench: dict[str, dict], *, ax: Axes | None = None) -> Axes:
    """Seconds per epoch, and how much of them each chain takes; ``bench`` as for `family_table`."""
    if ax is None:
        _, ax = plt.subplots(figsize=(6.4, 3.0))
    kinds = list(FAMILY)[::-1]
    left = [0.0] * len(kinds)
    parts = (("prior", ALPHA, "prior chain"), ("posterior", BETA, "posterior chain"), (None, "#bdbdbd", "the rest"))
    for part, color, label in parts:
        widths = []
        for kind, before in zip(kinds, left, strict=True):
            row = bench[kind]
            share = row["chains"].get(part, {"seconds": 0.0})["seconds"] / row["step"]["seconds"]
            widths.append(share * row["seconds_per_epoch"] if part else row["seconds_per_epoch"] - before)
        bars = ax.barh([FAMILY[kind].name for kind in kinds], widths, left=left, color=color, height=0.62, label=label)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    ax.bar_label(bars, [f"{total:.0f}" for total in left], padding=3)
    ax.set(xlabel="seconds per epoch of 60,000 images")
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower right")
    return ax


# ---- the same models on small images --------------------------------------------------------------------------------


def on_digits(config: ExperimentConfig, epochs: int = 10) -> ExperimentConfig:
    """An entry for 28×28 images made to train on the embedded 8×8 digits in seconds: the same kind, widths and units.

    Of more than three levels the bottom two and the top stay. What is counted in epochs shrinks to the shorter training:
    the warm-up takes a tenth of it, and in pro-VLAE a level joins after every fifth.
    """
    m = config.model
    keep = min(len(m.latent_dims), 3) - 1
    g, i = m.generator, m.inference
    dims = [*m.latent_dims[:keep], m.latent_dims[-1]]
    for level in g.local_levels:  # a code that is a map has as many units as there are places
        side, small = (size // g.factors[level - 1] for size in (m.image_size, 8))
        dims[level - 1] = dims[level - 1] // side**2 * small**2
    model = replace(
        m,
        latent_dims=tuple(dims),
        image_size=8,
        generator=replace(g, factors=g.factors[:keep], widths=g.widths[:keep], entries=g.entries[:keep]),
        inference=replace(i, factors=i.factors[:keep], widths=i.widths[:keep], reads=i.reads[:keep]),
        baseline=replace(m.baseline, epochs_per_step=epochs / 5, fade_epochs=epochs / 10),
    )
    energy = config.training.energy
    if energy.ladder_epochs:  # phases shrink in proportion
        shrink = epochs / config.training.epochs
        energy = replace(
            energy,
            ladder_epochs=int(energy.ladder_epochs * shrink),
            fit_steps=max(int(energy.fit_steps * shrink**2), 3),
            end_steps=max(int(energy.end_steps * shrink**2), 3),
        )
    training = replace(config.training, epochs=epochs, kl_warmup_epochs=epochs / 10, energy=energy, log_every=7)
    return replace(config, data=DataConfig(name="digits", size=8), model=model, training=training)
