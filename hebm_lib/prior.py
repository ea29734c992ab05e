"""Priors over the joint latent: the plain Gaussian, and its tilt by a joint energy (Eq. 3).

Both have the same methods, so that a model, the trainer and the metrics never ask which one they hold.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hebm_lib.langevin import check_chain, langevin_dynamics
from hebm_lib.latents import LatentSpec
from hebm_lib.networks import EnergyMLP

__all__ = ["GaussianPrior", "JointEBMPrior"]


def standard_normal_log_prob(z: Tensor) -> Tensor:
    """``log N(z; 0, I)`` summed over the last axis: ``(n, d) -> (n,)``."""
    return -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)


class GaussianPrior(nn.Module):
    """``p_0(z) = N(0, I)``: the prior of the VAE and of VLAE, f = 0."""

    def __init__(self, latents: LatentSpec):
        super().__init__()
        self.latents = latents
        # No parameter says where this module is, so that samples are drawn there; this buffer does. Never saved.
        self.register_buffer("place", torch.zeros(()), persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        """``f(z) = 0``, shape ``(n,)``."""
        self.latents.check(z)
        return torch.zeros(z.shape[:-1], dtype=z.dtype, device=z.device)

    def log_prob_unnormalized(self, z: Tensor) -> Tensor:
        """``log N(z; 0, I)``, shape ``(n,)``; for this prior it is normalised."""
        self.latents.check(z)
        return standard_normal_log_prob(z)

    @torch.no_grad()
    def sample(self, n, steps=0, step_size=0.4, *, z0=None, generator=None, trajectory=False) -> Tensor:
        """Same signature as `JointEBMPrior.sample`. With ``steps=0`` the draw is exact; with steps a chain is run."""
        z0 = _start(self, n, z0, generator)
        if trajectory or steps:
            return langevin_dynamics(
                self.log_prob_unnormalized, z0, steps, step_size, generator=generator, trajectory=trajectory
            )
        return z0


class JointEBMPrior(nn.Module):
    """``p_α(z) ∝ exp(f_α([z_1, …, z_L])) N(z; 0, I)`` (Eq. 3): one energy on all levels together.

    Args:
        latents: sizes of z_1 … z_L.
        hidden: widths of the perceptron's hidden layers, at least one.
        spectral_norm: keep each layer's largest singular value at 1. The paper is silent on it, the authors' code
            uses it: f is then 1-Lipschitz, so its drift in Eq. 14 is never longer than 1.
        slope: negative slope of the leaky ReLUs.
        lipschitz: with spectral norm, f is Lipschitz with this constant; the authors' code has 1.
    """

    def __init__(
        self,
        latents: LatentSpec,
        hidden=(100, 100),
        spectral_norm: bool = True,
        slope: float = 0.2,
        lipschitz: float = 1.0,
    ):
        super().__init__()
        self.latents = latents
        self.energy = EnergyMLP(latents.total, tuple(hidden), spectral_norm, slope, lipschitz)

    def forward(self, z: Tensor) -> Tensor:
        """``f_α(z)``, the NEGATIVE energy: ``(n, d) -> (n,)``."""
        self.latents.check(z)
        return self.energy(z)

    def log_prob_unnormalized(self, z: Tensor) -> Tensor:
        """``f_α(z) + log N(z; 0, I)``, that is ``log p_α(z) + log Z(α)``: ``(n, d) -> (n,)``."""
        return self(z) + standard_normal_log_prob(z)

    @torch.no_grad()
    def sample(self, n, steps, step_size, *, z0=None, generator=None, trajectory=False) -> Tensor:
        """``K`` Langevin steps towards p_α from fresh Gaussian noise (Eq. 13 and 14).

        The gradient of the perceptron is written out in closed form and the weights are resolved once per chain; on
        the same noise the result equals `langevin_dynamics` up to rounding.

        Args:
            n: number of chains.
            steps: K.
            step_size: s.
            z0: starting points ``(n, d)``; None draws them from N(0, I).
            generator: source of all noise; None takes torch's global one.
            trajectory: return every state.

        Returns:
            ``(n, d)``, or ``(K + 1, n, d)`` with ``trajectory``.

        Raises:
            ValueError: for a wrong shape of ``z0``, a negative K or a step size that is not positive.
        """
        z = _start(self, n, z0, generator).clone()
        check_chain(z, steps, step_size)
        weights, biases = self._resolved(z.dtype)
        slope = self.energy.slope
        noise, drift = torch.empty_like(z), torch.empty_like(z)
        hidden = [torch.empty(len(z), w.shape[0], dtype=z.dtype, device=z.device) for w in weights[:-1]]
        back = [torch.empty_like(h) for h in hidden]
        states = torch.empty(steps + 1, *z.shape, dtype=z.dtype, device=z.device) if trajectory else None
        if trajectory:
            states[0] = z
        half, keep = 0.5 * step_size**2, 1 - 0.5 * step_size**2
        for step in range(steps):
            # Forward: a_i = W_i h_{i-1} + b_i. Only the sign of each a_i is needed on the way back.
            below = z
            for h, w, b in zip(hidden, weights, biases, strict=False):
                torch.addmm(b, below, w.t(), out=h)
                torch.nn.functional.leaky_relu_(h, slope)
                below = h
            # Backward: ∇f = W_1ᵀ D_1 W_2ᵀ D_2 … w_out, with D_i the leaky ReLU's slopes (1 or `slope`).
            g = weights[-1].expand(len(z), -1)
            for i in reversed(range(len(hidden))):
                # leaky_relu_backward multiplies by the slope where the activation is not positive.
                torch.ops.aten.leaky_relu_backward.grad_input(g, hidden[i], slope, True, grad_input=back[i])
                g = torch.mm(back[i], weights[i], out=drift if i == 0 else back[i - 1])
            torch.randn(z.shape, dtype=z.dtype, device=z.device, generator=generator, out=noise)
            # z + (s²/2)(∇f - z) + s ε
            z.mul_(keep).add_(drift, alpha=half).add_(noise, alpha=step_size)
            if trajectory:
                states[step + 1] = z
        return states if trajectory else z

    def _resolved(self, dtype: torch.dtype) -> tuple[list[Tensor], list[Tensor]]:
        """Plain weights and biases, spectral norm applied with the power iteration's present vectors, not moved."""
        was_training = self.energy.training
        self.energy.eval()
        with parametrize.cached():
            weights = [layer.weight.detach().to(dtype) for layer in self.energy.layers]
        weights[-1] = self.energy.lipschitz * weights[-1]
        self.energy.train(was_training)
        return weights, [layer.bias.detach().to(dtype) for layer in self.energy.layers]


def _start(prior: nn.Module, n: int, z0: Tensor | None, generator: torch.Generator | None) -> Tensor:
    """The chain's first state, checked: ``z0``, or ``n`` draws from N(0, I) on the prior's device."""
    d = prior.latents.total
    if z0 is None:
        reference = next(prior.parameters(), None)
        reference = prior.place if reference is None else reference
        return torch.randn(n, d, dtype=reference.dtype, device=reference.device, generator=generator)
    if z0.shape != (n, d):
        raise ValueError(f"z0 must have shape ({n}, {d}), got {tuple(z0.shape)}")
    return z0
