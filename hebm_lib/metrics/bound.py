"""Reconstruction, the bound's terms per level, and f on both sides: the numbers that say whether a model has learned."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hebm_lib.data import ImageDataset
from hebm_lib.sampling import LogZ

__all__ = ["BoundReport", "importance_weighted_bound", "measure_bound"]


@dataclass(frozen=True)
class BoundReport:
    """Means over a data set.

    Attributes:
        mse: squared error per pixel of the reconstruction from the posterior mean, images in [-1, 1].
        reconstruction: ``E_q log p_β(x|z)`` per image, nats.
        kl: KL to the prior without its energy per level, z_1 first, nats.
        elbo_plus_log_z: the bound up to log Z(α), nats.
        f_posterior, f_prior: mean f_α on posterior draws and on prior draws.
        elbo, elbo_bracket: the bound itself, and what it is with log Z's upper and lower bracket; None without log Z.

    Example:
        >>> report = BoundReport(0.04, -10.0, (3.0, 5.0), elbo_plus_log_z=-17.0, f_posterior=1.0, f_prior=0.5)
        >>> report.mse01, report.elbo is None
        (0.01, True)
    """

    mse: float
    reconstruction: float
    kl: tuple[float, ...]
    elbo_plus_log_z: float
    f_posterior: float
    f_prior: float
    elbo: float | None = None
    elbo_bracket: tuple[float, float] | None = None

    @property
    def mse01(self) -> float:
        """The same squared error with images in [0, 1]: a quarter."""
        return self.mse / 4


@torch.no_grad()
def measure_bound(
    model,
    data: ImageDataset,
    *,
    steps: int = 60,
    step_size: float = 0.4,
    seed: int = 0,
    batch: int = 500,
    log_z: LogZ | None = None,
) -> BoundReport:
    """Measure a model on a data set.

    Args:
        model: a `JointEBM` or a baseline with the same methods, in evaluation mode.
        data: images of the model's size.
        steps, step_size: K and s of the prior draws, of which there are as many as images, at most 2,000.
        seed: of the posterior draws and the prior's noise.
        log_z: ``model.prior.log_z()``, for the bound itself.

    Example:
        >>> from hebm_lib import load_dataset, load_pretrained
        >>> model, data = load_pretrained("digits"), load_dataset("digits", "test").subset(slice(0, 100))
        >>> report = measure_bound(model, data, steps=5)
        >>> bound = report.reconstruction - sum(report.kl) + report.f_posterior
        >>> len(report.kl), abs(report.elbo_plus_log_z - bound) < 0.01
        (2, True)
    """
    generator = torch.Generator(device=model.device).manual_seed(seed)
    sums = {"mse": 0.0, "reconstruction": 0.0, "kl": 0.0, "bound": 0.0, "f": 0.0}
    for x in data.batches(batch, model.device):
        posterior = model.encode(x)
        terms = model.elbo(x, posterior=posterior, generator=generator)
        sums["mse"] += (model.decode(posterior.mean) - x).square().flatten(1).mean(1).sum()
        sums["reconstruction"] += terms.reconstruction.sum()
        sums["kl"] += terms.kl.sum(0)
        sums["bound"] += terms.elbo_plus_log_z.sum()
        sums["f"] += terms.energy.sum()
    z = model.prior.sample(min(len(data), 2000), steps, step_size, generator=generator)
    means = {name: (total / len(data)).tolist() for name, total in sums.items()}
    return BoundReport(
        means["mse"],
        means["reconstruction"],
        tuple(means["kl"]),
        means["bound"],
        means["f"],
        model.prior(z).mean().item(),
        *(() if log_z is None else (means["bound"] - log_z.estimate, _minus(means["bound"], log_z))),
    )


def _minus(bound: float, log_z: LogZ) -> tuple[float, float]:
    return bound - log_z.upper, bound - log_z.lower


@torch.no_grad()
def importance_weighted_bound(
    model, x: Tensor, draws: int = 1000, *, log_z: LogZ | float = 0.0, generator: torch.Generator | None = None
) -> Tensor:
    """``log (1/S) Σ_s p(x, z_s) / q(z_s|x)`` with S draws of q per image: ``(n,)``, nats.

    At least the ELBO on average, at most ``log p(x)``, and closer to it with every draw (Burda, Grosse and Salakhutdinov
    2016). It ranks systems with different kinds of q on one scale.

    Args:
        model: a `JointEBM` or a baseline, in evaluation mode.
        x: images ``(n, C, H, W)`` in [-1, 1], as many as one call of the model takes.
        draws: S.
        log_z: ``model.prior.log_z()``, or its number; 0 for a prior without an energy.
        generator: source of the draws; None takes torch's global one.

    Raises:
        ValueError: for no draw.

    Example:
        >>> from hebm_lib import load_pretrained
        >>> model, x = load_pretrained("digits"), torch.zeros(2, 1, 8, 8)
        >>> importance_weighted_bound(model, x, draws=10, log_z=13.95).shape
        torch.Size([2])
    """
    if draws < 1:
        raise ValueError(f"a bound needs at least one draw, got {draws}")
    posterior, total = model.encode(x), torch.full((len(x),), -math.inf, dtype=torch.float64, device=x.device)
    for _ in range(draws):
        total = torch.logaddexp(total, model.log_weight(x, posterior=posterior, generator=generator).double())
    return total - math.log(draws) - (log_z.estimate if isinstance(log_z, LogZ) else log_z)
