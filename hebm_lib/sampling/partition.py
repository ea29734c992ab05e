"""The partition function ``Z = E_{N(0, I)} exp f(z)`` of Eq. 3, with a bracket.

Plain importance sampling from N(0, I) is exact where ``exp f`` varies little. Where it does not, annealed importance
sampling (Neal 2001) goes from N(0, I) to the prior through ``exp(β f(z)) N(z; 0, I)``, β from 0 to 1, with a
Metropolis-adjusted Langevin step at each; the same way back, from samples of the prior, errs to the other side (Grosse,
Ancha and Roy 2016).
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hebm_lib.sampling.chain import Perceptron

__all__ = ["LogZ", "estimate_log_z"]

TRUSTED = 0.05
"""Share of plain draws that has to be effective for their mean to be the estimate."""
APART = 0.5
"""Nats between the two brackets from which on a warning is given."""
ACCEPTED = 0.6
"""Share of proposals that should be taken; the step size at each temperature is tuned to it."""


@dataclass(frozen=True)
class LogZ:
    """``log Z`` in nats.

    Attributes:
        estimate: the best single number.
        lower, upper: what annealing upwards and downwards gives, and plain importance sampling where it is trusted, the
            smallest less and the largest plus twice its standard error. On average the way up is at most log Z, and the way
            down at least log Z if its start follows the prior.
        standard_error: of the estimate.
        effective_sample_size: how many of the plain draws from N(0, I) count, ``(Σ w)² / Σ w²``.
        draws: how many were made.
        method: ``importance sampling``, ``annealed importance sampling`` or ``exact``.
    """

    estimate: float
    lower: float
    upper: float
    standard_error: float
    effective_sample_size: float
    draws: int
    method: str

    @classmethod
    def exact(cls, value: float = 0.0) -> "LogZ":
        """A constant that is known, such as 0 for a density that is normalised.

        >>> LogZ.exact().estimate
        0.0
        """
        return cls(value, value, value, 0.0, math.inf, 0, "exact")

    @property
    def width(self) -> float:
        """``upper - lower``."""
        return self.upper - self.lower


def estimate_log_z(
    f: Perceptron | Callable[[Tensor], Tensor],
    dim: int,
    *,
    chains: int = 1000,
    temperatures: int = 1000,
    draws: int = 100_000,
    settle: int = 300,
    like: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> LogZ:
    """Estimate ``log E_{N(0, I)} exp f(z)``.

    Args:
        f: the negative energy, ``(n, d) -> (n,)``. Of a `Perceptron` the gradient is written out; of any other function
            autograd finds it.
        dim: d.
        chains: of the annealing, on the way up and on the way down each.
        temperatures: steps between β = 0 and β = 1.
        draws: of plain importance sampling.
        settle: Metropolis-adjusted steps at β = 1 before the way down.
        like: a tensor whose device and type the states have; None takes torch's default.
        generator: source of all noise; None takes torch's global one.

    Returns:
        The estimate with its bracket. It warns where the bracket is wider than half a nat: then more temperatures or
        chains are needed.

    Raises:
        ValueError: for fewer than two chains, temperatures or draws.

    Example:
        >>> noise = torch.Generator().manual_seed(0)
        >>> found = estimate_log_z(lambda z: z[:, 0], 3, generator=noise)  # log E exp(z_1) = 1/2
        >>> abs(found.estimate - 0.5) < 0.05, found.lower < 0.5 < found.upper
        (True, True)
    """
    if min(chains, temperatures, draws) < 2 or settle < 0:
        raise ValueError(
            f"log Z needs at least two chains, temperatures and draws, got {chains}, {temperatures} and {draws}"
        )
    like = torch.empty(0) if like is None else like
    noise = {"dtype": like.dtype, "device": like.device, "generator": generator}
    with torch.no_grad(), torch.autocast(like.device.type, enabled=False):
        plain = torch.cat([f(torch.randn(n, dim, **noise)).double() for n in _pieces(draws)])
        mean, error, effective = _log_mean(plain)
        # Denser near β = 0, where the states still change most.
        betas = (torch.linspace(0, 1, temperatures + 1) ** 2).tolist()
        _, _, sizes = _anneal(f, torch.randn(max(2, chains // 4), dim, **noise), betas, None, generator)
        up, z, _ = _anneal(f, torch.randn(chains, dim, **noise), betas, sizes, generator)
        # Samples of the prior: the ends of the way up, drawn by their weights, and some more steps.
        z = z[torch.multinomial(torch.softmax(up, 0), chains, replacement=True, generator=generator)]
        chain = _Adjusted(f, z, 1.0)
        for _ in range(settle):
            chain.step(sizes[-1], generator)
        back = [*sizes[-2::-1], sizes[0]]  # at each temperature the size that it had on the way up
        down, _, _ = _anneal(f, chain.z, betas[::-1], back, generator)
    low, low_error, _ = _log_mean(up)
    high, high_error, _ = _log_mean(down)
    high = -high
    ends = [(low, low_error), (high, high_error)]
    lower, upper = min(v - 2 * e for v, e in ends), max(v + 2 * e for v, e in ends)
    if not upper - lower <= APART:
        warnings.warn(
            f"log Z is known poorly: annealing upwards gives {low:.2f}, downwards {high:.2f}, the bracket is "
            f"{lower:.2f} to {upper:.2f}. Ask for more temperatures (now {temperatures}) or chains (now {chains})",
            RuntimeWarning,
            stacklevel=2,
        )
    if effective >= TRUSTED * draws:
        lower, upper = min(lower, mean - 2 * error), max(upper, mean + 2 * error)
        return LogZ(mean, lower, upper, error, effective, draws, "importance sampling")
    both = _bennett(up, -down)
    return LogZ(both, lower, upper, max(low_error, high_error), effective, draws, "annealed importance sampling")


class _Adjusted:
    """Metropolis-adjusted Langevin chains towards ``exp(β f(z)) N(z; 0, I)``; β may change between steps."""

    def __init__(self, f, z: Tensor, beta: float):
        self.f, self.z, self.beta = f, z, beta
        self.value, self.slope = value_and_gradient(f, z)

    def step(self, size: float, generator: torch.Generator | None) -> Tensor:
        """One step of every chain; which proposals were taken, ``(n,)``."""
        half, beta, z = 0.5 * size**2, self.beta, self.z
        noise = {"dtype": z.dtype, "device": z.device, "generator": generator}
        drifted = z + half * (beta * self.slope - z)
        there = drifted + size * torch.randn(z.shape, **noise)
        value, slope = value_and_gradient(self.f, there)
        back = there + half * (beta * slope - there)
        gain = beta * (value - self.value) + 0.5 * (z.square() - there.square()).sum(1)
        # log q(z|z') - log q(z'|z)
        gain += ((there - drifted).square() - (z - back).square()).sum(1) / (2 * size**2)
        take = torch.rand(len(z), **noise).log() < gain
        self.z, self.slope = (torch.where(take[:, None], a, b) for a, b in ((there, z), (slope, self.slope)))
        self.value = torch.where(take, value, self.value)
        return take


def _anneal(f, z: Tensor, betas: list[float], sizes, generator) -> tuple[Tensor, Tensor, list[float]]:
    """Go through the temperatures with one step at each but the first: log-weights, last states, step sizes.

    Without ``sizes`` they are tuned on the way. On the way down the step is taken before its temperature is left.
    """
    tune, used, size = sizes is None, [], 0.5
    chain, total = _Adjusted(f, z, betas[0]), z.new_zeros(len(z), dtype=torch.float64)
    for i, (old, new) in enumerate(zip(betas, betas[1:], strict=False)):
        total += (new - old) * chain.value.double()
        chain.beta = new
        size = size if tune else sizes[i]
        taken = chain.step(size, generator)
        used.append(size)
        if tune:
            share = taken.double().mean().item()  # tuning alone waits for the device
            size = min(max(size * math.exp(0.3 * (share - ACCEPTED)), 1e-3), 2.0)
    return total, chain.z, used


def value_and_gradient(f: Perceptron | Callable[[Tensor], Tensor], z: Tensor) -> tuple[Tensor, Tensor]:
    """``f(z)``, ``(n,)``, and ``∇f(z)``, ``(n, d)``.

    >>> value, gradient = value_and_gradient(lambda z: z.square().sum(1), torch.tensor([[1.0, 2.0]]))
    >>> value, gradient
    (tensor([5.]), tensor([[2., 4.]]))
    """
    if not isinstance(f, Perceptron):
        with torch.enable_grad():
            z = z.detach().requires_grad_(True)
            value = f(z)
            (gradient,) = torch.autograd.grad(value.sum(), z)
        return value.detach(), gradient
    sums, h, leaky = [], z, f.activation == "leaky"
    for w, b in zip(f.weights[:-1], f.biases[:-1], strict=True):
        sums.append(torch.addmm(b, h, w.t()))
        h = torch.nn.functional.leaky_relu(sums[-1], f.slope) if leaky else torch.nn.functional.silu(sums[-1])
    g = f.weights[-1].expand(len(z), -1)
    for w, total in zip(reversed(f.weights[:-1]), reversed(sums), strict=True):
        backward = torch.ops.aten.leaky_relu_backward if leaky else torch.ops.aten.silu_backward
        g = (backward(g, total, f.slope, False) if leaky else backward(g, total)) @ w
    return torch.addmm(f.biases[-1], h, f.weights[-1].t()).squeeze(1), g


def _pieces(total: int, size: int = 10_000) -> list[int]:
    return [min(size, total - start) for start in range(0, total, size)]


def _log_mean(log_weights: Tensor) -> tuple[float, float, float]:
    """``log mean w``, its standard error (of the mean, relative), and the effective sample size."""
    n, total = len(log_weights), torch.logsumexp(log_weights, 0)
    effective = torch.exp(2 * total - torch.logsumexp(2 * log_weights, 0)).item()
    return total.item() - math.log(n), math.sqrt(max(0.0, 1 / effective - 1 / n)), effective


def _bennett(up: Tensor, down: Tensor) -> float:
    """Bennett's (1976) estimate from log-weights of both ways, as many of each: the c with ``Σ σ(up - c) = Σ σ(c - down)``."""
    low, high = min(up.min(), down.min()).item(), max(up.max(), down.max()).item()
    for _ in range(60):
        c = (low + high) / 2
        if torch.sigmoid(up - c).sum() > torch.sigmoid(c - down).sum():
            low = c
        else:
            high = c
    return c
