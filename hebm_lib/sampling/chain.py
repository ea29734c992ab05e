"""What all backends share: the perceptron in plain tensors, and what a running chain offers."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["ACTIVATIONS", "Chain", "Perceptron", "on_device"]

ACTIVATIONS = ("leaky", "silu")
"""What may stand behind a hidden layer: the leaky ReLU of the paper's networks, or the smooth ``x · sigmoid(x)``."""


@dataclass(frozen=True)
class Perceptron:
    """``f(z) = w_out · a(W_L … a(W_1 z + b_1) … + b_L) + b_out`` with fixed weights and the activation a.

    Args:
        weights: ``W_1 … W_L`` of shapes ``(h_i, h_{i-1})`` and ``w_out`` of shape ``(1, h_L)``.
        biases: ``b_1 … b_L`` and ``b_out``, which no gradient sees.
        slope: negative slope of the leaky ReLUs.
        activation: one of `ACTIVATIONS`.

    Example:
        >>> f = Perceptron([torch.ones(4, 2), torch.ones(1, 4)], [torch.zeros(4), torch.zeros(1)], slope=0.2)
        >>> f.widths, f(torch.tensor([[1.0, 1.0], [-1.0, 0.0]]))
        ((2, 4), tensor([ 8.0000, -0.8000]))
    """

    weights: list[Tensor]
    biases: list[Tensor]
    slope: float
    activation: str = "leaky"

    @property
    def widths(self) -> tuple[int, ...]:
        """``(d, h_1, …, h_L)``."""
        return tuple(w.shape[1] for w in self.weights)

    def __call__(self, z: Tensor) -> Tensor:
        """``f(z)``: ``(n, d) -> (n,)``."""
        for w, b in zip(self.weights[:-1], self.biases[:-1], strict=True):
            z = torch.nn.functional.linear(z, w, b)
            leaky = self.activation == "leaky"
            z = torch.nn.functional.leaky_relu(z, self.slope) if leaky else torch.nn.functional.silu(z)
        return torch.nn.functional.linear(z, self.weights[-1], self.biases[-1]).squeeze(-1)

    def log_prob_unnormalized(self, z: Tensor) -> Tensor:
        """``f(z) - ½‖z‖²``, the log-density up to a constant: ``(n, d) -> (n,)``."""
        return self(z) - 0.5 * z.square().sum(-1)

    def to(self, dtype: torch.dtype) -> "Perceptron":
        """The same in another precision."""
        weights, biases = ([part.to(dtype) for part in parts] for parts in (self.weights, self.biases))
        return replace(self, weights=weights, biases=biases)


class Chain(Protocol):
    """``n`` Langevin chains in the hands of one backend: made as ``Backend(f, z0, step_size, generator)``.

    Every backend draws ``torch.randn((n, d))`` once per step and in this order from ``generator`` (None: torch's global
    one), so all of them see the noise that `langevin_dynamics` sees.
    """

    activations: tuple[str, ...]
    """Those of `ACTIVATIONS` that this backend has a gradient for."""
    z: Tensor
    """The present states ``(n, d)``, a tensor of the chain's own."""

    def advance(self, steps: int) -> None:
        """Move every chain by ``steps`` steps."""

    @staticmethod
    def objection(device: torch.device, dtype: torch.dtype) -> str | None:
        """Why this backend cannot run on such tensors here, in a few words; None where it can."""


def on_device(device: torch.device) -> AbstractContextManager:
    """A CUDA device made the present one, as launches of kernels and graphs need it: they go to the present device,
    whatever their tensors lie on. For any other device nothing."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
