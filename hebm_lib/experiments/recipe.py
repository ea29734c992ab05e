"""How an energy is learned well: one recipe, and a gentler one for sharp codes; several files of the registry use both."""

from dataclasses import replace

from hebm_lib.config import EnergyConfig, ExperimentConfig, LangevinConfig, PriorConfig

__all__ = ["STEADY", "as_trained", "gentle", "learned", "learned_prior", "steady"]

STEADY = {
    "svhn-11k": ("", "vlae", "vae", "lvae", "biva", "twostage", "rae", "ncpvae"),
    "celeba-64": ("", "vlae", "vae", "lvae", "biva", "twostage", "rae", "ncpvae"),
    "celeba-128": ("",),
    "cifar10": ("", "vlae", "twostage", "rae", "ncpvae"),
}
"""Image set → kinds that are trained by `steady` there; ``""`` is the joint EBM. Its VLAE is the joint EBM's own ladder, from
the same first weights. LVAE's faces came from a distance of 157 to 145 with it, BIVA's from 156 to 153, these with half as
much squared error again. Models that infer codes by a chain through the generator have no ladder to lose and few steps, and
keep the earlier rates: samples of the latent EBM's street numbers were at 116 with these, falling as far in its fifteen
epochs, at 106, 104 and 97 with those, one run each."""


def learned_prior(hidden: tuple[int, ...] = (100, 100), *, jumps: int = 60) -> PriorConfig:
    """The prior of `learned`: no spectral norm, f = 0 at the start, persistent chains that restart and jump.

    Example:
        >>> learned_prior().chains, learned_prior(jumps=10).jumps
        (256, 10)
    """
    return PriorConfig(hidden=hidden, spectral_norm=False, start="zero", chains=256, restart=0.15, jumps=jumps)


def learned(
    config: ExperimentConfig,
    *,
    energy: bool = True,
    hidden: int = 100,
    steps: int = 150,
    step_size: float = 0.2,
    jumps: int = 60,
    lr_alpha: float = 2e-4,
    phases: EnergyConfig,
) -> ExperimentConfig:
    """A config whose energy is learned well, or whose f stays 0 on the way there: same steps, same first ladder.

    What works, found by trial on fixed codes (nats of bound that f is worth, digit Fréchet distance of samples):

    - no spectral norm: with it f gains 0.4 nats if 1-Lipschitz, 1.7 if 10-Lipschitz, without it more than 3;
    - chains that persist, with a few restarts and small steps. Fresh chains with s = 0.4 learn an f that is good after
      just their own K steps and in ruins after 2,000; with s = 0.3 the bias of the uncorrected chain costs 4 nats;
    - few long visits rather than many short ones: a chain from noise has not arrived before some 150 steps of this size
      (distance 85 after 40, 50 after 100, 40 after 150), and what arrives depends on K s² alone;
    - jumps between modes, proposed by a mixture of Gaussians and taken by Metropolis's rule: small steps do not change
      modes, so without jumps f never learns how much mass each has, and the distance rises again on long chains (52 after
      2,500 steps; 36 with jumps, and half a nat more);
    - the ladder first, then α alone, then all three: from scratch α at a rate that learns something runs away with q;
    - α ten times slower than the ladder while both move, and alone again at the end: then its chains keep up;
    - alone a rate of 2e-3 with 500 codes a step (3e-3 diverges for smooth activations);
    - an average of α's weights, which takes the noise of few chains out.

    Ten training seeds of ``mnist-map``, five of ``mnist`` and twelve runs of ``mnist-map`` with one thing changed were
    trained to the end with it; none diverged. Where posteriors are narrower, see `gentle`.

    Args:
        config: what is trained; its prior and the way to learn it are replaced.
        energy: False trains the same ladder with f = 0 to the end.
        hidden: units in each of f's two hidden layers.
        steps, step_size: K and s.
        jumps: components of the mixture that proposes them.
        lr_alpha: α's rate while all three learn.
        phases: how long each lasts.
    """
    prior = learned_prior((hidden, hidden), jumps=jumps)
    training = replace(
        config.training,
        langevin=LangevinConfig(steps=steps, step_size=step_size),
        optimiser=replace(config.training.optimiser, lr_alpha=lr_alpha),
        energy=phases if energy else EnergyConfig(ladder_epochs=config.training.epochs),
    )
    return replace(config, model=replace(config.model, prior=prior), training=training)


def gentle(config: ExperimentConfig, *, step_size: float = 0.15) -> ExperimentConfig:
    """The same with a quarter of α's rates and smaller steps, for codes on which f has to be steep.

    Where a level has two units, or pixels are many, a posterior is narrow beside N(0, I), and f has structure as fine. Steps
    much larger than that width do not stay on the codes; f grows steeper where they land, and they go further astray. On
    MNIST, 2/2/2 units with walls, chains of `learned` lagged by 0.9 nats when all three began to learn, by 3.2 some 2,000
    steps later, and were lost in the end phase; with three digits in three trials of three. A run without an energy
    changes nothing but its record, so that the two of a pair stay alike.

    Args:
        config: of `learned`.
        step_size: s, of the order of a posterior's deviation, 0.03 to 0.2.

    Example:
        >>> from hebm_lib.experiments import EXPERIMENTS
        >>> training = gentle(EXPERIMENTS["mnist-map"]).training
        >>> training.optimiser.lr_alpha, training.energy.lr_alone, training.energy.lr_end, training.langevin.step_size
        (5e-05, 0.0005, 0.00025, 0.15)
    """
    training = config.training
    energy = replace(training.energy, lr_alone=5e-4, lr_end=2.5e-4) if training.energy.fit_steps else training.energy
    training = replace(
        training,
        energy=energy,
        langevin=replace(training.langevin, step_size=step_size),
        optimiser=replace(training.optimiser, lr_alpha=5e-5),
    )
    return replace(config, training=training)


def steady(config: ExperimentConfig) -> ExperimentConfig:
    """The same with Adam's own decay rates, (0.9, 0.999), and no KL warm-up: on colour images upper levels are then kept.

    With the terms of the prior at weight 0 nothing holds the codes at first. On street numbers the KL of z_2 passed 1e8
    within 50 steps, the decoder learned to look away from what comes from above, and z_3 never came back: after 14 epochs 45,
    4 and 0.1 nats with a warm-up of 5, and 45, 5 and 0.1 with one of 12. Without one it is 41, 9 and 7 after three, and with
    these rates for (0.5, 0.999) the bound is higher by 195 nats there (one seed, half precision). After all 60 epochs three
    seeds of three had 40, 21 and 11 nats, 41, 24 and 3, 35, 30 and 2; on faces, after 12, 63, 49 and 28, 63, 46 and 59, 62, 47
    and 58; on CIFAR-10, after 12, one seed had 40, 43 and 23.

    Args:
        config: of a ladder on colour images.

    Example:
        >>> from hebm_lib.experiments import EXPERIMENTS
        >>> training = steady(EXPERIMENTS["svhn-11k-vae"]).training
        >>> training.optimiser.betas, training.kl_warmup_epochs
        ((0.9, 0.999), 0.0)
    """
    optimiser = replace(config.training.optimiser, betas=(0.9, 0.999))
    return replace(config, training=replace(config.training, optimiser=optimiser, kl_warmup_epochs=0.0))


def as_trained(entry: ExperimentConfig, pack: str, kind: str = "") -> ExperimentConfig:
    """The entry of one kind of model on an image set, by `steady` where it was trained so: see `STEADY`."""
    return steady(entry) if kind in STEADY.get(pack, ()) else entry
