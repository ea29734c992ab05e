"""Algorithm 1 of the paper, as a generator of gradient steps.

`hebm_lib.training.Trainer` takes the steps; another model brings another algorithm in the same form.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from hebm_lib.config import TrainingConfig
from hebm_lib.model import JointEBM

__all__ = ["Update", "algorithm_1", "parameter_groups"]


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
    noise = torch.randn(posterior.mean.shape, device=x.device, generator=generator)
    z_plus = posterior.mean + posterior.stddev * noise

    def learn_energy() -> Iterator[Update]:
        # Prior sampling (Eq. 13, 14): z⁻ after K Langevin steps from noise, or from where persistent chains stand.
        # Nothing to learn for a Gaussian prior.
        if not any(p.requires_grad for p in model.prior.parameters()):
            return
        z_minus = model.prior.negatives(len(x), config.langevin.steps, config.langevin.step_size, generator=generator)
        # Eq. 10: raise f on posterior draws, lower it on the prior's own.
        f_plus, f_minus = model.prior(z_plus.detach()).mean(), model.prior(z_minus).mean()
        terms = {"f_posterior": f_plus, "f_prior": f_minus, "f_difference": f_plus - f_minus}
        yield Update("alpha", f_minus - f_plus, terms)

    def learn_generator_and_inference() -> Iterator[Update]:
        # Eq. 11 and 12: the bound's terms, with log p_β(x|z) = -SSE / (2σ²) up to a constant.
        bound = model.elbo(x, z=z_plus, posterior=posterior)
        kl = bound.kl.sum(1)
        if config.kl_weights:
            # As plain numbers: a tensor made of them would be copied to the device, and the host would wait for that.
            kl = sum(weight * level for weight, level in zip(config.kl_weights, bound.kl.unbind(1), strict=True))
        # Warm-up weighs KL and energy alike: f alone would pull the codes outwards with nothing to hold them.
        warm = min(1.0, epoch / config.kl_warmup_epochs) if config.kl_warmup_epochs else 1.0
        loss = (bound.sse / (2 * model.sigma**2) + warm * (kl - bound.energy)).mean()
        yield Update("beta_phi", loss, {"sse": bound.sse.mean(), "kl": bound.kl.mean(0), "loss": loss})

    if config.order == "alpha-first":
        yield from learn_energy()
        yield from learn_generator_and_inference()
    else:
        yield from learn_generator_and_inference()
        yield from learn_energy()


def parameter_groups(model: JointEBM) -> dict[str, list[nn.Parameter]]:
    """The groups that `algorithm_1` updates: ``alpha`` (the energy) and ``beta_phi`` (generator and inference)."""
    groups = {
        "alpha": list(model.prior.parameters()),
        "beta_phi": [*model.generator.parameters(), *model.inference.parameters()],
    }
    return {name: parameters for name, parameters in groups.items() if parameters}
