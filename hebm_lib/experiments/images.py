"""The registry's entries for natural images."""

from hebm_lib.config import (
    DataConfig,
    ExperimentConfig,
    GeneratorConfig,
    InferenceConfig,
    LangevinConfig,
    ModelConfig,
    OptimiserConfig,
    PriorConfig,
    TrainingConfig,
)

__all__ = ["authors_svhn"]


def authors_svhn(name: str) -> ExperimentConfig:
    """The authors' two SVHN configurations, ``train_hs`` and ``train_fid`` of their code, as they are.

    They need the SVHN images as a pack named ``svhn`` under HEBM_DATA and, to finish in reasonable time, a GPU.
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
                lr_alpha=2e-6, lr_beta_phi=3e-4, betas=(0.0, 0.999), weight_decay=5e-4, lr_decay=0.998
            ),
        ),
    )
