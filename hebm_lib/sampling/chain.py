"""What all backends share: the perceptron in plain tensors, and what a running chain offers."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["Chain", "Perceptron"]


@dataclass(frozen=True)
class Perceptron:
    """``f(z) = w_out · leaky(W_L … leaky(W_1 z + b_1) … + b_L) + b_out`` with fixed weights.

    Args:
        weights: ``W_1 … W_L`` of shapes ``(h_i, h_{i-1})`` and ``w_out`` of shape ``(1, h_L)``.
        biases: ``b_1 … b_L`` and ``b_out``, which no gradient sees.
        slope: negative slope of the leaky ReLUs.
    """

    weights: list[Tensor]
    biases: list[Tensor]
    slope: float

    @property
    def widths(self) -> tuple[int, ...]:
        """``(d, h_1, …, h_L)``."""
        return tuple(w.shape[1] for w in self.weights)

    def __call__(self, z: Tensor) -> Tensor:
        """``f(z)``: ``(n, d) -> (n,)``."""
        for w, b in zip(self.weights[:-1], self.biases[:-1], strict=True):
            z = torch.nn.functional.leaky_relu(torch.nn.functional.linear(z, w, b), self.slope)
        return torch.nn.functional.linear(z, self.weights[-1], self.biases[-1]).squeeze(-1)

    def log_prob_unnormalized(self, z: Tensor) -> Tensor:
        """``f(z) - ½‖z‖²``, the log-density up to a constant: ``(n, d) -> (n,)``."""
        return self(z) - 0.5 * z.square().sum(-1)

    def to(self, dtype: torch.dtype) -> "Perceptron":
        """The same in another precision."""
        return Perceptron([w.to(dtype) for w in self.weights], [b.to(dtype) for b in self.biases], self.slope)


class Chain(Protocol):
    """``n`` Langevin chains in the hands of one backend: made as ``Backend(f, z0, step_size, generator)``.

    Every backend draws ``torch.randn((n, d))`` once per step and in this order from ``generator`` (None: torch's global
    one), so all of them see the noise that `langevin_dynamics` sees.
    """

    z: Tensor
    """The present states ``(n, d)``, a tensor of the chain's own."""

    def advance(self, steps: int) -> None:
        """Move every chain by ``steps`` steps."""

    @staticmethod
    def objection(device: torch.device, dtype: torch.dtype) -> str | None:
        """Why this backend cannot run on such tensors here, in a few words; None where it can."""
