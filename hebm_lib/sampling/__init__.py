"""Prior sampling, fast: one entry and a backend for each kind of machine.

`langevin_dynamics` is the method in five lines; here are chains of the same law for the energies that the library
trains, perceptrons. All draw the same noise from the same generator, so they agree up to rounding.

- ``reference``, anywhere: autograd at every step;
- ``closed-form``, anywhere: the gradient written out, buffers made once;
- ``numba``, CPU and float32: the whole chain compiled, blocks of chains in vector registers;
- ``cuda-graph``, CUDA: the closed form's launches recorded once and replayed;
- ``triton``, CUDA and float32: one kernel per chain, weights on chip.
"""

import warnings

import torch
from torch import Tensor

from hebm_lib.langevin import check_chain
from hebm_lib.sampling.chain import ACTIVATIONS, Chain, Perceptron
from hebm_lib.sampling.closed_form import ClosedForm
from hebm_lib.sampling.cuda_graph import CudaGraph
from hebm_lib.sampling.jumps import JumpProposal
from hebm_lib.sampling.mixture import MixtureOfGaussians
from hebm_lib.sampling.numba_chain import NumbaChain
from hebm_lib.sampling.partition import LogZ, estimate_log_z
from hebm_lib.sampling.reference import Reference
from hebm_lib.sampling.triton_chain import TritonChain

__all__ = [
    "ACTIVATIONS",
    "BACKENDS",
    "JumpProposal",
    "LogZ",
    "MixtureOfGaussians",
    "Perceptron",
    "backend_for",
    "estimate_log_z",
    "objections",
    "run_chain",
]

BACKENDS: dict[str, type[Chain]] = {
    "reference": Reference,
    "closed-form": ClosedForm,
    "numba": NumbaChain,
    "cuda-graph": CudaGraph,
    "triton": TritonChain,
}
PREFERRED = {"cpu": ("numba",), "cuda": ("triton", "cuda-graph")}
"""Fastest first, by device; whatever is left runs on the closed form."""

_failures: dict[tuple, str | None] = {}
_said: set[str] = set()


def run_chain(
    f: Perceptron,
    z0: Tensor,
    steps: int,
    step_size: float,
    *,
    generator: torch.Generator | None = None,
    trajectory: bool = False,
    every: int = 1,
    backend: str | None = None,
) -> Tensor:
    """``K`` Langevin steps towards ``exp(f(z)) N(z; 0, I)``, as `langevin_dynamics` takes them, on the fastest backend.

    Args:
        f: the perceptron, on the device and in the precision of ``z0``.
        z0: starting points ``(n, d)``; not written into.
        steps: K.
        step_size: s.
        generator: source of the noise; None takes torch's global one.
        trajectory: return the states ``0, every, 2 every, … K`` instead of the last.
        every: steps between two states of the trajectory; has to divide K.
        backend: a name of `BACKENDS`; None takes what `backend_for` says.

    Returns:
        ``(n, d)``, or with ``trajectory`` ``(K / every + 1, n, d)``. Memory does not grow with K otherwise.

    Raises:
        ValueError: for a chain that cannot be run, an ``every`` that does not divide K, or an unknown backend.
        RuntimeError: where the backend that is asked for cannot run here.

    Example:
        >>> f = Perceptron([torch.ones(4, 2), torch.ones(1, 4)], [torch.zeros(4), torch.zeros(1)], 0.2)
        >>> run_chain(f, torch.zeros(3, 2), 20, 0.3, trajectory=True, every=5).shape
        torch.Size([5, 3, 2])
    """
    check_chain(z0, steps, step_size, every if trajectory else 1)
    name = backend_for(f, z0, backend)
    # Half precision is for the images' networks; a chain keeps the precision of its states.
    with torch.no_grad(), torch.autocast(z0.device.type, enabled=False):
        chain = BACKENDS[name](f, z0, step_size, generator)
        if not trajectory:
            chain.advance(steps)
            return chain.z
        states = z0.new_empty(steps // every + 1, *z0.shape)
        states[0] = z0
        for i in range(1, len(states)):
            chain.advance(every)
            states[i] = chain.z
        return states


def backend_for(f: Perceptron, z0: Tensor, backend: str | None = None) -> str:
    """The backend that `run_chain` takes: the one that is asked for, or the fastest on this device.

    Where none is asked for, one that is missing, or that fails its first use (`_failure`), gives way to the next with one
    line of warning.

    Raises:
        ValueError: for an unknown backend.
        RuntimeError: where the backend that is asked for cannot run here, with the reason.

    Example:
        >>> f = Perceptron([torch.ones(4, 2), torch.ones(1, 4)], [torch.zeros(4), torch.zeros(1)], 0.2)
        >>> backend_for(f, torch.zeros(3, 2), "reference")
        'reference'
        >>> backend_for(f, torch.zeros(3, 2, dtype=torch.float64))
        'closed-form'
    """
    if backend is not None and backend not in BACKENDS:
        raise ValueError(f"there is no backend {backend!r}: there are {', '.join(BACKENDS)}")
    for name in (backend,) if backend else PREFERRED.get(z0.device.type, ()):
        made = BACKENDS[name]
        reason = made.objection(z0.device, z0.dtype)
        if reason is None and f.activation not in made.activations:
            if backend is None:
                continue  # the closed form is what everyone gets here: nothing is missing, nothing to say
            reason = f"it has no gradient for the activation {f.activation!r}"
        reason = reason or _failure(name, f, z0)
        if reason is None:
            return name
        if backend:
            raise RuntimeError(
                f"the backend {name!r} cannot run here: {reason}. Leave `backend` out for the fastest that can, or name "
                "'closed-form', which always can"
            )
        # In double precision the closed form is what everyone gets: nothing is missing, nothing to say.
        if z0.dtype == torch.float32:
            _say_once(f"prior sampling without the backend '{name}' ({reason}): another runs, with the same result")
    return "closed-form"


def objections(device: torch.device | str, dtype: torch.dtype = torch.float32) -> dict[str, str | None]:
    """For each backend, why it cannot run on this device in this precision; None where it can.

    Example:
        >>> objections("cpu")["cuda-graph"]
        'it needs a CUDA device'
    """
    return {name: made.objection(torch.device(device), dtype) for name, made in BACKENDS.items()}


def _failure(name: str, f: Perceptron, z0: Tensor) -> str | None:
    """What is wrong with a compiled backend on this machine: it has to take three steps as the closed form does.

    Run once per process for each backend, device and shape of perceptron. Compilers and drivers differ between
    machines, and a wrong sample would look like any other.
    """
    if name in ("reference", "closed-form"):
        return None
    key = (name, z0.device, z0.dtype, f.widths, f.activation)
    if key not in _failures:
        try:
            _failures[key] = _disagreement(BACKENDS[name], f, z0.device, z0.dtype)
        except Exception as error:  # whatever a compiler or a driver may raise
            first_line = (str(error).splitlines() or ["no message"])[0]
            _failures[key] = f"{type(error).__name__}: {first_line}"
    return _failures[key]


def _disagreement(made: type[Chain], like: Perceptron, device: torch.device, dtype: torch.dtype) -> str | None:
    widths = like.widths
    random = torch.Generator(device).manual_seed(1)

    def draw(*shape):
        return torch.randn(shape, dtype=dtype, device=device, generator=random)

    weights = [draw(b, a) / a**0.5 for a, b in zip(widths, (*widths[1:], 1), strict=True)]
    f = Perceptron(weights, [draw(len(w)) for w in weights], 0.2, like.activation)
    z0, ends = draw(40, widths[0]), []
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        for other in (made, ClosedForm):
            chain = other(f, z0, 0.4, torch.Generator(device).manual_seed(2))
            chain.advance(3)
            ends.append(chain.z)
    distance = (ends[0] - ends[1]).abs().max().item()
    # Rounding makes 1e-6; one step along the wrong gradient makes some 0.1.
    return None if distance < 1e-2 else f"it differs from the closed form by {distance:.2g} after three steps"


def _say_once(message: str) -> None:
    if message not in _said:
        _said.add(message)
        warnings.warn(message, RuntimeWarning, stacklevel=2)
