"""The registry's entries for published models in their own settings, for a GPU: those that the book had first.

`published_images` and `contrastive` have the later ones.
"""

from dataclasses import replace

from hebm_lib.config import (
    BaselineConfig,
    DataConfig,
    EnergyConfig,
    ExperimentConfig,
    GeneratorConfig,
    InferenceConfig,
    LangevinConfig,
    ModelConfig,
    OptimiserConfig,
    PriorConfig,
    TrainingConfig,
)
from hebm_lib.experiments.baselines import NO_CHAIN, NO_ENERGY

__all__ = ["published_baselines", "vlae_networks"]


def vlae_networks(width: int = 1024, channels: int = 64) -> tuple[GeneratorConfig, InferenceConfig]:
    """The two ladders of VLAE's public MNIST code, three levels whose codes join by a learned gate.

    Levels 1 and 2 are read from convolutions behind the second feature, and join vectors before there is a map.

    Args:
        width: of the vectors, 1,024 there.
        channels: of the maps nearest to the pixels, 64 there; the next have twice as many.

    Example:
        >>> generator, inference = vlae_networks(256, 16)
        >>> generator.widths, generator.base_width, inference.deviation
        ((256, 256), 32, 'sigmoid')
    """
    generator = GeneratorConfig(
        factors=(0, 0),
        widths=(width, width),
        entries=("map", "map"),
        top_hidden=(width, width),
        base_factor=4,
        base_width=2 * channels,
        join="gate",
        slope=0.1,
        plain_factors=(2,),
        plain_widths=(channels,),
        batch_norm=True,
    )
    inference = InferenceConfig(
        factors=(4, 4),
        widths=(2 * channels, 2 * channels),
        reads=("map", "map"),
        top_hidden=(width, width),
        slope=0.1,
        batch_norm=True,
        deviation="sigmoid",
    )
    return generator, inference


def published_baselines() -> list[ExperimentConfig]:
    """The settings of the published models as far as this library can say them; each model's file lists the rest."""
    grey, colour = DataConfig(name="mnist", size=28), DataConfig(name="svhn", size=32, fit="resize", channels=3)
    binary = replace(grey, binary=True)
    shapes = DataConfig(name="3dshapes", size=64, fit="resize", channels=3)
    generator, inference = vlae_networks()
    vlae = ModelConfig(
        kind="vlae",
        latent_dims=(2, 2, 2),
        image_size=28,
        image_channels=1,
        generator=generator,
        inference=inference,
        prior=NO_ENERGY,
        sigma=0.25,
        baseline=BaselineConfig(likelihood="laplace"),
    )
    provlae = ModelConfig(
        kind="provlae",
        latent_dims=(3, 3, 3),
        image_size=64,
        image_channels=3,
        generator=GeneratorConfig(
            factors=(4, 8),
            widths=(32, 32),
            entries=("map",) * 2,
            top_hidden=(256,),
            base_factor=16,
            base_width=32,
            join="concat",
            plain_factors=(2,),
            plain_widths=(32,),
        ),
        inference=InferenceConfig(
            factors=(4, 8),
            widths=(32, 32),
            reads=("map",) * 2,
            top_hidden=(256,),
            plain_factors=(16,),
            plain_widths=(32,),
        ),
        prior=NO_ENERGY,
        baseline=BaselineConfig(likelihood="bernoulli", epochs_per_step=15),
    )
    lebm = ModelConfig(
        kind="lebm",
        latent_dims=(100,),
        image_size=32,
        image_channels=3,
        generator=GeneratorConfig(
            factors=(),
            widths=(),
            entries=(),
            top_hidden=(),
            base_factor=8,
            base_width=512,
            plain_factors=(2, 4),
            plain_widths=(128, 256),
        ),
        inference=InferenceConfig(factors=(), widths=(), reads=()),
        prior=PriorConfig(hidden=(200, 200), spectral_norm=False),
        sigma=0.3,
    )
    lvae = ModelConfig(
        kind="lvae",
        latent_dims=(64, 32, 16, 8, 4),
        image_size=28,
        image_channels=1,
        generator=GeneratorConfig(
            factors=(0,) * 4,
            widths=(512, 256, 128, 64),
            entries=("map",) * 4,
            top_hidden=(64,),
            base_factor=4,
            base_width=64,
            join="replace",
            batch_norm=True,
        ),
        inference=InferenceConfig(
            factors=(2, 4, 4, 4), widths=(64,) * 4, reads=("map",) * 4, top_hidden=(64,), batch_norm=True
        ),
        prior=NO_ENERGY,
        baseline=BaselineConfig(likelihood="bernoulli"),
    )
    hvae = ModelConfig(
        kind="hvae",
        latent_dims=(8 * 14**2, 16, 8),
        image_size=28,
        image_channels=1,
        generator=GeneratorConfig(
            factors=(2, 4),
            widths=(64, 64),
            entries=("map",) * 2,
            top_hidden=(64,),
            base_factor=4,
            base_width=64,
            local_levels=(1,),
        ),
        inference=InferenceConfig(factors=(2, 4), widths=(64, 64), reads=("map",) * 2, top_hidden=(64,)),
        prior=NO_ENERGY,
        baseline=BaselineConfig(likelihood="bernoulli", free_bits=2.0, free_bits_epochs=200),
    )
    biva = ModelConfig(
        kind="biva",
        latent_dims=(96, 80, 64, 48, 32, 8),
        image_size=28,
        image_channels=1,
        generator=GeneratorConfig(
            factors=(2,) * 5, widths=(64,) * 5, entries=("map",) * 5, top_hidden=(64,), base_factor=4, base_width=64
        ),
        inference=InferenceConfig(
            factors=(2,) * 5,
            widths=(64,) * 5,
            reads=("map",) * 5,
            top_hidden=(64,),
            plain_factors=(4,),
            plain_widths=(64,),
        ),
        prior=NO_ENERGY,
        baseline=BaselineConfig(likelihood="bernoulli", free_bits=2.0),
    )

    nothing = {"factors": (), "widths": ()}
    framed = DataConfig(name="mnist", size=32)
    meg = ModelConfig(
        kind="meg",
        latent_dims=(128,),
        image_size=32,
        image_channels=1,
        generator=GeneratorConfig(
            **nothing,
            entries=(),
            top_hidden=(),
            base_factor=16,
            base_width=512,
            plain_factors=(2, 4, 8),
            plain_widths=(64, 128, 256),
            batch_norm=True,
        ),
        inference=InferenceConfig(
            **nothing,
            reads=(),
            top_hidden=(512,),
            slope=0.2,
            plain_factors=(2, 4, 8, 16),
            plain_widths=(64, 128, 256, 512),
        ),
        prior=NO_ENERGY,
        baseline=BaselineConfig(gradient_penalty=100.0),
    )
    bigan = ModelConfig(
        kind="bigan",
        latent_dims=(200,),
        image_size=28,
        image_channels=1,
        generator=GeneratorConfig(
            **nothing,
            entries=(),
            top_hidden=(1024,),
            base_factor=4,
            base_width=128,
            plain_factors=(2,),
            plain_widths=(64,),
            slope=0.1,
            batch_norm=True,
        ),
        inference=InferenceConfig(
            **nothing,
            reads=(),
            top_hidden=(1024,),
            slope=0.1,
            plain_factors=(2, 4),
            plain_widths=(64, 128),
            batch_norm=True,
        ),
        prior=NO_ENERGY,
    )

    def schedule(epochs: int, batch: int, rate: float, *, betas=(0.9, 0.999), decay=1.0, **others) -> TrainingConfig:
        optimiser = OptimiserConfig(
            lr_alpha=others.pop("rate_alpha", 1e-4), lr_beta_phi=rate, betas=betas, lr_decay=decay
        )
        return TrainingConfig(epochs=epochs, batch_size=batch, optimiser=optimiser, **{"langevin": NO_CHAIN} | others)

    chains = schedule(
        201,
        100,
        1e-4,
        betas=(0.5, 0.999),
        decay=0.998,
        rate_alpha=2e-5,
        langevin=LangevinConfig(steps=60, step_size=0.4),
    )
    entries = (
        ("published-vlae", "VLAE's own MNIST settings", grey, vlae, schedule(100, 100, 2e-4, kl_warmup_epochs=7)),
        ("published-provlae", "pro-VLAE on 3D Shapes", shapes, provlae, schedule(45, 100, 5e-4, kl_weights=(8.0,) * 3)),
        ("published-lebm", "the latent EBM's own SVHN settings", colour, lebm, chains),
        (
            "published-lvae",
            "the ladder VAE's MNIST levels",
            grey,
            lvae,
            schedule(2000, 256, 1e-3, kl_warmup_epochs=200),
        ),
        ("published-hvae", "HVAE's own MNIST settings", binary, hvae, schedule(1000, 128, 3e-4, kl_warmup_epochs=200)),
        (
            "published-meg",
            "MEG's own MNIST settings",
            framed,
            meg,
            schedule(55, 64, 1e-4, betas=(0.5, 0.9), energy=EnergyConfig(updates=5)),
        ),
        ("published-bigan", "BiGAN-σ's own MNIST settings", grey, bigan, schedule(100, 100, 1e-5, betas=(0.5, 0.999))),
        ("published-biva", "BIVA's MNIST settings", binary, biva, schedule(500, 48, 2e-3, decay=0.999999**1250)),
    )
    return [
        ExperimentConfig(name=name, description=f"{what}; for a GPU", data=data, model=model, training=training)
        for name, what, data, model, training in entries
    ]
