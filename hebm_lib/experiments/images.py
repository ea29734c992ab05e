"""The registry's entries for natural images."""

from dataclasses import replace

from hebm_lib.config import (
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
from hebm_lib.experiments.recipe import gentle, learned_prior, steady

__all__ = ["authors_svhn", "svhn_learned"]


def authors_svhn(name: str) -> ExperimentConfig:
    """The authors' two SVHN configurations, ``train_hs`` and ``train_fid`` of their code, as they are.

    They need all of SVHN, as torchvision downloads it, and, to finish in reasonable time, a GPU.
    """
    if name == "svhn-hs":
        dims, sigma, langevin, epochs = (2, 2, 2, 10), 6**-0.5, LangevinConfig(steps=60, step_size=0.4), 100
        generator = GeneratorConfig(
            factors=(2, 4, 0),
            widths=(32, 64, 64),
            entries=("map",) * 3,
            top_hidden=(256, 256),
            base_factor=8,
            base_width=64,
            join="add",
        )
        inference = InferenceConfig(factors=(2, 4, 8), widths=(32, 64, 64), reads=("map",) * 3, top_hidden=(256, 256))
        prior, what = (
            PriorConfig(hidden=(50,) * 4),
            "Fig. 4: hierarchical sampling on SVHN, the authors' train_hs settings",
        )
    else:
        dims, sigma, langevin, epochs = (10,) * 5, 20**-0.5, LangevinConfig(steps=100, step_size=0.3), 200
        generator = GeneratorConfig(
            factors=(2, 4, 8, 16),
            widths=(256, 256, 512, 1024),
            entries=("map",) * 4,
            top_hidden=(2048, 2048),
            base_factor=16,
            base_width=1024,
            join="concat",
            out_width=128,
        )
        inference = InferenceConfig(
            factors=(2, 4, 8, 16), widths=(128, 256, 256, 512), reads=("map",) * 4, top_hidden=(1024, 1024)
        )
        prior, what = PriorConfig(hidden=(100, 100)), "Table 2: FID on SVHN, the authors' train_fid settings"
    return ExperimentConfig(
        name=name,
        description=what,
        data=DataConfig(name="svhn", size=32, fit="resize", channels=3),
        model=ModelConfig(
            kind="joint-ebm",
            latent_dims=dims,
            image_size=32,
            image_channels=3,
            generator=generator,
            inference=inference,
            prior=prior,
            sigma=sigma,
        ),
        training=TrainingConfig(
            epochs=epochs,
            batch_size=100,
            seed=1234,
            order="alpha-last",
            langevin=langevin,
            optimiser=OptimiserConfig(
                lr_alpha=2e-6, lr_beta_phi=3e-4, betas=(0.0, 0.9), weight_decay=5e-4, lr_decay=0.998
            ),
        ),
    )


EPOCHS, LADDER_EPOCHS = 100, 50


def svhn_learned(name: str, description: str, *, energy: bool = True) -> ExperimentConfig:
    """The authors' four-level SVHN networks on the pack ``svhn-11k``, at the budget of a laptop's CPU.

    Generator, inference network, widths of f, σ and the number of epochs are those of ``svhn-hs``. The ladder is trained by
    `hebm_lib.experiments.recipe.steady`, without which one seed of three diverged within fifty steps; the energy as in
    Table 2 (`gentle`): no spectral norm, chains that persist and jump, the ladder first. An epoch has 100 steps here and
    5,000 there, so the ladder's rate is higher to begin with, and falls.

    Args:
        name, description: the entry's.
        energy: False trains the same ladder with f = 0 to the end: the same initial weights, the same order of images.
    """
    base, phases = authors_svhn("svhn-hs"), EnergyConfig(ladder_epochs=EPOCHS)
    if energy:
        alone = {"lr_alone": 1e-3, "lr_end": 5e-4, "batch_alone": 500}
        phases = EnergyConfig(ladder_epochs=LADDER_EPOCHS, fit_steps=4000, end_steps=4000, average=0.999, **alone)
    prior = learned_prior(base.model.prior.hidden)
    training = TrainingConfig(
        epochs=EPOCHS,
        langevin=LangevinConfig(steps=150, step_size=0.2),
        optimiser=OptimiserConfig(lr_alpha=2e-4, lr_beta_phi=1e-3, lr_decay=0.98),
        energy=phases,
    )
    config = replace(
        base,
        name=name,
        description=description,
        data=replace(base.data, name="svhn-11k"),
        model=replace(base.model, prior=prior),
        training=training,
    )
    return steady(gentle(config, step_size=0.2))
