"""The registry: every run that the book shows has a name here."""

import difflib
from dataclasses import replace

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

__all__ = ["EXPERIMENTS", "load_experiment"]


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


def digits() -> ExperimentConfig:
    """The main job: scikit-learn's 8×8 digits, no download, minutes on a laptop."""
    return ExperimentConfig(
        "digits",
        "scikit-learn's handwritten digits, two levels: what `make run` trains",
        DataConfig("digits", size=8),
        ModelConfig(
            latent_dims=(2, 8),
            image_size=8,
            generator=GeneratorConfig((1,), (8,), ("shift",), (128, 128), 4, 64, "add", 32),
            inference=InferenceConfig((2,), (32,), ("pooled",), (128, 128)),
            prior=PriorConfig((100, 100)),
            sigma=0.4,
        ),
        TrainingConfig(epochs=150, batch_size=100, langevin=LangevinConfig(60, 0.4)),
    )


EXPERIMENTS: dict[str, ExperimentConfig] = {
    "digits": digits(),
    "svhn-hs": authors_svhn("svhn-hs"),
    "svhn-fid": authors_svhn("svhn-fid"),
}


def load_experiment(name: str) -> ExperimentConfig:
    """The config of a named run; ``name@3`` is the same with seed 3.

    Raises:
        ValueError: for a name that is not in the registry, with the nearest ones.
    """
    base, _, seed = name.partition("@")
    if base not in EXPERIMENTS:
        near = difflib.get_close_matches(base, EXPERIMENTS, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(EXPERIMENTS)}"
        raise ValueError(f"there is no experiment {name!r}: {hint}")
    config = EXPERIMENTS[base]
    if not seed:
        return config
    if not seed.isdigit():
        raise ValueError(f"a seed is a whole number, as in {base}@3; got {name!r}")
    return replace(config, name=name, training=replace(config.training, seed=int(seed)))
