"""The whole chain in one kernel on a CUDA device; the kernel itself is `hebm_lib.sampling.triton_kernel`."""

import os
from importlib.util import find_spec

import torch
from torch import Tensor

from hebm_lib.sampling.chain import Perceptron, on_device

__all__ = ["TritonChain"]

NOISE_FLOATS = 1 << 25
"""Noise is drawn for as many steps at a time as fit here (128 MB), at least for one."""
LANES = 16
"""Chains per program: the smallest tile that a product of matrices takes, so that few chains still fill many processors."""
ON_CHIP = 192 * 1024
"""Bytes of weights that fit beside the rest into the shared memory of a large GPU's processor."""


class TritonChain:
    """Float32 chains on a CUDA device, or on the CPU under Triton's interpreter (``TRITON_INTERPRET=1``), for tests."""

    activations = ("leaky",)

    def __init__(self, f: Perceptron, z0: Tensor, step_size: float, generator: torch.Generator | None):
        from hebm_lib.sampling import triton_kernel

        self.kernel, self.step_size, self.generator, self.slope = triton_kernel, step_size, generator, f.slope
        self.z = z0.clone(memory_format=torch.contiguous_format)
        # Every layer as a square of one size: zeros change no sum.
        self.depth, self.width = len(f.weights) - 1, max(16, 1 << (max(f.widths) - 1).bit_length())
        if 4 * self.depth * self.width**2 > ON_CHIP:
            raise ValueError(f"{self.depth} layers of {self.width} units are too large for a processor's own memory")
        self.weights = z0.new_zeros(self.depth, self.width, self.width)
        self.biases = z0.new_zeros(self.depth, self.width)
        self.out = z0.new_zeros(self.width)
        for i in range(self.depth):
            outputs, inputs = f.weights[i].shape
            self.weights[i, :outputs, :inputs] = f.weights[i]
            self.biases[i, :outputs] = f.biases[i]
        self.out[: f.widths[-1]] = f.weights[-1][0]

    @staticmethod
    def objection(device: torch.device, dtype: torch.dtype) -> str | None:
        if not find_spec("triton"):
            return "triton is not installed"
        if dtype != torch.float32:
            return "it runs float32"
        interpreted = device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"
        return None if device.type == "cuda" or interpreted else "it needs a CUDA device"

    def advance(self, steps: int) -> None:
        n, d = self.z.shape
        chunk = min(steps, max(1, NOISE_FLOATS // max(1, n * d)))
        noise = self.z.new_empty(chunk, n, d)
        draws = noise.unbind()
        while steps and n:
            now = min(chunk, steps)
            for draw in draws[:now]:
                torch.randn((n, d), device=draw.device, generator=self.generator, out=draw)
            with on_device(self.z.device):
                self.kernel.run_chain[(-(-n // LANES),)](
                    *(self.z, noise, self.weights, self.biases, self.out, n, d, now, self.slope, self.step_size),
                    LANES=LANES,
                    WIDTH=self.width,
                    DEPTH=self.depth,
                    num_warps=min(16, max(4, self.width // 8)),  # so many that no thread runs out of registers
                )
            steps -= now
