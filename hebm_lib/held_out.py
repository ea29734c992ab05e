"""Table 3's runs: a model is trained without one class, and after each of its last epochs the class is looked for."""

import json
import statistics
from dataclasses import replace
from pathlib import Path

import torch

from hebm_lib.checkpoint import write_atomically
from hebm_lib.config import ExperimentConfig
from hebm_lib.data import ImageDataset, load_split
from hebm_lib.experiments import experiment_of, load_experiment
from hebm_lib.metrics.anomaly import HeldOut, hold_out
from hebm_lib.metrics.detection import detection, joint_terms
from hebm_lib.reproduce import trainer_at
from hebm_lib.training import Trainer

__all__ = ["KINDS", "PAPER_LABELS", "anomaly_config", "contributions", "look_for", "train_without"]

KINDS = ("joint-ebm", "vlae", "vae", "hvae", "lebm")
"""Models of our rows of Table 3."""
PAPER_LABELS = (1, 4, 5, 7, 9)
"""The digits of Table 3."""
IMAGES, EPOCHS, LAST = 20_000, 20, 10
"""Images per epoch, epochs, and how many of them the mean and the deviation are taken over (the paper: the last 10)."""
MOST = 5_000
"""Images of a test set that are looked at per epoch, drawn once; the shares of both kinds stay."""
SIGMAS = (0.1, 20**-0.5, 6**-0.5, 1.0)
"""σ in the decision function; the middle two are the authors' for FID and for hierarchical sampling."""


def anomaly_config(kind: str, label: int) -> ExperimentConfig:
    """The kind's MNIST entry with shorter epochs and more of them, so that ten epochs can be looked at."""
    base = load_experiment(experiment_of("mnist", kind))
    times = 60_000 / IMAGES
    training = replace(base.training, epochs=EPOCHS, kl_warmup_epochs=times * base.training.kl_warmup_epochs)
    settings = replace(base.model.baseline, free_bits_epochs=times * base.model.baseline.free_bits_epochs)
    return replace(
        base,
        name=f"anomaly-{kind}-{label}",
        description=f"{kind} trained without the digit {label} (Table 3)",
        model=replace(base.model, baseline=settings),
        training=training,
    )


def thinned(held: HeldOut, seed: int) -> HeldOut:
    """At most `IMAGES` images to train on, at most `MOST` of each test set."""
    generator = torch.Generator().manual_seed(seed)

    def some(n: int, most: int) -> torch.Tensor:
        return torch.randperm(n, generator=generator)[:most].sort().values

    index = {name: some(len(data), MOST) for name, data in held.tests.items()}
    return HeldOut(
        held.train.subset(some(len(held.train), IMAGES)),
        {name: held.tests[name].subset(rows) for name, rows in index.items()},
        {name: held.anomalous[name][rows] for name, rows in index.items()},
    )


def look_for(model, tests: dict[str, ImageDataset], anomalous: dict[str, torch.Tensor], seed: int) -> dict:
    """Per test set how well ``-log p(x, z)`` finds the class."""
    return {
        name: detection(-joint_terms(model, data, seed=seed).log_joint, anomalous[name]).rounded()
        for name, data in tests.items()
    }


def contributions(model, data: ImageDataset, anomalous: torch.Tensor, seed: int) -> dict[str, float]:
    """AUPRC of the decision function's terms, each alone and together, and with another σ."""
    terms = joint_terms(model, data, seed=seed)
    scores = {"log p(x, z)": terms.log_joint, "-SSE": -terms.sse, "log N(z; 0, I)": terms.base}
    if terms.energy.any():
        scores |= {"f(z)": terms.energy, "f(z) + log N(z; 0, I)": terms.energy + terms.base}
        scores["without f(z)"] = terms.log_joint - terms.energy
    scores |= {f"sigma {sigma:.3g}": terms.at_sigma(sigma) for sigma in SIGMAS}
    return {name: detection(-score, anomalous).rounded()["auprc"] for name, score in scores.items()}


def train_without(kind: str, label: int, runs: Path) -> dict:
    """Train one model without one digit and follow how well it is found.

    Args:
        kind: one of `KINDS`.
        label: the digit that is left out.
        runs: folder of runs; an interrupted run is resumed.

    Returns:
        Plain JSON types: per test set the mean and deviation of AUPRC over the last epochs, with prevalence and the worst
        possible value; what the terms contribute at the end; the budget.
    """
    config = anomaly_config(kind, label)
    seed = config.training.seed
    held = thinned(hold_out(*(load_split(config.data, split) for split in ("train", "test")), label, seed=seed), seed)
    run = runs / config.name
    trainer = trainer_at(config, run)
    record = run / "found.json"  # what was found after each epoch, so that a resumed run has all of them
    found: dict[str, dict] = json.loads(record.read_text()) if record.exists() else {}

    def follow(trainer: Trainer) -> None:
        if trainer.epoch > config.training.epochs - LAST:
            found[str(trainer.epoch)] = look_for(trainer.model, held.tests, held.anomalous, seed)
            write_atomically(record, json.dumps(found))

    trainer.fit(held.train, on_epoch=follow)
    return {
        "kind": kind,
        "label": label,
        "tests": {name: summary([epoch[name] for epoch in found.values()]) for name in held.tests},
        "terms": contributions(trainer.model, held.tests["standard"], held.anomalous["standard"], seed),
        "epochs": config.training.epochs,
        "images": len(held.train),
        "seconds": round(trainer.seconds, 1),
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
    }


def summary(epochs: list[dict]) -> dict:
    """Mean and deviation of AUPRC and AUROC over epochs; what does not depend on the model once."""
    both = {}
    for key in ("auprc", "auroc"):
        values = [epoch[key] for epoch in epochs]
        both[key] = [
            round(statistics.fmean(values), 4),
            round(statistics.stdev(values), 4) if len(values) > 1 else None,
        ]
    return both | {key: epochs[0][key] for key in ("prevalence", "worst")} | {"epochs": len(epochs)}
