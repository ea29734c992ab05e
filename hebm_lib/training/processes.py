"""The processes of a training: which device, which precision, the same weights everywhere, and how they are stopped."""

import contextlib
import importlib.metadata
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = [
    "TrainingInterrupted",
    "asked_to_stop",
    "chains_of_all",
    "check_precision",
    "make_fabric",
    "put_on_device",
    "same_weights_everywhere",
    "take_own_chains",
]


@contextlib.contextmanager
def only_its_version(package: str) -> Iterator[None]:
    """While the block runs, importing a package that is not imported yet gives its version and nothing else."""
    if package in sys.modules:
        yield
        return
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        small = ModuleType(package)
        small.__version__ = importlib.metadata.version(package)
        sys.modules[package] = small
    try:
        yield
    finally:
        sys.modules.pop(package, None)


def make_fabric(precision: str = "32-true") -> "Fabric":
    """A launched Fabric for this machine: what ``fabric run`` asked for, else one GPU, else the CPU."""
    # Here and not above: it takes as long to import as torch, and who reads or samples does not need it.
    # Of torchmetrics it wants the version, and would import it whole for that, torchvision and torch's compiler with it: as
    # long again.
    with only_its_version("torchmetrics"):
        from lightning_fabric import Fabric

    if os.environ.get("LT_CLI_USED"):
        # Every choice was made on the command line, reaches Fabric through the environment, and has been launched.
        return Fabric() if os.environ.get("LT_PRECISION") else Fabric(precision=precision)
    fabric = Fabric(devices=1, precision=precision)
    fabric.launch()
    return fabric


def check_precision(fabric: "Fabric", asked: str) -> None:
    """Raise `ValueError` where a run would be recorded with another precision than it has."""
    used = fabric.strategy.precision.precision
    if used != asked:
        raise ValueError(
            f"training.precision is {asked!r}, but this Fabric computes in {used!r} (its own argument, or `fabric run "
            "--precision`): set both alike, so that the run's record says what was used"
        )


@torch.no_grad()
def same_weights_everywhere(model: nn.Module, fabric: "Fabric") -> None:
    """Give every process the weights and buffers of the first: fresh ones differ where no seed was set."""
    if fabric.world_size == 1:
        return
    for tensor in (*model.parameters(), *model.buffers()):
        whole = tensor.detach().clone(memory_format=torch.contiguous_format)  # a message lies in one piece
        torch.distributed.broadcast(whole, src=0)
        tensor.copy_(whole)


def put_on_device(model: nn.Module, device: torch.device) -> nn.Module:
    """The model on a device, in channels last where it can be: the memory order in which small convolutions are fastest, on
    the CPU and on a GPU. Convolutions of volumes have another one and stay as they are."""
    if any(tensor.ndim == 5 for tensor in model.state_dict().values()):
        return model.to(device)
    return model.to(device, memory_format=torch.channels_last)


# ---- stopping -------------------------------------------------------------------------------------------------------


class TrainingInterrupted(KeyboardInterrupt):
    """Somebody stopped the training, by Ctrl-C or SIGTERM. The message says what was saved and how to go on.

    Attributes:
        signum: the signal, `signal.SIGINT` or `signal.SIGTERM`.
    """

    def __init__(self, message: str, signum: int = signal.SIGINT):
        super().__init__(message)
        self.signum = signum


@contextlib.contextmanager
def asked_to_stop(*, grace: float = 0.0) -> Iterator[list[int]]:
    """A list that holds a signal's number once Ctrl-C or SIGTERM has come, so that a step can be finished first.

    The second one is obeyed at once. Outside the main thread, where Python lets nobody handle signals, the list stays empty.

    Args:
        grace: seconds in which a second signal counts as the first one's echo: a launcher passes on to its processes what
            the terminal has sent them already.
    """
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    first = 0.0

    def stop(signum, frame):
        nonlocal first
        now = time.monotonic()
        if asked and now - first >= grace:
            raise TrainingInterrupted("stopped at once", signum)
        first = first if asked else now
        asked.append(signum)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, stop)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


# ---- what differs between processes ---------------------------------------------------------------------------------


def chains_of_all(model: nn.Module, fabric: "Fabric") -> list[Tensor] | None:
    """The prior's persistent chains in every process, by rank; None with one process, whose weights hold them."""
    chains = dict(model.named_buffers()).get("prior.chains")
    if fabric.world_size == 1 or chains is None:
        return None
    return list(fabric.all_gather(chains).cpu())


@torch.no_grad()
def take_own_chains(model: nn.Module, fabric: "Fabric", chains: list[Tensor] | None) -> None:
    """Go on with this process's chains of `chains_of_all`; with None, as they came with the weights."""
    if chains is not None:
        model.prior.chains.copy_(chains[fabric.global_rank])
