"""What the baselines share: the loss of a model without an energy, which is trained on its bound."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from hebm_lib.algorithm import Update
from hebm_lib.config import BaselineConfig, ModelConfig, TrainingConfig
from hebm_lib.langevin import check_chain, langevin_dynamics
from hebm_lib.model import Draw, JointEBM, gaussian_kl
from hebm_lib.prior import Prior

__all__ = ["VariationalBaseline", "exact_or_chain", "gaussian_kl_between", "gaussian_log_prob", "no_energy"]


def no_energy(config: ModelConfig) -> ModelConfig:
    """The config itself; raises `ValueError` where it asks for an energy that its model does not have.

    Example:
        >>> no_energy(ModelConfig(kind="vlae"))
        Traceback (most recent call last):
        ...
        ValueError: a model of kind 'vlae' has no energy: set model.prior.hidden to ()
    """
    if config.prior.hidden:
        raise ValueError(f"a model of kind {config.kind!r} has no energy: set model.prior.hidden to ()")
    return config


def gaussian_kl_between(mean: Tensor, scale: Tensor, prior_mean: Tensor, prior_scale: Tensor) -> Tensor:
    """``KL(N(mean, scale²) ‖ N(prior_mean, prior_scale²))`` per unit.

    Example:
        >>> one = torch.ones(1)
        >>> gaussian_kl_between(3 * one, one, one, one)  # 2²/2
        tensor([2.])
    """
    return gaussian_kl((mean - prior_mean) / prior_scale, scale / prior_scale)


def gaussian_log_prob(z: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """``log N(z; mean, scale²)`` per unit.

    Example:
        >>> zero, one = torch.zeros(1), torch.ones(1)
        >>> gaussian_log_prob(zero, zero, one).exp()  # 1 / √(2π)
        tensor([0.3989])
    """
    return -0.5 * (((z - mean) / scale).square() + math.log(2 * math.pi)) - scale.log()


def exact_or_chain(
    prior: Prior,
    exact: Callable[[], Tensor],
    n: int,
    steps: int,
    step_size: float,
    *,
    z0: Tensor | None = None,
    generator: torch.Generator | None = None,
    trajectory: bool = False,
    every: int = 1,
) -> Tensor:
    """`Prior.sample` of a prior from which exact draws can be had.

    A chain that starts from exact draws has arrived: it is run only from a given ``z0``, or where its trajectory is asked
    for.

    Args:
        prior: whose log-density the chain climbs.
        exact: gives ``n`` exact draws, ``(n, d)``.
        n, steps, step_size, z0, generator, trajectory, every: as of `Prior.sample`.

    Raises:
        ValueError: for a wrong shape of ``z0``, or a chain that cannot be run.

    Example:
        >>> from hebm_lib import GaussianPrior, LatentSpec
        >>> prior = GaussianPrior(LatentSpec((1, 2)))
        >>> exact_or_chain(prior, lambda: torch.zeros(4, 3), 4, 60, 0.1).any().item()  # no chain is run
        False
        >>> exact_or_chain(prior, lambda: torch.zeros(4, 3), 4, 60, 0.1, trajectory=True, every=20).shape
        torch.Size([4, 4, 3])
    """
    z = exact() if z0 is None else z0
    if z.shape != (n, prior.latents.total):
        raise ValueError(f"z0 must have shape ({n}, {prior.latents.total}), got {tuple(z.shape)}")
    if z0 is None and not trajectory:
        return z
    check_chain(z, steps, step_size, every if trajectory else 1)
    log_prob = prior.log_prob_unnormalized
    states = langevin_dynamics(log_prob, z, steps, step_size, generator=generator, trajectory=trajectory)
    return states[::every] if trajectory else states


class VariationalBaseline(JointEBM):
    """A model without an energy, trained on its evidence lower bound.

    With ``likelihood="gaussian"`` and no free bits the loss is that of `hebm_lib.algorithm.algorithm_1` with f = 0, up to
    a constant. Uses ``baseline.likelihood``, ``free_bits`` and ``free_bits_epochs``.

    Args:
        generator, inference, prior, sigma: as of `JointEBM`; for Laplace noise σ is its scale.
        settings: what only baselines have.
        groups: sizes of the groups of units that share one allowance of free bits, in the order of z's columns; None
            makes each level a group.

    Example:
        >>> from hebm_lib.latents import LatentSpec
        >>> from hebm_lib.networks import diagonal_gaussian
        >>> from hebm_lib.prior import GaussianPrior
        >>> class Encoder(nn.Linear):
        ...     def forward(self, x):
        ...         return diagonal_gaussian(super().forward(x), torch.ones(len(x), 3))
        >>> settings = BaselineConfig(free_bits=2.0)
        >>> model = VariationalBaseline(nn.Linear(3, 6), Encoder(6, 3), GaussianPrior(LatentSpec((1, 2))), 0.3, settings)
        >>> next(model.algorithm(torch.zeros(5, 6), TrainingConfig(), 0.0, torch.Generator())).group
        'beta_phi'
    """

    def __init__(self, generator, inference, prior, sigma: float, settings: BaselineConfig, groups=None):
        super().__init__(generator, inference, prior, sigma, likelihood=settings.likelihood)
        self.settings = settings
        sizes = [1 / size for size in groups or self.latents.dims for _ in range(size)]
        self.register_buffer("free_share", torch.tensor(sizes), persistent=False)

    # ---- the bound --------------------------------------------------------------------------------------------------

    def infer(self, x: Tensor, noise: Tensor) -> Draw:
        """A draw from q(z|x) made of ``noise``, ``(n, d)`` standard normal numbers; differentiable."""
        posterior = self.encode(x)
        z = posterior.mean + posterior.stddev * noise
        kl = gaussian_kl(posterior.mean, posterior.stddev)
        return Draw(z, self.decode(z), posterior.mean, posterior.stddev, kl)

    def noise(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Standard normal numbers ``(n, d)`` for one draw of every code of a batch."""
        return torch.randn(len(x), self.latents.total, device=x.device, dtype=x.dtype, generator=generator)

    # ---- training ---------------------------------------------------------------------------------------------------

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """One group: everything is moved by the bound."""
        return {"beta_phi": list(self.parameters())}

    def level_weights(self, config: TrainingConfig, epoch: float) -> list[float]:
        """Weight of each level's KL at a moment of the training."""
        warm = min(1.0, epoch / config.kl_warmup_epochs) if config.kl_warmup_epochs else 1.0
        return [warm * w for w in config.kl_weights or [1.0] * self.latents.levels]

    def free_nats(self, epoch: float) -> float:
        """Nats per group that are free at a moment of the training."""
        s = self.settings
        fall = min(1.0, max(0.0, 2 - epoch / s.free_bits_epochs)) if s.free_bits_epochs else 1.0
        return fall * s.free_bits

    def algorithm(
        self, x: Tensor, config: TrainingConfig, epoch: float, generator: torch.Generator
    ) -> Iterator[Update]:
        """One step: lower ``-E_q log p(x|z) + Σ_i weight_i KL_i`` on a batch ``x``."""
        draw = self.infer(x, self.noise(x, generator))
        bound = self.terms(x, draw)
        charged = draw.kl.mean(0)
        if free := self.free_nats(epoch):
            charged = torch.maximum(charged, free * self.free_share)
        levels = zip(self.level_weights(config, epoch), self.latents.split(charged), strict=True)
        loss = sum(weight * units.sum() for weight, units in levels) - bound.reconstruction.mean()
        yield Update("beta_phi", loss, {"sse": bound.sse.mean(), "kl": bound.kl.mean(0), "loss": loss})
