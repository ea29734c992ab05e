"""Every number that is reported of one model, from one call."""

import copy
import json
from dataclasses import asdict

import torch

from hebm_lib.config import ExperimentConfig
from hebm_lib.data import ImageDataset
from hebm_lib.exact import Grid2D
from hebm_lib.metrics.bound import measure_bound
from hebm_lib.metrics.classifier import load_classifier
from hebm_lib.metrics.hierarchy import (
    class_change,
    level_pairs,
    pixel_variance_share,
    style_variation,
    traversal_range,
    traverse_report,
)
from hebm_lib.metrics.information import level_information
from hebm_lib.metrics.latent_classifier import encode_dataset
from hebm_lib.metrics.two_sample import prior_fit

__all__ = ["measure_model"]


PRIOR_SAMPLES = 500
"""Prior samples behind every share and rate (Fig. 5 and 6)."""

PLANAR = 4
"""Most units of a model whose codes are kept for drawing, with their distance to the prior (Fig. 7)."""

READERS = {"": "mnist-classifier", "plain_": "mnist-classifier-plain"}
"""Who says which digit a generated image shows: the book's classifier, and for comparison one trained on crisp digits only."""


def measure_model(model, config: ExperimentConfig, train: ImageDataset, test: ImageDataset) -> dict:
    """Every number that the book reports of one model, as plain JSON types; per-level values are lists, z_1 first.

    The class-based ones need images that the published digit classifier reads, so they are there for MNIST only.

    Example:
        >>> from hebm_lib import load_dataset, load_experiment, load_pretrained
        >>> train, test = (load_dataset("digits", split).subset(slice(0, 300)) for split in ("train", "test"))
        >>> metrics = measure_model(load_pretrained("digits"), load_experiment("digits"), train, test)
        >>> 0 < metrics["mse"] < 0.2, len(metrics["kl"]), len(metrics["latent_accuracy"])
        (True, 2, 2)
    """
    langevin, seed = config.training.langevin, config.training.seed
    chain = {"steps": langevin.steps, "step_size": langevin.step_size}
    bound = measure_bound(model, test, **chain, seed=seed)
    known = {name: value for name, value in asdict(bound).items() if value is not None}
    metrics = known | {"mse01": bound.mse01} | level_information(model, train, test, seed=seed)
    if not config.model.prior.hidden:  # without an energy the prior is normalised: log Z = 0
        metrics["elbo"] = bound.elbo_plus_log_z
    elif model.latents.total == 2:  # in the plane Z is a sum, so the bound itself is known
        metrics["elbo"] = bound.elbo_plus_log_z - exact_log_z(model)
    if model.latents.total <= PLANAR:
        metrics["prior_fit"] = prior_fit(model, train, langevin, seed=seed)
    generator = torch.Generator(device=model.device).manual_seed(seed + 1)
    view = model.noise_view()
    z, donors = (view.prior.sample(PRIOR_SAMPLES, **chain, generator=generator) for _ in range(2))
    metrics["pixel_variance"] = pixel_variance_share(view, z, donors)
    if paired(view):
        metrics["pair_pixel_variance"] = pixel_variance_share(view, z, donors, level_pairs(view))
    if config.data.name == "mnist":
        metrics |= style_variation(view, z[:60], donors[:20])
        walks = None
        if view is model and (model.latents.dims == (1,) * model.latents.levels or model.latents.total == 2):
            codes = encode_dataset(model, train)
            walks = [traversal_range(codes[:, column]) for column in range(model.latents.total)]
            metrics["traversal_values"] = [[round(v, 4) for v in values.tolist()] for values in walks]
        classes = config.data.classes or tuple(range(10))
        for prefix, name in READERS.items():
            read = class_measures(view, load_classifier(name).to(model.device), z, donors, walks, classes)
            metrics |= {prefix + key: value for key, value in read.items()}
    return json.loads(json.dumps(metrics))


def exact_log_z(model) -> float:
    """``log Z(α)`` of a model with two latent units, by quadrature over a square that holds codes ten units out."""
    prior = copy.deepcopy(model.prior).cpu().double()
    return Grid2D(extent=20.0, points=801).log_z(prior.log_prob_unnormalized)


def paired(model) -> bool:
    """Whether pairs of levels are redrawn too, as in Fig. 1: in a hierarchy of four levels or more."""
    return model.latents.levels >= 4 and model.latents.levels % 2 == 0


def class_measures(model, classifier, z, donors, walks, classes) -> dict:
    """What one classifier reads in redrawn levels (Fig. 5) and, where ``walks`` are given, in traversals (Fig. 6).

    Args:
        z, donors: two sets of prior samples ``(n, d)``.
        walks: the values of each unit's traversal, for a model with one unit per level or two in all; or None.
        classes: the classes that the model was trained on.
    """
    read = {"class_change": class_change(model, classifier, z, donors)}
    if paired(model):
        read["pair_class_change"] = class_change(model, classifier, z, donors, level_pairs(model))
    if walks is not None:
        units = [(level, unit) for level, dim in enumerate(model.latents.dims, start=1) for unit in range(dim)]
        reports = [
            traverse_report(model, classifier, z, *unit, values, classes)
            for unit, values in zip(units, walks, strict=True)
        ]
        read["traversal_stay"] = [r.stay for r in reports]
        read["traversal_visit"] = [r.visit for r in reports]
    return read
