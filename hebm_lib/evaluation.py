"""From a trained model to its numbers and figures: what `evaluate` prints and `publish` stores."""

import json
from dataclasses import replace
from pathlib import Path

import torch

from hebm_lib import plotting
from hebm_lib.checkpoint import write_atomically
from hebm_lib.config import ExperimentConfig
from hebm_lib.data import ImageDataset, MissingSplitError, load_split
from hebm_lib.metrics.summary import measure_model

__all__ = ["draw_figures", "evaluate_run", "metrics_table"]

DRAWS = 200
"""Of q per image behind a run's importance-weighted bound, a fifth of what stands behind a published one: it is a run's own
table, and on page 22 1,000 were two fifths of the command's time."""


def metrics_table(metrics: dict, config: ExperimentConfig) -> str:
    """The numbers as a Markdown table, one row per level below the ones of the whole model."""
    lines = ["| measure | value |", "|---|---|"]
    names = {
        "mse": "test MSE per pixel, images in [-1, 1]",
        "mse01": "the same with images in [0, 1]",
        "reconstruction": "E log p(x given z), nats per image",
        "elbo": "ELBO, nats per image",
        "f_posterior": "mean f on posterior codes",
        "f_prior": "mean f on prior samples",
    }
    lines += [f"| {label} | {metrics[key]:.4g} |" for key, label in names.items() if key in metrics]
    lines += worth_rows(metrics)
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
    levels = len(config.model.latent_dims)
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
    lines += [f"\nNot measured: {name}, for {why}." for name, why in metrics.get("left_out", {}).items()]
    return "\n".join(lines) + "\n"


def worth_rows(metrics: dict) -> list[str]:
    """The rows of what `measure_worth` finds."""
    rows = []
    if "elbo_bracket" in metrics:
        low, high = metrics["elbo_bracket"]
        if high - low > 0:
            rows.append(f"| the same with log Z's bracket | {low:.4g} to {high:.4g} |")
    if "tightening" in metrics:
        tight = metrics["tightening"]
        rows.append(f"| with {tight['draws']:,} draws per image | {metrics['elbo'] + tight['nats']:.4g} |")
    if "health" in metrics:
        health = metrics["health"]
        low, high = health["gain_bracket"]
        rows.append(f"| gain of f, nats per image | {health['gain']:.2f} ({low:.2f} to {high:.2f}) |")
        rows.append(
            f"| f on codes of test images / on the longest chains | {health['f_codes'][0]:.2f} / {health['f_long'][0]:.2f} |"
        )
        rows.append(f"| proposals that a Metropolis check takes | {health['acceptance']:.0%} |")
        for i, steps in enumerate(health["steps"]):
            read = f", digit Fréchet distance {health['distance'][i]:.1f}" if "distance" in health else ""
            rows.append(f"| chains of {steps:,} steps | mean f {health['f'][i]:.2f}{read} |")
        for kind, name in (
            ("codes", "codes of test images"),
            ("shuffled", "codes, levels shuffled"),
            ("gaussian", "N(0, I)"),
        ):
            if "references" in health:
                rows.append(f"| {name}: digit Fréchet distance | {health['references'][kind]:.1f} |")
    return rows


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
    shown = min(40, len(test) // 20 * 20) or len(test)  # one or two whole rows, or what there is
    if shown:
        x, columns = test.batch(slice(0, shown)).to(model.device), min(20, shown)
        rows = [part.unflatten(0, (-1, columns)) for part in (x, model.reconstruct(x))]
        title = "test images and, below them, reconstructions"
        keep("reconstructions", plotting.draw_images(torch.stack(rows, 1).flatten(0, 2), columns, title=title).figure)
    view = model.noise_view()
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


def unseen_images(config: ExperimentConfig, train: ImageDataset) -> ImageDataset:
    """The test images of a config's classes, as far as there are any: a class may be missing, or all of them."""
    try:
        test = load_split(replace(config.data, classes=None), "test")
    except MissingSplitError:
        return train.subset(torch.arange(0))
    if config.data.classes is None:
        return test
    return test.subset(torch.isin(test.labels, torch.tensor(config.data.classes)))


def evaluate_run(model, config: ExperimentConfig, history: list[dict], run_dir: Path) -> dict:
    """Measure and draw a run: writes ``evaluation.json``, ``evaluation.md`` and the figures into its folder."""
    train = load_split(config.data, "train")
    test = unseen_images(config, train)
    metrics = measure_model(model, config, train, test, draws=DRAWS)
    write_atomically(run_dir / "evaluation.json", json.dumps(metrics, indent=2) + "\n")
    write_atomically(run_dir / "evaluation.md", metrics_table(metrics, config))
    draw_figures(model, config, test, history, run_dir)
    return metrics
