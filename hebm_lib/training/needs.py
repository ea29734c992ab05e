"""What a model with an algorithm of its own may need of the trainer beside batches: codes to fit, chains per image, turns.

A model says so by having what the protocols below name; the trainer asks for nothing else.
"""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from hebm_lib.algorithm import Update
from hebm_lib.config import TrainingConfig
from hebm_lib.training.batches import Batches

__all__ = [
    "FitsCodes",
    "ImageChains",
    "KeepsChains",
    "LearnsInTurn",
    "OwnAlgorithm",
    "age_of",
    "begin_run",
    "chains_to_save",
    "codes_of",
    "end_epoch",
    "show_images",
    "take_chains",
]

CODES = 20_000


@runtime_checkable
class OwnAlgorithm(Protocol):
    """A model that is not trained by Algorithm 1; both as in `hebm_lib.algorithm`, without the model as an argument."""

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Parameters by the group that moves them."""

    def algorithm(
        self, x: Tensor, config: TrainingConfig, epoch: float, generator: torch.Generator
    ) -> Iterator[Update]:
        """The updates of a step, one after the other."""


@runtime_checkable
class FitsCodes(Protocol):
    """A model that fits something to the codes of the training images, such as a density, when an epoch is over.

    So every checkpoint holds a fit to its own codes.
    """

    def fit_codes(self, codes: Tensor, *, seed: int) -> None:
        """Fit to posterior means ``(n, d)``, those of the first 20,000 training images."""


@runtime_checkable
class LearnsInTurn(Protocol):
    """A model whose groups learn one after the other. The rate of each falls within its own turn, as far as in a whole run."""

    def turns(self) -> dict[str, tuple[float, float]]:
        """Group → the epoch that its turn begins with, and the one that it ends before; the run ends the last."""


def age_of(model: nn.Module, group: str, epoch: int, epochs: int) -> float:
    """How many of ``lr_decay``'s factors a group's rate has at an epoch: ``epoch``, but where models `LearnsInTurn`.

    Example:
        >>> from hebm_lib import build_model
        >>> from hebm_lib.config import BaselineConfig, ModelConfig
        >>> model = build_model(ModelConfig(kind="ncpvae", baseline=BaselineConfig(vae_epochs=6.0)))
        >>> [age_of(model, "beta_phi", epoch, 8) for epoch in (0, 3, 7)]
        [0.0, 4.0, 8.0]
        >>> [age_of(model, "alpha", epoch, 8) for epoch in (0, 6, 7)]
        [0.0, 0.0, 4.0]
    """
    first, last = model.turns().get(group, (0, epochs)) if isinstance(model, LearnsInTurn) else (0, epochs)
    last = min(last, epochs)
    if (first, last) == (0, epochs) or first >= last:
        return epoch
    return epochs * min(1.0, max(0.0, (epoch - first) / (last - first)))


class ImageChains:
    """The state of a Markov chain for every training image, from one visit of the image to the next.

    It belongs to a run and not to the model: it is saved in checkpoints beside the optimisers, not among the weights.

    Attributes:
        states: ``(images, d)``; None before a run begins.
        images: numbers of the images of the present batch, ``(n,)``; None outside a run.

    Example:
        >>> chains = ImageChains()
        >>> chains.begin(5, 2, torch.Generator().manual_seed(0))
        >>> chains.images = torch.tensor([3, 1])
        >>> chains.write(torch.ones(2, 2))
        >>> chains.read().tolist(), int((chains.states == 1).all(1).sum())
        ([[1.0, 1.0], [1.0, 1.0]], 2)
    """

    def __init__(self):
        self.states: Tensor | None = None
        self.images: Tensor | None = None

    def begin(self, images: int, d: int, generator: torch.Generator) -> None:
        """Start a chain for every image from N(0, I); chains that are there already go on.

        Raises:
            ValueError: where there are chains of another number of images.
        """
        if self.states is None:
            self.states = torch.randn(images, d, device=generator.device, generator=generator)
        if len(self.states) != images:
            raise ValueError(
                f"this run holds the chains of {len(self.states)} images, but is given {images}: go on with the same images"
            )
        self.states = self.states.to(generator.device)

    def read(self) -> Tensor:
        """Where the chains of the present batch stand, ``(n, d)``."""
        return self.states[self.images]

    def write(self, z: Tensor) -> None:
        """Put the chains of the present batch to ``z``, ``(n, d)``."""
        self.states[self.images] = z.detach().to(self.states)


@runtime_checkable
class KeepsChains(Protocol):
    """A model that goes on with a chain per training image: alternating back-propagation."""

    image_chains: ImageChains


def begin_run(model: nn.Module, images: int, generator: torch.Generator, *, processes: int = 1) -> None:
    """What a model needs before the first step of a run, or the first after a resume.

    Args:
        model: any model.
        images: how many training images there are.
        generator: source of noise, on the device of the run.
        processes: that train it together.

    Raises:
        ValueError: for a chain per image on several processes: each would know a part of an image's chain.
    """
    if isinstance(model, KeepsChains):
        if processes > 1:
            raise ValueError(
                f"a {type(model).__name__} goes on with one chain per image, and an epoch gives an image to any process: "
                "train it on one"
            )
        model.image_chains.begin(images, model.latents.total, generator)


def show_images(model: nn.Module, images: Tensor) -> None:
    """Tell a model which images, by number, its next batch holds."""
    if isinstance(model, KeepsChains):
        model.image_chains.images = images


def chains_to_save(model: nn.Module) -> Tensor | None:
    """The chains that a checkpoint must hold, or None."""
    return model.image_chains.states if isinstance(model, KeepsChains) else None


def take_chains(model: nn.Module, states: Tensor | None) -> None:
    """Go on from what `chains_to_save` gave."""
    if isinstance(model, KeepsChains):
        model.image_chains.states = states


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
    if isinstance(model, KeepsChains):
        model.image_chains.images = None  # what comes now is no batch of the run
    if isinstance(model, FitsCodes):
        model.fit_codes(codes_of(model, images), seed=seed)
