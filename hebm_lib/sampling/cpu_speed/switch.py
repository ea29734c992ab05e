"""The switch: whether the code that runs now has asked for the tuned forms."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

__all__ = ["is_tuned", "lies_channels_last", "tuned"]

_asked: ContextVar[bool] = ContextVar("hebm_lib.sampling.cpu_speed", default=False)
"""For this thread alone: a thread beside a training sees plain modules."""


@contextmanager
def tuned() -> Iterator[None]:
    """Inside, the library's networks take their tuned forms: the same functions and gradients, up to rounding.

    For training steps. What it costs: features and gradients are overwritten once nothing in the step needs them any
    more, so a hook that keeps one finds other numbers in it later.

    >>> import torch
    >>> from hebm_lib.sampling.cpu_speed import LeakyReLU, tuned
    >>> h = torch.tensor([-1.0, 2.0])
    >>> LeakyReLU(0.5)(h), h
    (tensor([-0.5000,  2.0000]), tensor([-1.,  2.]))
    >>> with tuned():
    ...     LeakyReLU(0.5)(h), h
    (tensor([-0.5000,  2.0000]), tensor([-0.5000,  2.0000]))
    """
    token = _asked.set(True)
    try:
        yield
    finally:
        _asked.reset(token)


def is_tuned() -> bool:
    """Whether tuned forms are asked for here, and no transform of `torch.func` is at work."""
    return _asked.get() and not torch._C._are_functorch_transforms_active()


def lies_channels_last(x: Tensor) -> bool:
    """Whether ``x`` is to be handled by a tuned form: a feature map on the CPU with its channels last in memory."""
    return is_tuned() and x.ndim == 4 and x.device.type == "cpu" and x.is_contiguous(memory_format=torch.channels_last)
