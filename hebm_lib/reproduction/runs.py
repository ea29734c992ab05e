"""Every run of the book by one command: what is published already is skipped, what was interrupted goes on."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from hebm_lib.checkpoint import checkpoints_of, load_pretrained, load_run, pretrained_folder
from hebm_lib.config import ExperimentConfig
from hebm_lib.data import ImageDataset, load_split
from hebm_lib.experiments import load_experiment
from hebm_lib.model import build_model
from hebm_lib.provenance import ROOT
from hebm_lib.reproduction import publishing
from hebm_lib.reproduction.results import result_names
from hebm_lib.training import Trainer

__all__ = [
    "BOOK_RUNS",
    "NUMBERS_ONLY",
    "Trained",
    "missing_runs",
    "published_or_trained",
    "reproduce_runs",
    "train_or_resume",
    "trained",
    "trainer_at",
]

SEEDS = (
    "digits",
    "digits-gaussian",
    "mnist-vlae",
    "mnist-vae",
    "mnist-provlae",
    "mnist-lvae",
    "mnist-hvae",
    "mnist-biva",
    "mnist-lebm",
    "mnist-012",
    "mnist-012-gaussian",
    "fashion",
    "fashion-gaussian",
    "fashion-capped",
    "mnist-012-2d",
    "mnist-012-2d-gaussian",
    "fashion-vlae",
    "fashion-vae",
    "fashion-hvae",
    "fashion-map",
    "fashion-map-gaussian",
    "mnist-capped",
    "mnist-012-capped",
    "svhn",
    "svhn-gaussian",
)
"""Experiments that the book trains with three seeds; the first seed's weights are published, the others' numbers."""

LEARNED_ABLATIONS = ("mnist-map-k15", "mnist-map-h10", "mnist-map-separate", "mnist-map-lipschitz3")
"""Three seeds, numbers alone: ``mnist-map`` with one thing changed."""

PHOTOGRAPHS = ("svhn-11k-vlae", "celeba-64-vlae")
"""Ladders of photographs with one seed, on whose codes energies are learned (the study ``image-codes``)."""

FIVE_SEEDS = ("mnist", "mnist-gaussian", "mnist-map", "mnist-map-gaussian")
"""Those with five."""

BOOK_RUNS = (
    *SEEDS,
    *FIVE_SEEDS,
    *PHOTOGRAPHS,
    *LEARNED_ABLATIONS,
    "shapes3d-beta8",
    "digits-capped",
    "mnist-012-mild",
    "mnist-012-rich",
    "mnist-012-lebm",
    "mnist-steep@2",
    *(f"{name}@{seed}" for name in (*SEEDS, *LEARNED_ABLATIONS) for seed in (2, 3)),
    *(f"{name}@{seed}" for name in FIVE_SEEDS for seed in (2, 3, 4, 5)),
)
"""Names of all runs that pages and the scoreboard read."""

NUMBERS_ONLY = (
    *LEARNED_ABLATIONS,
    "fashion-vae",
    *(f"{name}-gaussian" for name in ("digits", "mnist", "fashion", "fashion-map", "mnist-012-2d", "svhn")),
)
"""Of these no page loads weights, so they are not published; of further seeds (``@``) neither."""


def missing_runs() -> list[str]:
    """Runs of `BOOK_RUNS` whose numbers are not in ``book/results`` yet."""
    published = set(result_names())
    return [name for name in BOOK_RUNS if name not in published]


def trainer_at(config: ExperimentConfig, run: Path) -> Trainer:
    """A trainer that stands where its run stands: at fresh weights, or at the newest checkpoint in the folder ``run``."""
    torch.manual_seed(config.training.seed)
    trainer = Trainer(build_model(config.model), config, run)
    return trainer.resume(run) if checkpoints_of(run) else trainer


@dataclass(frozen=True)
class Trained:
    """A run that was trained for a study: the model in evaluation mode, its entry, its images, and what it took.

    ``budget``: ``epochs``, ``images``, ``seconds``, and ``precision`` where that is not float32.
    """

    model: torch.nn.Module
    config: ExperimentConfig
    train: ImageDataset
    budget: dict


def trained(name: str, *, precision: str = "32-true") -> Trained:
    """Train a run of the registry, or resume it, in ``runs/``.

    Args:
        name: of an entry, with ``@seed`` for another seed than its own.
        precision: of the training; ``bf16-mixed`` is for a CPU with matrix units (AMX), or a GPU.
    """
    config = load_experiment(name)
    config = replace(config, training=replace(config.training, precision=precision))
    train, run = load_split(config.data, "train"), ROOT / "runs" / name
    trainer = trainer_at(config, run).fit(train)
    budget = {"epochs": config.training.epochs, "images": len(train), "seconds": round(trainer.seconds, 1)}
    if precision != "32-true":
        budget["precision"] = precision
    return Trained(load_run(run).to(trainer.model.device).eval(), config, train, budget)


def published_or_trained(name: str, *, precision: str = "32-true") -> torch.nn.Module:
    """A run's model in evaluation mode: with its published weights, or `trained` where they are not published."""
    if (pretrained_folder() / f"{name}.safetensors").is_file():
        return load_pretrained(name)
    return trained(name, precision=precision).model


def train_or_resume(name: str, runs: Path) -> Path:
    """Bring a run of the registry to its last epoch; returns its folder under ``runs``."""
    config = load_experiment(name)
    trainer_at(config, runs / name).fit(load_split(config.data, "train"))
    return runs / name


def reproduce_runs(runs: Path, say: Callable[[str], None] = print) -> None:
    """Train and publish whatever is missing, one run after the other.

    Args:
        runs: the folder of runs.
        say: told about each run.
    """
    missing = missing_runs()
    say(f"{len(BOOK_RUNS) - len(missing)} of {len(BOOK_RUNS)} runs are published already")
    for name in missing:
        say(f"{name}: training")
        run = train_or_resume(name, runs)
        publishing.publish_run(run, weights="@" not in name and name not in NUMBERS_ONLY)
        say(f"{name}: published")
