"""Out-of-distribution detection (supplement, Table 1): Fashion-MNIST against MNIST, both ways."""

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from hebm_lib.data import ImageDataset, load_split
from hebm_lib.experiments import load_experiment
from hebm_lib.metrics.detection import tell_apart
from hebm_lib.metrics.pixels import grey_entropy, ink
from hebm_lib.metrics.scores import model_scores
from hebm_lib.provenance import ROOT
from hebm_lib.reproduction.runs import NUMBERS_ONLY, published_or_trained, trainer_at
from hebm_lib.reproduction.studies.study import Study

__all__ = [
    "DIRECTIONS",
    "PAIRED",
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
            "joint EBM": "fashion",
            "VLAE": "fashion-gaussian",
            "joint EBM, Bernoulli pixels": "fashion-bernoulli",
            "VLAE, Bernoulli pixels": "fashion-bernoulli-gaussian",
            "no walls": "fashion-map",
            "capped": "fashion-capped",
            "HVAE": "fashion-hvae",
        },
    ),
    "MNIST in, fashion out": ("fashion", {"joint EBM": "mnist", "VLAE": "mnist-gaussian", "HVAE": "mnist-hvae"}),
}
"""Per direction an experiment whose data are the unfamiliar ones, and the runs that are asked. VLAE is the joint EBM's own
ladder with f = 0: the same first weights, the same images in the same order."""
PAIRED = ("joint EBM", "VLAE", "joint EBM, Bernoulli pixels", "VLAE, Bernoulli pixels")
"""Those with three training seeds."""

BERNOULLI_IMAGES, BERNOULLI_EPOCHS = 20_000, 6
"""Images per epoch, and epochs, that HVAE is trained for with Bernoulli pixels: a fifth of the published runs' images."""


def direction_of(run: str) -> str:
    """The one of `DIRECTIONS` in which a run is asked, whatever its seed; raises `ValueError` for a run that is in none."""
    for name, (_, runs) in DIRECTIONS.items():
        if run.partition("@")[0] in runs.values():
            return name
    raise ValueError(f"the run {run!r} is in no direction; there are {', '.join(DIRECTIONS)}")


def both_sides(run: str) -> tuple[ImageDataset, ImageDataset]:
    """Test images that a run is at home with, and those that are unfamiliar to it."""
    other, _ = DIRECTIONS[direction_of(run)]
    return load_split(load_experiment(run).data, "test"), load_split(load_experiment(other).data, "test")


def scores_of_run(run: str, model, seed: int = 0) -> dict:
    """`tell_apart` by all scores of a run's model."""
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
    """The model of a run, trained with Bernoulli pixels on fewer images in a folder under ``runs``; resumable."""
    config = load_experiment(run)
    model = replace(config.model, baseline=replace(config.model.baseline, likelihood="bernoulli"))
    training = replace(config.training, epochs=BERNOULLI_EPOCHS)
    config = replace(config, name=f"{run}-bernoulli", model=model, training=training)
    trainer = trainer_at(config, runs / config.name)
    trainer.fit(load_split(config.data, "train").subset(slice(0, BERNOULLI_IMAGES)))
    return trainer.model.eval()


AT_HOME = {name: runs["joint EBM"] for name, (_, runs) in DIRECTIONS.items()}
"""Per direction the run whose data are the familiar ones."""


def measure_out_of_distribution(part: str, *, precision: str = "32-true") -> dict:
    """One run's scores, trained first where its weights are not published; or those without a model."""
    run, _, how = part.partition(", ")
    if how == "no model":
        return scores_without_model(run)
    if how == "Bernoulli pixels":
        return scores_of_run(run, train_bernoulli(run, ROOT / "runs"))
    return scores_of_run(run, published_or_trained(run, precision=precision))


def parts() -> dict[str, tuple[str, ...]]:
    """All parts, with the published models that they need; of the others weights are in the folder of runs only."""
    found = {f"{run}, no model": () for run in AT_HOME.values()}
    for _, runs in DIRECTIONS.values():
        for kind, run in runs.items():
            unpublished = run in NUMBERS_ONLY or run.startswith("fashion-bernoulli")
            found[run] = () if unpublished else (run,)
            found |= {f"{run}@{seed}": () for seed in (2, 3) if kind in PAIRED}
    return found | {"fashion-hvae, Bernoulli pixels": ()}


STUDY = Study(
    "out-of-distribution",
    "Fashion-MNIST in, MNIST out, and the reverse: average precision and AUROC of log p(x, z), its terms, other scores",
    parts(),
    measure_out_of_distribution,
    trains=True,
)
