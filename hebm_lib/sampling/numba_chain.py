"""The whole chain as one compiled loop on the CPU; the loop itself is `hebm_lib.sampling.cpu_speed.tiles`.

Numba compiles it on the first use (some seconds) and keeps the machine code beside the source or in the user's cache.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from hebm_lib.sampling.chain import Perceptron

__all__ = ["NumbaChain"]

NOISE_FLOATS = 1 << 18
"""Noise is drawn for as many steps at a time as fit here (1 MB, about a second-level cache), at least for one."""
THREAD_FLOPS = 5_000_000
"""Work that is worth waking a thread for."""


class NumbaChain:
    """Float32 chains on the CPU. Torch draws the noise; blocks of chains are shared out over torch's thread count."""

    activations = ("leaky",)

    def __init__(self, f: Perceptron, z0: Tensor, step_size: float, generator: torch.Generator | None):
        from hebm_lib.sampling.cpu_speed import tiles as kernels

        self.kernels, self.step_size, self.generator = kernels, step_size, generator
        # Memory of numpy's with a tensor over it: torch writes, the kernel reads, and nothing is converted.
        self.states, self.z = shared(z0.shape)
        self.z.copy_(z0)
        self.widths, self.slope = np.array(f.widths, np.int64), np.float32(f.slope)
        parts = [part.flatten() for pair in zip(f.weights, f.biases, strict=True) for part in pair][:-1]
        flat, view = shared((sum(part.numel() for part in parts),))
        torch.cat(parts, out=view)
        self.packed = kernels.pack(flat, self.widths)
        self.flops = 4 * sum(a * b for a, b in zip(f.widths, f.widths[1:], strict=False))

    @staticmethod
    def objection(device: torch.device, dtype: torch.dtype) -> str | None:
        if device.type != "cpu" or dtype != torch.float32:
            return "it runs float32 on a CPU"
        return None if find_spec("numba") else "numba is not installed"

    def advance(self, steps: int) -> None:
        n, d = self.states.shape
        chunk = min(steps, max(1, NOISE_FLOATS // max(1, n * d)))
        noise, view = shared((chunk, n, d))
        draws = view.unbind()
        while steps:
            now = min(chunk, steps)
            for draw in draws[:now]:
                torch.randn((n, d), generator=self.generator, out=draw)
            self._run(noise[:now])
            steps -= now

    def _run(self, noise: np.ndarray) -> None:
        blocks = -(-len(self.states) // self.kernels.LANES)
        work = len(noise) * len(self.states) * self.flops
        shares = max(1, min(torch.get_num_threads(), blocks, work // THREAD_FLOPS))
        bounds = [blocks * i // shares for i in range(shares + 1)]
        arguments = (self.states, noise, self.packed, self.widths, self.slope, float(self.step_size))
        # The kernel holds no interpreter lock, and blocks know nothing of each other.
        others = [
            helpers(os.getpid(), shares - 1).submit(self.kernels.run_blocks, *arguments, a, b)
            for a, b in zip(bounds[1:-1], bounds[2:], strict=True)
        ]
        self.kernels.run_blocks(*arguments, bounds[0], bounds[1])
        for other in others:
            other.result()


def shared(shape) -> tuple[np.ndarray, Tensor]:
    """An uninitialised float32 array and a tensor on the same memory."""
    array = np.empty(tuple(shape), np.float32)
    return array, torch.from_numpy(array)


@cache
def helpers(process: int, threads: int) -> ThreadPoolExecutor:
    """Threads beside the calling one; a forked process needs its own."""
    return ThreadPoolExecutor(threads, thread_name_prefix="hebm-chain")
