"""The processes of a training: which device, which precision, the same weights everywhere, and how they are stopped."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

import torch
from lightning_fabric import Fabric
from torch import nn

__all__ = [
    "TrainingInterrupted",
    "asked_to_stop",
    "check_precision",
    "make_fabric",
    "put_on_device",
    "same_weights_everywhere",
]


def make_fabric(precision: str = "32-true") -> Fabric:
    """A launched Fabric for this machine: what ``fabric run`` asked for, else one GPU, else the CPU."""
    if os.environ.get("LT_CLI_USED"):
        # Every choice was made on the command line, reaches Fabric through the environment, and has been launched.
        return Fabric() if os.environ.get("LT_PRECISION") else Fabric(precision=precision)
    fabric = Fabric(devices=1, precision=precision)
    fabric.launch()
    return fabric


def check_precision(fabric: Fabric, asked: str) -> None:
    """Raise `ValueError` where a run would be recorded with another precision than it has."""
    used = fabric.strategy.precision.precision
    if used != asked:
        raise ValueError(
            f"training.precision is {asked!r}, but this Fabric computes in {used!r} (its own argument, or `fabric run "
            "--precision`): set both alike, so that the run's record says what was used"
        )


@torch.no_grad()
def same_weights_everywhere(model: nn.Module, fabric: Fabric) -> None:
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
def asked_to_stop(*, wait: bool) -> Iterator[list[int]]:
    """A list that holds a signal's number once Ctrl-C or SIGTERM has come, so that a step can be finished first.

    The second one is obeyed at once, and so is the first without ``wait`` (several processes, of which each would finish
    another step). Outside the main thread, where Python lets nobody handle signals, the list stays empty.
    """
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def stop(signum, frame):
        asked.append(signum)
        if not wait or len(asked) > 1:
            raise TrainingInterrupted("stopped at once", signum)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, stop)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
