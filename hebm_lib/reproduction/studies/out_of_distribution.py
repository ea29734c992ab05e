"""Out-of-distribution detection (supplement, Table 1): Fashion-MNIST against MNIST, both ways."""

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from hebm_lib.checkpoint import load_pretrained
from hebm_lib.data import ImageDataset, load_split
from hebm_lib.experiments import load_experiment
from hebm_lib.metrics.detection import tell_apart
from hebm_lib.metrics.pixels import grey_entropy, ink
from hebm_lib.metrics.scores import model_scores
from hebm_lib.provenance import ROOT
from hebm_lib.reproduction.runs import trainer_at
from hebm_lib.reproduction.studies.study import Study

__all__ = [
    "BERNOULLI",
    "DIRECTIONS",
    "STUDY",
    "direction_of",
    "measure_out_of_distribution",
    "scores_of_run",
    "scores_without_model",
    "train_bernoulli",
]

DIRECTIONS = {
    "fashion in, MNIST out": (
        "mnist",
        {
            "joint-ebm": "fashion",
            "no walls": "fashion-map",
            "capped": "fashion-capped",
            "vlae": "fashion-vlae",
            "hvae": "fashion-hvae",
        },
    ),
    "MNIST in, fashion out": ("fashion", {"joint-ebm": "mnist", "vlae": "mnist-vlae", "hvae": "mnist-hvae"}),
}
"""Per direction an experiment whose data are the unfamiliar ones, and the published runs that are asked."""

BERNOULLI = ("fashion-vlae", "fashion-hvae")
"""Runs that are trained once more with Bernoulli pixels, by `train_bernoulli`."""

BERNOULLI_IMAGES, BERNOULLI_EPOCHS = 20_000, 6
"""Images per epoch, and epochs, that they are trained for: a fifth of the published runs' images, for time."""


def direction_of(run: str) -> str:
    """The one of `DIRECTIONS` in which a run is asked; raises `ValueError` for a run that is in none."""
    for name, (_, runs) in DIRECTIONS.items():
        if run in runs.values():
            return name
    raise ValueError(f"the run {run!r} is in no direction; there are {', '.join(DIRECTIONS)}")


def both_sides(run: str) -> tuple[ImageDataset, ImageDataset]:
    """Test images that a run is at home with, and those that are unfamiliar to it."""
    other, _ = DIRECTIONS[direction_of(run)]
    return load_split(load_experiment(run).data, "test"), load_split(load_experiment(other).data, "test")


def scores_of_run(run: str, model=None, seed: int = 0) -> dict:
    """`tell_apart` by all scores of one published run, or of ``model`` in its place."""
    model = load_pretrained(run) if model is None else model
    result = tell_apart(*both_sides(run), lambda data: model_scores(model, data, seed))
    return {"scores": result, "parameters": sum(p.numel() for p in model.parameters()), "sigma": model.sigma}


def scores_without_model(run: str) -> dict:
    """The same with what needs no model: brightness, the greys' entropy, the distance to the mean training image.

    Besides, the mean entropy of the greys of both sides, familiar first.
    """
    train = load_split(load_experiment(run).data, "train")
    mean = train.images.float().mean(0)

    def scores(data: ImageDataset) -> dict[str, Tensor]:
        distance = (data.images.float() - mean).square().flatten(1).sum(1)
        return {"dark": -ink(data), "bright": ink(data), "grey entropy": grey_entropy(data), "to mean image": distance}

    sides = both_sides(run)
    entropy = [round(float(grey_entropy(data).mean()), 1) for data in sides]
    return {"scores": tell_apart(*sides, scores), "grey_entropy": entropy}


def train_bernoulli(run: str, runs: Path):
    """The model of a run of `BERNOULLI`, trained with Bernoulli pixels in a folder under ``runs``; resumable."""
    config = load_experiment(run)
    model = replace(config.model, baseline=replace(config.model.baseline, likelihood="bernoulli"))
    training = replace(config.training, epochs=BERNOULLI_EPOCHS)
    config = replace(config, name=f"{run}-bernoulli", model=model, training=training)
    trainer = trainer_at(config, runs / config.name)
    trainer.fit(load_split(config.data, "train").subset(slice(0, BERNOULLI_IMAGES)))
    return trainer.model.eval()


AT_HOME = {name: runs["joint-ebm"] for name, (_, runs) in DIRECTIONS.items()}
"""Per direction the run whose data are the familiar ones."""


def measure_out_of_distribution(part: str) -> dict:
    """One run's scores, published or with Bernoulli pixels, which are trained first; or those without a model."""
    run, _, how = part.partition(", ")
    if how == "Bernoulli pixels":
        return scores_of_run(run, train_bernoulli(run, ROOT / "runs"))
    return scores_without_model(run) if how == "no model" else scores_of_run(run)


STUDY = Study(
    "out-of-distribution",
    "Fashion-MNIST in, MNIST out, and the reverse: average precision and AUROC of log p(x, z), its terms, other scores",
    {
        **{f"{run}, no model": () for run in AT_HOME.values()},
        **{run: (run,) for _, runs in DIRECTIONS.values() for run in runs.values()},
        **{f"{run}, Bernoulli pixels": () for run in BERNOULLI},
    },
    measure_out_of_distribution,
)
