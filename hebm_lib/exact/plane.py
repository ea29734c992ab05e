"""Everything exact, in two dimensions: log Z, the evidence, the posterior, the bound's gap, the law of a chain.

With two latent units every integral over z is a sum over a grid, so each identity of Sec. 3.4 can be checked to
rounding on the library's own model. Nothing here scales past two units, which is why the rest of the library exists.

A density on a grid is kept as its logarithm, ``(..., m)`` with ``m = points²``, in the order of ``grid.z``. Models are
expected in float64 and evaluation mode: ``model.double().eval()``. What is returned is differentiable in the model's
parameters where nothing else is said.
"""

import copy
import math
from dataclasses import dataclass
from types import SimpleNamespace

import torch
from torch import Tensor

from hebm_lib.exact.grid import Grid2D, gaussian_on_grid, grid_kl, grid_mean
from hebm_lib.langevin import check_chain
from hebm_lib.model import JointEBM

__all__ = [
    "ExactBound",
    "exact_bound",
    "exact_log_evidence",
    "exact_log_likelihood",
    "exact_log_posterior",
    "exact_log_prior",
    "posterior_law",
    "propagate",
]


def exact_log_prior(prior, grid: Grid2D) -> Tensor:
    """``log p_α(z)`` of Eq. 3 on the grid, ``(m,)``: with its normalising constant, which training never knows."""
    log_prob = prior.log_prob_unnormalized(grid.z)
    return log_prob - torch.logsumexp(log_prob, 0) - math.log(grid.cell)


def exact_log_likelihood(model: JointEBM, x: Tensor, grid: Grid2D) -> Tensor:
    """``log p_β(x|z)`` of Eq. 4 for every image at every grid point: ``(n, C, H, W) -> (n, m)``."""
    x, mean = x.to(grid.z).flatten(1), model.decode(grid.z).flatten(1)
    # ‖x - g‖² = ‖x‖² + ‖g‖² - 2 x·g, so that no tensor of n × m images is made.
    sse = x.square().sum(1, keepdim=True) + mean.square().sum(1) - 2 * x @ mean.t()
    return -sse / (2 * model.sigma**2) - 0.5 * x.shape[1] * math.log(2 * math.pi * model.sigma**2)


def exact_log_evidence(model: JointEBM, x: Tensor, grid: Grid2D) -> Tensor:
    """``log p_θ(x) = log ∫ p_β(x|z) p_α(z) dz`` of Eq. 6 per image, ``(n,)``."""
    log_joint = exact_log_likelihood(model, x, grid) + exact_log_prior(model.prior, grid)
    return torch.logsumexp(log_joint, 1) + math.log(grid.cell)


def exact_log_posterior(model: JointEBM, x: Tensor, grid: Grid2D) -> Tensor:
    """``log p_θ(z|x)`` on the grid, one density per image: ``(n, C, H, W) -> (n, m)``."""
    log_joint = exact_log_likelihood(model, x, grid) + exact_log_prior(model.prior, grid)
    return log_joint - torch.logsumexp(log_joint, 1, keepdim=True) - math.log(grid.cell)


@dataclass(frozen=True)
class ExactBound:
    """The identity of Sec. 3.4 per image, in nats: ``elbo + gap = log_evidence``, each from its own definition.

    Attributes:
        log_evidence: ``log p_θ(x)``, ``(n,)``.
        elbo: ``E_q [log p_θ(x, z) - log q_φ(z|x)]``, ``(n,)``.
        gap: ``KL(q_φ(z|x) ‖ p_θ(z|x))``, ``(n,)``.
    """

    log_evidence: Tensor
    elbo: Tensor
    gap: Tensor


@torch.no_grad()
def exact_bound(model: JointEBM, x: Tensor, grid: Grid2D) -> ExactBound:
    """Evidence, bound and gap of every image; works on a float64 copy, so a model in training may be passed."""
    model = copy.deepcopy(model).double().eval()
    x = x.double()
    log_q = gaussian_on_grid(model.encode(x), grid)
    log_joint = exact_log_likelihood(model, x, grid) + exact_log_prior(model.prior, grid)
    log_evidence = torch.logsumexp(log_joint, 1) + math.log(grid.cell)
    return ExactBound(
        log_evidence=log_evidence,
        elbo=grid_mean(log_q, log_joint - log_q, grid),
        gap=grid_kl(log_q, log_joint - log_evidence[:, None], grid),
    )


def propagate(prior, grid: Grid2D, steps: int, step_size: float, *, start: Tensor | None = None) -> Tensor:
    """The exact law of short-run Langevin samples: the density after 0, 1, …, K steps of Eq. 13 (not differentiable).

    One step moves z to ``z + (s²/2) ∇ log p(z)`` and adds Gaussian noise of variance s², independent in the two
    coordinates. So the next density at ``(a, b)`` is a sum over z of ``p(z) N(a; m_1(z), s²) N(b; m_2(z), s²)``: a
    product of two matrices.

    Args:
        prior: anything with ``log_prob_unnormalized``.
        grid: spacing well below ``s``, wide enough that no chain leaves it.
        steps: K.
        step_size: s.
        start: log-density of the first states on the grid, ``(m,)``; None is N(0, I), the sampler's own start.

    Returns:
        log-densities ``(K + 1, m)``, normalised on the grid.
    """
    check_chain(grid.z, steps, step_size)
    z = grid.z.clone().requires_grad_(True)
    with torch.enable_grad():
        (score,) = torch.autograd.grad(prior.log_prob_unnormalized(z).sum(), z)
    moved = grid.z + 0.5 * step_size**2 * score
    # (m, points) each; a row is where the mass at one grid point goes along one axis.
    first, second = (torch.exp(-0.5 * ((grid.axis - moved[:, i : i + 1]) / step_size).square()) for i in (0, 1))
    log_p = -0.5 * grid.z.square().sum(1) if start is None else start
    densities = [log_p - torch.logsumexp(log_p, 0) - math.log(grid.cell)]
    for _ in range(steps):
        mass = densities[-1].exp()
        log_p = (second.t() @ (mass[:, None] * first)).flatten().clamp_min(1e-300).log()
        densities.append(log_p - torch.logsumexp(log_p, 0) - math.log(grid.cell))
    return torch.stack(densities)


def posterior_law(
    model: JointEBM, x: Tensor, grid: Grid2D, steps: int, step_size: float, *, start: Tensor | None = None
) -> Tensor:
    """The exact law of a posterior chain for one image: Langevin steps on ``log p(x, z)``, as in `LatentEBM.posterior_chain`.

    Args:
        model: anything with ``log_likelihood(x, z)`` and a prior.
        x: one image ``(1, C, H, W)``.
        grid, steps, step_size, start: as for `propagate`; the default start is N(0, I).

    Returns:
        log-densities ``(K' + 1, m)``, to be compared with `exact_log_posterior`.

    Raises:
        ValueError: for more than one image, or a chain that cannot be run.
    """
    if len(x) != 1:
        raise ValueError(f"the law of a posterior chain is that of one image, got {len(x)}")
    x = x.to(grid.z)

    def log_joint(z: Tensor) -> Tensor:
        return model.log_likelihood(x, z) + model.prior.log_prob_unnormalized(z)

    return propagate(SimpleNamespace(log_prob_unnormalized=log_joint), grid, steps, step_size, start=start)
