"""Tables 4 and 5 on images: K and the width of f on the fixed codes of a ladder for natural images, five seeds each.

As `fixed_codes` for MNIST: a ladder is trained once with f = 0 and stands still, α alone learns. So samples with f and
without it come from one and the same decoder, which two trainings from other first weights do not. Distances are
Fréchet's in EfficientNet-lite0's features, of 1,000 samples to 1,000 test images; the features are in float32, those of the
study of Table 2 in bfloat16.
"""

import functools
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hebm_lib.data import load_split
from hebm_lib.experiments import load_experiment
from hebm_lib.metrics.natural import image_distances, image_features, real_features
from hebm_lib.metrics.pixels import decoded
from hebm_lib.provenance import rounded
from hebm_lib.reproduction.runs import published_or_trained
from hebm_lib.reproduction.studies.fixed_codes import BASE, SEEDS, learn_recipe, mixtures, reference_codes
from hebm_lib.reproduction.studies.natural_images import IMAGES, real_images
from hebm_lib.reproduction.studies.study import Study
from hebm_lib.training.batches import as_batches
from hebm_lib.training.phases import FixedCodes

__all__ = ["K_VALUES", "PACKS", "RECIPES", "SETTINGS", "STUDY", "WIDTHS", "ImageLadder", "across", "measure_part"]

PACKS = {"svhn-11k": None, "celeba-64": None, "cifar10": ("k150",)}
"""Image set → the settings that are asked of it; None for all."""
PUBLISHED = ("svhn-11k", "celeba-64")
"""Image sets whose ladders have published weights: the codes are the same whenever and wherever a part is measured."""
K_VALUES = (15, 30, 60, 150, 300)
COMPONENTS = (1, 10)
"""Of the mixtures that an energy is compared with."""
WIDTHS = (10, 20, 50, 100)
"""The paper's settings; its width 0 is N(0, I), which needs no training."""
IMAGE_BASE = replace(BASE, restart=0.15, ratio_start=True, rate=3e-3, steps=4000)
"""The ratio first, which is learned without chains and cannot run away. On ``svhn-11k``, K = 150, f gained 2.7 nats in 1,500
updates without it at a third of the rate, less than a single Gaussian, and 6.8 so."""
RATES = {"celeba-64": 1e-3}
"""Image set → α's rate where it is another. At 3e-3 on faces, whose codes are sharper and on which f gains 20 nats, ``h20``
diverged, and of eight other runs two lost their chains: ``k60`` gained 1.5 nats and ``k15@2`` was 119 below N(0, I)."""
RECIPES = {
    **{f"k{k}": replace(IMAGE_BASE, k=k) for k in K_VALUES},
    **{f"h{w}": replace(IMAGE_BASE, hidden=(w, w)) for w in WIDTHS if (w, w) != IMAGE_BASE.hidden},
}
"""Setting → how its energy is learned, but for the rate. K = 60 and a width of 100 are the same setting, ``k60``."""
SETTINGS: dict[str, dict[str, str | None]] = {
    "K": {str(k): f"k{k}" for k in K_VALUES},
    "width": {"0": None} | {str(w): "k60" if (w, w) == IMAGE_BASE.hidden else f"h{w}" for w in WIDTHS},
}
"""Table 4's and Table 5's columns → the setting of each; None is N(0, I)."""


@dataclass(frozen=True)
class ImageLadder:
    """What all parts on one pack share: the model, codes of its training and test images, features of test images."""

    model: torch.nn.Module
    codes: FixedCodes
    test_codes: Tensor
    features: Tensor

    def distance(self, z: Tensor) -> float:
        """Fréchet distance of decoded codes to the test images."""
        images = decoded(self.model, z)
        return image_distances(self.features, image_features(images.clamp(-1, 1)))["frechet"]


@functools.cache
def ladder(pack: str, precision: str) -> ImageLadder:
    """The ladder of a pack, VLAE's entry of Table 2, read or trained once per process."""
    name = f"{pack}-vlae"
    model, test = published_or_trained(name, precision=precision).eval(), real_images(pack, "test")
    train = load_split(load_experiment(name).data, "train")
    codes = [FixedCodes.of(model, as_batches(images, torch.float32)) for images in (train, test)]
    drawn = codes[1].draw_all(torch.Generator().manual_seed(10))
    return ImageLadder(model, codes[0], drawn, real_features(test))


@torch.no_grad()
def measure_part(part: str, *, precision: str = "32-true") -> dict:
    """What `fixed_codes.learn_recipe` finds of ``PACK/SETTING@SEED``, or ``PACK/references``.

    Returns:
        For the references ``distance`` of codes, of codes with their levels shuffled, of N(0, I) and of draws from Gaussian
        mixtures, by name; ``mixture``: gain of these by number of components.
    """
    pack, _, setting = part.partition("/")
    here = ladder(pack, precision)
    if setting == "references":
        noise = torch.Generator().manual_seed(1)
        distance = {name: here.distance(z) for name, z in reference_codes(here, IMAGES, noise).items()}
        gains = {}
        for count, mixture, gain in mixtures(here, COMPONENTS, noise):
            z = torch.from_numpy(mixture.sample(IMAGES)[0]).to(here.test_codes)
            gains[str(count)], distance[f"mixture {count}"] = gain, here.distance(z)
        return rounded({"distance": distance, "mixture": gains})
    name, _, seed = setting.partition("@")
    recipe = RECIPES[name]
    recipe = replace(recipe, rate=RATES.get(pack, recipe.rate))
    return learn_recipe(recipe, int(seed or 1), here, samples=IMAGES)


def across(found: dict[str, dict], pack: str, kind: str, after: str = "K") -> dict[str, list[float]]:
    """Distances of one image set along a table's columns, by training seed.

    Args:
        found: the study's stored parts.
        pack: an image set.
        kind: ``K`` or ``width``, of `SETTINGS`.
        after: ``K``, training's steps, or ``long``, 2,500 of them. N(0, I) needs none and stands in both.

    Returns:
        Column → distances, empty where nothing is stored; a run that diverged has none.

    Example:
        >>> parts = {"svhn-11k/k15": {"distance": {"K": 91.0}}, "svhn-11k/k15@2": {"distance": {"K": 90.0}}}
        >>> across(parts, "svhn-11k", "K")["15"], across(parts, "svhn-11k", "K")["30"]
        ([91.0, 90.0], [])
    """
    values = {}
    for column, setting in SETTINGS[kind].items():
        if setting is None:
            values[column] = (
                [found[f"{pack}/references"]["distance"]["gaussian"]] if f"{pack}/references" in found else []
            )
        else:
            seeds = [part for name, part in found.items() if name.partition("@")[0] == f"{pack}/{setting}"]
            values[column] = [part["distance"][after] for part in seeds if "distance" in part]
    return values


def parts() -> list[str]:
    """All parts: of each pack its references, then all settings seed by seed."""
    suffixes = [f"@{seed}" if seed > 1 else "" for seed in SEEDS]
    return [
        f"{pack}/{setting}"
        for pack, asked in PACKS.items()
        for setting in ("references", *(f"{name}{suffix}" for suffix in suffixes for name in asked or RECIPES))
    ]


STUDY = Study(
    "image-codes",
    "K and the width of f (Tables 4, 5) on the fixed codes of VLAE's ladders for images, five seeds",
    {name: (f"{pack}-vlae",) if (pack := name.partition("/")[0]) in PUBLISHED else () for name in parts()},
    measure_part,
    trains=True,
)
