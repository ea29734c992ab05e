"""The registry's entries for `hebm_lib.baselines` at the budget of a laptop's CPU; `published` has their own settings.

The entries for MNIST and Fashion-MNIST are made from the joint EBM's own, so that a table compares like with like: same
images, same widths, same σ, same length of training. Two models pay more per step, and get fewer epochs instead of more
time: BIVA six where the joint EBM has ten, the latent EBM two. ``fashion-hvae-binary-long`` alone has more, 30: it is to come
near its authors' own numbers, and no table of like with like has it. What else a model cannot share, its file says.
"""

from dataclasses import replace

from hebm_lib.config import (
    BaselineConfig,
    DataConfig,
    EnergyConfig,
    ExperimentConfig,
    GeneratorConfig,
    InferenceConfig,
    LangevinConfig,
    ModelConfig,
    OptimiserConfig,
    PriorConfig,
)

__all__ = ["baseline_experiments"]

NO_ENERGY = PriorConfig(hidden=())
NO_CHAIN = LangevinConfig(steps=0)
"""Samples of a prior without an energy are exact."""
FASHION = DataConfig(name="fashion-mnist", size=28)


def one_level(model: ModelConfig) -> ModelConfig:
    """The same places and widths and as many units, with all units in one level."""
    g, i = model.generator, model.inference
    return replace(
        model,
        latent_dims=(sum(model.latent_dims),),
        generator=replace(g, factors=(), widths=(), entries=(), plain_factors=g.factors, plain_widths=g.widths),
        inference=replace(i, factors=(), widths=(), reads=(), plain_factors=i.factors, plain_widths=i.widths),
    )


def baseline_experiments(joint: ExperimentConfig, small: ExperimentConfig) -> list[ExperimentConfig]:
    """MNIST and Fashion-MNIST at the budget of ``joint`` (all digits, three levels); ``small`` is digits 0, 1, 2."""
    model, training = joint.model, replace(joint.training, langevin=NO_CHAIN)
    # Conditional hierarchies raise the KL more slowly, or the upper levels fall silent before they are used.
    slow, short = replace(training, kl_warmup_epochs=2), replace(joint.training, epochs=2)
    ladder = replace(model, kind="vlae", prior=NO_ENERGY)
    vae = replace(one_level(ladder), kind="vae")
    lebm = replace(one_level(model), kind="lebm")
    g, i = model.generator, model.inference
    hvae = replace(
        ladder,
        kind="hvae",
        latent_dims=(2 * 14**2, 16, 8),
        generator=replace(g, entries=("map", "map"), local_levels=(1,), top_hidden=(128, 128), batch_norm=True),
        inference=replace(i, reads=("map", "map"), batch_norm=True),
        baseline=BaselineConfig(free_bits=2.0, free_bits_epochs=2.0),
    )
    on_or_off = replace(hvae, baseline=replace(hvae.baseline, likelihood="bernoulli"))
    patient = replace(on_or_off, baseline=replace(on_or_off.baseline, free_bits_epochs=6.0))
    lvae = replace(
        ladder,
        kind="lvae",
        latent_dims=(16, 16, 8),
        generator=replace(g, entries=("map", "map"), join="replace", top_hidden=(128, 128), batch_norm=True),
        inference=replace(i, reads=("map", "map"), batch_norm=True),
    )
    biva = replace(
        ladder,
        kind="biva",
        latent_dims=(4, 4, 4, 4, 4, 8),
        generator=GeneratorConfig(
            factors=(2, 4, 4, 4, 4),
            widths=(16,) + (32,) * 4,
            entries=("map",) * 5,
            top_hidden=(128,),
            base_factor=4,
            base_width=32,
            batch_norm=True,
        ),
        inference=InferenceConfig(
            factors=(2, 4, 4, 4, 4), widths=(16,) + (32,) * 4, reads=("map",) * 5, top_hidden=(128,), batch_norm=True
        ),
        baseline=BaselineConfig(free_bits=2.0),
    )
    provlae = replace(ladder, kind="provlae", baseline=BaselineConfig(epochs_per_step=3, fade_epochs=1))
    # Without a likelihood a generator needs its features normalised, and so does an encoder that only a discriminator moves.
    # Half the width before the code and behind it makes room for the networks that judge.
    adversarial = replace(
        vae,
        kind="bigan",
        generator=replace(vae.generator, batch_norm=True, top_hidden=(128, 128)),
        inference=replace(vae.inference, slope=0.2, batch_norm=True, top_hidden=(128, 128)),
        baseline=BaselineConfig(gradient_penalty=1000.0),
    )
    game = replace(training, kl_warmup_epochs=0, optimiser=replace(training.optimiser, lr_beta_phi=5e-4))
    two_units = replace(one_level(small.model), kind="lebm", latent_dims=(2,))
    few_steps = BaselineConfig(posterior=LangevinConfig(steps=8, step_size=0.15))
    # Minutes on one thread of a machine on which the joint EBM takes nine for its ten epochs.
    entries = (
        ("mnist-vae", "VAE: one level of 14 units; 8 min", joint.data, vae, training),
        ("mnist-vlae", "VLAE: the joint EBM's ladders, f = 0; 8 min", joint.data, ladder, training),
        ("mnist-provlae", "pro-VLAE: VLAE learned from the top level down; 8 min", joint.data, provlae, training),
        ("mnist-lvae", "ladder VAE: a chain of three levels; 8 min", joint.data, lvae, slow),
        ("mnist-hvae", "HVAE: three levels, bottom-up inference; 8 min", joint.data, hvae, slow),
        ("mnist-biva", "BIVA: six levels (Fig. 1); 7 min", joint.data, biva, replace(slow, epochs=6)),
        (
            "mnist-lebm",
            "latent EBM: one level of 14 units; 7 min",
            joint.data,
            replace(lebm, baseline=few_steps),
            short,
        ),
        ("mnist-bigan", "BiGAN-σ: generator and encoder against a discriminator", joint.data, adversarial, game),
        (
            "mnist-meg",
            "MEG: an energy of images, and a generator that samples from it",
            joint.data,
            replace(adversarial, kind="meg", baseline=replace(few_steps, gradient_penalty=100.0)),
            replace(game, energy=EnergyConfig(updates=2), optimiser=OptimiserConfig(lr_alpha=2e-4, lr_beta_phi=2e-4)),
        ),
        (
            "mnist-012-lebm",
            "latent EBM: digits 0, 1, 2, two units (Fig. 2); 8 min",
            small.data,
            two_units,
            small.training,
        ),
        ("fashion-vae", "VAE on Fashion-MNIST; 8 min", FASHION, vae, training),
        ("fashion-vlae", "VLAE on Fashion-MNIST; 8 min", FASHION, ladder, training),
        ("fashion-hvae", "HVAE on Fashion-MNIST; 8 min", FASHION, hvae, slow),
        ("fashion-hvae-bernoulli", "the same with Bernoulli pixels", FASHION, on_or_off, slow),
        (
            "fashion-hvae-binary",
            "the same, of images drawn black or white, as its authors have them",
            replace(FASHION, binary=True),
            on_or_off,
            slow,
        ),
        (
            "fashion-hvae-binary-long",
            "the same for three times as long, warm-up and free bits too",
            replace(FASHION, binary=True),
            patient,
            replace(slow, epochs=3 * slow.epochs, kl_warmup_epochs=3 * slow.kl_warmup_epochs),
        ),
    )
    return [
        ExperimentConfig(name=name, description=what, data=data, model=model, training=schedule)
        for name, what, data, model, schedule in entries
    ]
