"""Settings of a run as frozen dataclasses: what is trained on what, how long, with which step sizes. No code that acts.

A config is checked when it is made, so a wrong value is an error before anything is loaded or trained.
`to_dict` and `from_dict` are exact inverses through JSON.
"""

import dataclasses
import math
import types
import typing
from dataclasses import dataclass, field
from typing import Any, Literal

from hebm_lib.latents import LatentSpec

__all__ = [
    "BaselineConfig",
    "DataConfig",
    "ExperimentConfig",
    "GeneratorConfig",
    "InferenceConfig",
    "LangevinConfig",
    "ModelConfig",
    "OptimiserConfig",
    "PriorConfig",
    "TrainingConfig",
    "from_dict",
    "to_dict",
]


def require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def require_choices(config: Any) -> None:
    """Raise `ValueError` where a setting (or an entry of a tuple) is none of the choices that its type names."""
    for name, hint in typing.get_type_hints(type(config)).items():
        value = getattr(config, name)
        values = (value,)
        if typing.get_origin(hint) is tuple:
            hint, values = typing.get_args(hint)[0], value
        if typing.get_origin(hint) is Literal:
            choices = typing.get_args(hint)
            wrong = [v for v in values if v not in choices]
            require(not wrong, f"{type(config).__name__}.{name}: {wrong} not among {', '.join(map(repr, choices))}")


def require_plain(part: str, factors: tuple[int, ...], widths: tuple[int, ...]) -> None:
    """Raise `ValueError` unless places without a code are ascending powers of two with one width each."""
    powers = all(f > 0 and f & (f - 1) == 0 for f in factors)
    require(
        len(factors) == len(widths) and list(factors) == sorted(factors) and powers and all(w > 0 for w in widths),
        f"{part}: plain_factors must be ascending powers of two with one positive plain_widths each, got {factors} and "
        f"{widths}",
    )


@dataclass(frozen=True)
class DataConfig:
    """Which images, and how they are made to fit the model."""

    name: str = "digits"
    """A data set that `hebm_lib.data.load_dataset` knows, or the name of an image pack under HEBM_DATA."""
    classes: tuple[int, ...] | None = None
    """Keep only these labels; None keeps all."""
    size: int = 8
    """Side of the square images that the model sees, in pixels."""
    fit: Literal["pad", "resize"] = "pad"
    """How smaller or larger images reach that size: a border of black, or bilinear resizing of the centre square."""
    crop: int = 0
    """With ``resize``: side of the centred square that is scaled, in source pixels; 0 takes the largest."""
    channels: Literal[1, 3] = 1
    """Grey or colour."""

    def __post_init__(self):
        require_choices(self)
        require(self.size >= 4 and self.size % 4 == 0, f"data.size must be a positive multiple of 4, got {self.size}")


@dataclass(frozen=True)
class GeneratorConfig:
    """The ladder generator of Eq. 5: what each level may say.

    The tuples describe levels 1 … L-1, bottom first. Level L, the top, has no entry of its own: it starts the ladder.
    """

    factors: tuple[int, ...] = (2,)
    """Where z_i joins: a map of side ``image side / factor``; 0 means a plain vector, before there is any map."""
    widths: tuple[int, ...] = (32,)
    """Channels of the feature that z_i joins."""
    entries: tuple[Literal["map", "shift", "gain"], ...] = ("map",)
    """How z_i enters: ``map`` gives every place of the feature its own linear function of z_i; ``shift`` gives one
    number per channel, the same everywhere, so that the level can speak of style but not of place; ``gain`` multiplies
    each channel by a bounded factor, so that the level can change how a thing is drawn but not which thing."""
    top_hidden: tuple[int, ...] = (128, 128)
    """Fully connected layers behind the top code."""
    base_factor: int = 4
    """The first map has side ``image side / base_factor``."""
    base_width: int = 64
    """Channels of the first map."""
    join: Literal["add", "concat", "gate", "replace"] = "add"
    """``concat`` is Eq. 5; ``add`` is what the authors' hierarchical-sampling code does. For the baselines: ``gate`` adds
    with a learned factor per entry (VLAE); ``replace`` lets nothing but z_i pass, so that the image is made from z_1 and
    the levels above speak through p(z_i | z_{i+1}) alone (LVAE)."""
    out_width: int = 0
    """Channels of one more convolution at full size before the image; 0 leaves it out."""
    slope: float = 0.2
    """Negative slope of the leaky ReLUs."""
    gain_range: float = 0.25
    """A ``gain`` entry multiplies channels by 1 ± this much at most."""
    plain_factors: tuple[int, ...] = ()
    """Places between the bottom level's join and the image through which the feature passes with no code to join it."""
    plain_widths: tuple[int, ...] = ()
    """Channels at those places, bottom first like the rest."""
    local_levels: tuple[int, ...] = ()
    """Levels, counted from 1, whose code is itself a map with the side of the feature it joins: channels × side² units.
    It joins, and in a hierarchical baseline it is read, place by place."""
    batch_norm: bool = False
    """Batch norm before the activations inside a block (VLAE's published networks)."""

    def __post_init__(self):
        require_choices(self)
        require(
            self.join != "replace" or set(self.entries) <= {"map"},
            f"generator: join 'replace' leaves nothing to shift or to multiply, entries must be 'map', got {self.entries}",
        )
        require_plain("generator", self.plain_factors, self.plain_widths)
        for level in self.local_levels:
            require(
                1 <= level <= len(self.factors) and self.factors[level - 1] > 0 and self.entries[level - 1] == "map",
                f"generator: local_levels must be levels below the top that join as maps, got {self.local_levels}",
            )
        require(0 < self.gain_range < 1, f"generator.gain_range must be between 0 and 1, got {self.gain_range}")
        n = len(self.factors)
        require(
            len(self.widths) == n and len(self.entries) == n,
            f"generator: factors, widths and entries each need one value per level below the top, got lengths "
            f"{n}, {len(self.widths)} and {len(self.entries)}",
        )
        require(all(w > 0 for w in self.widths + self.top_hidden), "generator: widths must be positive")
        places = [math.inf if f == 0 else f for f in self.factors] + [math.inf]
        require(
            all(a <= b for a, b in zip(places, places[1:], strict=False)),
            f"generator: factors must not fall from the bottom level up (0, a vector, last), got {self.factors}",
        )
        for f in self.factors + (self.base_factor,):
            require(f >= 0 and f & (f - 1) == 0, f"generator: factors must be powers of two (or 0), got {f}")
        require(
            self.base_factor >= max((1, *self.factors)),
            f"generator: base_factor {self.base_factor} must be at least the largest of factors {self.factors}",
        )
        require(
            max((1, *self.plain_factors)) <= min((f for f in self.factors if f), default=self.base_factor),
            f"generator: plain_factors {self.plain_factors} lie below the bottom level, so none may be larger than its",
        )


@dataclass(frozen=True)
class InferenceConfig:
    """The ladder inference network of Eq. 8: what each level may see. Tuples describe levels 1 … L-1, bottom first."""

    factors: tuple[int, ...] = (2,)
    """Side of the feature that level i is read from: ``image side / factor``."""
    widths: tuple[int, ...] = (32,)
    """Channels of that feature."""
    reads: tuple[Literal["map", "pooled", "salient"], ...] = ("map",)
    """``map`` reads the whole feature map; ``pooled`` its average over the image: style without place; ``salient`` its
    average where the image is busy: style without place and without amount."""
    top_hidden: tuple[int, ...] = (128, 128)
    """Fully connected layers before the top code."""
    slope: float = 0.01
    """Negative slope of the leaky ReLUs."""
    plain_factors: tuple[int, ...] = ()
    """Stages of the trunk between the last level that reads it and the top code's layers, which no level reads."""
    plain_widths: tuple[int, ...] = ()
    """Channels of those stages."""
    batch_norm: bool = False
    """Batch norm before the activations (VLAE's published networks)."""
    deviation: Literal["log-variance", "sigmoid"] = "log-variance"
    """What the second linear map of a level gives: the log-variance, or the deviation as sigmoid + 0.001 (VLAE)."""

    def __post_init__(self):
        require_choices(self)
        require_plain("inference", self.plain_factors, self.plain_widths)
        n = len(self.factors)
        require(
            len(self.widths) == n and len(self.reads) == n,
            f"inference: factors, widths and reads each need one value per level below the top, got lengths "
            f"{n}, {len(self.widths)} and {len(self.reads)}",
        )
        require(all(w > 0 for w in self.widths + self.top_hidden), "inference: widths must be positive")
        previous = 1
        for f in self.factors + self.plain_factors:
            require(
                f >= previous and f & (f - 1) == 0,
                f"inference: factors must be powers of two that do not fall from the bottom up, got {self.factors}",
            )
            previous = f


@dataclass(frozen=True)
class PriorConfig:
    """The joint energy f_α of Eq. 3, or no energy at all."""

    hidden: tuple[int, ...] = (100, 100)
    """Widths of the perceptron's hidden layers. Empty: f = 0, so the prior is the plain Gaussian."""
    spectral_norm: bool = True
    """Keep every linear layer's largest singular value at 1, so that f is 1-Lipschitz (authors' code; not in the paper)."""
    lipschitz: float = 1.0
    """Factor on f: with spectral norm, f is Lipschitz with this constant. In few dimensions 1 is too mild a tilt."""
    slope: float = 0.2
    """Negative slope of the leaky ReLUs."""

    def __post_init__(self):
        require(all(w > 0 for w in self.hidden), f"prior.hidden: widths must be positive, got {self.hidden}")
        require(self.lipschitz > 0, f"prior.lipschitz must be positive, got {self.lipschitz}")


@dataclass(frozen=True)
class LangevinConfig:
    """Prior sampling (Eq. 13)."""

    steps: int = 60
    """K, Langevin steps per draw."""
    step_size: float = 0.4
    """s, the step size."""

    def __post_init__(self):
        require(self.steps >= 0, f"langevin.steps must not be negative, got {self.steps}")
        require(self.step_size > 0, f"langevin.step_size must be positive, got {self.step_size}")


@dataclass(frozen=True)
class BaselineConfig:
    """What only models of `hebm_lib.baselines` have. Each says in its docstring which of these it uses."""

    likelihood: Literal["gaussian", "laplace", "bernoulli"] = "gaussian"
    """log p(x|z): normal noise as in Eq. 4; Laplace noise of scale σ, which makes an L1 loss; or independent pixels that
    are on with the probability that the grey value says."""
    free_bits: float = 0.0
    """Nats per group of latent variables that the training loss does not charge for, spread evenly over its units."""
    free_bits_epochs: float = 0.0
    """After this many epochs the free nats fall linearly to 0 over as many again; 0 keeps them for the whole training."""
    epochs_per_step: float = 3.0
    """pro-VLAE: every so many epochs one more level, from the top down, takes part."""
    fade_epochs: float = 0.0
    """pro-VLAE: a level that joins is faded in linearly over this many epochs; 0 switches it on at once."""
    inactive_kl: float = 0.5
    """pro-VLAE: weight of the KL of levels that do not take part yet."""
    posterior: LangevinConfig = field(default_factory=lambda: LangevinConfig(20, 0.1))
    """Latent EBM: steps and step size of the chain that stands in for an inference network."""

    def __post_init__(self):
        require_choices(self)
        for name in ("free_bits", "free_bits_epochs", "fade_epochs", "inactive_kl"):
            require(getattr(self, name) >= 0, f"baseline.{name} must not be negative, got {getattr(self, name)}")
        require(self.epochs_per_step > 0, f"baseline.epochs_per_step must be positive, got {self.epochs_per_step}")


@dataclass(frozen=True)
class ModelConfig:
    """Everything that is needed to build a model."""

    kind: str = "joint-ebm"
    """Which model of the library this is: the joint EBM, or a baseline by its file's name."""
    latent_dims: tuple[int, ...] = (2, 8)
    """Units per level, z_1 (bottom) first."""
    image_size: int = 8
    """Side of the images in pixels, a multiple of 4."""
    image_channels: Literal[1, 3] = 1
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    prior: PriorConfig = field(default_factory=PriorConfig)
    sigma: float = 0.4
    """Standard deviation σ of the pixel noise of Eq. 4, in units of the [-1, 1] range. The authors' G is 1 / (2σ²)."""
    baseline: BaselineConfig = field(default_factory=BaselineConfig)

    def __post_init__(self):
        require_choices(self)
        below = LatentSpec(self.latent_dims).levels - 1
        for name, part in (("generator", self.generator), ("inference", self.inference)):
            require(
                len(part.factors) == below,
                f"{name}: {len(self.latent_dims)} levels need {below} entries below the top, got {len(part.factors)}",
            )
            base = (self.generator.base_factor,) if name == "generator" else ()
            for f in part.factors + part.plain_factors + base:
                require(
                    f == 0 or self.image_size % f == 0,
                    f"{name}: images of side {self.image_size} cannot be divided by {f}",
                )
        require(
            self.image_size >= 4 and self.image_size % 4 == 0,
            f"model.image_size must be a positive multiple of 4, got {self.image_size}",
        )
        require(self.sigma > 0, f"model.sigma must be positive, got {self.sigma}")
        for level in self.generator.local_levels:
            places = (self.image_size // self.generator.factors[level - 1]) ** 2
            require(
                self.latent_dims[level - 1] % places == 0,
                f"level {level} is local: its units must be a multiple of the {places} places of its feature, got "
                f"{self.latent_dims[level - 1]}",
            )


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class TrainingConfig:
    """Algorithm 1: how long, in what order, what is written down."""

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


@dataclass(frozen=True)
class ExperimentConfig:
    """One named run of the book."""

    name: str = "custom"
    description: str = ""
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self):
        require(
            (self.data.size, self.data.channels) == (self.model.image_size, self.model.image_channels),
            f"data gives images of side {self.data.size} with {self.data.channels} channel(s), the model expects "
            f"{self.model.image_size} with {self.model.image_channels}: set both alike",
        )
        weights = self.training.kl_weights
        require(
            len(weights) in (0, len(self.model.latent_dims)),
            f"training.kl_weights needs one value per level ({len(self.model.latent_dims)}), got {len(weights)}",
        )


def to_dict(config: Any) -> dict:
    """A config as plain JSON types."""
    return dataclasses.asdict(config)


def from_dict(cls: type, values: dict) -> Any:
    """The config of type ``cls`` that `to_dict` made ``values`` from; unknown keys raise `ValueError`."""
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(values) - set(hints))
    require(not unknown, f"{cls.__name__} has no setting {', '.join(unknown)}; it has {', '.join(sorted(hints))}")
    return cls(**{name: _revive(hints[name], value) for name, value in values.items()})


def _revive(hint: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(hint):
        return from_dict(hint, value)
    if isinstance(hint, types.UnionType):
        return None if value is None else _revive(next(a for a in hint.__args__ if a is not type(None)), value)
    return tuple(value) if isinstance(value, list) else value
