"""Which units and which σ find a digit that was left out (Table 3): the ladder alone, trained with each.

The paper states neither, so the best is taken (`best_setting`), by the test sets themselves: in the model's favour. A part is
the ladder of ``levels-2210-map`` with f = 0, trained for a few epochs on all images that the protocol allows, 80 % of the
familiar ones, and looked at after every epoch.
"""

from dataclasses import replace

import torch

from hebm_lib.config import ExperimentConfig
from hebm_lib.data import load_split
from hebm_lib.experiments import load_experiment
from hebm_lib.experiments.levels import UNITS, cell_name
from hebm_lib.experiments.recipe import gentle
from hebm_lib.experiments.unfamiliar import STEP_SIZES
from hebm_lib.metrics.hold_out import HeldOut, hold_out
from hebm_lib.provenance import ROOT
from hebm_lib.reproduction.studies.anomaly import PAPER_LABELS, thinned_tests, train_and_look
from hebm_lib.reproduction.studies.study import Study

__all__ = [
    "DIMS",
    "EPOCHS",
    "SIGMAS",
    "STUDY",
    "best_setting",
    "left_out_whole",
    "measure_setting",
    "setting_config",
    "setting_name",
]

DIMS = UNITS | {"161632": (16, 16, 32)}
"""Units per level, z_1 first: the paper's for digits, the book's, and as many as give a digit away by the price of its code."""

SIGMAS = (0.4, 0.2, 0.1)
"""σ of the pixels in training."""

EPOCHS = 5
"""Epochs of about 50,000 images: 2,500 steps."""

MOST = 5_000
"""Images of a test set that are looked at, drawn once; the shares of both kinds stay."""


def setting_name(units: str, sigma: float, label: int) -> str:
    """The part of one setting.

    Example:
        >>> setting_name("222", 0.4, 9)
        '222/0.4/9'
    """
    return f"{units}/{sigma:g}/{label}"


def setting_config(
    units: str, sigma: float, label: int, *, energy: bool = False, epochs: int = EPOCHS
) -> ExperimentConfig:
    """The ladder without walls with other units and another σ.

    Args:
        units: of `DIMS`.
        sigma: of the pixels.
        label: the digit that is left out.
        energy: False trains the ladder alone; True is the joint EBM with the entry's epochs and phases, which begins as that
            ladder. f learns gently where codes are narrow: with two units a level, or σ below 0.4.
        epochs: of the ladder alone.

    Example:
        >>> config = setting_config("161632", 0.1, 9)
        >>> config.name, config.model.latent_dims, config.training.epochs
        ('anomaly-161632-sigma-01-9', (16, 16, 32), 5)
    """
    config = load_experiment(cell_name("2210", "map", energy=energy))
    if units == "222" or sigma < 0.4:
        config = gentle(config, step_size=STEP_SIZES["mnist"].get(sigma, 0.15))
    name = f"anomaly-{units}-sigma-{sigma:g}-{label}".replace("0.", "0")
    what = f"levels {'/'.join(map(str, DIMS[units]))}, σ = {sigma:g}, trained without the digit {label} (Table 3)"
    config = replace(
        config, name=name, description=what, model=replace(config.model, latent_dims=DIMS[units], sigma=sigma)
    )
    if energy:
        return config
    phases = replace(config.training.energy, ladder_epochs=epochs)
    return replace(config, training=replace(config.training, epochs=epochs, energy=phases))


def left_out_whole(config: ExperimentConfig, label: int) -> HeldOut:
    """All images that the protocol trains on without one class; at most `MOST` in each test set. A seed is a split."""
    seed = config.training.seed
    train, test = (load_split(config.data, split) for split in ("train", "test"))
    return thinned_tests(hold_out(train, test, label, seed=seed), MOST, torch.Generator().manual_seed(seed))


def measure_setting(part: str, *, precision: str = "32-true") -> dict:
    """Train one setting without a digit and look for it after every epoch; an interrupted one is resumed from ``runs/``."""
    units, sigma, label = part.split("/")
    config = setting_config(units, float(sigma), int(label))
    config = replace(config, training=replace(config.training, precision=precision))
    found = train_and_look(config, left_out_whole(config, int(label)), ROOT / "runs" / config.name, last=EPOCHS)
    return {"units": units, "sigma": float(sigma), "label": int(label)} | found


def best_setting(parts: dict[str, dict]) -> tuple[str, float]:
    """The units and the σ with the highest mean AUPRC over the table's digits, pooled test set, after the last epoch.

    Args:
        parts: of the study.

    Raises:
        ValueError: if one is missing.

    Example:
        >>> found = {name: {"tests": {"pooled": {"by_epoch": [0.5]}}} for name in STUDY.parts}
        >>> found["2210/0.2/9"] = {"tests": {"pooled": {"by_epoch": [0.4, 0.6]}}}
        >>> best_setting(found)
        ('2210', 0.2)
    """
    if missing := [name for name in STUDY.parts if name not in parts]:
        raise ValueError(f"{missing[0]} is not measured yet: python -m hebm_lib study {STUDY.name}")

    def mean(setting: tuple[str, float]) -> float:
        tests = [parts[setting_name(*setting, label)]["tests"]["pooled"] for label in PAPER_LABELS]
        return sum(test["by_epoch"][-1] for test in tests) / len(tests)

    return max(((units, sigma) for units in DIMS for sigma in SIGMAS), key=mean)


STUDY = Study(
    "anomaly-settings",
    "one digit left out of the training: which units and which σ of the ladder find it, after every epoch",
    {setting_name(units, sigma, label): () for label in PAPER_LABELS for units in DIMS for sigma in SIGMAS},
    measure_setting,
    trains=True,
)
