"""The phases of a run: which networks learn in which steps; what the phases of α alone learn from; the average of α.

With the default `EnergyConfig` a run has one phase, Algorithm 1 from the first step to the last.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from hebm_lib.algorithm import Update, learn_energy, learn_ladder, learn_ratio
from hebm_lib.config import TrainingConfig
from hebm_lib.model import JointEBM
from hebm_lib.prior import JointEBMPrior
from hebm_lib.training.batches import Batches

__all__ = [
    "Average",
    "FixedCodes",
    "Phase",
    "alpha_alone",
    "alpha_rate",
    "chains_lag",
    "epochs_before",
    "fit_jumps",
    "ladder_alone",
    "phases_of",
    "waiting_levels",
]

RATIO_SHARE = 3
"""With `EnergyConfig.density_ratio` one update in so many of the ``fit`` phase, the first ones, is of the ratio."""


@dataclass(frozen=True)
class Phase:
    """Steps ``start … end - 1`` of a run.

    ``ladder``: β and φ with f = 0. ``fit``, ``end``: α alone, on fixed codes. ``joint``: all three.
    """

    name: str
    start: int
    end: int

    @property
    def alone(self) -> bool:
        """Does α learn alone?"""
        return self.name in ("fit", "end")

    def progress(self, step: int) -> float:
        """Share of the phase that is done before a step, from 0."""
        return (step - self.start) / (self.end - self.start)


def phases_of(config: TrainingConfig, per_epoch: int) -> list[Phase]:
    """The phases of a run in order, those without steps left out; ``per_epoch`` is the number of steps of an epoch.

    Example:
        >>> from hebm_lib.config import EnergyConfig
        >>> config = TrainingConfig(epochs=5, energy=EnergyConfig(ladder_epochs=3, fit_steps=200, end_steps=50))
        >>> for phase in phases_of(config, per_epoch=600):
        ...     print(phase.name, phase.start, phase.end)
        ladder 0 1800
        fit 1800 2000
        joint 2000 3200
        end 3200 3250
    """
    e = config.energy
    lengths = {
        "ladder": e.ladder_epochs * per_epoch,
        "fit": e.fit_steps,
        "joint": (config.epochs - e.ladder_epochs) * per_epoch,
        "end": e.end_steps,
    }
    phases, start = [], 0
    for name, length in lengths.items():
        if length:
            phases.append(Phase(name, start, start + length))
            start += length
    return phases


def epochs_before(phase: Phase, config: TrainingConfig) -> int:
    """Epochs that are done when a phase of images, ``ladder`` or ``joint``, begins."""
    return config.energy.ladder_epochs if phase.name == "joint" else 0


def alpha_rate(phase: Phase, step: int, config: TrainingConfig, epoch: float) -> float:
    """α's learning rate at a step, after ``epoch`` factors of ``lr_decay``."""
    o, e = config.optimiser, config.energy
    falling = 0.5 * (1 + math.cos(math.pi * phase.progress(step)))
    if phase.alone:
        return (e.lr_end if phase.name == "end" and e.lr_end else e.lr_alone) * falling
    return o.lr_alpha * o.lr_decay**epoch * (falling if e.schedule == "cosine" else 1.0)


def ladder_alone(
    model: JointEBM, x: Tensor, config: TrainingConfig, epoch: float, generator: torch.Generator
) -> Iterator[Update]:
    """`algorithm_1` with f = 0: the update of β and φ alone; with `EnergyConfig.level_epochs` of the levels that take part."""
    posterior = model.encode(x)
    z = model.draw(x, posterior=posterior, generator=generator)
    waits = waiting_levels(config, model.latents.levels, epoch)
    if any(waits):
        parts = model.latents.split(z)
        z = model.latents.join([0 * part if wait else part for part, wait in zip(parts, waits, strict=True)])
        weights = config.kl_weights or (1.0,) * len(waits)
        weights = tuple(config.energy.inactive_kl if wait else w for w, wait in zip(weights, waits, strict=True))
        config = replace(config, kl_weights=weights)
    yield from learn_ladder(model, x, config, epoch, z=z, posterior=posterior, energy=False)


def waiting_levels(config: TrainingConfig, levels: int, epoch: float) -> list[bool]:
    """Which levels do not take part yet in the ladder's epochs, z_1 first.

    Example:
        >>> from hebm_lib.config import EnergyConfig
        >>> config = TrainingConfig(epochs=9, energy=EnergyConfig(ladder_epochs=9, level_epochs=2))
        >>> [waiting_levels(config, 3, epoch) for epoch in (0.0, 3.9, 4.0)]
        [[True, True, False], [True, False, False], [False, False, False]]
    """
    return [epoch < below * config.energy.level_epochs for below in range(levels - 1, -1, -1)]


@dataclass(frozen=True)
class FixedCodes:
    """The posteriors of all training images under a ladder that stands still: mean and deviation, ``(n, d)`` each."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, model: JointEBM, images: Batches, batch: int = 1000) -> "FixedCodes":
        """Encode a data set; the model's mode is as it was afterwards. Nothing random, so a resumed run finds the same."""
        training = model.training
        model.eval()
        posteriors = [model.encode(images.batch(index)) for index in torch.arange(len(images)).split(batch)]
        model.train(training)
        return cls(torch.cat([q.mean for q in posteriors]), torch.cat([q.stddev for q in posteriors]))

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Draws from the posteriors of ``n`` images, with replacement: ``(n, d)``."""
        device, d = self.mean.device, self.mean.shape[1]
        index = torch.randint(len(self.mean), (n,), device=device, generator=generator)
        noise = torch.randn(n, d, device=device, dtype=self.mean.dtype, generator=generator)
        return self.mean[index] + self.deviation[index] * noise

    def draw_all(self, generator: torch.Generator) -> Tensor:
        """One draw from the posterior of every image: ``(images, d)``."""
        noise = torch.randn(self.mean.shape, device=self.mean.device, dtype=self.mean.dtype, generator=generator)
        return self.mean + self.deviation * noise


def alpha_alone(
    prior: nn.Module, codes: FixedCodes, phase: Phase, step: int, config: TrainingConfig, generator: torch.Generator
) -> Iterator[Update]:
    """One step of a phase of α alone: the ratio's for the first third of ``fit`` where it is asked for, else Eq. 10's."""
    z_plus = codes.draw(config.energy.batch_alone, generator)
    ratio = config.energy.density_ratio and phase.name == "fit"
    if ratio and RATIO_SHARE * (step - phase.start) < phase.end - phase.start:
        yield from learn_ratio(prior, z_plus, generator=generator)
    else:
        yield from learn_energy(prior, z_plus, config.langevin, updates=config.energy.updates, generator=generator)


JUMP_CODES = 20_000
"""Codes to which the proposal of jumps is fitted."""


def fit_jumps(prior: nn.Module, codes: FixedCodes, *, seed: int) -> None:
    """Fit the proposal of the prior's jumps, where it has one, to codes of the ladder as it now stands.

    With a random source of its own: every process fits the same mixture, and the run's noise is what it was without.
    """
    if isinstance(prior, JointEBMPrior) and prior.jumps is not None:
        noise = torch.Generator(codes.mean.device).manual_seed(seed)
        prior.jumps.fit(codes.draw(JUMP_CODES, noise), seed=seed)


LAG_ROWS = 10


def chains_lag(history: list[dict], bound: float) -> float | None:
    """The mean gap ``E f(z⁺) - E f(z⁻)`` over the last `LAG_ROWS` lines of a log where it is beyond a bound, else None.

    None as well while there are fewer lines of a phase that learns α.

    Example:
        >>> chains_lag([{"f_difference": 2.0}] * 10, bound=1.5)
        2.0
    """
    gaps = [row["f_difference"] for row in history[-LAG_ROWS:] if "f_difference" in row]
    mean = sum(gaps) / LAG_ROWS
    return mean if len(gaps) == LAG_ROWS and mean > bound else None


class Average:
    """An exponential average of parameters: ``a ← decay · a + (1 - decay) · p``, from where they stand when it is made.

    Args:
        parameters: what is averaged.
        decay: between 0 and 1.
    """

    def __init__(self, parameters, decay: float):
        self.parameters, self._update = list(parameters), get_ema_multi_avg_fn(decay)
        self.values = [p.detach().clone() for p in self.parameters]

    def update(self) -> None:
        """Take the present parameters in."""
        self._update(self.values, [p.detach() for p in self.parameters], None)

    @torch.no_grad()
    def take_over(self) -> None:
        """Put the average in the parameters' place."""
        for parameter, value in zip(self.parameters, self.values, strict=True):
            parameter.copy_(value)

    def load(self, values: list[Tensor]) -> None:
        """Go on from ``values`` of an earlier average."""
        for own, value in zip(self.values, values, strict=True):
            own.copy_(value)
