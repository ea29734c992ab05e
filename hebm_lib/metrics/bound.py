"""Reconstruction, the bound's terms per level, and f on both sides: the numbers that say whether a model has learned."""

from dataclasses import dataclass

import torch

from hebm_lib.data import ImageDataset

__all__ = ["BoundReport", "measure_bound"]


@dataclass(frozen=True)
class BoundReport:
    """Means over a data set.

    Attributes:
        mse: squared error per pixel of the reconstruction from the posterior mean, images in [-1, 1].
        reconstruction: ``E_q log p_β(x|z)`` per image, nats.
        kl: KL to the prior without its energy per level, z_1 first, nats.
        elbo_plus_log_z: the bound up to log Z(α), nats.
        f_posterior, f_prior: mean f_α on posterior draws and on prior draws.
    """

    mse: float
    reconstruction: float
    kl: tuple[float, ...]
    elbo_plus_log_z: float
    f_posterior: float
    f_prior: float

    @property
    def mse01(self) -> float:
        """The same squared error with images in [0, 1]: a quarter."""
        return self.mse / 4


@torch.no_grad()
def measure_bound(
    model, data: ImageDataset, *, steps: int = 60, step_size: float = 0.4, seed: int = 0, batch: int = 500
) -> BoundReport:
    """Measure a model on a data set.

    Args:
        model: a `JointEBM` or a baseline with the same methods, in evaluation mode.
        data: images of the model's size.
        steps, step_size: K and s of the prior draws, of which there are as many as images, at most 2,000.
        seed: of the posterior draws and the prior's noise.
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
    )
