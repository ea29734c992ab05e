"""A density on codes that is fitted after the training (ex post): a mixture of full Gaussians as a prior.

An autoencoder that is trained without a prior, or under one that its codes do not keep to, cannot be sampled. Fitting a
density to the codes of the training images afterwards mends that (Ghosh, Sajjadi, Vergari, Black and Schölkopf 2020)::

    p(z) = Σ_k w_k N(z; μ_k, Σ_k),   by expectation maximisation on the codes of the training images

`hebm_lib.baselines.rae.RAE` is trained for this; any other model takes a `MixturePrior` as well: ``model.prior =
fitted_prior(model, images)``.
"""

import torch
from torch import Tensor, nn

from hebm_lib.baselines.common import exact_or_chain
from hebm_lib.latents import LatentSpec
from hebm_lib.prior import standard_normal_log_prob
from hebm_lib.sampling import LogZ, MixtureOfGaussians
from hebm_lib.training.batches import Batches

__all__ = ["MixturePrior", "fitted_prior"]

CODES = 20_000
"""Codes to which a mixture is fitted, at most: the first ones."""


class MixturePrior(nn.Module):
    """``p(z) = Σ_k w_k N(z; μ_k, Σ_k)``, a `Prior` whose draws are exact. Before `fit` it is N(0, I).

    Seen as a tilt of N(0, I), as every prior here, it has ``f(z) = log p(z) - log N(z; 0, I)`` with log Z = 0: so the bound
    of a model that takes it is right as it stands.

    Args:
        latents: sizes of z_1 … z_L; the mixture is of all levels together.
        components: number of Gaussians; the published regularised autoencoder has 10.

    Example:
        >>> prior = MixturePrior(LatentSpec((1, 2)), components=2)
        >>> codes = torch.cat([torch.randn(300, 3) - 5, torch.randn(300, 3) + 5])
        >>> z = prior.fit(codes).sample(4, generator=torch.Generator().manual_seed(0))
        >>> z.shape, (z.mean(1).abs() > 3).tolist(), prior.log_z().estimate
        (torch.Size([4, 3]), [True, True, True, True], 0.0)
    """

    has_energy = False

    def __init__(self, latents: LatentSpec, *, components: int = 10):
        super().__init__()
        self.latents = latents
        self.mixture = MixtureOfGaussians(latents.total, components=components)

    def fit(self, codes: Tensor, *, seed: int = 0) -> "MixturePrior":
        """Fit the mixture to codes ``(n, d)``; the same codes and seed give the same mixture. Raises `ValueError` for fewer
        codes than components."""
        self.mixture.fit(codes[:CODES], seed=seed, rounds=100, tolerance=1e-3, ridge=1e-6 + 1e-4 * codes.var().item())
        return self

    def forward(self, z: Tensor) -> Tensor:
        """``f(z) = log p(z) - log N(z; 0, I)``, shape ``(n,)``."""
        self.latents.check(z)
        return self.mixture.log_prob(z) - standard_normal_log_prob(z)

    def log_prob_unnormalized(self, z: Tensor) -> Tensor:
        """``log p(z)``, shape ``(n,)``; normalised."""
        self.latents.check(z)
        return self.mixture.log_prob(z)

    def log_z(self, *, generator: torch.Generator | None = None) -> LogZ:
        """``log Z = 0``: this prior is normalised. Nothing is drawn."""
        return LogZ.exact()

    @torch.no_grad()
    def sample(
        self, n, steps=0, step_size=0.4, *, z0=None, generator=None, trajectory=False, every=1, backend=None
    ) -> Tensor:
        """``n`` exact draws, ``(n, d)``; arguments as of `Prior.sample`. ``backend`` changes nothing."""
        chain = {"z0": z0, "generator": generator, "trajectory": trajectory, "every": every}
        return exact_or_chain(self, lambda: self.mixture.draw(n, generator), n, steps, step_size, **chain)

    @torch.no_grad()
    def sample_level(self, z, level, steps=0, step_size=0.4, *, generator=None) -> Tensor:
        """Same signature as `JointEBMPrior.sample_level`. The draw is exact, so steps change nothing."""
        self.latents.check(z)
        return self.mixture.draw_columns(z, self.latents.columns(level), generator)


def fitted_prior(model: nn.Module, images: Batches, *, components: int = 10, seed: int = 0) -> MixturePrior:
    """A mixture on a trained model's codes of ``images``: one draw from q(z|x) each, of the first 20,000.

    Args:
        model: any `hebm_lib.model.Model`.
        images: the training images.
        components: number of Gaussians.
        seed: of the draws and of the fit.

    Example:
        >>> import hebm_lib as hl
        >>> model = hl.load_pretrained("digits")
        >>> prior = fitted_prior(model, hl.load_dataset("digits", "train").subset(slice(0, 300)), components=3)
        >>> model.decode(prior.sample(5)).shape
        torch.Size([5, 1, 8, 8])
    """
    noise = torch.Generator(model.device).manual_seed(seed)
    training = model.training
    model.eval()
    with torch.no_grad():
        parts = torch.arange(min(len(images), CODES)).split(1000)
        codes = torch.cat([model.draw(images.batch(part).to(model.device), generator=noise) for part in parts])
    model.train(training)
    return MixturePrior(model.latents, components=components).to(model.device).fit(codes, seed=seed)
