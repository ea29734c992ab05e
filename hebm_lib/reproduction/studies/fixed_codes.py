"""What makes an energy good, where it can be seen: the codes of one trained ladder stand still, α alone learns.

One setting after the other is moved away from a base recipe, five seeds each. A run takes about a minute, so that all
settings can be tried. What is measured: the gain in nats, mean f on codes of test images minus log Z; the digit Fréchet
distance of samples after training's K steps from noise and after 2,500; seconds.
"""

import functools
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from hebm_lib.checkpoint import load_pretrained
from hebm_lib.config import EnergyConfig, LangevinConfig, TrainingConfig
from hebm_lib.data import load_dataset
from hebm_lib.metrics.classifier import load_classifier
from hebm_lib.metrics.long_run import frechet_distance, read_images
from hebm_lib.metrics.pixels import decoded
from hebm_lib.prior import JointEBMPrior, standard_normal_log_prob
from hebm_lib.provenance import rounded
from hebm_lib.reproduction.studies.study import Study
from hebm_lib.training.batches import as_batches
from hebm_lib.training.on_codes import learn_on_codes
from hebm_lib.training.phases import FixedCodes

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

__all__ = [
    "BASE",
    "GROUPS",
    "SEEDS",
    "STUDY",
    "Recipe",
    "StandingLadder",
    "learn_recipe",
    "measure_recipe",
    "mixtures",
    "prior_for",
    "recipe_of",
    "reference_codes",
    "training_for",
]

MODEL = "mnist-vlae"
SEEDS = (1, 2, 3, 4, 5)
LONG = 2500
SAMPLES = 4000
MIXTURES = (1, 2, 5, 10, 20, 50, 100, 200)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How an energy is learned on fixed codes; the defaults are the base, every part of the study moves some of them."""

    k: int = 60
    s: float = 0.2
    chains: int = 256
    persistent: bool = True
    """False: as many chains, but every update's start from fresh noise, as in Algorithm 1."""
    restart: float = 0.05
    jumps: int = 60
    lipschitz: float | None = None
    """Spectral norm with this constant; None is a free f."""
    hidden: tuple[int, ...] = (100, 100)
    activation: str = "leaky"
    separate: bool = False
    rate: float = 2e-3
    steps: int = 3000
    ratio_only: bool = False
    ratio_start: bool = False


BASE = Recipe()
FRESH = replace(BASE, persistent=False)
PAPER = replace(FRESH, s=0.4, lipschitz=1.0)
"""Spectral norm and fresh chains with s = 0.4, as the authors' code has them; the rate is ours (theirs learns nothing in
so few updates)."""
K_VALUES = (5, 15, 30, 60, 150, 300)

GROUPS: dict[str, dict[str, Recipe]] = {
    "base": {"base": BASE},
    "K, persistent chains": {f"k{k}": replace(BASE, k=k) for k in K_VALUES if k != BASE.k},
    "K, fresh chains": {f"fresh-k{k}": replace(FRESH, k=k) for k in K_VALUES},
    "K, the paper's": {f"paper-k{k}": replace(PAPER, k=k) for k in (15, 30, 60, 150, 300)},
    "s": {f"s{s:g}": replace(BASE, s=s) for s in (0.05, 0.1, 0.3, 0.4)},
    "restart": {f"restart{r:g}": replace(BASE, restart=r) for r in (0.0, 0.15, 0.5)},
    "jumps": {"jumps0": replace(BASE, jumps=0)},
    "spectral norm": {f"lipschitz{c:g}": replace(BASE, lipschitz=c) for c in (1.0, 3.0, 10.0)},
    "width": {f"h{w}": replace(BASE, hidden=(w, w)) for w in (10, 20, 50, 200)},
    "width, the paper's": {f"paper-h{w}": replace(PAPER, hidden=(w, w)) for w in (10, 20, 50)},
    "depth": {"one-layer": replace(BASE, hidden=(100,)), "three-layers": replace(BASE, hidden=(100, 100, 100))},
    "activation": {"silu": replace(BASE, activation="silu")},
    "levels": {"separate": replace(BASE, separate=True, hidden=(58, 58))},
    "objective": {"ratio": replace(BASE, ratio_only=True), "ratio-start": replace(BASE, ratio_start=True)},
    "rate": {f"rate{r:g}": replace(BASE, rate=r) for r in (1e-4, 5e-4, 1e-3, 4e-3)},
    "goal": {
        "long": replace(BASE, k=30, s=0.15, chains=1024, restart=0.02, rate=3e-3, steps=7000),
        "long-silu": replace(BASE, k=20, chains=1024, restart=0.02, steps=7000, activation="silu"),
        "long-wide": replace(BASE, k=30, s=0.15, chains=1024, restart=0.02, steps=7000, hidden=(200, 200)),
    },
}
"""Settings by the question that they answer; ``long…`` are tries to do as well as can be done."""

RECIPES = {name: recipe for group in GROUPS.values() for name, recipe in group.items()}


def recipe_of(part: str) -> tuple[Recipe, int]:
    """Recipe and seed of a part of the study.

    >>> recipe_of("k150@2")[0].k, recipe_of("k150@2")[1]
    (150, 2)
    """
    name, _, seed = part.partition("@")
    return RECIPES[name], int(seed or 1)


@dataclass(frozen=True)
class Ladder:
    """What all parts share: the model, codes of its training and test images, what test images look like."""

    model: torch.nn.Module
    codes: FixedCodes
    test_codes: Tensor
    classifier: torch.nn.Module
    features: Tensor

    def distance(self, z: Tensor) -> float:
        """Digit Fréchet distance of decoded codes to the test images."""
        images = decoded(self.model, z)
        return frechet_distance(read_images(self.classifier, images)[0], self.features)


@functools.cache
def ladder(name: str = MODEL) -> Ladder:
    """The ladder whose codes stand still, read once per process."""
    model = load_pretrained(name).eval()
    train, test = (load_dataset("mnist", split, size=model.config.image_size) for split in ("train", "test"))
    codes = [FixedCodes.of(model, as_batches(data, torch.float32)) for data in (train, test)]
    classifier = load_classifier()
    features, _ = read_images(classifier, test.batch(slice(None)))
    noise = torch.Generator().manual_seed(10)
    drawn = codes[1].draw_all(noise)
    return Ladder(model, codes[0], drawn, classifier, features)


def prior_for(recipe: Recipe, seed: int, latents) -> JointEBMPrior:
    """A fresh prior; f = 0 where it is free."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        chains = recipe.chains if recipe.persistent else 0
        return JointEBMPrior(
            latents,
            hidden=recipe.hidden,
            spectral_norm=recipe.lipschitz is not None,
            lipschitz=recipe.lipschitz or 1.0,
            separate=recipe.separate,
            chains=chains,
            restart=recipe.restart if chains else 0.0,
            jumps=recipe.jumps if chains else 0,
            activation=recipe.activation,
            zero=recipe.lipschitz is None,
        )


def training_for(recipe: Recipe) -> TrainingConfig:
    """The recipe as the library's settings. With fresh chains there is one for every code of the batch."""
    return TrainingConfig(
        langevin=LangevinConfig(steps=recipe.k, step_size=recipe.s),
        energy=EnergyConfig(
            fit_steps=recipe.steps,
            lr_alone=recipe.rate,
            batch_alone=500 if recipe.persistent else recipe.chains,
            average=0.999,
            density_ratio=recipe.ratio_start,
        ),
    )


@torch.no_grad()
def measure_recipe(part: str) -> dict:
    """Learn an energy by one recipe and measure it; plain JSON types.

    Returns:
        ``gain``, with ``gain_low`` and ``gain_high`` from log Z's bracket; ``distance`` after K and after 2,500 steps;
        ``f_codes``, ``f_k``, ``f_long``: mean f on codes of test images and on the chains; ``gap``: what training itself
        last saw; ``diverged``; ``seconds`` of learning.
    """
    recipe, seed = recipe_of(part)
    return learn_recipe(recipe, seed, ladder())


class StandingLadder(Protocol):
    """What `learn_recipe` needs of a ladder: its codes, and how far decoded codes are from test images."""

    model: torch.nn.Module
    codes: FixedCodes
    test_codes: Tensor

    def distance(self, z: Tensor) -> float: ...


def learn_recipe(recipe: Recipe, seed: int, here: StandingLadder, *, samples: int = SAMPLES) -> dict:
    """Learn an energy on a ladder's codes and measure it with so many samples; what it gives says `measure_recipe`."""
    prior = prior_for(recipe, seed, here.model.latents)
    clock = time.perf_counter()
    history = learn_on_codes(
        prior, here.codes, training_for(recipe), steps=recipe.steps, seed=seed, ratio_only=recipe.ratio_only
    )
    seconds = time.perf_counter() - clock
    found = {"seconds": round(seconds, 1), "gap": history[-1], "diverged": not abs(history[-1]) <= 1e4}
    if not found["diverged"]:
        found |= worth(prior, here, recipe, seed, samples)
    found = rounded(found)
    return {key: (None if isinstance(v, float) and v != v else v) for key, v in found.items()}


@torch.no_grad()
def worth(prior: JointEBMPrior, here: StandingLadder, recipe: Recipe, seed: int, samples: int) -> dict:
    """Gain and distances of a prior that has been learned."""
    with warnings.catch_warnings():  # a bracket that is wide is stored as such
        warnings.simplefilter("ignore", RuntimeWarning)
        log_z = prior.log_z(generator=torch.Generator().manual_seed(seed))
    f = prior(here.test_codes).mean().item()
    noise = torch.Generator().manual_seed(100 + seed)
    at_k = prior.sample(samples, recipe.k, recipe.s, generator=noise)
    at_end = prior.sample(samples, LONG - recipe.k, recipe.s, z0=at_k, generator=noise)
    return {
        "gain": f - log_z.estimate,
        "gain_low": f - log_z.upper,
        "gain_high": f - log_z.lower,
        "effective_share": log_z.effective_sample_size / max(log_z.draws, 1),
        "distance": {"K": here.distance(at_k), "long": here.distance(at_end)},
        "f_codes": f,
        "f_k": prior(at_k).mean().item(),
        "f_long": prior(at_end).mean().item(),
        "parameters": sum(p.numel() for p in prior.parameters()),
    }


def reference_codes(here: StandingLadder, n: int, noise: torch.Generator) -> dict[str, Tensor]:
    """What a prior's samples lie between: ``n`` codes, the same with their levels shuffled, draws of N(0, I)."""
    drawn = here.codes.draw(n, noise)
    parts = [part[torch.randperm(n, generator=noise)] for part in here.model.latents.split(drawn)]
    return {
        "codes": drawn,
        "shuffled": here.model.latents.join(parts),
        "gaussian": torch.randn(drawn.shape, generator=noise),
    }


def mixtures(
    here: StandingLadder, counts: tuple[int, ...], noise: torch.Generator, *, seed: int = 1
) -> "Iterator[tuple[int, GaussianMixture, float]]":
    """Gaussian mixtures with full covariances, fitted to a draw from the posterior of every training image.

    What an energy could gain at least: a mixture is a density on the same codes, which maximum likelihood finds.

    Yields:
        components; the mixture; its gain over N(0, I) in nats, on codes of test images.
    """
    from sklearn.mixture import GaussianMixture

    train, test = here.codes.draw_all(noise).double().numpy(), here.test_codes.double()
    normal = standard_normal_log_prob(test).mean().item()
    for count in counts:
        mixture = GaussianMixture(count, reg_covar=1e-4, max_iter=60, tol=1e-3, random_state=seed).fit(train)
        yield count, mixture, float(mixture.score(test.numpy())) - normal


def measure_references(seed: int = 1) -> dict:
    """What the numbers lie between: distances of codes, of codes with their levels shuffled, of N(0, I); mixtures' gains.

    Returns:
        ``distance`` by kind; ``mixture``: gain by number of components, of `mixtures`.
    """
    here, noise = ladder(), torch.Generator().manual_seed(seed)
    kinds = reference_codes(here, SAMPLES, noise)
    gains = {str(count): gain for count, _, gain in mixtures(here, MIXTURES, noise, seed=seed)}
    return rounded({"distance": {name: here.distance(z) for name, z in kinds.items()}, "mixture": gains})


def measure_part(part: str) -> dict:
    """`measure_references` for the part ``references``, else `measure_recipe`."""
    return measure_references() if part == "references" else measure_recipe(part)


STUDY = Study(
    "fixed-codes",
    "what makes an energy good: K, s, chains, spectral norm, width, levels, rate on the fixed codes of mnist-vlae, five seeds",
    {"references": (MODEL,)}
    | {name if seed == 1 else f"{name}@{seed}": (MODEL,) for seed in SEEDS for name in RECIPES},
    measure_part,
)
