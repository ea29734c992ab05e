"""Learning the prior alone, on codes that stand still: of a trained ladder, or of any autoencoder."""

import torch
from torch import nn

from hebm_lib.algorithm import learn_ratio
from hebm_lib.config import TrainingConfig
from hebm_lib.training.phases import Average, FixedCodes, Phase, alpha_alone, alpha_rate, fit_jumps

__all__ = ["learn_on_codes"]


@torch.enable_grad()
def learn_on_codes(
    prior: nn.Module,
    codes: FixedCodes,
    config: TrainingConfig,
    *,
    steps: int,
    seed: int = 1,
    ratio_only: bool = False,
    log_every: int = 100,
) -> list[float]:
    """The ``fit`` phase of a run by itself: so many updates of α on codes, nothing else moving.

    As in a run, α's rate falls from ``energy.lr_alone`` to zero along a cosine and the average of α, where there is one,
    takes its place at the end. The prior's own chains, jumps and restarts are used if it has them.

    Args:
        prior: a `JointEBMPrior`; changed in place.
        codes: posteriors, ``FixedCodes.of(model, images)`` or ``FixedCodes(mean, deviation)`` with ``(n, d)`` each. With
            a deviation of 0 the codes are points.
        config: ``langevin``, ``energy`` and the betas of ``optimiser`` count.
        steps: updates.
        seed: of the draws and of the chains.
        ratio_only: learn by logistic regression against N(0, I) alone (`learn_ratio`), without any chain.
        log_every: updates between two numbers that are returned.

    Returns:
        ``E f(z⁺) - E f(z⁻)``, or the logistic loss, every ``log_every`` updates, a mean over them. What is not a number,
        or beyond ``config.energy_bound``, ends the learning: it has diverged, and the last number says so.

    Example:
        >>> import hebm_lib as hl
        >>> prior = hl.JointEBMPrior(hl.LatentSpec((1, 1)), hidden=(8,), spectral_norm=False, chains=50, restart=0.1)
        >>> codes = FixedCodes(torch.randn(500, 2) + 1, torch.full((500, 2), 0.1))
        >>> len(learn_on_codes(prior, codes, hl.TrainingConfig(), steps=20, log_every=10))
        2
    """
    noise = torch.Generator(codes.mean.device).manual_seed(seed)
    parameters, phase = [p for p in prior.parameters() if p.requires_grad], Phase("fit", 0, steps)
    optimiser = torch.optim.Adam(parameters, betas=config.optimiser.betas, fused=True)
    average = Average(parameters, config.energy.average) if config.energy.average else None
    fit_jumps(prior, codes, seed=seed)
    prior.train()
    history, window = [], []
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = alpha_rate(phase, step, config, 0)
        if ratio_only:
            updates = learn_ratio(prior, codes.draw(config.energy.batch_alone, noise), generator=noise)
        else:
            updates = alpha_alone(prior, codes, phase, step, config, noise)
        for update in updates:
            optimiser.zero_grad()
            update.loss.backward(inputs=parameters)
            optimiser.step()
            if average is not None:
                average.update()
            window += [
                update.terms[name].detach() for name in ("f_difference", "logistic_loss") if name in update.terms
            ]
        if (step + 1) % log_every == 0 or step + 1 == steps:
            history.append(float(torch.stack(window).mean()))
            window = []
            if not abs(history[-1]) <= config.energy_bound:
                break
    if average is not None:
        average.take_over()
    prior.eval()
    return history
