"""Page 14: Fig. 8's layout, and what the study of long chains measured, over the steps."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from hebm_lib.plotting import ALPHA, BETA, PHI, REFERENCE, draw_images, image_grid, plot_energy_profile

__all__ = [
    "draw_faces_run",
    "draw_long_run",
    "draw_two_lengths",
    "explore_chain",
    "faces_of",
    "plot_class_shares",
    "plot_over_steps",
]

COLORS = (ALPHA, "#E69F00", REFERENCE, "#56B4E9", "#CC79A7")


@torch.no_grad()
def draw_long_run(model, path: Tensor, every: int, chains: int = 6, trained_steps: int | None = None) -> Figure:
    """Fig. 8: a row of images per chain, one every ``every`` steps, and below them f along all chains on the same axis.

    Args:
        path: ``(K + 1, n, d)``, from the start.
        chains: how many of the n chains have their images drawn.
    """
    steps = range(0, len(path), every)
    images = model.decode(path[::every, :chains].transpose(0, 1).flatten(0, 1))
    fig, (top, bottom) = plt.subplots(
        2, 1, figsize=(11, 0.42 * chains + 2.5), height_ratios=(0.42 * chains, 2), sharex=True
    )
    extent = (-every / 2, steps[-1] + every / 2, 0, 1)
    top.imshow(image_grid(images, len(steps)), cmap="gray", vmin=0, vmax=1, extent=extent, aspect="auto")
    top.set_yticks([])
    top.tick_params(bottom=False, labelbottom=False)
    for place in ("left", "bottom"):
        top.spines[place].set_visible(False)
    plot_energy_profile(model.prior, path, ax=bottom, trained_steps=trained_steps)
    bottom.set_xlim(*extent[:2])
    bottom.legend(loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=3)
    for ax in (top, bottom):
        ax.grid(False)
    return fig


def faces_of(picture: Path, moments: int, chains: int) -> np.ndarray:
    """A stored picture of chains (`hebm_lib.reproduction.studies.long_run_faces`), cut: ``(moments, chains, H, W, 3)``.

    Raises:
        ValueError: where the picture has no such grid, with lines of one pixel between its images.
    """
    pixels = np.asarray(Image.open(picture).convert("RGB"))[1:, 1:]
    high, wide = pixels.shape[0] // moments, pixels.shape[1] // chains
    if (high * moments, wide * chains) != pixels.shape[:2]:
        raise ValueError(f"{picture} has no {moments} rows and {chains} columns of images")
    return pixels.reshape(moments, high, chains, wide, 3).swapaxes(1, 2)[:, :, :-1, :-1]


def draw_faces_run(
    reports: dict[str, dict], faces: np.ndarray, *, chains: int = 5, references: dict[str, float] | None = None
) -> Figure:
    """Fig. 8 on faces: a row of images per chain; below, on the same axis, f and the distance to real faces, a line a seed.

    Args:
        reports: per training seed what the study ``long-run-faces`` measured; the images are of the first.
        faces: of `faces_of`, a moment every 100 steps.
        chains: how many have their images drawn.
        references: label → distance, drawn as horizontal lines.
    """
    first = next(iter(reports.values()))
    every = first["steps"][-1] / (len(faces) - 1)
    fig, (top, middle, bottom) = plt.subplots(
        3, 1, figsize=(11, 0.42 * chains + 4.2), height_ratios=(0.42 * chains, 1.6, 1.9), sharex=True
    )
    strips = np.concatenate([np.concatenate(list(faces[:, chain]), 1) for chain in range(chains)])
    extent = (-every / 2, first["steps"][-1] + every / 2, 0, 1)
    top.imshow(strips, extent=extent, aspect="auto")
    top.set_yticks([])
    top.tick_params(bottom=False, labelbottom=False)
    for place in ("left", "bottom"):
        top.spines[place].set_visible(False)
    for (seed, report), style in zip(reports.items(), ("-", "--", ":"), strict=False):
        middle.plot(report["steps"], report["f"], style, color=ALPHA, label=f"seed {seed}")
        values = [distance["frechet"] for distance in report["distance"]]
        bottom.plot(report["looks"], values, style, marker="o", markersize=4, color=ALPHA)
    middle.fill_between(first["steps"], first["f_low"], first["f_high"], color=ALPHA, alpha=0.2, linewidth=0)
    for (label, value), (color, style) in zip((references or {}).items(), ((PHI, "--"), (BETA, ":")), strict=False):
        bottom.axhline(value, color=color, linestyle=style, linewidth=1.2, label=label)
    for ax in (middle, bottom):
        ax.axvline(first["K"], color=REFERENCE, linestyle="--", linewidth=1)
    middle.set_ylabel(r"$f_\alpha$")
    bottom.set(ylabel="FD to real faces", xlabel="Langevin step", xlim=extent[:2], ylim=(0, None))
    middle.legend(ncols=len(reports))
    bottom.legend(ncols=2)
    top.grid(False)
    return fig


def plot_over_steps(
    reports: dict[str, dict], measures: dict[str, str], *, references: dict[str, dict[str, float]] | None = None
) -> Figure:
    """Measures of `hebm_lib.metrics.long_run.long_run_report` along the steps, a panel each, a line per model.

    Args:
        reports: per label a report.
        measures: name of a measure → title of its panel. ``distance`` has a band of two deviations.
        references: per measure, labelled values that are drawn as horizontal lines.
    """
    fig, axes = plt.subplots(1, len(measures), figsize=(3.6 * len(measures), 2.9), squeeze=False)
    for ax, (name, title) in zip(axes[0], measures.items(), strict=True):
        for (label, report), color in zip(reports.items(), COLORS):
            steps, values = np.array(report["steps"]), np.array(report[name])
            ax.plot(steps, values, color=color, label=label)
            if name == "distance":
                spread = 2 * np.array(report["distance_sd"])
                ax.fill_between(steps, values - spread, values + spread, color=color, alpha=0.2, linewidth=0)
        for (label, value), (color, style) in zip(
            (references or {}).get(name, {}).items(), ((PHI, "--"), (BETA, ":")), strict=False
        ):
            ax.axhline(value, color=color, linestyle=style, linewidth=1.2, label=label)
        ax.axvline(next(iter(reports.values()))["K"], color=REFERENCE, linestyle="--", linewidth=1)
        ax.set(title=title, xlabel="Langevin step")
        ax.set_xscale("symlog", linthresh=60)
        ax.set_xlim(0, steps[-1])
        ax.set_xticks([0, 60, 300, steps[-1]], ["0", "60", "300", f"{steps[-1]:,}"])
        ax.minorticks_off()
    labels = {}
    for ax in axes[0]:
        labels |= dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
    fig.legend(labels.values(), labels.keys(), loc="outside lower center", ncols=len(labels))
    return fig


def draw_two_lengths(
    rows: dict[str, tuple[list[float], list[float]]], *, references: dict[str, float], long: int = 2500
) -> Figure:
    """Distance of samples after training's K steps and after many more, a row per recipe, a dot per seed.

    Args:
        rows: recipe → distances at K and on the long chain, one per seed.
        references: label → distance, drawn as vertical lines.
        long: steps of the long chain.
    """
    fig, ax = plt.subplots(figsize=(7, 0.42 * len(rows) + 1.3))
    for place, (near, far) in enumerate(rows.values()):
        ax.plot([np.median(near), np.median(far)], [place, place], color=REFERENCE, linewidth=1, zorder=1)
        ax.plot(near, [place - 0.12] * len(near), "o", color=ALPHA, markersize=5, alpha=0.8)
        ax.plot(far, [place + 0.12] * len(far), "^", color="#E69F00", markersize=6, alpha=0.8)
    for (label, value), (color, style) in zip(references.items(), ((PHI, "--"), (BETA, ":")), strict=False):
        ax.axvline(value, color=color, linestyle=style, linewidth=1.4, label=label)
    ax.plot([], [], "o", color=ALPHA, label="K steps")
    ax.plot([], [], "^", color="#E69F00", label=f"{long:,} steps")
    ax.set(xscale="log", yticks=range(len(rows)), yticklabels=rows, xlabel="digit Fréchet distance to the test images")
    ax.invert_yaxis()
    fig.legend(loc="outside lower center", ncols=2 + len(references))
    return fig


def plot_class_shares(reports: dict[str, dict]) -> Figure:
    """Which digits come out, a panel per model: a column per moment, a row per digit; the last column is the data."""
    fig, axes = plt.subplots(1, len(reports), figsize=(3.6 * len(reports), 2.7), squeeze=False, sharey=True)
    for ax, (label, report) in zip(axes[0], reports.items(), strict=True):
        shares = np.array([*report["class_shares"], [np.nan] * len(report["class_shares"][0])])
        shares = np.vstack([shares, report["reference"]["data"]["class_shares"]]).T
        picture = ax.imshow(shares, aspect="auto", cmap="Blues", vmin=0, vmax=0.3)
        steps = report["steps"]
        shown = [i for i, step in enumerate(steps) if step in (0, 500, 1000, 1500, 2000)]
        ax.set_xticks([*shown, len(steps) + 1], [*(f"{steps[i]:,}" for i in shown), "data"])
        ax.set(title=label, xlabel="Langevin step", yticks=range(len(shares)))
        ax.grid(False)
    axes[0, 0].set_ylabel("digit")
    fig.colorbar(picture, ax=axes, label="share of the images")
    return fig


@torch.no_grad()
def explore_chain(model, paths: dict[float, Tensor], factor: float, step: int, every: int) -> Figure:
    """The explorer: images of the chains that ran on a factor times f, at one step.

    Args:
        paths: per factor the states ``(moments, n, d)``, ``every`` steps apart.
    """
    images = model.decode(paths[factor][step // every])
    return draw_images(images, max(1, len(images) // 2), title=f"{factor:g} f, step {step:,}", scale=0.62).figure
