"""Anomaly detection (Table 3): every model trained without one digit. A part is a training of some minutes."""

import json
import statistics
from dataclasses import replace
from pathlib import Path

import torch

from hebm_lib.checkpoint import write_atomically
from hebm_lib.config import ExperimentConfig
from hebm_lib.data import ImageDataset, load_split
from hebm_lib.experiments import experiment_of, load_experiment
from hebm_lib.metrics.detection import detection, joint_terms
from hebm_lib.metrics.hold_out import TRAINING_SHARE, HeldOut, hold_out
from hebm_lib.metrics.pixels import grey_entropy, ink, nearest
from hebm_lib.metrics.scores import OwnScore, bound_score, likelihood_scores, model_scores, own_score
from hebm_lib.provenance import ROOT
from hebm_lib.reproduction.runs import trainer_at
from hebm_lib.reproduction.studies.study import Study
from hebm_lib.training import Trainer

__all__ = [
    "KINDS",
    "OTHER_LABELS",
    "PAPER_LABELS",
    "STUDY",
    "anomaly_config",
    "contributions",
    "decisions_of",
    "hold_out_thinned",
    "look_for",
    "look_without_model",
    "measure_anomaly",
    "thinned_tests",
    "train_and_look",
    "train_without",
]

KINDS = ("joint-ebm", "vlae", "vae", "hvae", "lebm", "meg", "bigan")
"""Models of our rows of Table 3."""

PAPER_LABELS = (1, 4, 5, 7, 9)
"""The digits of Table 3."""

IMAGES, EPOCHS, LAST = 10_000, 20, 10
"""Images per epoch, epochs, and how many of them the mean and the deviation are taken over (the paper: the last 10)."""

SHORTER = {"lebm": 0.5, "meg": 0.5}
"""Models that pay more per step, and the share of both numbers of epochs that they get. The latent EBM's step takes three
times as long; with half of the epochs it still has the most minutes."""

DECISIONS = {"hvae": ("joint", "bound"), "meg": ("own",), "bigan": ("own",)}
"""Decision functions that are followed, where that is not ``log p(x, z)`` alone."""

DRAWS = 10
"""Of q per image, behind those of HVAE's bounds that take more than one."""

MOST = 2_500
"""Images of a test set that are looked at per epoch, drawn once; the shares of both kinds stay."""


def anomaly_config(kind: str, label: int) -> ExperimentConfig:
    """The kind's MNIST entry with shorter epochs and more of them, so that ten epochs can be looked at; warm-ups as long.

    The joint EBM is the one with fresh chains: its entry has no phases, which epochs of another length would change.
    """
    base = load_experiment("mnist-capped" if kind == "joint-ebm" else experiment_of("mnist", kind))
    times = 60_000 / IMAGES
    training = replace(
        base.training, epochs=epochs_of(kind)[0], kl_warmup_epochs=times * base.training.kl_warmup_epochs
    )
    settings = replace(base.model.baseline, free_bits_epochs=times * base.model.baseline.free_bits_epochs)
    return replace(
        base,
        name=f"anomaly-{kind}-{label}",
        description=f"{kind} trained without the digit {label} (Table 3)",
        model=replace(base.model, baseline=settings),
        training=training,
    )


def decisions_of(kind: str) -> dict[str, str]:
    """Name in a part's result → decision function of `look_for` that is followed there.

    Example:
        >>> decisions_of("vae"), decisions_of("hvae")
        ({'tests': 'joint'}, {'tests': 'joint', 'bounds': 'bound'})
    """
    return dict(zip(("tests", "bounds"), DECISIONS.get(kind, ("joint",)), strict=False))


def epochs_of(kind: str) -> tuple[int, int]:
    """Epochs of a kind, and how many of them are looked at."""
    share = SHORTER.get(kind, 1.0)
    return round(share * EPOCHS), round(share * LAST)


def hold_out_thinned(train: ImageDataset, test: ImageDataset, label: int, seed: int) -> HeldOut:
    """`hold_out` with at most `IMAGES` images to train on and at most `MOST` in each test set.

    Both parts of the data are thinned *before* the class is left out. Thinned afterwards, the ``leaking`` test set would
    hold fewer images that were trained on than its 80 %.
    """
    generator = torch.Generator().manual_seed(seed)
    normal = sum(int((data.labels != label).sum()) for data in (train, test))
    share = min(1.0, 1.01 * IMAGES / (TRAINING_SHARE * normal))  # a hundredth more, for the luck of the draw
    train, test = (data.subset(some(len(data), round(share * len(data)), generator)) for data in (train, test))
    held = thinned_tests(hold_out(train, test, label, seed=seed), MOST, generator)
    return replace(held, train=held.train.subset(some(len(held.train), IMAGES, generator)))


def thinned_tests(held: HeldOut, most: int, generator: torch.Generator) -> HeldOut:
    """The same with at most ``most`` images in each test set, drawn once."""
    index = {name: some(len(data), most, generator) for name, data in held.tests.items()}
    tests = {name: held.tests[name].subset(rows) for name, rows in index.items()}
    return replace(held, tests=tests, anomalous={name: held.anomalous[name][rows] for name, rows in index.items()})


def some(n: int, most: int, generator: torch.Generator) -> torch.Tensor:
    """At most ``most`` of n indices, drawn without return, in order."""
    return torch.randperm(n, generator=generator)[:most].sort().values


def left_out(config: ExperimentConfig, label: int) -> HeldOut:
    """The images of one experiment without one class."""
    return hold_out_thinned(
        *(load_split(config.data, split) for split in ("train", "test")), label, config.training.seed
    )


def look_for(model, held: HeldOut, seed: int, *, decision: str = "joint") -> dict:
    """Per test set how well a decision function finds the class: ``-log p(x, z)``, or ``-ELBO``, or the model's own score."""
    found = {}
    for name, data in held.tests.items():
        if decision == "bound":
            score = bound_score(model, data, seed=seed)["-ELBO"]
        elif decision == "own":
            score = own_score(model, data)
        else:
            score = -joint_terms(model, data, seed=seed).log_joint
        found[name] = detection(score, held.anomalous[name]).rounded()
    return found


def contributions(model, held: HeldOut, seed: int) -> dict[str, dict[str, float]]:
    """Per test set AUPRC of all of `model_scores`: the decision function's terms, other σ, other scores.

    A model that is not trained on a likelihood has its own score alone; HVAE's bounds are taken with `DRAWS` draws besides.
    """
    found = {}
    for name, data in held.tests.items():
        own = isinstance(model, OwnScore)
        scores = {"own score": own_score(model, data)} if own else model_scores(model, data, seed)
        if not own and model.bounds_levels:
            scores |= likelihood_scores(model, data, seed=seed, draws=DRAWS)
        found[name] = {key: detection(s, held.anomalous[name]).rounded()["auprc"] for key, s in scores.items()}
    return found


def train_without(kind: str, label: int, runs: Path) -> dict:
    """Train one model without one digit and follow how well it is found.

    Args:
        kind: one of `KINDS`.
        label: the digit that is left out.
        runs: folder of runs; an interrupted run is resumed.

    Returns:
        Plain JSON types. ``tests``: per test set AUPRC and AUROC of ``-log p(x, z)`` over the last epochs, of a model without
        a likelihood those of its own score, with prevalence and the worst possible value; for HVAE ``bounds``, the same of
        ``-ELBO``, which is its decision function in the paper; ``terms``: what `contributions` finds in the end; the budget.
    """
    config = anomaly_config(kind, label)
    held, run = left_out(config, label), runs / config.name
    found = train_and_look(config, held, run, scores=decisions_of(kind), last=epochs_of(kind)[1])
    return {"kind": kind, "label": label} | found


def train_and_look(
    config: ExperimentConfig, held: HeldOut, run: Path, *, last: int, scores: dict[str, str] | None = None
) -> dict:
    """Train on the images without a class, or resume in the folder ``run``, and look for the class after epochs.

    Args:
        last: number of last epochs after which to look.
        scores: name in the result → decision function of `look_for`; None is ``tests``, by the paper's.

    Returns:
        Plain JSON types: per name and test set the `summary` of those epochs; ``terms``, `contributions` in the end; the
        budget, with ``precision`` where that is not float32.
    """
    scores = scores or {"tests": "joint"}
    seed, trainer = config.training.seed, trainer_at(config, run)
    record = run / "found.json"  # what was found after each epoch, so that a resumed run has all of them
    found: dict[str, dict] = json.loads(record.read_text()) if record.exists() else {}

    def follow(trainer: Trainer) -> None:
        if trainer.epoch > config.training.epochs - last:
            found[str(trainer.epoch)] = {
                name: look_for(trainer.model, held, seed, decision=score) for name, score in scores.items()
            }
            write_atomically(record, json.dumps(found))

    trainer.fit(held.train, on_epoch=follow)
    half = {} if config.training.precision == "32-true" else {"precision": config.training.precision}
    return half | {
        **{
            name: {split: summary([epoch[name][split] for epoch in found.values()]) for split in held.tests}
            for name in scores
        },
        "terms": contributions(trainer.model.eval(), held, seed),
        "epochs": config.training.epochs,
        "images": len(held.train),
        "seconds": round(trainer.seconds, 1),
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
    }


def summary(epochs: list[dict]) -> dict:
    """Mean and deviation of AUPRC and AUROC over epochs, and AUPRC of each; what does not depend on the model once."""
    both = {}
    for key in ("auprc", "auroc"):
        values = [epoch[key] for epoch in epochs]
        both[key] = [
            round(statistics.fmean(values), 4),
            round(statistics.stdev(values), 4) if len(values) > 1 else None,
        ]
    both["by_epoch"] = [epoch["auprc"] for epoch in epochs]
    return both | {key: epochs[0][key] for key in ("prevalence", "worst")} | {"epochs": len(epochs)}


def look_without_model(label: int) -> dict:
    """What finds a digit without any model: AUPRC per test set, with prevalence and the worst possible value."""
    held = left_out(load_experiment("mnist"), label)
    terms, tests = {}, {}
    for name, data in held.tests.items():
        scores = {"nearest image": nearest(data, held.train), "dark": -ink(data), "bright": ink(data)}
        scores["grey entropy"] = grey_entropy(data)
        found = {key: detection(s, held.anomalous[name]).rounded() for key, s in scores.items()}
        terms[name] = {key: value["auprc"] for key, value in found.items()}
        tests[name] = {key: found["nearest image"][key] for key in ("auprc", "auroc", "prevalence", "worst")}
    return {"kind": "pixels", "label": label, "tests": tests, "terms": terms, "images": len(held.train)}


OTHER_LABELS = tuple(label for label in range(10) if label not in PAPER_LABELS)
"""The digits that the paper does not hold out; for the joint EBM, and for what needs no model."""

PAIRS = (
    *(("pixels", label) for label in range(10)),
    *((kind, label) for kind in KINDS for label in PAPER_LABELS),
    *(("joint-ebm", label) for label in OTHER_LABELS),
)
"""Kind and digit of every part, in the order in which they are measured; ``pixels`` needs no model."""


def measure_anomaly(part: str) -> dict:
    """`train_without`, or `look_without_model`, of ``kind/digit``; an interrupted training is resumed from ``runs/``."""
    kind, _, label = part.partition("/")
    return look_without_model(int(label)) if kind == "pixels" else train_without(kind, int(label), ROOT / "runs")


STUDY = Study(
    "anomaly",
    "one digit left out of the training, then looked for: AUPRC over the last epochs, and of the decision function's terms",
    {f"{kind}/{label}": () for kind, label in PAIRS},
    measure_anomaly,
)
