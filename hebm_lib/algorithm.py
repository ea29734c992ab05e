"""Algorithm 1 of the paper, as a generator of gradient steps; and its two halves, which can also be taken alone.

`hebm_lib.training.Trainer` takes the steps; another model brings another algorithm in the same form.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.distributions import Independent

from hebm_lib.config import LangevinConfig, TrainingConfig
from hebm_lib.model import JointEBM

__all__ = [
    "Update",
    "algorithm_1",
    "learn_energy",
    "learn_ladder",
    "learn_ratio",
    "parameter_groups",
    "logistic_update",
]


@dataclass
class Update:
    """One gradient step that an algorithm asks for: lower ``loss`` by moving the parameters of ``group``."""

    group: str
    loss: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)
    """What to log: scalars, or one value per level; detached by the trainer."""


def algorithm_1(
    model: JointEBM, x: Tensor, config: TrainingConfig, epoch: float, generator: torch.Generator
) -> Iterator[Update]:
    """One iteration of Algorithm 1 on a batch ``x``: yields the update of α and the update of β and φ.

    The paper updates the energy first, the authors' code last; ``config.order`` says which. The gradient of the second
    update reaches φ through the reparametrised draw, and f_α takes part in it with its own parameters held (Eq. 12).
    """
    # Inference sampling (Eq. 8): z⁺ ~ q_φ(z|x), reparametrised.
    posterior = model.encode(x)
    z_plus = model.draw(x, posterior=posterior, generator=generator)
    # Prior sampling (Eq. 13, 14) and Eq. 10.
    alpha = learn_energy(
        model.prior, z_plus.detach(), config.langevin, updates=config.energy.updates, generator=generator
    )
    # Eq. 11 and 12.
    beta_phi = learn_ladder(model, x, config, epoch, z=z_plus, posterior=posterior)
    for half in (alpha, beta_phi) if config.order == "alpha-first" else (beta_phi, alpha):
        yield from half


def learn_energy(
    prior: nn.Module,
    z_plus: Tensor,
    langevin: LangevinConfig,
    *,
    updates: int = 1,
    generator: torch.Generator | None = None,
) -> Iterator[Update]:
    """The half of Algorithm 1 that learns α (Eq. 10): raise f on posterior draws, lower it on the prior's own.

    Args:
        prior: a `JointEBMPrior`; for a Gaussian there is nothing to learn, and nothing is yielded.
        z_plus: codes, draws from the posterior, ``(n, d)``, without gradient.
        langevin: K and s of the prior's chains.
        updates: gradient steps for one visit of the chains.
        generator: source of the chains' noise.
    """
    if not any(p.requires_grad for p in prior.parameters()):
        return
    # z⁻ after K Langevin steps from noise, or from where persistent chains stand.
    z_minus = prior.negatives(
        len(z_plus), langevin.steps, langevin.step_size, metropolis=langevin.metropolis, generator=generator
    )
    for i in range(updates):
        f_plus, f_minus = (f.mean() for f in on_both(prior, z_plus, z_minus))
        terms = {"f_posterior": f_plus, "f_prior": f_minus, "f_difference": f_plus - f_minus}
        yield Update("alpha", f_minus - f_plus, terms if i == 0 else {})  # one line of a log per visit


def learn_ratio(prior: nn.Module, z_plus: Tensor, *, generator: torch.Generator | None = None) -> Iterator[Update]:
    """Another way to learn α, without chains: tell codes from draws of N(0, I) by logistic regression.

    The best classifier's logit is the log of the ratio of the two densities, ``log q(z) - log N(z; 0, I)``, which is what
    f_α is for the best prior of Eq. 3, with Z = 1 (Sugiyama, Suzuki and Kanamori 2012, chapter 4). Far from N(0, I) the
    logit is learned from few draws: a start for `learn_energy`, not its equal.

    Args:
        prior: a `JointEBMPrior`.
        z_plus: codes ``(n, d)``; as many draws of N(0, I) stand against them.
        generator: source of those draws.
    """
    noise = torch.randn(z_plus.shape, dtype=z_plus.dtype, device=z_plus.device, generator=generator)
    yield from logistic_update(prior, z_plus, noise)


def logistic_update(f: nn.Module, z_plus: Tensor, z_minus: Tensor) -> Iterator[Update]:
    """Logistic regression with the logit ``f(z)``, ``(n,)``: high on ``z_plus``, low on ``z_minus``, ``(n, d)`` each.

    The best f is the log of the ratio of the two densities.

    Example:
        >>> f = nn.Sequential(nn.Linear(2, 1), nn.Flatten(0))
        >>> next(logistic_update(f, torch.ones(5, 2), torch.zeros(5, 2))).group
        'alpha'
    """
    f_plus, f_minus = on_both(f, z_plus, z_minus)
    loss = (nn.functional.softplus(-f_plus) + nn.functional.softplus(f_minus)).mean()
    yield Update("alpha", loss, {"f_posterior": f_plus.mean(), "logistic_loss": loss})


def on_both(prior: nn.Module, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """``f(a)`` and ``f(b)`` of one and the same f: with spectral norm each call in training mode moves the weights."""
    return prior(torch.cat([a, b])).split([len(a), len(b)])


def learn_ladder(
    model: JointEBM,
    x: Tensor,
    config: TrainingConfig,
    epoch: float,
    *,
    z: Tensor,
    posterior: Independent,
    energy: bool = True,
) -> Iterator[Update]:
    """The half of Algorithm 1 that learns β and φ (Eq. 11 and 12): raise the bound, α held.

    Args:
        model: generator, inference network and prior.
        x: images ``(n, C, H, W)``.
        config: weights of the bound's terms.
        epoch: epochs done, with their fraction, for the warm-up.
        z: the reparametrised draw from ``posterior``, ``(n, d)``.
        posterior: q_φ(z|x).
        energy: take f_α into the bound; False learns the ladder of a Gaussian prior, f = 0.
    """
    bound = model.elbo(x, z=z, posterior=posterior)
    kl = bound.kl.sum(1)
    if config.kl_weights:
        # As plain numbers: a tensor made of them would be copied to the device, and the host would wait for that.
        kl = sum(weight * level for weight, level in zip(config.kl_weights, bound.kl.unbind(1), strict=True))
    # Warm-up weighs KL and energy alike: f alone would pull the codes outwards with nothing to hold them.
    warm = min(1.0, epoch / config.kl_warmup_epochs) if config.kl_warmup_epochs else 1.0
    prior_terms = kl - bound.energy if energy else kl
    # Of Gaussian pixels -log p_β(x|z) is SSE / (2σ²) up to a constant.
    error = bound.sse / (2 * model.sigma**2) if model.likelihood == "gaussian" else -bound.reconstruction
    loss = (error + warm * prior_terms).mean()
    yield Update("beta_phi", loss, {"sse": bound.sse.mean(), "kl": bound.kl.mean(0), "loss": loss})


def parameter_groups(model: JointEBM) -> dict[str, list[nn.Parameter]]:
    """The groups that `algorithm_1` updates: ``alpha`` (the energy) and ``beta_phi`` (generator and inference)."""
    groups = {
        "alpha": list(model.prior.parameters()),
        "beta_phi": [*model.generator.parameters(), *model.inference.parameters()],
    }
    return {name: parameters for name, parameters in groups.items() if parameters}
