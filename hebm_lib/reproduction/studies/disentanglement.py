"""Disentanglement (supplement, Table 2): every entry ``shapes3d…`` of the registry, trained with three seeds and measured.

Measured on the tenth of the grid of ``shapes3d-render`` that no run has seen, 48,000 images: the mixture of MIG's definition
is over these, where the paper's code takes all 480,000.
"""

import torch
from torch import Tensor

from hebm_lib.data import ImageDataset, load_split
from hebm_lib.experiments.shapes import SHAPES_RUNS
from hebm_lib.metrics.disentanglement import active_units, by_level, dci, factor_information, factor_probe, mig, mig_sup
from hebm_lib.metrics.latent_classifier import encode_posterior
from hebm_lib.model import JointEBM
from hebm_lib.provenance import rounded
from hebm_lib.reproduction.runs import trained
from hebm_lib.reproduction.studies.study import Study

__all__ = ["SEEDS", "STUDY", "measure_disentanglement", "measure_run"]

SEEDS = (1, 2, 3)
FITTED, TESTED = 10_000, 5_000
"""Images on which forests and probes learn, and on which they are tested."""


@torch.no_grad()
def measure_disentanglement(model: JointEBM, data: ImageDataset, *, fitted: int = FITTED, tested: int = TESTED) -> dict:
    """All measures of one model on images with factors; plain JSON types.

    Args:
        model: any model of the library.
        data: images with ``extra["factors"]`` and ``about["factor_sizes"]``, drawn evenly from the grid.
        fitted, tested: images for forests and probes, drawn by a fixed seed.

    Returns:
        ``mig``, ``mig_sup``; ``information``, factors × units; ``levels``, what the best unit of each level says, levels ×
        factors; ``active`` per unit; ``dci`` with its three parts; ``probe``, levels × factors; ``mse`` per pixel in [-1, 1];
        ``kl`` per level, nats.

    Raises:
        ValueError: for fewer images than forests and probes need.
    """
    if fitted + tested > len(data):
        raise ValueError(f"{fitted} + {tested} images for forests and probes, but there are {len(data)}")
    codes, factors = encode_posterior(model, data), torch.from_numpy(data.extra["factors"])
    information = factor_information(codes, factors, data.about["factor_sizes"].tolist())
    active, dims = active_units(codes.mean), model.latents.dims
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    learn, test = order[:fitted], order[fitted : fitted + tested]
    forests = dci(codes.mean[learn], factors[learn], codes.mean[test], factors[test])
    levels = [model.latents.split(codes.mean[rows]) for rows in (learn, test)]
    errors, kl = bound_terms(model, data.subset(test))
    return rounded(
        {
            "mig": mig(information),
            "mig_sup": mig_sup(information, active),
            "information": information.tolist(),
            "levels": by_level(information, dims).tolist(),
            "active": active.tolist(),
            "dci": {
                "disentanglement": forests.disentanglement,
                "completeness": forests.completeness,
                "informativeness": forests.informativeness,
            },
            "probe": factor_probe(levels[0], factors[learn], levels[1], factors[test]).tolist(),
            "mse": errors,
            "kl": kl,
        }
    )


def bound_terms(model: JointEBM, data: ImageDataset) -> tuple[float, list[float]]:
    """Mean squared error per pixel at one draw, and KL per level in nats: means over images."""
    generator, errors, divergences = torch.Generator().manual_seed(0), [], []
    for x in data.batches(500, model.device):
        bound = model.elbo(x, generator=generator)
        errors.append(bound.sse / x[0].numel())
        divergences.append(bound.kl)
    return torch.cat(errors).mean().item(), list_of(torch.cat(divergences).mean(0))


def list_of(values: Tensor) -> list[float]:
    return [float(value) for value in values]


def measure_run(name: str, *, precision: str = "32-true") -> dict:
    """Train a run, or resume it from ``runs/``, and measure it; what the training took stands beside."""
    run = trained(name, precision=precision)
    return measure_disentanglement(run.model, load_split(run.config.data, "test")) | run.budget


STUDY = Study(
    "disentanglement",
    "MIG, MIG-sup, DCI and factors by level on shapes3d-render: ours, VLAE and pro-VLAE, three seeds",
    {name if seed == 1 else f"{name}@{seed}": () for seed in SEEDS for name in SHAPES_RUNS},
    measure_run,
    trains=True,
)
