"""Out-of-distribution detection (supplement, Table 1): Fashion-MNIST against MNIST, both ways."""

from dataclasses import replace

from torch import Tensor

from hebm_lib.data import ImageDataset, load_split
from hebm_lib.experiments import load_experiment
from hebm_lib.metrics.bound import measure_bound
from hebm_lib.metrics.detection import tell_apart
from hebm_lib.metrics.pixels import grey_entropy, ink
from hebm_lib.metrics.scores import likelihood_scores, model_scores
from hebm_lib.reproduction.runs import NUMBERS_ONLY, published_or_trained
from hebm_lib.reproduction.studies.study import Study

__all__ = [
    "DIRECTIONS",
    "PIXELS",
    "SEEDED",
    "STUDY",
    "direction_of",
    "measure_out_of_distribution",
    "scores_of_run",
    "scores_without_model",
]

PIXELS = {"": "", ", σ = 0.2": "-sigma-02", ", σ = 0.1": "-sigma-01", ", Bernoulli pixels": "-bernoulli"}
"""What pixels a model was trained with, Gaussian with σ = 0.4, narrower ones, or Bernoulli, and what its run is called."""


def ladders(base: str) -> dict[str, str]:
    """The joint EBM and VLAE on the images of a run, for all of `PIXELS`."""
    twins = {"joint EBM": "", "VLAE": "-gaussian"}
    return {f"{kind}{words}": f"{base}{mark}{twin}" for words, mark in PIXELS.items() for kind, twin in twins.items()}


DIRECTIONS = {
    "fashion in, MNIST out": (
        "mnist",
        ladders("fashion")
        | {
            "no walls": "fashion-map",
            "capped": "fashion-capped",
            "HVAE": "fashion-hvae",
            "HVAE, Bernoulli pixels": "fashion-hvae-bernoulli",
            "HVAE, black or white": "fashion-hvae-binary",
            "HVAE, black or white, 30 epochs": "fashion-hvae-binary-long",
        },
    ),
    "MNIST in, fashion out": ("fashion", ladders("mnist") | {"HVAE": "mnist-hvae"}),
}
"""Per direction an experiment whose data are the unfamiliar ones, and the runs that are asked. VLAE is the joint EBM's own
ladder with f = 0: the same first weights, the same images in the same order."""
DRAWS, EVERY = 40, 5
"""Draws behind the ratios of HVAE's bounds that take more than one, and that every fifth image is asked for them."""
SEEDED = (*(f"{model}{pixels}" for pixels in PIXELS for model in ("joint EBM", "VLAE")), "HVAE, black or white")
"""Models with three training seeds."""


def direction_of(run: str) -> str:
    """The one of `DIRECTIONS` in which a run is asked, whatever its seed; raises `ValueError` for a run that is in none."""
    for name, (_, runs) in DIRECTIONS.items():
        if run.partition("@")[0] in runs.values():
            return name
    raise ValueError(f"the run {run!r} is in no direction; there are {', '.join(DIRECTIONS)}")


def both_sides(run: str) -> tuple[ImageDataset, ImageDataset]:
    """Test images that a run is at home with, and those that are unfamiliar to it, drawn black or white where it is."""
    other, _ = DIRECTIONS[direction_of(run)]
    home, away = load_experiment(run).data, load_experiment(other).data
    return load_split(home, "test"), load_split(replace(away, binary=home.binary), "test")


def scores_of_run(run: str, model, seed: int = 0) -> dict:
    """`tell_apart` by all scores of a run's model, HVAE's bounds with `DRAWS` draws besides.

    ``kl``: the nats of each level on images it is at home with, z_1 first.
    """
    sides = both_sides(run)
    result = tell_apart(*sides, lambda data: model_scores(model, data, seed))
    if model.bounds_levels:
        few = [side.subset(slice(0, None, EVERY)) for side in sides]
        result |= tell_apart(*few, lambda data: likelihood_scores(model, data, seed=seed, draws=DRAWS))
    steps = {"steps": 0, "step_size": 0.1}  # no chain is needed for a KL
    kl = [round(nats, 3) for nats in measure_bound(model, sides[0], **steps, seed=seed).kl]
    return {"scores": result, "parameters": sum(p.numel() for p in model.parameters()), "sigma": model.sigma, "kl": kl}


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


AT_HOME = {name: runs["joint EBM"] for name, (_, runs) in DIRECTIONS.items()}
"""Per direction the run whose data are the familiar ones."""


def measure_out_of_distribution(part: str, *, precision: str = "32-true") -> dict:
    """One run's scores, trained first where its weights are not published; or those without a model."""
    run, _, how = part.partition(", ")
    if how == "no model":
        return scores_without_model(run)
    return scores_of_run(run, published_or_trained(run, precision=precision))


def parts() -> dict[str, tuple[str, ...]]:
    """All parts, with the published models that they need; of the others weights are in the folder of runs only."""
    found = {f"{run}, no model": () for run in AT_HOME.values()}
    for _, runs in DIRECTIONS.values():
        for kind, run in runs.items():
            unpublished = run in NUMBERS_ONLY or kind.endswith(tuple(PIXELS)[1:]) or "black or white" in kind
            found[run] = () if unpublished else (run,)
            found |= {f"{run}@{seed}": () for seed in (2, 3) if kind in SEEDED}
    return found


STUDY = Study(
    "out-of-distribution",
    "Fashion-MNIST in, MNIST out, and the reverse: average precision and AUROC of log p(x, z), its terms, other scores",
    parts(),
    measure_out_of_distribution,
    trains=True,
)
