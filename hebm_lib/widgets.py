"""What the live explorers and the method pages draw: functions only, no state.

Every function returns a matplotlib figure, or draws into the axes that it is given; `ipywidgets.interact` turns those
into explorers.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from torch import Tensor
from torch.distributions import Independent, Normal

from hebm_lib.exact import (
    ExactBound,
    Grid2D,
    exact_log_evidence,
    exact_log_likelihood,
    exact_log_posterior,
    exact_log_prior,
    gaussian_on_grid,
    grid_kl,
    grid_mean,
)
from hebm_lib.metrics.classifier import predict
from hebm_lib.model import JointEBM
from hebm_lib.plotting import ALPHA, BETA, DATA, PHI, REFERENCE, draw_images

__all__ = [
    "CLASS_COLORS",
    "class_legend",
    "draw_bound",
    "draw_plane",
    "draw_posterior",
    "draw_posteriors",
    "draw_signed",
    "draw_transition",
    "draw_unit",
    "draw_walks",
    "explore_latent",
    "plot_diagnostics",
    "plot_exact_training",
    "read_plane",
]

# ---- page 04: what a level changes ----------------------------------------------------------------------------------


def draw_signed(rows: dict[str, Sequence[Tensor]], *, scale: float = 1.75) -> Figure:
    """Signed pictures ``(H, W)``, a row per key and a column per level; red is up, blue is down, white is nothing.

    Each picture has its own range, so that patterns can be compared where sizes differ by orders of magnitude.
    """
    columns = len(next(iter(rows.values())))
    fig, axes = plt.subplots(
        len(rows), columns, figsize=(columns * scale + 0.3, len(rows) * scale + 0.35), squeeze=False
    )
    for row, (name, pictures) in zip(axes, rows.items(), strict=True):
        for level, (ax, picture) in enumerate(zip(row, pictures, strict=True), start=1):
            bound = float(picture.abs().max()) or 1.0
            ax.imshow(picture.detach().cpu(), cmap="RdBu_r", vmin=-bound, vmax=bound)
            ax.set(xticks=[], yticks=[])
            ax.grid(False)
            if row is axes[0]:
                ax.set_title(f"$z_{level}$" + (" (bottom)" if level == 1 else " (top)" if level == columns else ""))
        row[0].set_ylabel(name)
    return fig


@torch.no_grad()
def draw_unit(model, z: Tensor, level: int, unit: int, value: float) -> Figure:
    """One image per row of ``z`` with one unit set to ``value``; below, what that changed against the unit at 0."""
    now, before = (model.decode(model.latents.traverse(z, level, unit, torch.tensor([v]))[:, 0]) for v in (value, 0.0))
    fig, axes = plt.subplots(2, len(z), figsize=(len(z) * 0.95 + 0.3, 2.3), squeeze=False)
    for top, bottom, image, change in zip(*axes, now[:, 0].cpu(), (now - before)[:, 0].cpu(), strict=True):
        top.imshow(image, vmin=-1, vmax=1)
        bottom.imshow(change, cmap="RdBu_r", vmin=-1, vmax=1)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.grid(False)
    axes[0, 0].set_ylabel("image")
    axes[1, 0].set_ylabel("change")
    return fig


# ---- page 05: the bound in the plane --------------------------------------------------------------------------------


def draw_posterior(log_p: Tensor, log_q: Tensor, grid: Grid2D, *, ax: Axes, log_prior: Tensor | None = None) -> Axes:
    """An exact posterior (grey, filled) under its Gaussian q (green lines), and the prior as blue lines behind both.

    Args:
        log_p, log_q, log_prior: log-densities on the grid, ``(m,)``.
    """
    axis, shape = grid.axis.numpy(), (grid.points, grid.points)
    p, q = (d.detach().exp().view(shape).numpy() for d in (log_p, log_q))
    share = np.array([0.05, 0.3, 0.65, 1.0])
    ax.contourf(axis, axis, p, levels=share * p.max(), colors=["#d9d9d9", "#ababab", "#6f6f6f"])
    if log_prior is not None:
        prior = log_prior.detach().exp().view(shape).numpy()
        ax.contour(axis, axis, prior, levels=share[:-1] * prior.max(), colors=ALPHA, linewidths=0.8, alpha=0.6)
    ax.contour(axis, axis, q, levels=share[:-1] * q.max(), colors=PHI, linewidths=1.5)
    ax.set(xlim=(-4, 4), ylim=(-4, 4), xlabel="$z_1$", ylabel="$z_2$", aspect="equal")
    ax.grid(False)
    return ax


@torch.no_grad()
def draw_posteriors(models: dict[str, JointEBM], x: Tensor, grid: Grid2D) -> Figure:
    """Per model a row, per image a column: exact posterior, q and prior; the title is the gap ``KL(q ‖ p)``."""
    fig, axes = plt.subplots(
        len(models), len(x), figsize=(2.35 * len(x), 2.35 * len(models) + 0.3), squeeze=False, sharex=True, sharey=True
    )
    for row, (name, model) in zip(axes, models.items(), strict=True):
        log_p, log_q = exact_log_posterior(model, x, grid), gaussian_on_grid(model.encode(x), grid)
        for ax, p, q in zip(row, log_p, log_q, strict=True):
            draw_posterior(p, q, grid, ax=ax, log_prior=exact_log_prior(model.prior, grid))
            ax.set_title(f"KL = {float(grid_kl(q, p, grid)):.2f}")
            ax.label_outer()
        row[0].set_ylabel(f"{name}\n$z_2$")
    return fig


@torch.no_grad()
def draw_bound(
    model: JointEBM, x: Tensor, grid: Grid2D, mean: Sequence[float], scale: Sequence[float], *, axes=None
) -> dict[str, float]:
    """A Gaussian q of your own against the exact posterior of one image, and how it splits ``log p(x)``.

    Args:
        x: one image ``(1, C, H, W)``.
        mean, scale: two numbers each.
        axes: two axes, the plane and the bar; None makes a figure.

    Returns:
        ``log_evidence``, ``elbo`` and ``gap``, in nats.
    """
    if axes is None:
        _, axes = plt.subplots(1, 2, figsize=(5.4, 3.0), width_ratios=(3, 1))
    q = Independent(Normal(torch.tensor([list(mean)]), torch.tensor([list(scale)])), 1)
    log_q, log_p = gaussian_on_grid(q, grid)[0], exact_log_posterior(model, x, grid)[0]
    log_joint = exact_log_likelihood(model, x, grid)[0] + exact_log_prior(model.prior, grid)
    evidence = float(exact_log_evidence(model, x, grid))
    elbo, gap = float(grid_mean(log_q, log_joint - log_q, grid)), float(grid_kl(log_q, log_p, grid))
    draw_posterior(log_p, log_q, grid, ax=axes[0])
    floor = evidence - 15
    axes[1].bar(0, max(elbo, floor) - floor, bottom=floor, color=PHI, width=0.8)
    axes[1].bar(0, evidence - max(elbo, floor), bottom=max(elbo, floor), color="#bdbdbd", width=0.8)
    axes[1].axhline(evidence, color=DATA, linewidth=1.2)
    axes[1].set(xlim=(-0.6, 0.6), ylim=(floor, evidence + 1.5), xticks=[], ylabel="nats")
    axes[1].set_title(f"ELBO {elbo:.1f}\nKL {gap:.1f}", fontsize=9.5)
    return {"log_evidence": evidence, "elbo": elbo, "gap": gap}


def plot_exact_training(steps: Sequence[int], bounds: Sequence[ExactBound]) -> Figure:
    """Exact mean log-likelihood and its bound over training, and the gap between them beside it."""
    evidence, elbo, gap = ([float(getattr(b, name).mean()) for b in bounds] for name in ("log_evidence", "elbo", "gap"))
    fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.7))
    left.plot(steps, evidence, color=DATA, label=r"$\log p_\theta(x)$, exact")
    left.plot(steps, elbo, color=PHI, label="ELBO, exact")
    left.fill_between(steps, elbo, evidence, color="#bdbdbd", alpha=0.6, linewidth=0)
    left.set(xlabel="step", ylabel="nats per image", title="the bound below the truth")
    left.set_ylim(min(elbo[1:]) - 2, max(evidence) + 2)
    left.legend(loc="lower right")
    right.plot(steps, gap, color=REFERENCE)
    right.set(xlabel="step", ylabel="nats per image", title=r"gap: mean KL($q_\phi$ ‖ posterior)", yscale="log")
    return fig


# ---- pages 07 and 08: walks, the plane of two units, diagnostics ----------------------------------------------------

CLASS_COLORS = ("#E69F00", "#56B4E9", "#CC79A7")
"""Orange, light blue and purple for the classes 0, 1 and 2; none of them is a network's colour."""


@torch.no_grad()
def draw_walks(models: dict, z: dict, values: dict, *, scale: float = 0.36) -> Figure:
    """Fig. 6 for several models: a row of panels each, one panel per level; all dicts have the same keys.

    Args:
        models: models with one unit per level.
        z: samples ``(rows, d)`` to start from.
        values: per model the values of each level's walk, ``(L, columns)``.
    """
    levels, columns = values[next(iter(models))].shape
    rows = len(z[next(iter(models))])
    size = (levels * columns * scale + 0.3, len(models) * (rows * scale + 0.35))
    fig, axes = plt.subplots(len(models), levels, figsize=size, squeeze=False)
    for line, (name, model) in zip(axes, models.items(), strict=True):
        for level, (ax, steps) in enumerate(zip(line, values[name], strict=True), start=1):
            walks = model.latents.traverse(z[name], level, 0, steps).flatten(0, 1)
            title = f"{name}: $z_{level}$ from {steps[0]:.1f} to {steps[-1]:.1f}"
            draw_images(model.decode(walks), columns, ax=ax, title=title)
    return fig


@torch.no_grad()
def read_plane(model, classifier, extent: float, points: int = 61) -> Tensor:
    """Which class the generator draws at each place of the plane of two units: ``(points, points)``, z_2 along rows."""
    axis = torch.linspace(-extent, extent, points)
    z = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1).flatten(0, 1)
    images = torch.cat([model.decode(part) for part in z.split(500)])
    return predict(classifier, images).view(points, points)


def draw_plane(classes: Tensor, extent: float, *, ax: Axes, samples=None, at=None, title: str = "") -> Axes:
    """The plane of z_1 and z_2 in the colours of the classes 0, 1, 2 (grey: another), prior samples as dots.

    Args:
        classes: what `read_plane` returns.
        samples: ``(n, 2)``.
        at: a place to mark, two numbers.
    """
    picture = torch.where(classes > 2, 3, classes)
    palette = ListedColormap([*CLASS_COLORS, "#d9d9d9"])
    box = (-extent, extent, -extent, extent)
    ax.imshow(picture, origin="lower", extent=box, cmap=palette, vmin=-0.5, vmax=3.5, alpha=0.75)
    if samples is not None:
        ax.plot(samples[:, 0], samples[:, 1], ".", color="black", markersize=2)
    if at is not None:
        ax.plot(*at, "o", markersize=9, markerfacecolor="white", markeredgecolor="black", markeredgewidth=1.5)
    ax.set(xlim=(-extent, extent), ylim=(-extent, extent), xlabel="$z_1$", ylabel="$z_2$", title=title, aspect="equal")
    ax.grid(False)
    return ax


def class_legend(fig: Figure) -> None:
    """Name the colours of `draw_plane` below a figure."""
    marks = [
        plt.Line2D([], [], marker="s", linestyle="", color=color, markersize=8, label=label)
        for color, label in zip((*CLASS_COLORS, "#d9d9d9"), ("reads 0", "reads 1", "reads 2", "another"), strict=True)
    ]
    fig.legend(handles=marks, loc="outside lower center", ncols=4)


@torch.no_grad()
def explore_latent(model, classes: Tensor, extent: float, z: Sequence[float], *, samples=None) -> Figure:
    """The explorer: where a code of two units stands on the plane of `read_plane`, and what the generator draws there."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(6.2, 3.1))
    draw_plane(classes, extent, ax=left, samples=samples, at=z)
    draw_images(model.decode(torch.tensor([list(z)])), 1, ax=right, title=f"$g_\\beta({z[0]:.1f},\\ {z[1]:.1f})$")
    return fig


def draw_transition(latents, trajectory: Tensor, labels: Tensor, steps: Sequence[int]) -> Figure:
    """Fig. 7: chains ``(K + 1, n, d)`` with two units per level, a row per level (top first), a column per step."""
    fig, axes = plt.subplots(
        latents.levels, len(steps), figsize=(2.1 * len(steps), 2.1 * latents.levels + 0.4), squeeze=False
    )
    for level, row in zip(range(latents.levels, 0, -1), axes, strict=True):
        codes = trajectory[..., latents.columns(level)]
        bound = 1.05 * float(codes[list(steps)].abs().max())
        for ax, step in zip(row, steps, strict=True):
            for c, color in enumerate(CLASS_COLORS):
                ax.plot(*codes[step][labels == c].T, ".", color=color, markersize=2.5)
            ax.set(xlim=(-bound, bound), ylim=(-bound, bound), aspect="equal")
            ax.set_title(f"step {step}" if row is axes[0] else "")
            ax.label_outer()
        row[0].set_ylabel(f"$z_{level}$")
    class_legend(fig)
    return fig


def plot_diagnostics(curves: dict[str, list]) -> Figure:
    """What to watch in a long run: both sides of f, their difference, and the gradient norms of both updates."""
    steps = curves["step"]
    fig, (left, middle, right) = plt.subplots(1, 3, figsize=(10, 2.7))
    left.plot(steps, curves["f_posterior"], color=PHI, label="on posterior codes")
    left.plot(steps, curves["f_prior"], color=ALPHA, label="on prior samples")
    left.set(xlabel="step", title="mean f")
    left.legend()
    middle.axhline(0, color=REFERENCE, linewidth=1)
    middle.plot(steps, curves["f_difference"], color=ALPHA)
    middle.set(xlabel="step", title="f posterior − f prior")
    right.plot(steps, curves["grad_norm_beta_phi"], color=BETA, label=r"$\beta, \phi$")
    right.plot(steps, curves["grad_norm_alpha"], color=ALPHA, label=r"$\alpha$")
    right.set(xlabel="step", title="gradient norm", yscale="log")
    right.legend()
    return fig
