"""Settings of data, a whole model and a whole run."""

from dataclasses import dataclass, field
from typing import Literal

from hebm_lib.config.checks import require, require_choices, require_name
from hebm_lib.config.networks import GeneratorConfig, InferenceConfig, PriorConfig
from hebm_lib.config.training import LangevinConfig, TrainingConfig
from hebm_lib.latents import LatentSpec

__all__ = ["BaselineConfig", "DataConfig", "ExperimentConfig", "ForeignModel", "ModelConfig", "RunConfig"]


@dataclass(frozen=True, kw_only=True)
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
    """Side of the centred square, in source pixels, that is cut out first; 0 cuts nothing with ``pad``, and takes the largest
    with ``resize``."""
    channels: Literal[1, 3] = 1
    """Grey or colour."""
    subsample: int | None = None
    """So many images, drawn by a fixed seed; None takes all, but of the sets of 3D shapes a tenth."""
    binary: bool = False
    """Draw every pixel black or white, once and by a fixed seed, white with the probability that its grey value says."""

    def __post_init__(self):
        require_choices(self)
        require_name("data.name", self.name)
        if self.classes is not None:
            require(
                0 < len(set(self.classes)) == len(self.classes),
                f"data.classes: name each label once, or give None for all of them; got {self.classes}",
            )
        require(self.crop >= 0, f"data.crop must not be negative, got {self.crop}")
        require(
            self.subsample is None or self.subsample > 0, f"data.subsample must be at least 1, got {self.subsample}"
        )
        require(self.size >= 4 and self.size % 4 == 0, f"data.size must be a positive multiple of 4, got {self.size}")


@dataclass(frozen=True, kw_only=True)
class BaselineConfig:
    """What models of `hebm_lib.baselines` have. Each says in its docstring which it uses; the joint EBM uses ``likelihood``."""

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
    posterior: LangevinConfig = field(default_factory=lambda: LangevinConfig(steps=20, step_size=0.1))
    """Latent EBM, ABP, SRI, MEG: steps and step size of the chain that stands in for an inference network."""
    first_stage: float = 5.0
    """Two-stage VAE: after so many epochs the first stage stands still and the second learns its codes."""
    code_weight: float = 1e-4
    """RAE: weight of the mean square of the codes, beside the mean square error per pixel of images in [0, 1]."""
    decoder: Literal["weights", "spectral"] = "weights"
    """RAE: what keeps the decoder smooth, a penalty on its squared weights, or spectral norm on all its layers."""
    decoder_weight: float = 1e-7
    """RAE: weight of the decoder's squared weights."""
    components: int = 10
    """RAE: Gaussians of the mixture that is fitted to the codes."""
    stages: int = 3
    """Multi-NCP: density ratios of the prior, each learned for `epochs_per_step` epochs, the last to the end."""
    vae_epochs: float = 0.0
    """NCP-VAE: epochs of the VAE alone, after which it stands still and the classifier learns; 0 trains them side by side."""
    gradient_penalty: float = 0.0
    """MEG, BiGAN: weight of the squared gradient of the energy, or of the discriminator's logit, at real images, per place of
    the image."""

    def __post_init__(self):
        require_choices(self)
        at_least_0 = ("free_bits", "free_bits_epochs", "fade_epochs", "inactive_kl", "vae_epochs", "first_stage")
        for name in (*at_least_0, "gradient_penalty"):
            require(getattr(self, name) >= 0, f"baseline.{name} must not be negative, got {getattr(self, name)}")
        require(
            self.code_weight >= 0 and self.decoder_weight >= 0,
            "baseline.code_weight and decoder_weight must not be negative",
        )
        require(self.components > 0, f"baseline.components must be at least 1, got {self.components}")
        require(self.stages > 0, f"baseline.stages must be at least 1, got {self.stages}")
        require(self.epochs_per_step > 0, f"baseline.epochs_per_step must be positive, got {self.epochs_per_step}")


@dataclass(frozen=True, kw_only=True)
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


@dataclass(frozen=True, kw_only=True)
class ExperimentConfig:
    """One named run of the book.

    Example:
        >>> config = ExperimentConfig(name="short", training=TrainingConfig(epochs=3))
        >>> config.data.name, config.model.latent_dims, config.training.epochs
        ('digits', (2, 8), 3)
        >>> ExperimentConfig(data=DataConfig(size=28))
        Traceback (most recent call last):
        ...
        ValueError: data gives images of side 28 with 1 channel(s), the model expects 8 with 1: ...
    """

    name: str = "custom"
    description: str = ""
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self):
        require_name("name", self.name)
        require(
            (self.data.size, self.data.channels) == (self.model.image_size, self.model.image_channels),
            f"data gives images of side {self.data.size} with {self.data.channels} channel(s), the model expects "
            f"{self.model.image_size} with {self.model.image_channels}: set data.size and model.image_size, data.channels and "
            "model.image_channels alike",
        )
        joined = (len(self.model.latent_dims) - 1) * self.training.energy.level_epochs
        require(
            joined < self.training.energy.ladder_epochs or not joined,
            f"the last level joins after {joined:g} epochs (energy.level_epochs for each below the top), but the ladder learns "
            f"alone for energy.ladder_epochs = {self.training.energy.ladder_epochs}: it must have joined by then",
        )
        weights = self.training.kl_weights
        require(
            len(weights) in (0, len(self.model.latent_dims)),
            f"training.kl_weights needs one value per level ({len(self.model.latent_dims)}), got {len(weights)}",
        )


@dataclass(frozen=True)
class ForeignModel:
    """A model that the library has not built and cannot build again: somebody's own modules."""

    class_name: str
    module: str
    latent_dims: tuple[int, ...]
    """Units per level, z_1 first."""
    parts: tuple[str, ...] = ()
    """Classes of the model's parts, such as decoder, encoder and prior, with their modules."""

    def __str__(self) -> str:
        parts = f" made of {', '.join(self.parts)}" if self.parts else ""
        return f"{self.module}.{self.class_name}{parts}, with latent levels {self.latent_dims}"


@dataclass(frozen=True)
class RunConfig:
    """What a run's folder says of itself. A run of an `ExperimentConfig` knows all of it; one that somebody started on own
    tensors, or with an own model, knows its training only."""

    name: str
    training: TrainingConfig
    description: str = ""
    data: DataConfig | None = None
    """None: data that were given in code."""
    model: ModelConfig | None = None
    """None: see `foreign`."""
    foreign: ForeignModel | None = None

    @property
    def experiment(self) -> ExperimentConfig | None:
        """The same as an experiment, where data and model are known."""
        if self.data is None or self.model is None:
            return None
        return ExperimentConfig(
            name=self.name, description=self.description, data=self.data, model=self.model, training=self.training
        )
