"""NCP-VAE: a VAE first, then a classifier that turns its Gaussian prior into the aggregate posterior.

Model and learning::

    p(z) = r(z) N(z; 0, I) / Z,   r(z) = D(z) / (1 - D(z)) = exp f(z),   p(x|z) = N(g(z), σ² I)
    first:   g and q(z|x) on the bound of the Gaussian prior, f = 0
    then:    D tells draws of q(z) = E_x q(z|x) from draws of N(0, I) by logistic regression; g and q stand still

The best D has ``r = q(z) / N(z; 0, I)``: the prior becomes the aggregate posterior, with Z = 1. It is drawn from by
importance resampling, M draws of N(0, I) of which one is kept with probability proportional to r, or by Langevin dynamics
on ``log r(z) + log N(z; 0, I)``.

Source: Aneja, Schwing, Kautz and Vahdat (2021). The prior is a `hebm_lib.prior.JointEBMPrior` whose f is D's logit, learned
by `hebm_lib.algorithm.learn_ratio`. The VAE's epochs are ``baseline.vae_epochs``, the classifier's are the others. With 0
of them both learn side by side, the classifier on codes without gradient, so that the VAE is the same VAE.

What differs from the published settings: their backbone is a NVAE and its levels condition on each other, with one
classifier per level given the levels above. Here the levels are independent under N(0, I), and one classifier of all levels
has the same best answer as their product. Number of draws M, step size and the classifier's network were not found; the
network here is that of the joint EBM's energy without spectral norm, at a rate that was found by trial. M = 5,000 is ours,
and so are the sizes of ``published-ncpvae`` on CelebA at 64×64. No batch norm: a frozen network would go on moving its
statistics.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from hebm_lib.algorithm import Update, learn_ladder, learn_ratio, parameter_groups
from hebm_lib.config import ModelConfig, TrainingConfig
from hebm_lib.model import JointEBM, build_ladder, build_prior, register
from hebm_lib.prior import JointEBMPrior

__all__ = ["NCPVAE", "resample"]


@torch.no_grad()
def resample(
    prior: JointEBMPrior, n: int, proposals: int = 5000, *, generator: torch.Generator | None = None
) -> Tensor:
    """``n`` draws of ``exp(f(z)) N(z; 0, I) / Z`` by importance resampling, ``(n, d)``; exact as ``proposals`` grows.

    Args:
        prior: gives f and the number of units.
        n: how many, each from proposals of its own: they are independent.
        proposals: M, draws of N(0, I) per draw that is kept.
        generator: source of all noise.

    Raises:
        ValueError: without a proposal.

    Example:
        >>> import hebm_lib as hl
        >>> prior = hl.JointEBMPrior(hl.LatentSpec((1, 2)), hidden=(8,))
        >>> resample(prior, 4, 100, generator=torch.Generator().manual_seed(0)).shape
        torch.Size([4, 3])
    """
    if proposals < 1:
        raise ValueError(f"importance resampling needs at least one proposal, got {proposals}")
    like, d = next(prior.parameters()), prior.latents.total
    place = {"dtype": like.dtype, "device": like.device}
    f, kept = prior.plain(like.dtype), []
    for _ in range(n):  # one at a time: proposals are many, memory is not
        z = torch.randn(proposals, d, **place, generator=generator)
        # The largest of f + Gumbel noise is a draw with probability proportional to exp f.
        gumbel = -torch.empty(proposals, **place).exponential_(generator=generator).log()
        kept.append(z[(f(z) + gumbel).argmax()])
    return torch.stack(kept) if kept else like.new_empty(0, d)


class NCPVAE(JointEBM):
    """A VAE and a classifier on its codes; see the module's docstring. `ValueError` without hidden layers for f.

    Example:
        >>> from hebm_lib import build_model
        >>> model = build_model(ModelConfig(kind="ncpvae", latent_dims=(2, 3)))
        >>> model.sample(4, steps=5, step_size=0.1).shape, model.sample_by_resampling(4, 50).shape
        (torch.Size([4, 1, 8, 8]), torch.Size([4, 1, 8, 8]))
    """

    def __init__(
        self, generator: nn.Module, inference: nn.Module, prior: JointEBMPrior, sigma: float, vae_epochs: float
    ):
        super().__init__(generator, inference, prior, sigma)
        self.vae_epochs = vae_epochs

    @torch.no_grad()
    def sample_by_resampling(
        self, n: int, proposals: int = 5000, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """``n`` mean images of prior draws by `resample`; `sample` draws by Langevin dynamics."""
        return self.decode(resample(self.prior, n, proposals, generator=generator))

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """``alpha``, the classifier, and ``beta_phi``, the VAE."""
        return parameter_groups(self)

    def turns(self) -> dict[str, tuple[float, float]]:
        """The VAE's epochs, then the classifier's; none where both learn side by side."""
        if not self.vae_epochs:
            return {}
        return {"beta_phi": (0, self.vae_epochs), "alpha": (self.vae_epochs, math.inf)}

    def algorithm(
        self, x: Tensor, config: TrainingConfig, epoch: float, generator: torch.Generator
    ) -> Iterator[Update]:
        """One step of the VAE while its epochs last, then of the classifier; of both where no epochs were set aside."""
        first = self.vae_epochs
        posterior = self.encode(x)
        z = self.draw(x, posterior=posterior, generator=generator)
        if epoch >= first:
            yield from learn_ratio(self.prior, z.detach(), generator=generator)
        if epoch < first or not first:
            yield from learn_ladder(self, x, config, epoch, z=z, posterior=posterior, energy=False)


@register("ncpvae")
def build_ncpvae(config: ModelConfig) -> NCPVAE:
    if not config.prior.hidden:
        raise ValueError("NCP-VAE's prior is a classifier: model.prior.hidden needs at least one width")
    prior = build_prior(config)
    return NCPVAE(*build_ladder(config), prior, config.sigma, config.baseline.vae_epochs)
