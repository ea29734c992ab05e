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
        dims, sigma, langevin, epochs = (2, 2, 2, 10), 6**-0.5, LangevinConfig(60, 0.4), 100
        generator = GeneratorConfig((2, 4, 0), (32, 64, 64), ("map",) * 3, (256, 256), 8, 64, "add")
        inference = InferenceConfig((2, 4, 8), (32, 64, 64), ("map",) * 3, (256, 256))
        prior, what = PriorConfig((50,) * 4), "Fig. 4: hierarchical sampling on SVHN, the authors' train_hs settings"
    else:
        dims, sigma, langevin, epochs = (10,) * 5, 20**-0.5, LangevinConfig(100, 0.3), 200
        generator = GeneratorConfig(
            (2, 4, 8, 16), (256, 256, 512, 1024), ("map",) * 4, (2048, 2048), 16, 1024, "concat", 128
        )
        inference = InferenceConfig((2, 4, 8, 16), (128, 256, 256, 512), ("map",) * 4, (1024, 1024))
        prior, what = PriorConfig((100, 100)), "Table 2: FID on SVHN, the authors' train_fid settings"
    return ExperimentConfig(
        name,
        what,
        DataConfig("svhn", size=32, fit="resize", channels=3),
        ModelConfig("joint-ebm", dims, 32, 3, generator, inference, prior, sigma),
        TrainingConfig(
            epochs=epochs,
            batch_size=100,
            seed=1234,
            order="alpha-last",
            langevin=langevin,
            optimiser=OptimiserConfig(2e-6, 3e-4, (0.0, 0.999), 5e-4, 0.998),
        ),
    )
