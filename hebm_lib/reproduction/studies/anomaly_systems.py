"""Table 3 on all that its protocol allows: the joint EBM with the learned energy, and four systems beside it.

Three training seeds, each with a split of its own; units and σ as the study ``anomaly-settings`` finds best. A part is a
training of some minutes.
"""

from dataclasses import replace

from hebm_lib.config import ExperimentConfig
from hebm_lib.experiments import load_experiment
from hebm_lib.provenance import ROOT
from hebm_lib.reproduction.studies import anomaly_settings
from hebm_lib.reproduction.studies.anomaly import OTHER_LABELS, PAPER_LABELS, decisions_of, train_and_look
from hebm_lib.reproduction.studies.anomaly_settings import DIMS, best_setting, left_out_whole, setting_config
from hebm_lib.reproduction.studies.study import Study, stored_study

__all__ = ["EPOCHS", "KINDS", "LAST", "SEEDS", "STUDY", "measure_system", "system_config"]

KINDS = ("joint-ebm", "vlae", "hvae", "vae", "lebm")
"""The rows. VLAE is the joint EBM's own ladder with f = 0."""

SETTLED = ("joint-ebm", "vlae", "vae")
"""Those that take their units and σ from the study ``anomaly-settings``; the others have their own."""

SEEDS = (1, 2, 3)
"""Of the training, and of the split."""

EPOCHS, LAST = 10, 5
"""Epochs of about 50,000 images, 5,000 steps where the study ``anomaly`` has 2,000, and how many of them are looked at."""

SHORTER = {"lebm": 5}
"""Epochs of a model whose step takes many times as long."""


def system_config(kind: str, label: int, seed: int, setting: tuple[str, float] | None = None) -> ExperimentConfig:
    """One system trained without one digit.

    The VAE has as many units in its one level as the joint EBM in all of its, and its σ. HVAE sees images drawn black or
    white, as its authors have them; with grey ones its lowest level falls silent.

    Args:
        kind: of `KINDS`.
        label: the digit that is left out.
        seed: of the training and of the split.
        setting: units and σ, as `best_setting` names them; of `SETTLED` alone.

    Example:
        >>> config = system_config("vae", 9, 2, ("2210", 0.2))
        >>> config.name, config.model.latent_dims, config.model.sigma, config.training.epochs
        ('anomaly-vae-9-seed-2', (14,), 0.2, 10)
    """
    units, sigma = setting or ("", 0.0)
    if kind in ("joint-ebm", "vlae"):
        config = setting_config(units, sigma, label, energy=kind == "joint-ebm", epochs=EPOCHS)
    elif kind == "vae":
        config = load_experiment("mnist-vae")
        config = replace(config, model=replace(config.model, latent_dims=(sum(DIMS[units]),), sigma=sigma))
    elif kind == "hvae":
        config = load_experiment("fashion-hvae-binary")
        config = replace(config, data=replace(load_experiment("mnist").data, binary=True))
    else:
        config = load_experiment(f"mnist-{kind}")
    return replace(
        config,
        name=f"anomaly-{kind}-{label}-seed-{seed}",
        description=f"{kind} trained without the digit {label} on all other images (Table 3)",
        training=replace(config.training, seed=seed, epochs=SHORTER.get(kind, EPOCHS)),
    )


def measure_system(part: str, *, precision: str = "32-true") -> dict:
    """Train one system without a digit and look for it after its last epochs; resumed from ``runs/`` if interrupted."""
    name, _, seed = part.partition("@")
    kind, _, label = name.partition("/")
    setting = best_setting(stored_study(anomaly_settings.STUDY.name)["parts"]) if kind in SETTLED else None
    config = system_config(kind, int(label), int(seed), setting)
    config = replace(config, training=replace(config.training, precision=precision))
    last = min(LAST, config.training.epochs // 2)
    held = left_out_whole(config, int(label))
    found = train_and_look(config, held, ROOT / "runs" / config.name, scores=decisions_of(kind), last=last)
    return {"kind": kind, "label": int(label), "setting": setting and list(setting)} | found


def parts() -> list[str]:
    """Seed by seed; the joint EBM without every digit, the others without those of the paper."""
    labels = {"joint-ebm": (*PAPER_LABELS, *OTHER_LABELS)}
    return [f"{kind}/{label}@{seed}" for seed in SEEDS for kind in KINDS for label in labels.get(kind, PAPER_LABELS)]


STUDY = Study(
    "anomaly-systems",
    "one digit left out of the training, on all that the protocol allows: five systems, three seeds and splits",
    dict.fromkeys(parts(), ()),
    measure_system,
    trains=True,
)
