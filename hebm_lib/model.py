"""The whole model: generator, inference network and prior together (Eq. 2), and the terms of its bound (Sec. 3.4)."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from hebm_lib.config import ModelConfig
from hebm_lib.latents import LatentSpec
from hebm_lib.networks import LadderGenerator, LadderInference, check_range
from hebm_lib.prior import GaussianPrior, JointEBMPrior, Prior
from hebm_lib.sampling import LogZ

__all__ = [
    "Draw",
    "ElboTerms",
    "JointEBM",
    "Model",
    "bernoulli_log_likelihood",
    "build_model",
    "check_paired",
    "gaussian_kl",
    "register",
]


@dataclass(frozen=True)
class ElboTerms:
    """Terms of the evidence lower bound, one value per image, in nats.

    Attributes:
        reconstruction: ``E_q log p_β(x|z)`` with its constant, ``(n,)`` (one draw of z).
        kl: ``KL(q_φ(z_i|x) ‖ N(0, I))`` per level, ``(n, L)`` (closed form).
        energy: ``E_q f_α(z)``, ``(n,)`` (the same draw).
        sse: ``‖x - g(z)‖²`` summed over pixels, ``(n,)``.
        log_z: ``log Z(α)`` where it was given, such as ``prior.log_z().estimate``.
    """

    reconstruction: Tensor
    kl: Tensor
    energy: Tensor
    sse: Tensor
    log_z: float | None = None

    @property
    def elbo_plus_log_z(self) -> Tensor:
        """``ELBO + log Z(α)``, ``(n,)``: all that one image says. The partition function is `JointEBMPrior.log_z`."""
        return self.reconstruction - self.kl.sum(-1) + self.energy

    @property
    def elbo(self) -> Tensor:
        """The evidence lower bound, ``(n,)``.

        Raises:
            ValueError: where log Z was not given.
        """
        if self.log_z is None:
            raise ValueError(
                "the bound needs log Z: take terms.given(model.prior.log_z()), or elbo_plus_log_z where it does not matter"
            )
        return self.elbo_plus_log_z - self.log_z

    def given(self, log_z: LogZ | float) -> "ElboTerms":
        """The same terms with log Z, so that `elbo` can be read."""
        return replace(self, log_z=log_z.estimate if isinstance(log_z, LogZ) else float(log_z))


@dataclass(frozen=True)
class Draw:
    """One draw of all codes from the posterior, and what the bound needs of it.

    Attributes:
        z: the codes, ``(n, d)``.
        image: the mean image that they make, ``(n, C, H, W)``.
        mean, scale: of the Gaussian that each unit was drawn from, ``(n, d)``.
        kl: what each unit adds to the KL, ``(n, d)``: in closed form, or ``log q - log p`` at the draw, as the model's
            file says.
    """

    z: Tensor
    image: Tensor
    mean: Tensor
    scale: Tensor
    kl: Tensor


@runtime_checkable
class Model(Protocol):
    """What every model is, whatever its kind: ``p(x, z) = p(x|z) p(z)`` with an inference network ``q(z|x)``.

    Images ``x`` are ``(n, …)`` in [-1, 1], in the shape that the model's modules take; codes ``z`` are ``(n, d)``.

    Attributes:
        prior: p(z), a `Prior`.
        latents: sizes of z_1 … z_L.
        device: where the parameters are.
        gaussian_posterior: whether q(z|x) is the diagonal Gaussian that ``encode`` gives; in a conditional hierarchy it is not.
        bounds_levels: whether there are ``bound_above(x, k)``, a bound that leaves the lowest k levels to the prior, and
            ``terms_above(x, k)``, what it is made of.
    """

    prior: Prior
    gaussian_posterior: bool
    bounds_levels: bool

    @property
    def latents(self) -> LatentSpec: ...

    @property
    def device(self) -> torch.device: ...

    def encode(self, x: Tensor) -> Independent:
        """``q(z|x)``, or its summary along the mean path: batch shape ``(n,)``, event shape ``(d,)``."""

    def decode(self, z: Tensor) -> Tensor:
        """Mean images: ``(n, d) -> (n, …)``."""

    def reconstruct(self, x: Tensor) -> Tensor:
        """Mean images of the posterior mean: ``(n, …) -> (n, …)``."""

    def sample(self, n: int, steps: int = 60, step_size: float = 0.4, *, generator=None) -> Tensor:
        """``n`` mean images of prior draws."""

    def draw(self, x: Tensor, *, posterior: Independent | None = None, generator=None) -> Tensor:
        """One draw from q(z|x) per image, ``(n, d)``."""

    def log_weight(self, x: Tensor, *, posterior: Independent | None = None, generator=None) -> Tensor:
        """``log p(x, z) - log q(z|x)`` at one draw per image, ``(n,)``, up to the prior's log Z."""

    def elbo(
        self, x: Tensor, *, z: Tensor | None = None, posterior: Independent | None = None, generator=None
    ) -> ElboTerms:
        """The bound's terms per image, nats, at ``z`` or at one draw."""

    def pixel_log_likelihood(self, x: Tensor, mean: Tensor) -> Tensor:
        """``log p(x|z)`` of images around mean images, ``(n,)``, nats."""

    def log_joint(self, x: Tensor, z: Tensor) -> Tensor:
        """``log p(x|z) + log_prob_unnormalized(z)``, ``(n,)``, nats."""

    def noise_view(self):
        """What redrawing a level acts on: the model, or in a conditional hierarchy the model seen through its noise."""


def gaussian_kl(mean: Tensor, scale: Tensor) -> Tensor:
    """``KL(N(mean, scale²) ‖ N(0, 1)) = (mean² + scale² - 1) / 2 - log scale`` per unit, nats; any shape.

    >>> gaussian_kl(torch.tensor([0.0, 2.0]), torch.ones(2)).tolist()
    [0.0, 2.0]
    """
    return 0.5 * (mean.square() + scale.square() - 1) - scale.log()


LIKELIHOODS = ("gaussian", "laplace", "bernoulli")
"""Kinds of pixels that a `JointEBM` can have."""


class JointEBM(nn.Module):
    """``p(x, z) = p_β(x|z) p_α(z)`` (Eq. 2) with an inference network ``q_φ(z|x)`` (Eq. 7).

    Args:
        generator: g_β, any module with ``forward(z)``: ``(n, d)`` to mean images ``(n, …)`` in [-1, 1].
        inference: q_φ, any module with ``forward(x)``: images to ``torch.distributions.Independent(Normal(mean, deviation),
            1)``, batch shape ``(n,)`` and event shape ``(d,)``.
        prior: p_α, a `JointEBMPrior`, or a `GaussianPrior` for the same model without the energy. The levels are its.
        sigma: σ of Eq. 4, in units of the [-1, 1] image range.
        likelihood: log p(x|z). ``"gaussian"`` is Eq. 4; ``"laplace"`` has noise of scale σ; ``"bernoulli"`` has pixels that
            are on with the probability that a grey value says, and no σ.

    Raises:
        ValueError: if the parts disagree on the latent's levels, σ is not positive, or there is no such likelihood.

    Example:
        >>> from torch.distributions import Normal
        >>> class Encoder(nn.Linear):
        ...     def forward(self, x):
        ...         return Independent(Normal(super().forward(x), 0.5), 1)
        >>> prior = JointEBMPrior(LatentSpec((1, 2)), hidden=(8,))
        >>> model = JointEBM(nn.Sequential(nn.Linear(3, 6), nn.Tanh()), Encoder(6, 3), prior, sigma=0.3)
        >>> model.sample(16, steps=2).shape, model.elbo(torch.zeros(5, 6)).kl.shape
        (torch.Size([16, 6]), torch.Size([5, 2]))
    """

    gaussian_posterior, bounds_levels = True, False

    def __init__(
        self, generator: nn.Module, inference: nn.Module, prior: Prior, sigma: float, *, likelihood: str = "gaussian"
    ):
        super().__init__()
        ladders = [part for part in (generator, inference) if isinstance(part, LadderGenerator | LadderInference)]
        if any(ladder.latents != prior.latents for ladder in ladders):
            dims = ", ".join(str(part.latents.dims) for part in (*ladders, prior))
            raise ValueError(f"generator, inference and prior disagree on the levels: {dims}")
        if not sigma > 0:
            raise ValueError(f"sigma must be positive, got {sigma}")
        if likelihood not in LIKELIHOODS:
            raise ValueError(f"there is no likelihood {likelihood!r}; there are {', '.join(LIKELIHOODS)}")
        self.generator, self.inference, self.prior, self.sigma = generator, inference, prior, float(sigma)
        self.likelihood = likelihood

    @property
    def latents(self) -> LatentSpec:
        """Sizes of z_1 … z_L."""
        return self.prior.latents

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(chain(self.parameters(), self.buffers())).device

    def encode(self, x: Tensor) -> Independent:
        """``q_φ(z|x)``: a diagonal Gaussian with batch shape ``(n,)`` and event shape ``(d,)``.

        Raises:
            ValueError: for images of another shape or type; in evaluation mode also for NaN and values far outside [-1, 1];
                where the encoder's distribution has another shape.
            TypeError: where the encoder gives something else than ``Independent(Normal)``.
        """
        if not self.training:
            check_range(x)
        return self._checked_posterior(self.inference(x), len(x))

    def _checked_posterior(self, posterior: Independent, n: int) -> Independent:
        """What the encoder gave; raises where it is no diagonal Gaussian over z."""
        if not isinstance(posterior, Independent) or not isinstance(posterior.base_dist, Normal):
            raise TypeError(
                "the encoder must return torch.distributions.Independent(Normal(mean, deviation), 1), got "
                f"{type(posterior).__name__}"
            )
        if (posterior.batch_shape, posterior.event_shape) != ((n,), (self.latents.total,)):
            raise ValueError(
                f"the encoder must return batch shape ({n},) and event shape ({self.latents.total},) for levels "
                f"{self.latents.dims}, got {tuple(posterior.batch_shape)} and {tuple(posterior.event_shape)}"
            )
        return posterior

    def decode(self, z: Tensor) -> Tensor:
        """The mean image ``g_β(z)``: ``(n, d) -> (n, C, H, W)`` in [-1, 1].

        Raises:
            ValueError: for a z of another width, or where the decoder gives another number of images.
            TypeError: where the decoder gives no tensor.
        """
        self.latents.check(z)
        return self._checked_images(self.generator(z), len(z))

    def _checked_images(self, images: Tensor, n: int) -> Tensor:
        """What the decoder gave; raises where it is not one image per code."""
        if not isinstance(images, Tensor):
            raise TypeError(f"the decoder must return a tensor of images, got {type(images).__name__}")
        if images.ndim < 2 or len(images) != n:
            raise ValueError(f"the decoder must return one image per code, ({n}, …), got {tuple(images.shape)}")
        return images

    def reconstruct(self, x: Tensor) -> Tensor:
        """``g_β`` of the posterior mean: ``(n, C, H, W) -> (n, C, H, W)``."""
        return self.decode(self.encode(x).mean)

    @torch.no_grad()
    def sample(self, n: int, steps: int = 60, step_size: float = 0.4, *, generator=None) -> Tensor:
        """``n`` mean images of prior draws, ``(n, C, H, W)``; see `JointEBMPrior.sample` for K and s."""
        return self.decode(self.prior.sample(n, steps, step_size, generator=generator))

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """``log p_β(x|z)``, shape ``(n,)``; of Gaussian pixels ``-‖x - g(z)‖²/(2σ²) - (D/2) log(2πσ²)``."""
        return self.pixel_log_likelihood(x, self.decode(z))

    def sse(self, x: Tensor, z: Tensor) -> Tensor:
        """``‖x - g_β(z)‖²`` summed over pixels, shape ``(n,)``."""
        return self._squared_error(x, self.decode(z))

    def pixel_log_likelihood(self, x: Tensor, mean: Tensor) -> Tensor:
        """``log p(x|z)`` of images around their mean images, ``(n,)``: ``log N(x; mean, σ² I)``, or that of `likelihood`.

        Raises:
            ValueError: for images of another shape than the mean images, or of whole numbers.
        """
        if self.likelihood == "bernoulli":
            return bernoulli_log_likelihood(x, mean)
        pixels = math.prod(x.shape[1:])
        if self.likelihood == "laplace":
            check_paired(x, mean)
            return -((x - mean).abs().flatten(1) / self.sigma).sum(1) - pixels * math.log(2 * self.sigma)
        sse = self._squared_error(x, mean)
        return -sse / (2 * self.sigma**2) - 0.5 * pixels * math.log(2 * math.pi * self.sigma**2)

    @staticmethod
    def _squared_error(x: Tensor, mean: Tensor) -> Tensor:
        """``‖x - mean‖²``, ``(n,)``."""
        check_paired(x, mean)
        return (x - mean).square().flatten(1).sum(1)

    def log_joint(self, x: Tensor, z: Tensor) -> Tensor:
        """``log p_β(x|z) + f_α(z) + log N(z; 0, I)``, shape ``(n,)``: unnormalised, log Z(α) is left out."""
        if not self.training:
            check_range(x)
        return self.log_likelihood(x, z) + self.prior.log_prob_unnormalized(z)

    def log_weight(
        self, x: Tensor, *, posterior: Independent | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """``log p(x, z) - log q(z|x)`` at one draw of z per image, up to log Z(α): ``(n,)``.

        Its mean is the bound; the log of the mean of many ``exp`` of it is the importance-weighted bound.

        Args:
            x, posterior, generator: as of `draw`.
        """
        draw = self.draw_path(x, posterior=posterior, generator=generator)
        log_q = Normal(draw.mean, draw.scale, validate_args=False).log_prob(draw.z).sum(-1)
        return self.pixel_log_likelihood(x, draw.image) + self.prior.log_prob_unnormalized(draw.z) - log_q

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
        return self.terms(x, self.draw_path(x, z=z, posterior=posterior, generator=generator))

    def draw_path(
        self,
        x: Tensor,
        *,
        z: Tensor | None = None,
        posterior: Independent | None = None,
        generator: torch.Generator | None = None,
    ) -> Draw:
        """A draw with all that the bound needs of it, or the given ``z`` with the same; arguments as of `elbo`."""
        posterior = self.encode(x) if posterior is None else posterior
        z = self.draw(x, posterior=posterior, generator=generator) if z is None else z
        mean, scale = posterior.mean, posterior.stddev
        return Draw(z, self.decode(z), mean, scale, gaussian_kl(mean, scale))

    def terms(self, x: Tensor, draw: Draw) -> ElboTerms:
        """The bound's terms per image and level at one draw."""
        return ElboTerms(
            reconstruction=self.pixel_log_likelihood(x, draw.image),
            kl=torch.stack([part.sum(-1) for part in self.latents.split(draw.kl)], dim=-1),
            energy=self.prior(draw.z),
            sse=self._squared_error(x, draw.image),
        )

    def noise_view(self):
        """What redrawing a level acts on. Here the model itself: its levels are redrawn as they are."""
        return self


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

    Example:
        >>> model = build_model(ModelConfig(latent_dims=(2, 3)))
        >>> type(model).__name__, model.latents.dims, model.sample(4, steps=2).shape
        ('JointEBM', (2, 3), torch.Size([4, 1, 8, 8]))
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
    kind |= {"chains": p.chains, "restart": p.restart, "jumps": p.jumps}
    return JointEBMPrior(
        latents, hidden=p.hidden, spectral_norm=p.spectral_norm, slope=p.slope, lipschitz=p.lipschitz, **kind
    )


@register("joint-ebm")
def build_joint_ebm(config: ModelConfig) -> JointEBM:
    prior = build_prior(config)  # before the ladders: the order in which fresh weights are drawn
    return JointEBM(*build_ladder(config), prior, config.sigma, likelihood=config.baseline.likelihood)


def check_paired(x: Tensor, mean: Tensor) -> None:
    """Raise `ValueError` unless images ``x`` are floats of the mean images' shape: pixels that broadcast would count twice.

    One image beside many mean images, or many beside one, is meant and passes.
    """
    one = x.ndim == mean.ndim and x.shape[1:] == mean.shape[1:] and 1 in (len(x), len(mean))
    if (x.shape != mean.shape and not one) or not x.is_floating_point():
        raise ValueError(
            f"expected images of floats of shape {tuple(mean.shape)}, as the decoder makes them, got {x.dtype} "
            f"{tuple(x.shape)}"
        )


def bernoulli_log_likelihood(x: Tensor, mean: Tensor) -> Tensor:
    """``log p(x|z)`` of Bernoulli pixels, ``(n,)``; images ``x`` and mean images are in [-1, 1].

    A grey value is the probability ``(x + 1) / 2`` that the pixel is on; what is returned is the mean over all such
    black-and-white images.

    Raises:
        ValueError: for images of another shape than the mean images, or of whole numbers.

    >>> bernoulli_log_likelihood(torch.ones(1, 1, 1, 2), torch.zeros(1, 1, 1, 2)).exp()
    tensor([0.2500])
    """
    check_paired(x, mean)
    on, share = ((mean.to(x.dtype) + 1) / 2).clamp(1e-6, 1 - 1e-6), (x + 1) / 2
    return (share * on.log() + (1 - share) * (1 - on).log()).flatten(1).sum(1)
