"""Out-of-distribution detection with published models (supplement, Table 1): one data set in, another out."""

from collections.abc import Callable

import torch
from torch import Tensor

from hebm_lib.baselines.hvae import HVAE
from hebm_lib.checkpoint import load_pretrained
from hebm_lib.data import ImageDataset, load_split
from hebm_lib.experiments import load_experiment
from hebm_lib.metrics.detection import detection, joint_terms

__all__ = ["DIRECTIONS", "SIGMAS", "direction", "ink", "likelihood_scores", "tell_apart"]

DIRECTIONS = {
    "fashion in, MNIST out": ("mnist", {"joint-ebm": "fashion", "vlae": "fashion-vlae", "hvae": "fashion-hvae"}),
    "MNIST in, fashion out": ("fashion", {"joint-ebm": "mnist", "vlae": "mnist-vlae", "hvae": "mnist-hvae"}),
}
"""Per direction an experiment whose data are the unfamiliar ones, and the published runs that are asked."""
SIGMAS = (0.1, 20**-0.5, 6**-0.5, 1.0, 4.0)
"""σ in the decision function. Images in [0, 1] instead of [-1, 1] have a quarter of the SSE, so that is as a σ twice as
large; the second and third are the authors' (their factor G is 10 and 3)."""


def ink(data: ImageDataset) -> Tensor:
    """Mean brightness of every image, ``(n,)``: a score that no model is needed for."""
    return (data.images.flatten(1).float().mean(1) / 255).cpu()


@torch.no_grad()
def likelihood_scores(model: HVAE, data: ImageDataset, *, seed: int = 0, batch: int = 500) -> dict[str, Tensor]:
    """HVAE's own scores, each ``(n,)`` on the CPU and higher for the less familiar: ``-L``, ``-L^{>k}``, ``LLR^{>k}``."""
    generator = torch.Generator(device=model.device).manual_seed(seed)
    bounds: dict[int, list[Tensor]] = {k: [] for k in range(model.latents.levels)}
    for index in torch.arange(len(data)).split(batch):
        x = data.batch(index).to(model.device)
        for k, parts in bounds.items():
            parts.append(model.bound_above(x, k, generator=generator).cpu())
    whole, *above = (torch.cat(parts) for parts in bounds.values())
    scores = {"-L": -whole}
    for k, part in enumerate(above, start=1):
        scores |= {f"-L>{k}": -part, f"LLR>{k}": whole - part}
    return scores


def model_scores(model, data: ImageDataset, seed: int) -> dict[str, Tensor]:
    """All scores of one model, higher for the less familiar."""
    terms = joint_terms(model, data, seed=seed)
    scores = {"-log p(x, z)": -terms.log_joint, "SSE": terms.sse, "-log N(z; 0, I)": -terms.base}
    if terms.energy.any():
        scores |= {"-f(z)": -terms.energy, "without f(z)": terms.energy - terms.log_joint}
    scores |= {f"sigma {sigma:.3g}": -terms.at_sigma(sigma) for sigma in SIGMAS}
    return scores | (likelihood_scores(model, data, seed=seed) if isinstance(model, HVAE) else {})


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


def direction(name: str, seed: int = 0) -> dict:
    """All models of one of `DIRECTIONS`, and the images' brightness alone."""
    other, runs = DIRECTIONS[name]
    outside = load_split(load_experiment(other).data, "test")
    result = {}
    for kind, run in runs.items():
        inside, model = load_split(load_experiment(run).data, "test"), load_pretrained(run)
        result[kind] = tell_apart(inside, outside, lambda data, model=model: model_scores(model, data, seed))
        result["no model"] = tell_apart(inside, outside, lambda data: {"dark": -ink(data), "bright": ink(data)})
    return result
