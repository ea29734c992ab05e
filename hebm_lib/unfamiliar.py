"""Out-of-distribution detection with published models (supplement, Table 1): one data set in, another out.

The scores are used for images of a class that was left out as well (`hebm_lib.held_out`): each is higher for the less
familiar. Two of them need no pixel noise of the Gaussian kind. Read a grey value ``u`` in [0, 1] as the probability that
the pixel is on, as a Bernoulli likelihood does, and its mean over all such black-and-white images is

    -log p(x|z) = Σ_j H(u_j) + Σ_j KL(u_j ‖ g_j(z)),   H(u) = -u log u - (1 - u) log(1 - u).

The first sum, `grey_entropy`, is what the image costs under a perfect model, and knows nothing of any model.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from hebm_lib.baselines.common import bernoulli_log_likelihood
from hebm_lib.baselines.hvae import HVAE
from hebm_lib.checkpoint import load_pretrained
from hebm_lib.data import ImageDataset, load_split
from hebm_lib.experiments import load_experiment
from hebm_lib.metrics.detection import detection, joint_terms
from hebm_lib.reproduce import trainer_at

__all__ = [
    "ALTERATIONS",
    "BERNOULLI",
    "DIRECTIONS",
    "SIGMAS",
    "altered",
    "bernoulli_score",
    "bound_score",
    "direction_of",
    "grey_entropy",
    "ink",
    "likelihood_scores",
    "model_scores",
    "scores_of_run",
    "scores_without_model",
    "tell_apart",
    "train_bernoulli",
]

DIRECTIONS = {
    "fashion in, MNIST out": ("mnist", {"joint-ebm": "fashion", "vlae": "fashion-vlae", "hvae": "fashion-hvae"}),
    "MNIST in, fashion out": ("fashion", {"joint-ebm": "mnist", "vlae": "mnist-vlae", "hvae": "mnist-hvae"}),
}
"""Per direction an experiment whose data are the unfamiliar ones, and the published runs that are asked."""
SIGMAS = tuple(0.05 * 2**k for k in range(9))
"""σ in the decision function. Images in [0, 1] instead of [-1, 1] have a quarter of the SSE, so that is as a σ twice as
large: one step in this list."""
BERNOULLI = ("fashion-vlae", "fashion-hvae")
"""Runs that are trained once more with Bernoulli pixels, by `train_bernoulli`."""
BERNOULLI_IMAGES, BERNOULLI_EPOCHS = 20_000, 6
"""Images per epoch, and epochs, that they are trained for: a fifth of the published runs' images, for time."""


# ---- scores ---------------------------------------------------------------------------------------------------------


def ink(data: ImageDataset) -> Tensor:
    """Mean brightness of every image, ``(n,)``: a score that no model is needed for."""
    return (data.images.flatten(1).float().mean(1) / 255).cpu()


def grey_entropy(data: ImageDataset) -> Tensor:
    """``Σ_j H(u_j)`` of every image in nats, ``(n,)``: 0 for black and white, ``D log 2`` for middle grey."""
    share = data.images.flatten(1).double() / 255
    return -(torch.xlogy(share, share) + torch.xlogy(1 - share, 1 - share)).sum(1).float().cpu()


@torch.no_grad()
def bernoulli_score(model, data: ImageDataset, *, seed: int = 0, batch: int = 500) -> Tensor:
    """``-log p(x|z)`` had the model's pixels been Bernoulli, at one draw of z per image, ``(n,)``.

    The model may have been trained otherwise: its mean image in [-1, 1] is read as the probability ``(g(z) + 1) / 2``.
    """
    generator, parts = torch.Generator(device=model.device).manual_seed(seed), []
    for index in torch.arange(len(data)).split(batch):
        x = data.batch(index).to(model.device)
        parts.append(-bernoulli_log_likelihood(x, model.decode(model.draw(x, generator=generator))).cpu())
    return torch.cat(parts)


@torch.no_grad()
def bound_score(model, data: ImageDataset, *, seed: int = 0, batch: int = 500) -> dict[str, Tensor]:
    """``KL``, of the code's posterior from N(0, I) or the conditional prior, and ``-ELBO`` without log Z; each ``(n,)``."""
    generator = torch.Generator(device=model.device).manual_seed(seed)
    parts: dict[str, list[Tensor]] = {"KL": [], "-ELBO": []}
    for index in torch.arange(len(data)).split(batch):
        terms = model.elbo(data.batch(index).to(model.device), generator=generator)
        parts["KL"].append(terms.kl.sum(1).cpu())
        parts["-ELBO"].append(-terms.elbo_plus_log_z.cpu())
    return {name: torch.cat(values) for name, values in parts.items()}


@torch.no_grad()
def likelihood_scores(model: HVAE, data: ImageDataset, *, seed: int = 0, batch: int = 500) -> dict[str, Tensor]:
    """HVAE's own scores beside ``-ELBO``, each ``(n,)`` on the CPU: ``-L^{>k}`` and ``LLR^{>k}``."""
    generator = torch.Generator(device=model.device).manual_seed(seed)
    bounds: dict[int, list[Tensor]] = {k: [] for k in range(model.latents.levels)}
    for index in torch.arange(len(data)).split(batch):
        x = data.batch(index).to(model.device)
        for k, parts in bounds.items():
            parts.append(model.bound_above(x, k, generator=generator).cpu())
    whole, *above = (torch.cat(parts) for parts in bounds.values())
    scores = {}
    for k, part in enumerate(above, start=1):
        scores |= {f"-L>{k}": -part, f"LLR>{k}": whole - part}
    return scores


def model_scores(model, data: ImageDataset, seed: int = 0) -> dict[str, Tensor]:
    """All scores of one model, each ``(n,)`` and higher for the less familiar.

    ``-log p(x, z)`` is the paper's. A model without an energy has no ``-f(z)`` and what goes with it.
    """
    terms = joint_terms(model, data, seed=seed)
    scores = {"-log p(x, z)": -terms.log_joint, "SSE": terms.sse, "-log N(z; 0, I)": -terms.base}
    if terms.energy.any():
        scores |= {"-f(z)": -terms.energy, "-f(z) - log N(z; 0, I)": -terms.energy - terms.base}
        scores["without f(z)"] = terms.energy - terms.log_joint
    scores |= bound_score(model, data, seed=seed)
    scores["Bernoulli"] = bernoulli_score(model, data, seed=seed)
    scores |= {f"sigma {sigma:g}": -terms.at_sigma(sigma) for sigma in SIGMAS}
    return scores | (likelihood_scores(model, data, seed=seed) if isinstance(model, HVAE) else {})


# ---- images made from images ----------------------------------------------------------------------------------------


def _shuffled(images: Tensor, generator: torch.Generator) -> Tensor:
    order = torch.randperm(images[0, 0].numel(), generator=generator)
    return images.flatten(2)[..., order].view_as(images)


def _halves(images: Tensor, generator: torch.Generator) -> Tensor:
    middle = images.shape[-1] // 2
    return torch.cat([images[..., :middle], images.roll(1, 0)[..., middle:]], -1)


ALTERATIONS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "inverted": lambda images, _: 255 - images,
    "noise": lambda images, generator: torch.randint(256, images.shape, generator=generator),
    "shuffled pixels": _shuffled,
    "blank": lambda images, _: torch.zeros_like(images),
    "black or white": lambda images, _: (images > 127) * 255,
    "mirrored": lambda images, _: images.flip(-1),
    "two halves": _halves,
}
"""Unfamiliar images made from familiar ones; the pixels of all images are shuffled in the same way."""


def altered(data: ImageDataset, how: str, seed: int = 0) -> ImageDataset:
    """The images of a data set after one of `ALTERATIONS`; raises `ValueError` for another name."""
    if how not in ALTERATIONS:
        raise ValueError(f"there is no alteration {how!r}; there are {', '.join(ALTERATIONS)}")
    images = ALTERATIONS[how](data.images, torch.Generator().manual_seed(seed))
    return ImageDataset(images.to(torch.uint8), data.labels, f"{data.name}, {how}")


# ---- two data sets --------------------------------------------------------------------------------------------------


def tell_apart(inside: ImageDataset, outside: ImageDataset, score: Callable[[ImageDataset], dict[str, Tensor]]) -> dict:
    """Average precision and AUROC of every score, the unfamiliar images being the positives.

    Args:
        inside, outside: as many images of each as the smaller set has, the first ones.
        score: gives named scores ``(n,)`` of a data set.
    """
    n = min(len(inside), len(outside))
    near, far = (score(data.subset(slice(0, n))) for data in (inside, outside))
    truth = torch.arange(2 * n) >= n
    found = {name: detection(torch.cat([near[name], far[name]]), truth) for name in near}
    return {name: {"auprc": round(d.average_precision, 4), "auroc": round(d.auroc, 4)} for name, d in found.items()}


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
