"""Tables 4 and 5 on images: K and the width of f on the fixed codes of a ladder for natural images, five seeds each.

As `fixed_codes` for MNIST: a ladder is trained once with f = 0 and stands still, α alone learns. So samples with f and
without it come from one and the same decoder, which two trainings from other first weights do not. Distances are those of
Table 2 here, Fréchet in EfficientNet-lite0's features, of 1,000 samples to 1,000 test images.
"""

import functools
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hebm_lib.metrics.natural import image_distances, image_features
from hebm_lib.metrics.pixels import decoded
from hebm_lib.provenance import rounded
from hebm_lib.reproduction.runs import trained
from hebm_lib.reproduction.studies.fixed_codes import BASE, SEEDS, learn_recipe, mixtures, reference_codes
from hebm_lib.reproduction.studies.natural_images import IMAGES, real_images
from hebm_lib.reproduction.studies.study import Study
from hebm_lib.training.batches import as_batches
from hebm_lib.training.phases import FixedCodes

__all__ = ["K_VALUES", "PACKS", "RECIPES", "STUDY", "WIDTHS", "ImageLadder", "measure_part"]

PACKS = {"svhn-11k": None, "celeba-64": None, "cifar10": ("k150",)}
"""Image set → the settings that are asked of it; None for all."""
K_VALUES = (15, 30, 60, 150, 300)
COMPONENTS = (1, 10)
"""Of the mixtures that an energy is compared with."""
WIDTHS = (10, 20, 50, 100)
"""The paper's settings; its width 0 is N(0, I), which needs no training."""
IMAGE_BASE = replace(BASE, restart=0.15, ratio_start=True, rate=3e-3, steps=4000)
"""The ratio first, which is learned without chains and cannot run away. On ``svhn-11k``, K = 150, f gained 2.7 nats in 1,500
updates without it at a third of the rate, less than a single Gaussian, and 6.8 so."""
RECIPES = {
    **{f"k{k}": replace(IMAGE_BASE, k=k) for k in K_VALUES},
    **{f"h{w}": replace(IMAGE_BASE, hidden=(w, w)) for w in WIDTHS if (w, w) != IMAGE_BASE.hidden},
}
"""Setting → how its energy is learned. K = 60 and a width of 100 are the same setting, ``k60``."""


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
    """The ladder of a pack, VLAE's entry of Table 2, trained or read once per process."""
    run = trained(f"{pack}-vlae", precision=precision)
    model, test = run.model.eval(), real_images(pack, "test")
    codes = [FixedCodes.of(model, as_batches(images, torch.float32)) for images in (run.train, test)]
    drawn = codes[1].draw_all(torch.Generator().manual_seed(10))
    return ImageLadder(model, codes[0], drawn, image_features(test))


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
    return learn_recipe(RECIPES[name], int(seed or 1), here, samples=IMAGES)


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
    {name: () for name in parts()},
    measure_part,
    trains=True,
)
