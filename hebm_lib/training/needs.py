"""What a model with an algorithm of its own may need of the trainer beside batches: codes to fit, chains per image.

A model says so by having what the protocols below name; the trainer asks for nothing else.
"""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from hebm_lib.training.batches import Batches

__all__ = ["FitsCodes", "codes_of", "end_epoch"]

CODES = 20_000


@runtime_checkable
class FitsCodes(Protocol):
    """A model that fits something to the codes of the training images, such as a density, when an epoch is over.

    So every checkpoint holds a fit to its own codes.
    """

    def fit_codes(self, codes: Tensor, *, seed: int) -> None:
        """Fit to posterior means ``(n, d)``, those of the first 20,000 training images."""


@torch.no_grad()
def codes_of(model: nn.Module, images: Batches, most: int = CODES, batch: int = 1000) -> Tensor:
    """Posterior means of the first ``most`` images, ``(n, d)``, on the model's device; nothing is drawn.

    Args:
        model: a `hebm_lib.model.Model`, in evaluation mode.
        images: on the model's device.
        most, batch: how many images, and how many at a time.
    """
    parts = torch.arange(min(len(images), most)).split(batch)
    return torch.cat([model.encode(images.batch(part)).mean for part in parts])


def end_epoch(model: nn.Module, images: Batches, *, seed: int) -> None:
    """What a model needs at the end of an epoch; it is in evaluation mode."""
    if isinstance(model, FitsCodes):
        model.fit_codes(codes_of(model, images), seed=seed)
