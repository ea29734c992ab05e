"""What orders the levels (Table 1, Figure 5): units × bottom path × prior, five training seeds, paired.

On MNIST, and with the paper's units on Fashion-MNIST. A part is one training of an entry of `hebm_lib.experiments.levels`
and its numbers per level.
"""

from pathlib import Path

import torch

from hebm_lib.config import ExperimentConfig
from hebm_lib.data import ImageDataset, load_split, pad_black
from hebm_lib.experiments.levels import BOTTOMS, CLOTHED, UNITS, cell_name
from hebm_lib.metrics.bound import measure_bound
from hebm_lib.metrics.chain_health import chain_health
from hebm_lib.metrics.classifier import (
    DigitClassifier,
    accuracy,
    fit_classifier,
    load_classifier,
    read_classifier,
    save_classifier,
)
from hebm_lib.metrics.hierarchy import class_change, pixel_variance_share, style_variation
from hebm_lib.metrics.information import level_information
from hebm_lib.metrics.latent_classifier import accuracy_of_codes, encode_posterior
from hebm_lib.metrics.summary import READERS
from hebm_lib.provenance import ROOT, rounded
from hebm_lib.reproduction.runs import trained
from hebm_lib.reproduction.studies.study import Study, write_redraws

__all__ = ["CELLS", "SEEDS", "STUDY", "draw_cell", "measure_levels", "picture_of"]

SEEDS = (1, 2, 3, 4, 5)
SAMPLES = 500
"""Samples whose levels are redrawn, and as many donors."""
READABLE = 0.9
"""A sample counts as readable where the classifier gives its class at least this probability."""


def measure_levels(model, config: ExperimentConfig, train: ImageDataset, test: ImageDataset) -> dict:
    """Every level's numbers of one model of MNIST or Fashion-MNIST; plain JSON types, per-level values z_1 first.

    Args:
        model: the model, on any device.
        config: its entry, for K, s and the seed.
        train, test: images with labels; the latent classifiers learn on the first.

    Returns:
        ``elbo`` with its terms; `level_information`'s measures (the latent classifier on means and on draws of standardised
        codes, a linear probe, mutual information); ``raw_accuracy``, the latent classifier on means as they are;
        ``class_change`` and ``readable_class_change``, of all samples and of those that are readable before and after;
        ``readable``, the share of those, ``reader_accuracy``, of the classifier that reads them, on test images; of digits
        ``stroke_width`` and ``slant``; ``pixel_variance``; ``health`` with an energy.
    """
    langevin, seed = config.training.langevin, config.training.seed
    chain = {"steps": langevin.steps, "step_size": langevin.step_size}
    generator = torch.Generator(device=model.device).manual_seed(seed + 1)
    log_z = model.prior.log_z(generator=torch.Generator(device=model.device).manual_seed(seed))
    bound = measure_bound(model, test, **chain, seed=seed, log_z=log_z)
    found = {"elbo": bound.elbo, "mse": bound.mse, "reconstruction": bound.reconstruction, "kl": list(bound.kl)}
    found |= level_information(model, train, test, seed=seed)
    found["raw_accuracy"] = raw_accuracy(model, train, test, seed=seed)
    z, donors = (model.prior.sample(SAMPLES, **chain, generator=generator) for _ in range(2))
    if config.data.name == "fashion-mnist":
        reader = garment_reader(train).to(model.device)
        found["reader_accuracy"] = accuracy(reader, test)
    else:
        reader = load_classifier(READERS[""]).to(model.device)
        found |= style_variation(model, z[:60], donors[:20])
    found["class_change"] = class_change(model, reader, z, donors)
    found["readable"], found["readable_class_change"] = readable_change(model, reader, z, donors)
    found["pixel_variance"] = pixel_variance_share(model, z, donors)
    if config.training.energy.fit_steps:
        found["health"] = chain_health(model, langevin, test, log_z=log_z, classifier=reader, seed=seed)
    return rounded(found)


def garment_reader(train: ImageDataset) -> DigitClassifier:
    """A classifier of Fashion-MNIST, trained as the digits' is; kept in ``runs/``, since no page loads it."""
    path = ROOT / "runs" / f"reader-{train.name}.safetensors"
    if not path.is_file():
        save_classifier(fit_classifier(train, progress=False), path)
    return read_classifier(path)


def raw_accuracy(model, train: ImageDataset, test: ImageDataset, *, seed: int) -> list[float]:
    """Table 1's classifier per level on posterior means as they are, not standardised."""
    fitted, tested = (encode_posterior(model, data, seed=seed).mean for data in (train, test))
    return accuracy_of_codes(
        model.latents.split(fitted),
        train.labels,
        model.latents.split(tested),
        test.labels,
        seed=seed,
        standardise=False,
    )


@torch.no_grad()
def readable_change(model, reader, z, donors) -> tuple[float, list[float | None]]:
    """Share of samples that are readable digits, and of those, redrawn into readable ones, the share that changes class."""

    def read(codes):
        return reader(pad_black(model.decode(codes), reader.size)).softmax(1)

    before = read(z)
    sure, changes = before.amax(1) >= READABLE, []
    for level in range(1, model.latents.levels + 1):
        after = read(model.latents.redraw(z, level, donors))
        both = sure & (after.amax(1) >= READABLE)
        changed = (after.argmax(1) != before.argmax(1))[both].float()
        changes.append(changed.mean().item() if len(changed) else None)
    return sure.float().mean().item(), changes


def picture_of(name: str) -> Path:
    """Where the samples of a cell stand."""
    return ROOT / "book" / "images" / "levels" / f"{name}.webp"


def draw_cell(model, config: ExperimentConfig, path: Path) -> None:
    """Write a picture of what each level changes: six samples, each with one level taken from seven others (Fig. 5)."""
    langevin, noise = config.training.langevin, torch.Generator(device=model.device).manual_seed(config.training.seed)
    z, donors = (model.prior.sample(n, langevin.steps, langevin.step_size, generator=noise) for n in (6, 7))
    write_redraws(model, z, donors, path, dpi=90, quality=75)


def measure_run(name: str, *, precision: str = "32-true") -> dict:
    """Train a run, or resume it from ``runs/``, and measure it; what the training took stands beside."""
    run = trained(name, precision=precision)
    if "@" not in name:
        draw_cell(run.model, run.config, picture_of(name))
    return measure_levels(run.model, run.config, run.train, load_split(run.config.data, "test")) | run.budget


CELLS = {
    units: tuple(cell_name(units, bottom, energy=energy) for bottom in bottoms for energy in (True, False))
    for units, bottoms in {**dict.fromkeys(UNITS, tuple(BOTTOMS)), "fashion": CLOTHED}.items()
}
"""The sixteen entries: MNIST's by units, then Fashion-MNIST's."""

STUDY = Study(
    "levels",
    "what orders the levels: units × bottom path × prior, digits and clothes, five training seeds, every level's measures",
    # The paper's units first, with all their seeds.
    {name if seed == 1 else f"{name}@{seed}": () for names in CELLS.values() for seed in SEEDS for name in names},
    measure_run,
    trains=True,
)
