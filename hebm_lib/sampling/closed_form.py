"""The gradient of the perceptron written out, in buffers that are made once: any device, any precision."""

import torch
from torch import Tensor

from hebm_lib.sampling.chain import ACTIVATIONS, Perceptron

__all__ = ["ClosedForm"]


class ClosedForm:
    """The chain as some twenty torch calls per step, none of which allocates."""

    activations = ACTIVATIONS

    def __init__(self, f: Perceptron, z0: Tensor, step_size: float, generator: torch.Generator | None):
        self.f, self.step_size, self.generator = f, step_size, generator
        self.z = z0.clone(memory_format=torch.contiguous_format)
        self.noise, self.drift = torch.empty_like(self.z), torch.empty_like(self.z)
        self.hidden = [self.z.new_empty(len(z0), width) for width in f.widths[1:]]
        self.back = [torch.empty_like(h) for h in self.hidden]
        # What stands before the activation. A leaky ReLU works in place: its sign is all that the way back needs.
        self.sums = self.hidden if f.activation == "leaky" else [torch.empty_like(h) for h in self.hidden]

    @staticmethod
    def objection(device: torch.device, dtype: torch.dtype) -> str | None:
        return None

    def advance(self, steps: int) -> None:
        f, z, noise, hidden, back = self.f, self.z, self.noise, self.hidden, self.back
        half, sums, leaky = 0.5 * self.step_size**2, self.sums, f.activation == "leaky"
        for _ in range(steps):
            # Forward: h_i = a(W_i h_{i-1} + b_i).
            below = z
            for total, h, w, b in zip(sums, hidden, f.weights, f.biases, strict=False):
                torch.addmm(b, below, w.t(), out=total)
                if leaky:
                    torch.nn.functional.leaky_relu_(h, f.slope)
                else:
                    torch.ops.aten.silu.out(total, out=h)
                below = h
            # Backward: ∇f = W_1ᵀ D_1 W_2ᵀ D_2 … w_out, with D_i the activation's slopes (leaky: 1 or `slope`).
            g = f.weights[-1].expand(len(z), -1)
            for i in reversed(range(len(hidden))):
                # Each multiplies g by the activation's slopes.
                if leaky:
                    torch.ops.aten.leaky_relu_backward.grad_input(g, hidden[i], f.slope, True, grad_input=back[i])
                else:
                    torch.ops.aten.silu_backward.grad_input(g, sums[i], grad_input=back[i])
                g = torch.mm(back[i], f.weights[i], out=self.drift if i == 0 else back[i - 1])
            torch.randn(z.shape, dtype=z.dtype, device=z.device, generator=self.generator, out=noise)
            # z + (s²/2)(∇f - z) + s ε
            z.mul_(1 - half).add_(self.drift, alpha=half).add_(noise, alpha=self.step_size)
