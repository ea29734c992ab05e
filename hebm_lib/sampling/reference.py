"""The loop of `hebm_lib.langevin` under the interface of the backends: autograd at every step."""

import torch
from torch import Tensor

from hebm_lib.langevin import langevin_dynamics
from hebm_lib.sampling.chain import ACTIVATIONS, Perceptron

__all__ = ["Reference"]


class Reference:
    """What every other backend is tested against."""

    activations = ACTIVATIONS

    def __init__(self, f: Perceptron, z0: Tensor, step_size: float, generator: torch.Generator | None):
        self.f, self.z, self.step_size, self.generator = f, z0.clone(), step_size, generator

    @staticmethod
    def objection(device: torch.device, dtype: torch.dtype) -> str | None:
        return None

    def advance(self, steps: int) -> None:
        log_prob = self.f.log_prob_unnormalized
        self.z = langevin_dynamics(log_prob, self.z, steps, self.step_size, generator=self.generator)
