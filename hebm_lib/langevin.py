"""Langevin dynamics, the reference (Eq. 13 and 14 of the paper).

Fast paths stand in `hebm_lib.sampling`; each is tested against the loop in this file on the same noise.
"""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["langevin_block", "langevin_dynamics", "metropolis_langevin"]


def langevin_dynamics(
    log_prob: Callable[[Tensor], Tensor],
    z0: Tensor,
    steps: int,
    step_size: float,
    *,
    generator: torch.Generator | None = None,
    trajectory: bool = False,
) -> Tensor:
    """Run ``K`` steps of the unadjusted Langevin chain ``z ← z + (s²/2) ∇ log p(z) + s ε`` (Eq. 13).

    The chain is not corrected by an accept-reject step, so its stationary law differs from ``p`` by a bias of order
    ``s²``: for a standard normal the variance is ``1 / (1 - s²/4)`` instead of 1.

    Args:
        log_prob: any differentiable log-density, up to a constant: ``(n, d) -> (n,)``.
        z0: starting points ``(n, d)``.
        steps: ``K`` ≥ 0.
        step_size: ``s`` > 0.
        generator: source of the noise; None takes torch's global one.
        trajectory: return every state instead of the last.

    Returns:
        The last state ``(n, d)``, or the trajectory ``(K + 1, n, d)`` whose first entry is ``z0``. Detached.

    Raises:
        ValueError: for a negative ``steps`` or a step size that is not positive.

    Example:
        >>> noise = torch.Generator().manual_seed(0)
        >>> z = langevin_dynamics(lambda z: -0.5 * z.square().sum(1), torch.zeros(20_000, 1), 100, 1.0, generator=noise)
        >>> round(z.var().item(), 1), round(1 / (1 - 1.0**2 / 4), 1)
        (1.3, 1.3)
    """
    check_chain(z0, steps, step_size)
    z = z0.detach().contiguous()  # the layout in memory must not reach the last digits
    states = [z]
    for _ in range(steps):
        z = z.detach().requires_grad_(True)
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(log_prob(z).sum(), z)
        noise = torch.randn(z.shape, dtype=z.dtype, device=z.device, generator=generator)
        z = z.detach() + 0.5 * step_size**2 * gradient + step_size * noise
        if trajectory:
            states.append(z)
    if trajectory:
        return torch.stack(states)
    return z if steps else z.clone()  # never the caller's own memory


def langevin_block(
    log_prob: Callable[[Tensor], Tensor],
    z0: Tensor,
    columns: slice,
    steps: int,
    step_size: float,
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Eq. 13 on a block of columns with the other columns held: a chain towards ``p(block | the others)``.

    ``log p(z) = log p(block | others) + log p(others)``, and the second term has no gradient in the block. So the chain
    needs nothing but ``log_prob`` of the whole z, and no constant.

    Args:
        log_prob: any differentiable log-density of the whole z, up to a constant: ``(n, d) -> (n,)``.
        z0: starting points ``(n, d)``; what stands outside the block is the condition.
        columns: the block, such as ``latents.columns(level)``.
        steps: ``K`` ≥ 0.
        step_size: ``s`` > 0.
        generator: source of the noise; None takes torch's global one.

    Returns:
        ``(n, d)``: the block's last state, all other columns as they were in ``z0``. Detached.

    Raises:
        ValueError: for a chain that cannot be run, as `langevin_dynamics`.

    Example:
        >>> z0 = torch.zeros(4, 3)
        >>> z = langevin_block(lambda z: -0.5 * z.square().sum(1), z0, slice(0, 2), 5, 0.1)
        >>> (z[:, 2] == 0).all().item(), (z[:, :2] == 0).any().item()
        (True, False)
    """
    check_chain(z0, steps, step_size)

    def placed(block: Tensor) -> Tensor:
        z = z0.detach().clone()
        z[:, columns] = block
        return z

    start = z0[:, columns]
    return placed(
        langevin_dynamics(lambda block: log_prob(placed(block)), start, steps, step_size, generator=generator)
    )


def metropolis_langevin(
    log_prob: Callable[[Tensor], Tensor],
    z0: Tensor,
    steps: int,
    step_size: float,
    *,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """`langevin_dynamics` with Metropolis's correction (MALA): ``p`` is the chain's exact stationary law.

    Every step of Eq. 13 is a proposal. It is taken with probability ``min(1, p(z') q(z|z') / (p(z) q(z'|z)))``, where
    ``q(z'|z) = N(z + (s²/2) ∇ log p(z), s² I)``; else the chain stays where it is :cite:p:`roberts1996exponential`.

    Args:
        log_prob: any differentiable log-density, up to a constant: ``(n, d) -> (n,)``.
        z0: starting points ``(n, d)``.
        steps: ``K`` ≥ 0.
        step_size: ``s`` > 0.
        generator: source of the noise; None takes torch's global one.

    Returns:
        The last state ``(n, d)``, and the share of each chain's proposals that were taken, ``(n,)`` (1 for K = 0). Where
        that share is near 1, the plain chain with this step size is near its target too.

    Raises:
        ValueError: for a chain that cannot be run, as `langevin_dynamics`.

    Example:
        >>> z, taken = metropolis_langevin(lambda z: -0.5 * z.square().sum(1), torch.zeros(100, 2), 20, 0.1)
        >>> z.shape, bool(taken.mean() > 0.99)
        (torch.Size([100, 2]), True)
    """
    check_chain(z0, steps, step_size)

    def look(z: Tensor) -> tuple[Tensor, Tensor]:
        """Log-density and where the drift leads, at z."""
        z = z.detach().requires_grad_(True)
        with torch.enable_grad():
            value = log_prob(z)
            (gradient,) = torch.autograd.grad(value.sum(), z)
        return value.detach(), z.detach() + 0.5 * step_size**2 * gradient

    z, taken = z0.detach().contiguous(), z0.new_zeros(len(z0))
    if not steps:
        return z.clone(), taken + 1  # never the caller's own memory
    noise = {"dtype": z.dtype, "device": z.device, "generator": generator}
    value, drifted = look(z)
    for _ in range(steps):
        proposal = drifted + step_size * torch.randn(z.shape, **noise)
        new_value, new_drifted = look(proposal)
        there = (proposal - drifted).square().sum(1) / (2 * step_size**2)  # -log q(z'|z), up to a constant
        back = (z - new_drifted).square().sum(1) / (2 * step_size**2)
        take = torch.rand(len(z), **noise).log() < new_value - value + there - back
        z, drifted = (torch.where(take[:, None], a, b) for a, b in ((proposal, z), (new_drifted, drifted)))
        value, taken = torch.where(take, new_value, value), taken + take
    return z, taken / steps


def check_chain(z0: Tensor, steps: int, step_size: float, every: int = 1) -> None:
    """Raise `ValueError` for a chain that cannot be run: shared by the reference and every fast path."""
    if z0.ndim != 2:
        raise ValueError(f"a chain starts from a tensor of shape (n, d), got {tuple(z0.shape)}")
    if not z0.is_floating_point():
        raise ValueError(f"a chain starts from floating-point states, got {z0.dtype}")
    if steps < 0 or int(steps) != steps:
        raise ValueError(f"the number of Langevin steps K must be a whole number ≥ 0, got {steps}")
    if not step_size > 0:
        raise ValueError(f"the Langevin step size s must be positive, got {step_size}")
    if every < 1 or steps % every:
        raise ValueError(f"a trajectory of {steps} steps cannot be kept every {every} steps: take a divisor")
