"""Long-run chains (Fig. 8) of the joint EBM, of the latent EBM, and of a Gaussian prior as the control.

The latent EBM was trained with fresh chains, as its authors do it. Parts of `ANEW` ask what its energy can be when it is
learned with the care that ours had: the generator and its codes stand still, f starts at 0 and learns with persistent
chains. A code is where the model's own posterior chain ends that started at noise, as in its training.
"""

import torch

from hebm_lib.baselines.lebm import LatentEBM
from hebm_lib.checkpoint import load_pretrained
from hebm_lib.config import LangevinConfig
from hebm_lib.data import load_split
from hebm_lib.experiments import load_experiment
from hebm_lib.metrics.classifier import load_classifier
from hebm_lib.metrics.long_run import long_run_report
from hebm_lib.reproduction.studies.fixed_codes import Recipe, prior_for, training_for
from hebm_lib.reproduction.studies.study import Study
from hebm_lib.training.batches import Batches, as_batches
from hebm_lib.training.on_codes import learn_on_codes
from hebm_lib.training.phases import FixedCodes

__all__ = ["ANEW", "MODELS", "STUDY", "learn_anew", "measure_long_run", "posterior_codes"]

MODELS = (
    "mnist",
    "mnist-capped",
    "mnist-lebm",
    "mnist-vlae",
    "mnist-012",
    "mnist-012-capped",
    "mnist-012-lebm",
)
RELEARNED = "mnist-lebm"
ANEW = tuple(f"{RELEARNED}, f learned anew{seed}" for seed in ("", "@2", "@3"))
"""A part per seed of α."""
RECIPE = Recipe(k=150, restart=0.15, steps=4000)
"""The phase of α alone that ``mnist-map`` has: K, s, restarts, jumps, rate and length."""


@torch.no_grad()
def posterior_codes(model: LatentEBM, images: Batches, *, seed: int = 1, batch: int = 2_000) -> FixedCodes:
    """Where posterior chains of all images end after the model's K' steps from noise, as points ``(images, d)``."""
    noise, ends = torch.Generator().manual_seed(seed), []
    for index in torch.arange(len(images)).split(batch):
        x = images.batch(index)
        z0 = torch.randn(len(x), model.latents.total, generator=noise)
        ends.append(model.posterior_chain(x, z0, model.inference.chain.steps, generator=noise))
    codes = torch.cat(ends)
    return FixedCodes(codes, torch.zeros_like(codes))


def learn_anew(model: LatentEBM, codes: FixedCodes, recipe: Recipe, *, seed: int) -> list[float]:
    """Give the model a prior that learned ``codes`` by a recipe, from f = 0; returns what `learn_on_codes` does."""
    prior = prior_for(recipe, seed, model.latents)
    history = learn_on_codes(prior, codes, training_for(recipe), steps=recipe.steps, seed=seed)
    model.prior = prior.eval()
    return history


def measure_long_run(name: str) -> dict:
    """`long_run_report` of a published model, or of one of `ANEW`, on the test images of its own data, as plain JSON types."""
    run = RELEARNED if name in ANEW else name
    config, model = load_experiment(run), load_pretrained(run)
    # A prior without an energy has no K of its own: it gets the others'.
    langevin = config.training.langevin if config.model.prior.hidden else LangevinConfig()
    if name in ANEW:
        train = as_batches(load_split(config.data, "train"), torch.float32)
        learn_anew(model, posterior_codes(model, train), RECIPE, seed=1 + ANEW.index(name))
        langevin = LangevinConfig(steps=RECIPE.k, step_size=RECIPE.s)
    return long_run_report(model, langevin, load_split(config.data, "test"), load_classifier())


STUDY = Study(
    "long-run",
    "2,500 Langevin steps from N(0, I): energy, distance to the test images, saturation, classes",
    {name: (name,) for name in MODELS} | {name: (RELEARNED,) for name in ANEW},
    measure_long_run,
)
