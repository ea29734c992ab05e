"""The registry's entries for the supplement's Table 1, both ways: other pixels than the other pages' Gaussian ones."""

from dataclasses import replace

from hebm_lib.config import ExperimentConfig
from hebm_lib.experiments.recipe import gentle

__all__ = ["STEP_SIZES", "unfamiliar_experiments"]

SIGMAS = (0.2, 0.1)
"""σ of Gaussian pixels, beside the 0.4 of ``fashion`` and ``mnist``."""

STEP_SIZES = {"fashion": {0.2: 0.15, 0.1: 0.1}, "mnist": {0.2: 0.05, 0.1: 0.03}}
"""s of the chains by σ. Steps that hold on clothes lost the codes of digits, whose posteriors are 0.03 to 0.09 wide, and with
σ = 0.1 0.02 to 0.06. With σ = 0.2 f ran away after a thousand updates of α alone by steps of 0.15, after two thousand by 0.1;
with σ = 0.1 by 0.1 one seed of two did. By these, three seeds of three were trained to the end; chains lag by less than a nat
while α learns alone and by one to three while all three learn."""


def with_bernoulli_pixels(config: ExperimentConfig, name: str, description: str) -> ExperimentConfig:
    """The same model of pixels that are on with the probability that a grey value says."""
    pixels = replace(config.model.baseline, likelihood="bernoulli")
    return replace(config, name=name, description=description, model=replace(config.model, baseline=pixels))


def with_sigma(config: ExperimentConfig, sigma: float, name: str, description: str) -> ExperimentConfig:
    """The same with narrower Gaussian pixels. Posteriors narrow with σ, so f learns gently, by smaller steps."""
    config = gentle(config, step_size=STEP_SIZES[config.name.removesuffix("-gaussian")][sigma])
    return replace(config, name=name, description=description, model=replace(config.model, sigma=sigma))


def unfamiliar_experiments(pair: dict[bool, ExperimentConfig]) -> list[ExperimentConfig]:
    """Pairs with Bernoulli pixels and with Gaussian ones of `SIGMAS`.

    Args:
        pair: ``fashion`` or ``mnist`` and its twin with f = 0, by whether their energy is learned; both have the former's name.
    """
    base, twin = pair[True].name, "the same with f = 0 to the end"
    found = [
        with_bernoulli_pixels(pair[True], f"{base}-bernoulli", f"{base} with Bernoulli pixels (supplement, Table 1)"),
        with_bernoulli_pixels(pair[False], f"{base}-bernoulli-gaussian", twin),
    ]
    for sigma in SIGMAS:
        name = f"{base}-sigma-{sigma:g}".replace("0.", "0")
        what = f"{base} with σ = {sigma:g} (supplement, Table 1)"
        found += [
            with_sigma(pair[True], sigma, name, what),
            with_sigma(pair[False], sigma, f"{name}-gaussian", twin),
        ]
    return found
