"""From a trained model to its numbers and figures: what `evaluate` prints and `publish` stores."""

import copy
import json
from dataclasses import asdict
from pathlib import Path

import torch

from hebm_lib import plotting
from hebm_lib.checkpoint import write_atomically
from hebm_lib.config import ExperimentConfig
from hebm_lib.data import ImageDataset, load_split
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

__all__ = ["draw_figures", "evaluate_run", "measure_model", "metrics_table"]

PRIOR_SAMPLES = 500
"""Prior samples behind every share and rate (Fig. 5 and 6)."""

PLANAR = 4
"""Most units of a model whose codes are kept for drawing, with their distance to the prior (Fig. 7)."""

READERS = {"": "mnist-classifier", "plain_": "mnist-classifier-plain"}
"""Who says which digit a generated image shows: the book's classifier, and for comparison one trained on crisp digits only."""


def measure_model(model, config: ExperimentConfig, train: ImageDataset, test: ImageDataset) -> dict:
    """Every number that the book reports of one model, as plain JSON types; per-level values are lists, z_1 first.

    The class-based ones need images that the published digit classifier reads, so they are there for MNIST only.
    """
    langevin, seed = config.training.langevin, config.training.seed
    chain = {"steps": langevin.steps, "step_size": langevin.step_size}
    bound = measure_bound(model, test, **chain, seed=seed)
    metrics = asdict(bound) | {"mse01": bound.mse01} | level_information(model, train, test, seed=seed)
    if not config.model.prior.hidden:  # without an energy the prior is normalised: log Z = 0
        metrics["elbo"] = bound.elbo_plus_log_z
    elif model.latents.total == 2:  # in the plane Z is a sum, so the bound itself is known
        metrics["elbo"] = bound.elbo_plus_log_z - exact_log_z(model)
    if model.latents.total <= PLANAR:
        metrics["prior_fit"] = prior_fit(model, train, langevin, seed=seed)
    generator = torch.Generator(device=model.device).manual_seed(seed + 1)
    view = redraw_view(model)
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


def redraw_view(model):
    """What redrawing a level acts on: the codes, or in a conditional hierarchy the noise behind them (Fig. 1)."""
    return model.noise_view() if hasattr(model, "noise_view") else model


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


def metrics_table(metrics: dict, config: ExperimentConfig) -> str:
    """The numbers as a Markdown table, one row per level below the ones of the whole model."""
    lines = ["| measure | value |", "|---|---|"]
    names = {
        "mse": "test MSE per pixel, images in [-1, 1]",
        "mse01": "the same with images in [0, 1]",
        "reconstruction": "E log p(x given z), nats per image",
        "elbo_plus_log_z": "ELBO + log Z, nats per image",
        "elbo": "ELBO, nats per image",
        "f_posterior": "mean f on posterior codes",
        "f_prior": "mean f on prior samples",
    }
    lines += [f"| {label} | {metrics[key]:.4g} |" for key, label in names.items() if key in metrics]
    per_level = {
        "kl": ("KL, nats", "{:.2f}"),
        "latent_accuracy": ("latent classifier", "{:.1%}"),
        "sampled_latent_accuracy": ("the same on draws", "{:.1%}"),
        "linear_probe": ("linear probe", "{:.1%}"),
        "mutual_information": ("I(z; class) at least, nats", "{:.2f}"),
        "class_change": ("class change when redrawn", "{:.1%}"),
        "pixel_variance": ("pixel variance when redrawn", "{:.1%}"),
        "stroke_width": ("spread of stroke width, pixels", "{:.2f}"),
        "slant": ("spread of slant", "{:.3f}"),
        "traversal_stay": ("class stays along the traversal", "{:.1%}"),
        "traversal_visit": ("traversal visits all classes", "{:.1%}"),
    }
    levels = len(metrics["kl"])
    present = {key: value for key, value in per_level.items() if key in metrics and len(metrics[key]) == levels}
    for key in sorted(per_level.keys() & metrics.keys() - present.keys()):
        label, form = per_level[key]
        lines.append(f"| {label}, per unit | {' / '.join(map(form.format, metrics[key]))} |")
    lines += ["", "| level | units | " + " | ".join(label for label, _ in present.values()) + " |"]
    lines += ["|---" * (2 + len(present)) + "|"]
    for i in range(levels):
        place = " (bottom)" if i == 0 else " (top)" if i == levels - 1 else ""
        cells = [form.format(metrics[key][i]) for key, (_, form) in present.items()]
        lines.append(f"| z_{i + 1}{place} | {config.model.latent_dims[i]} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


@torch.no_grad()
def draw_figures(model, config: ExperimentConfig, test: ImageDataset, history: list[dict], folder: Path) -> list[Path]:
    """Samples, reconstructions, one redraw figure per level, the Langevin energy profile of a model that has an energy, and
    the training curves."""
    import matplotlib.pyplot as plt

    plotting.use_style()
    langevin = config.training.langevin
    chain = {"steps": langevin.steps, "step_size": langevin.step_size}
    generator = torch.Generator(device=model.device).manual_seed(7)
    made = []

    def keep(name: str, figure) -> None:
        path = folder / f"{name}.png"
        figure.savefig(path)
        plt.close(figure)
        made.append(path)

    z = model.prior.sample(100, **chain, generator=generator)
    keep("samples", plotting.draw_images(model.decode(z), 20, title="samples from the prior").figure)
    x = test.batch(slice(0, 40)).to(model.device)
    pairs = torch.stack([x.view(2, 20, *x.shape[1:]), model.reconstruct(x).view(2, 20, *x.shape[1:])], 1).flatten(0, 2)
    keep(
        "reconstructions", plotting.draw_images(pairs, 20, title="test images and, below them, reconstructions").figure
    )
    view = redraw_view(model)
    if view is not model:
        z = view.prior.sample(8, **chain, generator=generator)
    donors = view.prior.sample(12, **chain, generator=generator)
    for level in range(1, model.latents.levels + 1):
        images = view.decode(model.latents.redraw(z[:8, None], level, donors[None]).flatten(0, 1))
        title = f"only $z_{level}$ redrawn, row by row"
        keep(f"hierarchy_level_{level}", plotting.draw_images(images, 12, title=title).figure)
    if config.model.prior.hidden:
        walk = {"steps": 4 * langevin.steps, "step_size": langevin.step_size}
        trajectory = model.prior.sample(200, **walk, generator=generator, trajectory=True)
        profile = plotting.plot_energy_profile(model.prior, trajectory, trained_steps=langevin.steps)
        keep("energy_profile", profile.figure)
    if history:
        keep("curves", plotting.plot_curves(history))
    return made


def evaluate_run(model, config: ExperimentConfig, history: list[dict], run_dir: Path) -> dict:
    """Measure and draw a run: writes ``evaluation.json``, ``evaluation.md`` and the figures into its folder."""
    train, test = load_split(config.data, "train"), load_split(config.data, "test")
    metrics = measure_model(model, config, train, test)
    write_atomically(run_dir / "evaluation.json", json.dumps(metrics, indent=2) + "\n")
    write_atomically(run_dir / "evaluation.md", metrics_table(metrics, config))
    draw_figures(model, config, test, history, run_dir)
    return metrics
