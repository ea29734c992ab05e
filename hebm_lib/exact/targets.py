"""Two-dimensional targets that are known in closed form, an exact fit to them, and a chain whose bound is known: for pages
and tests, never for runs.

The plane stands for a latent of two levels with one unit each, ``z = [z_1, z_2]``: bottom first, as everywhere.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Normal

from hebm_lib.algorithm import learn_energy
from hebm_lib.config import LangevinConfig

__all__ = ["CoupledMixture", "LinearChain", "fit_by_chains", "fit_by_quadrature"]


@dataclass(frozen=True)
class CoupledMixture:
    """A mixture of axis-parallel Gaussians: ``p(z) = Σ_k w_k N(z; m_k, diag(r_k²))``.

    The default is a caricature of an aggregate posterior: the top level z_2 has three modes ("classes"), and where
    z_1 may be depends on the mode. In the uppermost mode z_1 has two places to be.

    Args:
        means: ``m_k``, one tuple of d numbers per component.
        scales: ``r_k``, standard deviations per component and coordinate.
        weights: ``w_k`` > 0, in any unit; they are divided by their sum.

    Raises:
        ValueError: if the three do not describe the same components, or a scale or weight is not positive.
    """

    means: tuple[tuple[float, ...], ...] = ((-1.0, -1.5), (1.1, 0.0), (-1.3, 1.5), (0.4, 1.5))
    scales: tuple[tuple[float, ...], ...] = ((0.35, 0.3), (0.35, 0.3), (0.3, 0.3), (0.3, 0.3))
    weights: tuple[float, ...] = (2.0, 2.0, 1.0, 1.0)

    def __post_init__(self):
        if not len(self.means) == len(self.scales) == len(self.weights) > 0:
            raise ValueError(
                "a mixture needs one mean, one scale and one weight per component, got "
                f"{len(self.means)}, {len(self.scales)} and {len(self.weights)}"
            )
        if len({len(row) for row in (*self.means, *self.scales)}) != 1:
            raise ValueError("all means and scales of a mixture need the same number of coordinates")
        if min(min(row) for row in self.scales) <= 0 or min(self.weights) <= 0:
            raise ValueError("scales and weights of a mixture must be positive")

    @property
    def dim(self) -> int:
        """Number of coordinates d."""
        return len(self.means[0])

    def log_prob(self, z: Tensor) -> Tensor:
        """``log p(z)``, normalised and differentiable: ``(n, d) -> (n,)``."""
        means, scales, weights = self._tensors(z.dtype, z.device)
        parts = torch.distributions.Normal(means, scales).log_prob(z[..., None, :]).sum(-1)
        return torch.logsumexp(parts + weights.log(), dim=-1)

    def log_prob_unnormalized(self, z: Tensor) -> Tensor:
        """The same as `log_prob`, under the name that priors have: the target can stand where a prior is expected."""
        return self.log_prob(z)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """``n`` independent exact draws, ``(n, d)``."""
        device = generator.device if generator is not None else None
        means, scales, weights = self._tensors(torch.get_default_dtype(), device)
        k = torch.multinomial(weights, n, replacement=True, generator=generator)
        return means[k] + scales[k] * torch.randn(n, self.dim, generator=generator, device=device)

    def _tensors(self, dtype, device) -> tuple[Tensor, Tensor, Tensor]:
        means, scales, weights = (
            torch.tensor(values, dtype=dtype, device=device) for values in (self.means, self.scales, self.weights)
        )
        return means, scales, weights / weights.sum()


def fit_by_quadrature(
    log_prob: Callable[[Tensor], Tensor],
    parameters: Iterable[Tensor],
    target: Callable[[Tensor], Tensor],
    z: Tensor,
    *,
    steps: int = 400,
    lr: float = 0.02,
) -> list[float]:
    """Maximum likelihood without sampling: lower ``KL(target ‖ model)``, both normalised by sums over a regular grid.

    The gradient is Eq. 10 of the paper with both expectations exact (up to the grid), so that what a fit shows is what
    the model *can* say, not how well it was sampled. Adam, with a rate that falls to zero along a cosine.

    Args:
        log_prob: the model's log-density up to a constant, ``(m, d) -> (m,)``.
        parameters: what to learn.
        target: the target's log-density up to a constant, ``(m, d) -> (m,)``.
        z: ``(m, d)``, all points of a regular grid that holds nearly all mass of both.
        steps: gradient steps.
        lr: first learning rate.

    Returns:
        ``KL(target ‖ model)`` before each step, in nats.
    """
    with torch.no_grad():
        log_p = torch.log_softmax(target(z), 0)
    p = log_p.exp()
    optimiser = torch.optim.Adam(list(parameters), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    history = []
    for _ in range(steps):
        kl = (p * (log_p - torch.log_softmax(log_prob(z), 0))).sum()
        optimiser.zero_grad()
        kl.backward()
        optimiser.step()
        schedule.step()
        history.append(kl.item())
    return history


def fit_by_chains(
    prior,
    codes: Tensor,
    steps: int,
    step_size: float,
    *,
    updates: int = 600,
    lr: float = 0.01,
    batch: int = 200,
    generator: torch.Generator | None = None,
) -> list[float]:
    """The α-half of Algorithm 1 alone, `learn_energy`, on codes that stand still.

    Adam, with a rate that falls to zero along a cosine.

    Args:
        prior: a `JointEBMPrior`; its persistent chains, if it has any, are used and moved.
        codes: ``(n, d)``, what the prior is to become.
        steps: K.
        step_size: s.
        updates: gradient steps.
        lr: first learning rate.
        batch: codes, and fresh chains, per update.
        generator: source of batches and noise.

    Returns:
        ``E f(z⁺) - E f(z⁻)`` before each update.
    """
    optimiser = torch.optim.Adam(prior.parameters(), lr=lr, betas=(0.5, 0.999))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, updates)
    langevin, history = LangevinConfig(steps=steps, step_size=step_size), []
    for _ in range(updates):
        positive = codes[torch.randint(len(codes), (batch,), generator=generator)]
        for update in learn_energy(prior, positive, langevin, generator=generator):
            optimiser.zero_grad()
            update.loss.backward()
            optimiser.step()
            history.append(-update.loss.item())
        schedule.step()
    return history


@dataclass(frozen=True)
class LinearChain:
    """``z_2 ~ N(0, 1)``, ``z_1 | z_2 ~ N(√t z_2, 1 - t)``, ``x | z_1 ~ N(w z_1, 1)``: one number on each level.

    ``z_1`` is standard normal whatever ``t`` is, so every chain makes the same images: ``x ~ N(0, w² + 1)``.

    Attributes:
        t: between 0 and 1, the part of z_1's variance, and of the image's, that comes from the top's noise.
        w: how loudly the bottom speaks.
    """

    t: float
    w: float = 10.0

    def kl(self) -> tuple[float, float]:
        """``E KL`` of level 1 and of level 2 where q is the exact posterior: ``I(x; z_1 | z_2)`` and ``I(x; z_2)``."""
        total, bottom = (0.5 * math.log1p(self.w**2 * share) for share in (1.0, 1 - self.t))
        return bottom, total - bottom

    def draw_bound(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """``log p(x|z_1) - (log q - log p)`` of both levels at one draw from the exact posterior, ``(n,) -> (n,)``."""
        noise = torch.randn(2, len(x), dtype=x.dtype, generator=generator)
        root, rest = self.t**0.5, 1 - self.t
        # x given z_2 alone is N(w √t z_2, w² (1 - t) + 1); the product of two Gaussians gives each posterior.
        blur = self.w**2 * rest + 1
        scale = (1 + self.w**2 * self.t / blur) ** -0.5
        top = Normal(scale**2 * self.w * root * x / blur, scale)
        z_2 = top.mean + top.stddev * noise[1]
        scale = (1 / rest + self.w**2) ** -0.5
        bottom = Normal(scale**2 * (root * z_2 / rest + self.w * x), scale)
        z_1 = bottom.mean + bottom.stddev * noise[0]
        prior = Normal(0.0, 1.0).log_prob(z_2) + Normal(root * z_2, rest**0.5).log_prob(z_1)
        return Normal(self.w * z_1, 1.0).log_prob(x) - (top.log_prob(z_2) + bottom.log_prob(z_1) - prior)
