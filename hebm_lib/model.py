"""The whole model: generator, inference network and prior together (Eq. 2), and the terms of its bound (Sec. 3.4)."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Independent

from hebm_lib.config import ModelConfig
from hebm_lib.latents import LatentSpec
from hebm_lib.networks import LadderGenerator, LadderInference, check_images, check_range
from hebm_lib.prior import GaussianPrior, JointEBMPrior

__all__ = ["ElboTerms", "JointEBM", "bernoulli_log_likelihood", "build_model", "gaussian_kl", "register"]


@dataclass(frozen=True)
class ElboTerms:
    """Terms of the evidence lower bound, one value per image, in nats.

    Attributes:
        reconstruction: ``E_q log p_β(x|z)`` with its constant, ``(n,)`` (one draw of z).
        kl: ``KL(q_φ(z_i|x) ‖ N(0, I))`` per level, ``(n, L)`` (closed form).
        energy: ``E_q f_α(z)``, ``(n,)`` (the same draw).
        sse: ``‖x - g(z)‖²`` summed over pixels, ``(n,)``.
    """

    reconstruction: Tensor
    kl: Tensor
    energy: Tensor
    sse: Tensor

    @property
    def elbo_plus_log_z(self) -> Tensor:
        """``ELBO + log Z(α)``, ``(n,)``: the partition function of Eq. 3 is the one term nobody can read off."""
        return self.reconstruction - self.kl.sum(-1) + self.energy


def gaussian_kl(mean: Tensor, scale: Tensor) -> Tensor:
    """``KL(N(mean, scale²) ‖ N(0, 1))`` per unit."""
    return 0.5 * (mean.square() + scale.square() - 1) - scale.log()


class JointEBM(nn.Module):
    """``p(x, z) = p_β(x|z) p_α(z)`` (Eq. 2) with an inference network ``q_φ(z|x)`` (Eq. 7).

    Args:
        generator: g_β.
        inference: q_φ.
        prior: p_α, a `JointEBMPrior`, or a `GaussianPrior` for the same model without the energy.
        sigma: σ of Eq. 4, in units of the [-1, 1] image range.

    Raises:
        ValueError: if the parts disagree on the latent's levels, or σ is not positive.
    """

    def __init__(self, generator: LadderGenerator, inference: LadderInference, prior: nn.Module, sigma: float):
        super().__init__()
        ladders = [part for part in (generator, inference) if isinstance(part, LadderGenerator | LadderInference)]
        if any(ladder.latents != prior.latents for ladder in ladders):
            dims = ", ".join(str(part.latents.dims) for part in (*ladders, prior))
            raise ValueError(f"generator, inference and prior disagree on the levels: {dims}")
        if not sigma > 0:
            raise ValueError(f"sigma must be positive, got {sigma}")
        self.generator, self.inference, self.prior, self.sigma = generator, inference, prior, float(sigma)

    @property
    def latents(self) -> LatentSpec:
        """Sizes of z_1 … z_L."""
        return self.prior.latents

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    def encode(self, x: Tensor) -> Independent:
        """``q_φ(z|x)``: a diagonal Gaussian with batch shape ``(n,)`` and event shape ``(d,)``.

        Raises:
            ValueError: for images of another shape or type; in evaluation mode also for NaN and values far outside [-1, 1].
        """
        if not self.training:
            check_range(x)
        return self.inference(x)

    def decode(self, z: Tensor) -> Tensor:
        """The mean image ``g_β(z)``: ``(n, d) -> (n, C, H, W)`` in [-1, 1]."""
        return self.generator(z)

    def reconstruct(self, x: Tensor) -> Tensor:
        """``g_β`` of the posterior mean: ``(n, C, H, W) -> (n, C, H, W)``."""
        return self.decode(self.encode(x).mean)

    @torch.no_grad()
    def sample(self, n: int, steps: int = 60, step_size: float = 0.4, *, generator=None) -> Tensor:
        """``n`` mean images of prior draws, ``(n, C, H, W)``; see `JointEBMPrior.sample` for K and s."""
        return self.decode(self.prior.sample(n, steps, step_size, generator=generator))

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """``log p_β(x|z) = -‖x - g(z)‖²/(2σ²) - (D/2) log(2πσ²)``, shape ``(n,)``."""
        return self.pixel_log_likelihood(x, self.decode(z))

    def sse(self, x: Tensor, z: Tensor) -> Tensor:
        """``‖x - g_β(z)‖²`` summed over pixels, shape ``(n,)``."""
        return (x - self.decode(z)).square().flatten(1).sum(1)

    def pixel_log_likelihood(self, x: Tensor, mean: Tensor) -> Tensor:
        """``log N(x; mean, σ² I)`` of images around their mean images, shape ``(n,)``."""
        return self._log_likelihood((x - mean).square().flatten(1).sum(1), x[0].numel())

    def _log_likelihood(self, sse: Tensor, pixels: int) -> Tensor:
        return -sse / (2 * self.sigma**2) - 0.5 * pixels * math.log(2 * math.pi * self.sigma**2)

    def log_joint(self, x: Tensor, z: Tensor) -> Tensor:
        """``log p_β(x|z) + f_α(z) + log N(z; 0, I)``, shape ``(n,)``: unnormalised, log Z(α) is left out."""
        if isinstance(self.inference, LadderInference):
            check_images(x, self.inference.channels, self.inference.image_size)
        if not self.training:
            check_range(x)
        return self.log_likelihood(x, z) + self.prior.log_prob_unnormalized(z)

    def draw(
        self, x: Tensor, *, posterior: Independent | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """One draw from ``q_φ(z|x)`` per image, ``(n, d)``, differentiable.

        Args:
            x: images ``(n, C, H, W)`` in [-1, 1].
            posterior: ``encode(x)`` where the caller has it already.
            generator: source of the noise; torch's global one if None.
        """
        posterior = self.encode(x) if posterior is None else posterior
        mean = posterior.mean
        return mean + posterior.stddev * torch.randn(mean.shape, device=x.device, dtype=mean.dtype, generator=generator)

    def elbo(
        self,
        x: Tensor,
        *,
        z: Tensor | None = None,
        posterior: Independent | None = None,
        generator: torch.Generator | None = None,
    ) -> ElboTerms:
        """The bound's terms for each image (Sec. 3.4), differentiable.

        Args:
            x: images ``(n, C, H, W)`` in [-1, 1].
            z: the draw from the posterior to use, ``(n, d)``; None draws one.
            posterior: ``encode(x)`` where the caller has it already.
            generator: source of that draw's noise; torch's global one if None.
        """
        posterior = self.encode(x) if posterior is None else posterior
        z = self.draw(x, posterior=posterior, generator=generator) if z is None else z
        kl = gaussian_kl(posterior.mean, posterior.stddev)
        sse = self.sse(x, z)
        return ElboTerms(
            reconstruction=self._log_likelihood(sse, x[0].numel()),
            kl=torch.stack([part.sum(-1) for part in self.latents.split(kl)], dim=-1),
            energy=self.prior(z),
            sse=sse,
        )


BUILDERS: dict[str, Callable[[ModelConfig], nn.Module]] = {}
"""What builds a model of each kind. A kind from a higher floor puts itself in, so that nothing here knows it."""


def register(kind: str) -> Callable:
    """Decorator: the function below it builds the models whose config says ``kind``."""

    def keep(builder: Callable[[ModelConfig], nn.Module]) -> Callable[[ModelConfig], nn.Module]:
        BUILDERS[kind] = builder
        return builder

    return keep


def build_model(config: ModelConfig) -> nn.Module:
    """The model that a config describes, with fresh weights from torch's global generator; ``model.config`` is that config.

    Raises:
        ValueError: for a kind that nothing registered.
    """
    if config.kind not in BUILDERS:
        raise ValueError(f"there is no model of kind {config.kind!r}; there are {', '.join(sorted(BUILDERS))}")
    model = BUILDERS[config.kind](config)
    model.config = config
    return model


def build_ladder(config: ModelConfig) -> tuple[LadderGenerator, LadderInference]:
    """The two ladders of a config."""
    latents = LatentSpec(config.latent_dims)
    size, channels = config.image_size, config.image_channels
    return (
        LadderGenerator(latents, size, channels, config.generator),
        LadderInference(latents, size, channels, config.inference),
    )


def build_prior(config: ModelConfig) -> nn.Module:
    """The joint energy of a config, or the plain Gaussian where it has no hidden layer."""
    latents, p = LatentSpec(config.latent_dims), config.prior
    if not p.hidden:
        return GaussianPrior(latents)
    kind = {"separate": p.levels == "separate", "activation": p.activation, "zero": p.start == "zero"}
    kind |= {"chains": p.chains, "restart": p.restart}
    return JointEBMPrior(
        latents, hidden=p.hidden, spectral_norm=p.spectral_norm, slope=p.slope, lipschitz=p.lipschitz, **kind
    )


@register("joint-ebm")
def build_joint_ebm(config: ModelConfig) -> JointEBM:
    prior = build_prior(config)  # before the ladders: the order in which fresh weights are drawn
    return JointEBM(*build_ladder(config), prior, config.sigma)


def bernoulli_log_likelihood(x: Tensor, mean: Tensor) -> Tensor:
    """``log p(x|z)`` of Bernoulli pixels, ``(n,)``; images ``x`` and mean images are in [-1, 1].

    A grey value is the probability ``(x + 1) / 2`` that the pixel is on; what is returned is the mean over all such
    black-and-white images.
    """
    on, share = ((mean.to(x.dtype) + 1) / 2).clamp(1e-6, 1 - 1e-6), (x + 1) / 2
    return (share * on.log() + (1 - share) * (1 - on).log()).flatten(1).sum(1)
