"""The registry's entries for the ablations (Tables 4 and 5): a model of MNIST, and it with one thing changed.

`ablation_experiments` has the recipe of Algorithm 1 as printed. All of them ask about the prior, so the ladders are narrow:
half of the widths of ``mnist``, three fifths of its time per step. On a GPU the same names run longer:
``python -m hebm_lib train ablation-k15 --set training.epochs=100``.

`learned_ablations` has the recipe of the published models: it asks whether what fixed codes say of an energy holds where
ladder and energy learn together. `settings_of` does so for photographs, the paper's own images there.
"""

from dataclasses import replace

from hebm_lib.config import ExperimentConfig, GeneratorConfig, InferenceConfig, OptimiserConfig, PriorConfig

__all__ = ["STEPS", "WIDTHS", "ablation_experiments", "learned_ablations", "settings_of"]

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

    def small(name: str, what: str, prior: PriorConfig) -> ExperimentConfig:
        return replace(base, name=f"ablation-{name}", description=what, model=replace(model, prior=prior))

    def with_steps(k: int) -> ExperimentConfig:
        chain = replace(training, langevin=replace(langevin, steps=k))
        return replace(base, name=f"ablation-k{k}", description=f"the same with K = {k}", training=chain)

    def with_width(w: int) -> ExperimentConfig:
        if w == 0:
            return small("h0", "the same without an energy", PriorConfig(hidden=()))
        return small(f"h{w}", f"the same with {w} hidden units per layer of f", replace(prior, hidden=(w, w)))

    free = replace(prior, spectral_norm=False, lipschitz=1.0)
    separate = replace(prior, levels="separate", hidden=(SEPARATE, SEPARATE))
    return [
        base,
        *(with_steps(k) for k in STEPS if k != langevin.steps),
        *(with_width(w) for w in WIDTHS if (w, w) != prior.hidden),
        small("free", "the same without spectral norm", free),
        replace(
            small("free-slow", "without spectral norm, the energy's learning rate a tenth", free),
            training=replace(training, optimiser=replace(optimiser, lr_alpha=optimiser.lr_alpha / 10)),
        ),
        small("separate", "the same with a sum of one f per level, as many parameters", separate),
        small("persistent", "the same with persistent chains", replace(prior, chains=training.batch_size)),
    ]


def with_prior(base: ExperimentConfig, name: str, what: str, **changes) -> ExperimentConfig:
    """The learned model ``base`` with another prior."""
    model = replace(base.model, prior=replace(base.model.prior, **changes))
    return replace(base, name=f"{base.name}-{name}", description=what, model=model)


def settings_of(base: ExperimentConfig, *, steps: tuple[int, ...], widths: tuple[int, ...]) -> list[ExperimentConfig]:
    """The learned model ``base`` at other K (Table 4) and other widths of f (Table 5), one thing changed at a time.

    Args:
        base: its ladder alone, which comes first, is the same in all of them, image by image, because f is 0 there.
        steps: values of K.
        widths: hidden units in each of f's layers.

    Example:
        >>> from hebm_lib.experiments import EXPERIMENTS
        >>> [config.name for config in settings_of(EXPERIMENTS["mnist-map"], steps=(15,), widths=(10,))]
        ['mnist-map-k15', 'mnist-map-h10']
    """
    training, layers = base.training, len(base.model.prior.hidden)
    chains = {k: replace(training, langevin=replace(training.langevin, steps=k)) for k in steps}
    return [
        *(
            replace(base, name=f"{base.name}-k{k}", description=f"the same with K = {k}", training=chain)
            for k, chain in chains.items()
        ),
        *(
            with_prior(
                base, f"h{width}", f"the same with {width} hidden units per layer of f", hidden=(width,) * layers
            )
            for width in widths
        ),
    ]


def learned_ablations(base: ExperimentConfig) -> list[ExperimentConfig]:
    """The learned model ``base`` with fewer steps, with a narrow f, with one f per level, and with a bounded f.

    All share the ladder's epochs with it, image by image, because f is 0 there.
    """
    bounded = {"spectral_norm": True, "lipschitz": 3.0, "start": "random"}
    return [
        *settings_of(base, steps=(15,), widths=(10,)),
        with_prior(
            base, "separate", "the same with a sum of one f per level", levels="separate", hidden=(SEPARATE,) * 2
        ),
        with_prior(base, "lipschitz3", "the same with f 3-Lipschitz", **bounded),
    ]
