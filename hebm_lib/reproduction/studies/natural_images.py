"""Tables 2 and 6, Figure 10: systems of a ladder's size on ``svhn-11k``, ``celeba-64`` and ``cifar10``, measured alike.

The joint EBM is there with other K and other widths of f, too: Tables 4 and 5 with all networks learning (`end_to_end`).

1,000 test images, 1,000 reconstructions, 1,000 samples of training's chain: squared error, and distances in
EfficientNet-lite0's features (`hebm_lib.metrics.natural`). They are not FID, and the sets are subsets of the paper's.

Figure 10's larger faces, ``celeba-128``, have one model and 500 test images. Other parts ask what a level changes
(`hebm_lib.reproduction.studies.photograph_levels`).
"""

from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image

from hebm_lib.config import DataConfig, ExperimentConfig
from hebm_lib.data import load_split
from hebm_lib.experiments import EXPERIMENTS, load_experiment
from hebm_lib.metrics.natural import image_distances, image_features, real_features
from hebm_lib.plotting import image_grid
from hebm_lib.provenance import ROOT, rounded
from hebm_lib.reproduction.runs import published_or_trained, trained
from hebm_lib.reproduction.studies.photograph_levels import (
    FACES,
    FACES_PICTURE,
    LEVELS,
    measure_faces,
    measure_street_numbers,
)
from hebm_lib.reproduction.studies.study import Study

__all__ = [
    "END_TO_END",
    "EXAMPLES",
    "HALF",
    "IMAGES",
    "LARGE",
    "LONG",
    "PACKS",
    "STUDY",
    "end_to_end",
    "measure_images",
    "measure_references",
    "write_examples",
]

IMAGES = 1_000
"""Images in every set."""
LONG = 1_500
"""Steps of a long chain: ten times those of the published models."""
PACKS = ("svhn-11k", "celeba-64", "cifar10")
"""Image sets of the tables."""
LARGE = "celeba-128"
"""The set of Figure 10."""
EXAMPLES = ROOT / "book" / "images" / "systems"
"""A picture per trained part: `write_examples`."""
SHOWN = 8
"""Images in each row of it."""
HALF = True
"""Features in bfloat16, as those of the first rows were: distances are about a twentieth larger so, and have to be alike."""
SEEDED = {"svhn-11k": ("", "-vlae"), "celeba-64": ("", "-vlae"), "cifar10": ("", "-rae")}
"""Systems with three training seeds: ours, and what its claim compares it with, its ladder with f = 0 or the next in rank."""
END_TO_END = {
    "K": {"15": "-k15", "60": "-k60", "150": ""},
    "width": {"0": "-vlae", "10": "-h10", "20": "-h20", "100": ""},
}
"""Table 4's and Table 5's columns that are trained end to end → the run of each, after the image set's name."""


def config_of(pack: str) -> DataConfig:
    """How the table's models see a pack."""
    return load_experiment(pack).data


@torch.no_grad()
def measure_images(model, config: ExperimentConfig, test: torch.Tensor, features: torch.Tensor) -> dict:
    """Errors and distances of one model; plain JSON types.

    Args:
        model: any model of the library, in evaluation mode.
        config: its entry, for K, s and the seed.
        test: images ``(n, 3, H, W)`` in [-1, 1], some hundreds.
        features: theirs.

    Returns:
        ``mse`` per pixel in [-1, 1] and ``mse01`` in [0, 1]; ``samples`` and ``reconstructions``, each with ``frechet`` and
        ``kernel``; ``parameters``; for an energy learned with persistent chains ``long``, of samples after `LONG` steps, and
        ``without``, of the same decoder's images of N(0, I). f = 0 needs no chain, and its entry has none.
    """
    langevin = config.training.langevin
    generator = torch.Generator().manual_seed(config.training.seed)

    def distances(steps: int) -> dict[str, float]:
        chain = {"steps": steps, "step_size": langevin.step_size, "generator": generator}
        samples = torch.cat([model.sample(part, **chain) for part in [100] * (len(test) // 100)])
        return image_distances(features, image_features(samples.clamp(-1, 1), half=HALF))

    samples = distances(langevin.steps)
    persists = model.prior.has_energy and config.model.prior.chains and langevin.steps
    ends = {"long": distances(LONG), "without": distances(0)} if persists else {}
    again = torch.cat([model.reconstruct(part) for part in test.split(100)])
    mse = (again - test).square().mean().item()
    return rounded(
        {
            "mse": mse,
            "mse01": mse / 4,
            "samples": samples,
            "reconstructions": image_distances(features, image_features(again.clamp(-1, 1), half=HALF)),
            "parameters": sum(p.numel() for p in model.parameters()),
        }
        | ends
    )


def write_grid(images: torch.Tensor, columns: int, path: Path, *, quality: int) -> None:
    """Write images in [-1, 1] as one WebP file, row by row; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = (image_grid(images, columns) * 255).round().astype("uint8")
    Image.fromarray(pixels).save(path, quality=quality, method=6)


@torch.no_grad()
def write_examples(model, config: ExperimentConfig, test: torch.Tensor, path: Path) -> None:
    """Write a picture of three rows: the first test images, their reconstructions, samples of training's chain.

    Args:
        model, config: as of `measure_images`.
        test: images in [-1, 1], at least 8.
        path: of a WebP file; its folder is made.
    """
    langevin, noise = config.training.langevin, torch.Generator().manual_seed(config.training.seed)
    samples = model.sample(SHOWN, steps=langevin.steps, step_size=langevin.step_size, generator=noise)
    rows = torch.cat([test[:SHOWN], model.reconstruct(test[:SHOWN]), samples]).clamp(-1, 1)
    write_grid(rows, SHOWN, path, quality=85)


def with_long_chains(config: ExperimentConfig) -> ExperimentConfig:
    """The entry with chains of `LONG` steps."""
    longer = replace(config.training.langevin, steps=LONG)
    return replace(config, training=replace(config.training, langevin=longer))


def real_images(pack: str, split: str) -> torch.Tensor:
    """The first 1,000 images of a split, or all of fewer."""
    return load_split(config_of(pack), split).batch(slice(0, IMAGES))


def measure_references(pack: str) -> dict:
    """What two sets of real images are apart, training and test: the floor of every distance in the table."""
    test, train = (real_images(pack, split) for split in ("test", "train"))
    n = min(len(test), len(train))
    return rounded({"samples": image_distances(*(real_features(images[:n], half=HALF) for images in (test, train)))})


def measure_part(name: str, *, precision: str = "32-true") -> dict:
    """Train a run, or resume it from ``runs/``, and measure it; or ``PACK, real images``, one of `LEVELS`, or `FACES`."""
    if name in LEVELS:
        run = name.partition(", ")[0]
        return measure_street_numbers(published_or_trained(run, precision=precision).eval(), load_experiment(run))
    if name == FACES:
        run = trained("celeba-64", precision=precision)
        return measure_faces(run.model.eval(), run.config, FACES_PICTURE)
    pack, _, real = name.partition(", ")
    if real:
        return measure_references(pack)
    run = trained(name, precision=precision)
    test, langevin = real_images(run.config.data.name, "test"), run.config.training.langevin
    write_examples(run.model.eval(), run.config, test, EXAMPLES / f"{name}.webp")
    if run.config.model.prior.chains and langevin.steps:
        write_examples(run.model, with_long_chains(run.config), test, EXAMPLES / f"{name}-long.webp")
    return measure_images(run.model, run.config, test, real_features(test, half=HALF)) | run.budget


def end_to_end(found: dict[str, dict], pack: str, kind: str, after: str = "samples") -> dict[str, list[float]]:
    """Fréchet distances of one image set along a table's columns, all networks learning, by training seed.

    Args:
        found: the study's stored parts.
        pack: an image set.
        kind: ``K`` or ``width``, of `END_TO_END`.
        after: ``samples``, training's steps, or ``long``, `LONG` of them. f = 0 needs none and stands in both.

    Returns:
        Column → distances by training seed, of the columns that have a run; empty for fewer than three, which show no trend.

    Example:
        >>> parts = {"svhn-11k-k15": 90.0, "svhn-11k-k60": 86.0, "svhn-11k": 85.0, "svhn-11k@2": 84.0}
        >>> stored = {name: {"samples": {"frechet": value}} for name, value in parts.items()}
        >>> end_to_end(stored, "svhn-11k", "K")
        {'15': [90.0], '60': [86.0], '150': [85.0, 84.0]}
    """
    runs = {
        column: [part["samples" if column == "0" else after]["frechet"] for part in seeds]
        for column, setting in END_TO_END[kind].items()
        if (seeds := [part for name, part in found.items() if name.partition("@")[0] == f"{pack}{setting}"])
    }
    return runs if len(runs) > 2 else {}


def parts() -> list[str]:
    """Names of all parts, the references first."""
    packs = (*PACKS, LARGE)
    runs = [name for pack in packs for name in EXPERIMENTS if name == pack or name.startswith(f"{pack}-")]
    seeds = [f"{pack}{kind}@{seed}" for pack, kinds in SEEDED.items() for kind in kinds for seed in (2, 3)]
    return [f"{pack}, real images" for pack in packs] + runs + seeds


STUDY = Study(
    "natural-images",
    "Tables 2 and 6, Figure 10: squared error and distances in EfficientNet-lite0's features on four image sets",
    {name: () for name in parts()} | {LEVELS[0]: ("svhn",)} | {name: () for name in (*LEVELS[1:], FACES)},
    measure_part,
    trains=True,
)
