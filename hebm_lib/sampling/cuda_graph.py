"""The closed form's steps as one CUDA graph: a chain costs a few launches instead of twenty per step."""

from collections import OrderedDict
from dataclasses import replace

import torch
from torch import Tensor

from hebm_lib.sampling.chain import ACTIVATIONS, Perceptron, on_device
from hebm_lib.sampling.closed_form import ClosedForm

__all__ = ["CudaGraph"]

LONGEST = 128
"""Steps in one graph; longer chains replay it."""
KEPT = 4
"""Graphs kept for the next call, the last used first to stay: a training run needs one."""


class Captured:
    """``steps`` steps of a closed-form chain, recorded with its buffers; weights and states are copied into them."""

    def __init__(self, f: Perceptron, z0: Tensor, step_size: float, generator: torch.Generator | None, steps: int):
        own = replace(f, weights=[w.clone() for w in f.weights], biases=[b.clone() for b in f.biases])
        self.chain, self.steps = ClosedForm(own, z0, step_size, generator), steps
        source = generator or torch.cuda.default_generators[z0.device.index or 0]
        before = source.get_state()
        side = torch.cuda.Stream(z0.device)
        side.wait_stream(torch.cuda.current_stream(z0.device))
        with torch.cuda.stream(side):
            self.chain.advance(2)  # libraries make their workspaces here, not while recording
        torch.cuda.current_stream(z0.device).wait_stream(side)
        source.set_state(before)
        self.graph = torch.cuda.CUDAGraph()
        if generator is not None:
            # Each replay then goes on in the generator's stream, as calls one by one would.
            self.graph.register_generator_state(generator)
        with torch.cuda.graph(self.graph):
            self.chain.advance(steps)

    def load(self, f: Perceptron, z: Tensor) -> None:
        self.chain.z.copy_(z)
        torch._foreach_copy_(self.chain.f.weights, f.weights)
        torch._foreach_copy_(self.chain.f.biases, f.biases)


graphs: OrderedDict[tuple, Captured] = OrderedDict()


class CudaGraph:
    """Chains of any floating-point type on a CUDA device."""

    activations = ACTIVATIONS

    def __init__(self, f: Perceptron, z0: Tensor, step_size: float, generator: torch.Generator | None):
        self.f, self.z, self.step_size, self.generator = f, z0.clone(), step_size, generator

    @staticmethod
    def objection(device: torch.device, dtype: torch.dtype) -> str | None:
        return None if device.type == "cuda" else "it needs a CUDA device"

    def advance(self, steps: int) -> None:
        if steps == 0:
            return
        with on_device(self.z.device):
            captured = self._captured(min(steps, LONGEST))
            captured.load(self.f, self.z)
            for _ in range(steps // captured.steps):
                captured.graph.replay()
            captured.chain.advance(steps % captured.steps)
            self.z.copy_(captured.chain.z)

    def _captured(self, steps: int) -> Captured:
        z = self.z
        # The graph keeps its generator alive, so the number that `id` gives it cannot be another's.
        f = self.f
        shape = (f.widths, f.slope, f.activation)
        key = (steps, z.shape, z.dtype, z.device, *shape, self.step_size, id(self.generator))
        if key not in graphs:
            graphs[key] = Captured(self.f, z, self.step_size, self.generator, steps)
        graphs.move_to_end(key)
        while len(graphs) > KEPT:
            graphs.popitem(last=False)
        return graphs[key]
