"""Page 06: the bound in the plane, where everything is exact."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, ScalarFormatter
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
from hebm_lib.model import JointEBM
from hebm_lib.plotting import ALPHA, DATA, PHI, REFERENCE

__all__ = [
    "draw_bound",
    "draw_posterior",
    "draw_posteriors",
    "plot_exact_training",
]


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
    right.yaxis.set_major_locator(FixedLocator([0.03, 0.1, 0.3, 1, 3, 10, 30]))
    right.yaxis.set_major_formatter(ScalarFormatter())
    right.yaxis.set_minor_formatter(NullFormatter())
    return fig
