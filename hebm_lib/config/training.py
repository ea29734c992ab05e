"""Settings of Algorithm 1, of its optimisers, and of what learns the energy better than Algorithm 1 as printed."""

from dataclasses import dataclass, field, replace
from typing import Literal

from hebm_lib.config.checks import require, require_choices

__all__ = ["EnergyConfig", "LangevinConfig", "OptimiserConfig", "TrainingConfig"]


@dataclass(frozen=True, kw_only=True)
class LangevinConfig:
    """Prior sampling (Eq. 13)."""

    steps: int = 60
    """K, Langevin steps per draw."""
    step_size: float = 0.4
    """s, the step size."""
    metropolis: bool = False
    """α's chains accept or refuse each step (`hebm_lib.langevin.metropolis_langevin`), so that they keep p_α exactly.
    For large steps; it takes plain torch, several times the compiled chain's time."""

    def __post_init__(self):
        require(self.steps >= 0, f"langevin.steps must not be negative, got {self.steps}")
        require(self.step_size > 0, f"langevin.step_size must be positive, got {self.step_size}")


@dataclass(frozen=True, kw_only=True)
class OptimiserConfig:
    """Adam, one for the energy (α) and one for generator and inference network together (β, φ)."""

    lr_alpha: float = 1e-4
    lr_beta_phi: float = 1e-3
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 0.0
    """Applied to β and φ only."""
    lr_decay: float = 1.0
    """Both rates are multiplied by this after each epoch."""

    def __post_init__(self):
        require(self.lr_alpha >= 0 and self.lr_beta_phi >= 0, "optimiser: learning rates must not be negative")
        require(
            len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas),
            f"optimiser.betas are Adam's two decay rates, at least 0 and below 1, as in (0.5, 0.999); got {self.betas}",
        )
        require(self.weight_decay >= 0, f"optimiser.weight_decay must not be negative, got {self.weight_decay}")
        require(self.lr_decay > 0, f"optimiser.lr_decay must be positive, got {self.lr_decay}")


@dataclass(frozen=True, kw_only=True)
class EnergyConfig:
    """How α is learned beyond Algorithm 1 as printed, which the defaults are. `PriorConfig` has the persistent chains.

    A run has up to four phases, each with its own Adam state where α takes part:

    1. ``ladder``: the first `ladder_epochs` of ``epochs`` with f = 0, β and φ alone. From scratch, f and the encoder run
       away together: the encoder follows f faster than the chains do.
    2. ``fit``: `fit_steps` updates of α alone, on the codes of the ladder as it now stands, which is held.
    3. ``joint``: the other epochs, Algorithm 1 on all three.
    4. ``end``: `end_steps` updates of α alone, on the codes of the ladder as it now stands: f catches up with it.
    """

    ladder_epochs: int = 0
    """Epochs with f = 0 at the start."""
    level_epochs: float = 0.0
    """In these epochs levels join one after the other, the top one first, the next below after so many epochs each: the
    schedule of pro-VLAE. The generator sees zeros for the codes of levels that wait. 0: all take part at once."""
    inactive_kl: float = 0.5
    """Weight of the KL of levels that wait."""
    fit_steps: int = 0
    """Updates of α alone after them."""
    end_steps: int = 0
    """Updates of α alone after the last epoch."""
    lr_alone: float = 1e-3
    """The first learning rate of both; it falls to zero along a cosine."""
    lr_end: float = 0.0
    """The ``end`` phase's own, which may have to be lower: its f is steep already. 0 is `lr_alone`."""
    batch_alone: int = 200
    """Codes per update of both."""
    density_ratio: bool = False
    """Begin the ``fit`` phase from logistic regression of codes against N(0, I), a third of its updates: see
    `hebm_lib.algorithm.learn_ratio`."""
    schedule: Literal["constant", "cosine"] = "constant"
    """α's rate while all three learn: as `OptimiserConfig` says, or from there to zero along a cosine."""
    updates: int = 1
    """Updates of α per visit of the chains."""
    average: float = 0.0
    """Decay of an exponential average of α's weights, which takes their place at the end of each phase that learned
    them (Polyak and Juditsky 1992); 0 keeps the last weights. It averages over the last 1 / (1 - decay) updates."""
    lag: float = 1.5
    """Nats that f may stand higher on codes than on the prior's own chains, in the mean of the last ten log lines. A run
    beyond it says that its chains lag behind f: what f then gains, chains of training's length do not show."""

    def __post_init__(self):
        require_choices(self)
        for name in ("ladder_epochs", "fit_steps", "end_steps"):
            require(getattr(self, name) >= 0, f"energy.{name} must not be negative, got {getattr(self, name)}")
        for name in ("level_epochs", "inactive_kl"):
            require(getattr(self, name) >= 0, f"energy.{name} must not be negative, got {getattr(self, name)}")
        require(self.lr_alone >= 0, f"energy.lr_alone must not be negative, got {self.lr_alone}")
        require(self.lr_end >= 0, f"energy.lr_end must not be negative, got {self.lr_end}")
        require(self.batch_alone > 0, f"energy.batch_alone must be positive, got {self.batch_alone}")
        require(self.updates > 0, f"energy.updates must be at least 1, got {self.updates}")
        require(0 <= self.average < 1, f"energy.average must be at least 0 and below 1, got {self.average}")
        require(
            not self.density_ratio or self.fit_steps > 2,
            "energy.density_ratio is how the updates of fit_steps begin: set energy.fit_steps to some thousand",
        )


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Algorithm 1: how long, in what order, what is written down.

    Example:
        >>> config = TrainingConfig(epochs=50, batch_size=20, langevin=LangevinConfig(steps=30))
        >>> config.langevin.steps, config.langevin.step_size, config.order
        (30, 0.4, 'alpha-first')
        >>> TrainingConfig(batch_size=0)
        Traceback (most recent call last):
        ...
        ValueError: training.batch_size must be positive, got 0
    """

    epochs: int = 10
    batch_size: int = 100
    """Images per step and process."""
    seed: int = 1
    order: Literal["alpha-first", "alpha-last"] = "alpha-first"
    """Algorithm 1 of the paper updates the energy first; the authors' code updates it last."""
    kl_warmup_epochs: float = 0.0
    """The prior's terms, KL and f together, are weighed by a factor that rises linearly from 0 to 1 over this many epochs."""
    kl_weights: tuple[float, ...] = ()
    """Weight of the KL term per level, z_1 first; empty means 1 everywhere. Anything else is no longer the ELBO."""
    langevin: LangevinConfig = field(default_factory=LangevinConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    energy: EnergyConfig = field(default_factory=EnergyConfig)
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    log_every: int = 50
    """Steps between two lines of metrics.jsonl; the only moments at which the host waits for the device."""
    checkpoint_every: int = 0
    """Steps between two checkpoints; 0 means at the end of each epoch."""
    keep_checkpoints: int = 2
    energy_bound: float = 1e4
    """The run stops when the mean ``|f|`` over a batch passes this bound: the energy has diverged."""

    def __post_init__(self):
        require_choices(self)
        require(self.epochs >= 0, f"training.epochs must not be negative, got {self.epochs}")
        require(self.batch_size > 0, f"training.batch_size must be positive, got {self.batch_size}")
        require(self.log_every > 0, f"training.log_every must be positive, got {self.log_every}")
        require(self.checkpoint_every >= 0, "training.checkpoint_every must not be negative")
        require(self.keep_checkpoints > 0, "training.keep_checkpoints must be at least 1")
        require(self.kl_warmup_epochs >= 0, "training.kl_warmup_epochs must not be negative")
        require(
            self.energy.ladder_epochs <= self.epochs,
            f"energy.ladder_epochs are the first of training.epochs: {self.energy.ladder_epochs} of {self.epochs}",
        )
        require(self.energy_bound > 0, f"training.energy_bound must be positive, got {self.energy_bound}")

    def in_epochs(self, epochs: int) -> "TrainingConfig":
        """The same training in another number of epochs, its phases scaled with it: a short try of a long run.

        ``kl_warmup_epochs``, ``energy.ladder_epochs`` and ``energy.level_epochs`` keep their share of the run. The updates of α
        alone get fewer in a shorter run, not more in a longer one.

        Args:
            epochs: how many, at least 0.

        Example:
            >>> config = TrainingConfig(epochs=100, energy=EnergyConfig(ladder_epochs=50, fit_steps=4000))
            >>> short = config.in_epochs(10)
            >>> short.epochs, short.energy.ladder_epochs, short.energy.fit_steps
            (10, 5, 400)
            >>> config.in_epochs(200).energy.fit_steps
            4000
        """
        require(epochs >= 0, f"training.epochs must not be negative, got {epochs}")
        if epochs == self.epochs or self.epochs == 0:
            return replace(self, epochs=epochs)
        e, share = self.energy, epochs / self.epochs
        ladder = min(epochs, round(share * e.ladder_epochs))
        least = 3 if e.density_ratio else 0
        energy = replace(
            e,
            ladder_epochs=ladder,
            # Levels that join one after the other must all have joined when the ladder's epochs are over.
            level_epochs=e.level_epochs * (ladder / e.ladder_epochs if e.ladder_epochs else share),
            fit_steps=max(least, round(min(1.0, share) * e.fit_steps)),
            end_steps=round(min(1.0, share) * e.end_steps),
        )
        return replace(self, epochs=epochs, kl_warmup_epochs=share * self.kl_warmup_epochs, energy=energy)
