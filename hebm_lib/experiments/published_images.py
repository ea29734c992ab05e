"""The registry's entries for the published models of Table 2 in their own settings, for a GPU."""

from hebm_lib.config import (
    BaselineConfig,
    DataConfig,
    ExperimentConfig,
    GeneratorConfig,
    InferenceConfig,
    LangevinConfig,
    ModelConfig,
    OptimiserConfig,
    TrainingConfig,
)
from hebm_lib.experiments.baselines import NO_CHAIN, NO_ENERGY

__all__ = ["published_systems"]


def published_systems() -> list[ExperimentConfig]:
    """The settings of the published models as far as this library can say them; each model's file lists the rest."""
    faces = DataConfig(name="celeba-64", size=64, channels=3)
    nothing = {"factors": (), "widths": ()}
    rae = ModelConfig(
        kind="rae",
        latent_dims=(64,),
        image_size=64,
        image_channels=3,
        generator=GeneratorConfig(
            **nothing,
            entries=(),
            top_hidden=(),
            base_factor=8,
            base_width=1024,
            plain_factors=(2, 4),
            plain_widths=(256, 512),
            out_width=128,
            batch_norm=False,
        ),
        inference=InferenceConfig(
            **nothing,
            reads=(),
            top_hidden=(),
            plain_factors=(2, 4, 8, 16),
            plain_widths=(128, 256, 512, 1024),
            batch_norm=True,
        ),
        prior=NO_ENERGY,
        baseline=BaselineConfig(code_weight=2.4e-3, decoder="spectral", components=10),
    )
    rae_training = TrainingConfig(
        epochs=70,
        langevin=NO_CHAIN,
        optimiser=OptimiserConfig(lr_beta_phi=1e-3, betas=(0.9, 0.999), lr_decay=0.95),
    )
    abp = ModelConfig(
        kind="abp",
        latent_dims=(100,),
        image_size=32,
        image_channels=3,
        generator=GeneratorConfig(
            **nothing,
            entries=(),
            top_hidden=(),
            base_factor=8,
            base_width=512,
            plain_factors=(2, 4),
            plain_widths=(128, 256),
        ),
        inference=InferenceConfig(**nothing, reads=()),
        prior=NO_ENERGY,
        sigma=0.3,
        baseline=BaselineConfig(posterior=LangevinConfig(steps=30, step_size=0.1)),
    )
    abp_training = TrainingConfig(
        epochs=200, langevin=NO_CHAIN, optimiser=OptimiserConfig(lr_beta_phi=1e-4, betas=(0.5, 0.999), lr_decay=0.998)
    )
    sri = ModelConfig(
        kind="sri",
        latent_dims=(128, 96, 64, 64, 64),
        image_size=64,
        image_channels=3,
        generator=GeneratorConfig(
            factors=(4,) * 4,
            widths=(64,) * 4,
            entries=("map",) * 4,
            top_hidden=(),
            base_factor=4,
            base_width=64,
            plain_factors=(2,),
            plain_widths=(32,),
        ),
        inference=InferenceConfig(factors=(4,) * 4, widths=(64,) * 4, reads=("map",) * 4),
        prior=NO_ENERGY,
        sigma=0.15,
        baseline=BaselineConfig(posterior=LangevinConfig(steps=25, step_size=0.05)),
    )
    sri_training = TrainingConfig(
        epochs=600, langevin=NO_CHAIN, optimiser=OptimiserConfig(lr_beta_phi=8e-5, betas=(0.5, 0.999), lr_decay=0.9965)
    )
    two_stage = ModelConfig(
        kind="twostage",
        latent_dims=(64, 64),
        image_size=64,
        image_channels=3,
        generator=GeneratorConfig(
            factors=(0,),
            widths=(1024,),
            entries=("map",),
            join="replace",
            top_hidden=(1024,) * 3,
            base_factor=4,
            base_width=128,
            plain_factors=(2,),
            plain_widths=(64,),
            batch_norm=True,
        ),
        inference=InferenceConfig(
            factors=(2,),
            widths=(64,),
            reads=("map",),
            top_hidden=(1024,),
            plain_factors=(4,),
            plain_widths=(128,),
            batch_norm=True,
        ),
        prior=NO_ENERGY,
        sigma=1.0,
        baseline=BaselineConfig(first_stage=400),
    )
    two_stage_training = TrainingConfig(
        epochs=1200,
        batch_size=64,
        langevin=NO_CHAIN,
        optimiser=OptimiserConfig(lr_beta_phi=1e-4, betas=(0.9, 0.999), lr_decay=0.9977),
    )
    colour = DataConfig(name="svhn", size=32, fit="resize", channels=3)
    entries = (
        ("published-twostage", "2s-VAE's default networks", faces, two_stage, two_stage_training),
        ("published-abp", "ABP on SVHN, as far as its settings are remembered", colour, abp, abp_training),
        ("published-sri", "short-run inference's own settings, on larger faces", faces, sri, sri_training),
        ("published-rae", "RAE-SN's CelebA settings", faces, rae, rae_training),
    )
    return [
        ExperimentConfig(name=name, description=f"{what}; for a GPU", data=data, model=model, training=training)
        for name, what, data, model, training in entries
    ]
