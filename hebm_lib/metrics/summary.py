"""Every number that is reported of one model, from one call."""

import copy
import json
from dataclasses import asdict

import torch

from hebm_lib.config import ExperimentConfig
from hebm_lib.data import ImageDataset
from hebm_lib.exact import Grid2D
from hebm_lib.metrics.bound import importance_weighted_bound, measure_bound
from hebm_lib.metrics.chain_health import chain_health
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
from hebm_lib.metrics.left_out import FEWEST, labelled, left_out
from hebm_lib.metrics.two_sample import prior_fit
from hebm_lib.sampling import LogZ

__all__ = ["bound_given", "measure_model", "measure_worth"]


PRIOR_SAMPLES = 500
"""Prior samples behind every share and rate (Fig. 5 and 6)."""

PLANAR = 4
"""Most units of a model whose codes are kept for drawing, with their distance to the prior (Fig. 7)."""

READERS = {"": "mnist-classifier", "plain_": "mnist-classifier-plain"}
"""Who says which digit a generated image shows: the book's classifier, and for comparison one trained on crisp digits only."""


def measure_model(
    model, config: ExperimentConfig, train: ImageDataset, test: ImageDataset, *, draws: int | None = None
) -> dict:
    """Every number that the book reports of one model, as plain JSON types; per-level values are lists, z_1 first.

    The class-based ones need images that the published digit classifier reads, so they are there for MNIST only. What the
    images do not allow is not measured, and ``left_out`` says why (`left_out`). ``draws`` is of `measure_worth`.

    Example:
        >>> import hebm_lib as hl
        >>> train, test = (hl.load_dataset("digits", split).subset(slice(0, 40)) for split in ("train", "test"))
        >>> config = hl.load_experiment("digits")
        >>> model = hl.load_pretrained("digits")
        >>> model.prior = hl.GaussianPrior(model.latents)
        >>> metrics = measure_model(model, config, train, test)
        >>> len(metrics["kl"]), len(metrics["latent_accuracy"]), metrics["log_z"]["estimate"]
        (2, 2, 0.0)
    """
    reasons = left_out(train, test)
    for name, asked in (("health", model.prior.has_energy), ("prior_fit", model.latents.total <= PLANAR)):
        if not asked:
            reasons.pop(name, None)
    langevin, seed = config.training.langevin, config.training.seed
    chain = {"steps": langevin.steps, "step_size": langevin.step_size}
    log_z = log_z_of(model, seed)
    metrics = {"left_out": reasons} if reasons else {}
    if "bound" not in reasons:
        bound = measure_bound(model, test, **chain, seed=seed, log_z=log_z)
        metrics |= {name: value for name, value in asdict(bound).items() if value is not None} | {"mse01": bound.mse01}
    if "class measures" not in reasons:
        metrics |= level_information(model, *labelled(train, test), seed=seed)
    metrics |= measure_worth(model, config, test, log_z=log_z, draws=draws)
    if model.latents.total <= PLANAR and "prior_fit" not in reasons:
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


TIGHTENED, DRAWS, PLAIN = 200, 1000, 100
"""Test images, draws of q for each behind the importance-weighted bound, and behind the bound that it is compared with."""


def measure_worth(
    model,
    config: ExperimentConfig,
    test: ImageDataset,
    *,
    log_z: LogZ | None = None,
    draws: int | None = None,
) -> dict:
    """log Z, how much tighter the bound gets with many draws, and where there is an energy what it is worth.

    Args:
        log_z: of the model's prior, where it is known already.
        draws: of q per image behind the importance-weighted bound, most of the time where decoders are large; None is 1,000.

    Returns:
        Plain JSON types. ``log_z``, the fields of a `LogZ`; ``tightening``, nats that `importance_weighted_bound` with
        so many draws lies above the ELBO, in the mean of the first 200 test images, with its standard error; ``health``, see
        `chain_health`, where the prior has an energy.

    Example:
        >>> import hebm_lib as hl
        >>> data = ImageDataset(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.zeros(4, dtype=torch.long))
        >>> model, config = hl.load_pretrained("mnist-vlae"), hl.load_experiment("mnist-vlae")
        >>> measure_worth(model, config, data.subset([]))["log_z"]["estimate"]
        0.0
    """
    seed = config.training.seed
    log_z = log_z_of(model, seed) if log_z is None else log_z
    fields = {name: value for name, value in asdict(log_z).items() if value != float("inf")}
    found = {"log_z": fields}
    if len(test):
        found["tightening"] = tightening(model, test, seed, draws or DRAWS)
    if model.prior.has_energy and len(test) >= FEWEST["health"]:
        classifier = load_classifier(READERS[""]).to(model.device) if config.data.name == "mnist" else None
        found["health"] = chain_health(
            model, config.training.langevin, test, log_z=log_z, classifier=classifier, seed=seed
        )
    return found


def bound_given(elbo_plus_log_z: float, log_z: dict) -> dict:
    """``elbo`` and ``elbo_bracket``, nats, from the bound up to log Z and the stored fields of a `LogZ`.

    >>> bound_given(-100.0, {"estimate": 2.0, "lower": 1.5, "upper": 3.0})
    {'elbo': -102.0, 'elbo_bracket': [-103.0, -101.5]}
    """
    bracket = [elbo_plus_log_z - log_z["upper"], elbo_plus_log_z - log_z["lower"]]
    return {"elbo": elbo_plus_log_z - log_z["estimate"], "elbo_bracket": bracket}


def log_z_of(model, seed: int) -> LogZ:
    """``log Z`` of a model's prior; with two latent units by quadrature, which is exact."""
    if model.prior.has_energy and model.latents.total == 2:
        return LogZ.exact(exact_log_z(model))
    return model.prior.log_z(generator=torch.Generator(device=model.device).manual_seed(seed))


@torch.no_grad()
def tightening(model, test: ImageDataset, seed: int, draws: int) -> dict:
    """Importance-weighted bound minus ELBO on the same images: log Z falls out, and images differ far less in it."""
    noise = torch.Generator(device=model.device).manual_seed(seed)
    x = test.batch(slice(0, TIGHTENED)).to(model.device)
    weighted = importance_weighted_bound(model, x, draws, generator=noise)
    posterior = model.encode(x)  # once: where a chain stands in for a network it is dear
    plain = [model.log_weight(x, posterior=posterior, generator=noise).double() for _ in range(PLAIN)]
    difference = weighted - torch.stack(plain).mean(0)
    error = difference.std().item() / len(x) ** 0.5 if len(x) > 1 else 0.0
    return {"nats": difference.mean().item(), "standard_error": error, "images": len(x), "draws": draws}


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
