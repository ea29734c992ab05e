"""The registry's entries for the ablations (Tables 4 and 5): a model of MNIST, and it with one thing changed.

`ablation_experiments` has the recipe of Algorithm 1 as printed. All of them ask about the prior, so the ladders are narrow:
half of the widths of ``mnist``, three fifths of its time per step. On a GPU the same names run longer:
``python -m hebm_lib train ablation-k15 --set training.epochs=100``.

`learned_ablations` has the recipe of the published models: it asks whether what fixed codes say of an energy holds where
ladder and energy learn together.
"""

from dataclasses import replace

from hebm_lib.config import ExperimentConfig, GeneratorConfig, InferenceConfig, OptimiserConfig, PriorConfig

__all__ = ["STEPS", "WIDTHS", "ablation_experiments", "learned_ablations"]

STEPS = (15, 30, 60, 150, 300)
"""K of Table 4; 60 is that of the entry ``ablation``."""
WIDTHS = (0, 10, 20, 50, 100)
"""Hidden units of f in each of its two layers, Table 5; 0 is no energy, 100 the entry ``ablation``."""
SEPARATE = 58
"""Hidden units of each level's own f with which all of them together have as many parameters as the joint f."""


def ablation_experiments(mnist: ExperimentConfig) -> list[ExperimentConfig]:
    """The small model, then its variants; ``mnist`` is the entry that it is made from."""
    model = replace(
        mnist.model,
        generator=GeneratorConfig(
            factors=(2, 4), widths=(8, 16), entries=("gain", "map"), top_hidden=(128, 128), base_factor=4, base_width=32
        ),
        inference=InferenceConfig(factors=(2, 4), widths=(8, 16), reads=("salient", "map"), top_hidden=(128,)),
    )
    optimiser = OptimiserConfig(lr_alpha=1e-3, lr_beta_phi=2e-3)
    training = replace(mnist.training, epochs=2, kl_warmup_epochs=0.5, optimiser=optimiser)
    base = ExperimentConfig(
        name="ablation",
        description="the small model of MNIST that is ablated",
        data=mnist.data,
        model=model,
        training=training,
    )
    prior, langevin = model.prior, training.langevin

    def with_prior(name: str, what: str, prior: PriorConfig) -> ExperimentConfig:
        return replace(base, name=f"ablation-{name}", description=what, model=replace(model, prior=prior))

    def with_steps(k: int) -> ExperimentConfig:
        chain = replace(training, langevin=replace(langevin, steps=k))
        return replace(base, name=f"ablation-k{k}", description=f"the same with K = {k}", training=chain)

    def with_width(w: int) -> ExperimentConfig:
        if w == 0:
            return with_prior("h0", "the same without an energy", PriorConfig(hidden=()))
        return with_prior(f"h{w}", f"the same with {w} hidden units per layer of f", replace(prior, hidden=(w, w)))

    free = replace(prior, spectral_norm=False, lipschitz=1.0)
    separate = replace(prior, levels="separate", hidden=(SEPARATE, SEPARATE))
    return [
        base,
        *(with_steps(k) for k in STEPS if k != langevin.steps),
        *(with_width(w) for w in WIDTHS if (w, w) != prior.hidden),
        with_prior("free", "the same without spectral norm", free),
        replace(
            with_prior("free-slow", "without spectral norm, the energy's learning rate a tenth", free),
            training=replace(training, optimiser=replace(optimiser, lr_alpha=optimiser.lr_alpha / 10)),
        ),
        with_prior("separate", "the same with a sum of one f per level, as many parameters", separate),
        with_prior("persistent", "the same with persistent chains", replace(prior, chains=training.batch_size)),
    ]


def learned_ablations(base: ExperimentConfig) -> list[ExperimentConfig]:
    """The learned model ``base`` with fewer steps, with a narrow f, with one f per level, and with a bounded f.

    All share the ladder's epochs with it, image by image, because f is 0 there.
    """
    prior, chain = base.model.prior, base.training.langevin

    def with_prior(name: str, what: str, **changes) -> ExperimentConfig:
        model = replace(base.model, prior=replace(prior, **changes))
        return replace(base, name=f"{base.name}-{name}", description=what, model=model)

    short = replace(base.training, langevin=replace(chain, steps=15))
    return [
        replace(base, name=f"{base.name}-k15", description="the same with K = 15", training=short),
        with_prior("h10", "the same with 10 hidden units per layer of f", hidden=(10, 10)),
        with_prior("separate", "the same with a sum of one f per level", levels="separate", hidden=(SEPARATE,) * 2),
        with_prior("lipschitz3", "the same with f 3-Lipschitz", spectral_norm=True, lipschitz=3.0, start="random"),
    ]
