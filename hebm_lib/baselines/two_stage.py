"""The two-stage VAE: a VAE whose pixel noise is learned, and a second VAE on its codes that mends its prior.

Model and losses::

    z_2 ~ N(0, I)      z_1 | z_2 ~ N(f(z_2), γ_z² I)      x | z_1 ~ N(g(z_1), γ_x² I)
    first stage:   lower  ‖x - g(z_1)‖²/(2 γ_x²) + D log γ_x + KL(q(z_1|x) ‖ N(0, I))           in g, q(z_1|x), γ_x
    second stage:  lower  ‖z_1 - f(z_2)‖²/(2 γ_z²) + d log γ_z + KL(q(z_2|z_1) ‖ N(0, I))        in f, q(z_2|z_1), γ_z,
                   on draws z_1 ~ q(z_1|x) of a first stage that stands still
    sampling:      z_2, then z_1 with its noise, then g(z_1) without

Source: Dai and Wipf (2019), and their code, daib13/TwoStageVAE. As γ_x falls, the first stage covers the data ever more
closely and its codes leave N(0, I); what law they have instead, the second stage learns. γ_x → 0 is meant. Uses
``baseline.first_stage``, the epochs of the first; the rest of the run is the second's.

Read as one model this is a hierarchy of two levels, z_1 and their u = z_2, with ``q(z|x) = q(z_1|x) q(z_2|z_1)``: its bound,
its log joint and redrawing a level come from `HierarchicalBaseline`. The terms of its KL are ``log q - log p`` at the draw.
σ of a config is where γ_x starts; afterwards ``model.sigma`` is γ_x.

What differs from the published settings (entry ``published-twostage``, their default networks, on CelebA at 64×64): images
in [-1, 1] and a tanh instead of [0, 1] and a sigmoid; a plain convolution beside each one with stride; no spectral norm in
the encoder; the input of the second stage's networks is not handed to their last layer a second time; deviations have a
floor; the rate falls by a factor each epoch instead of in halvings, anew for the second stage as theirs; batch 64 and
400 + 800 epochs are theirs. The entries ``mnist-twostage``, ``svhn-11k-twostage`` and ``celeba-64-twostage`` have the widths
of the other models of their tables, no batch norm, and give the first stage seven tenths of the epochs.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from hebm_lib.algorithm import Update
from hebm_lib.baselines.common import gaussian_log_prob, no_energy
from hebm_lib.baselines.conditional_prior import ConditionalPrior, positive
from hebm_lib.baselines.hierarchy import HierarchicalBaseline, Source
from hebm_lib.config import BaselineConfig, InferenceConfig, ModelConfig, TrainingConfig
from hebm_lib.latents import LatentSpec
from hebm_lib.model import Draw, check_paired, gaussian_kl, register
from hebm_lib.networks import GaussianHead, LadderGenerator, LadderInference, dense

__all__ = ["TwoStageInference", "TwoStagePrior", "TwoStageVAE"]


class TwoStagePrior(ConditionalPrior):
    """``p(z_2) = N(0, I)``, ``p(z_1|z_2) = N(f(z_2), γ_z² I)`` with one learned γ_z; f is the generator's way down to z_1.

    Args:
        generator: of two levels, of which the lower one replaces what comes from above.

    Example:
        >>> from hebm_lib.config import GeneratorConfig
        >>> config = GeneratorConfig(factors=(0,), widths=(16,), entries=("map",), join="replace")
        >>> prior = TwoStagePrior(LadderGenerator(LatentSpec((3, 2)), 8, 1, config))
        >>> mean, scale = prior.conditional(1, torch.zeros(4, 128), torch.zeros(4, 3))
        >>> mean.shape, scale.unique().tolist()
        (torch.Size([4, 3]), [1.0])
    """

    def __init__(self, generator: LadderGenerator):
        super().__init__(generator)
        (width,) = generator.arriving[0]
        self.heads = nn.ModuleList([nn.Linear(width, self.latents.dims[0])])
        self.log_noise = nn.Parameter(torch.zeros(()))

    def conditional(self, level: int, feature: Tensor | None, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of ``p(z_level | z_{>level})``, in the shape of ``like``."""
        if feature is None:
            return torch.zeros_like(like), torch.ones_like(like)
        mean = self.heads[0](feature)
        return mean, self.log_noise.exp().expand_as(mean)


class TwoStageInference(nn.Module):
    """``first``: q(z_1|x), the inference network of a model of one level. ``second``: q(z_2|z_1), a perceptron.

    Args:
        latents: of two levels.
        image_size, channels: of the images.
        config: all its places are passed by the first stage's trunk.
        hidden: widths of the second stage's hidden layers.

    Example:
        >>> inference = TwoStageInference(LatentSpec((3, 2)), 8, 1, InferenceConfig(), hidden=(16,))
        >>> inference.first(torch.zeros(4, 1, 8, 8)).mean.shape, inference.given(torch.zeros(4, 3))[0].shape
        (torch.Size([4, 3]), torch.Size([4, 2]))
    """

    def __init__(
        self, latents: LatentSpec, image_size: int, channels: int, config: InferenceConfig, *, hidden: tuple[int, ...]
    ):
        super().__init__()
        low, high = latents.dims
        passed = {
            "plain_factors": config.factors + config.plain_factors,
            "plain_widths": config.widths + config.plain_widths,
        }
        one = replace(config, factors=(), widths=(), reads=(), **passed)
        self.first = LadderInference(LatentSpec((low,)), image_size, channels, one)
        self.second = nn.Sequential(dense((low, *hidden), config.slope), GaussianHead((low, *hidden)[-1], high))

    def given(self, z_1: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of ``q(z_2|z_1)``, ``(n, d_2)`` each."""
        return positive(self.second(z_1))


class TwoStageVAE(HierarchicalBaseline):
    """Two VAEs, one on the other's codes; see the module's docstring. `ValueError` for another number of levels than two.

    Example:
        >>> from hebm_lib import build_model
        >>> from hebm_lib.config import GeneratorConfig, PriorConfig
        >>> generator = GeneratorConfig(factors=(0,), widths=(16,), entries=("map",), join="replace")
        >>> config = ModelConfig(
        ...     kind="twostage", latent_dims=(4, 4), generator=generator, prior=PriorConfig(hidden=()), sigma=0.5
        ... )
        >>> model = build_model(config)
        >>> model.sample(3).shape, round(model.sigma, 6)
        (torch.Size([3, 1, 8, 8]), 0.5)
    """

    def __init__(
        self,
        generator: LadderGenerator,
        inference: TwoStageInference,
        prior: TwoStagePrior,
        sigma: float,
        settings: BaselineConfig,
    ):
        generator.log_noise = nn.Parameter(torch.zeros(()))  # of the pixels
        super().__init__(generator, inference, prior, sigma, settings)

    @property
    def sigma(self) -> float:
        """γ_x, the learned deviation of the pixels."""
        return self.generator.log_noise.detach().exp().item()

    @sigma.setter
    def sigma(self, value: float) -> None:
        self.generator.log_noise.data.fill_(math.log(value))

    def pixel_log_likelihood(self, x: Tensor, mean: Tensor) -> Tensor:
        """``log N(x; mean, γ_x² I)``, ``(n,)``, differentiable in γ_x too; `ValueError` for images of another shape."""
        check_paired(x, mean)
        return gaussian_log_prob(x, mean, self.generator.log_noise.exp()).flatten(1).sum(1)

    def walk(self, x: Tensor, source: Source) -> Draw:
        """z_1 off the image, z_2 off z_1; then down for the prior's densities and the image."""
        posterior = self.inference.first(x)
        low = posterior.mean, posterior.stddev
        z_1 = source.code(1, *low)
        high = self.inference.given(z_1)
        codes, log_p = [z_1, source.code(2, *high)], [z_1, z_1]

        def choose(level: int, mean: Tensor, scale: Tensor) -> Tensor:
            log_p[level - 1] = gaussian_log_prob(codes[level - 1], mean, scale)
            return codes[level - 1]

        z, image = self.prior.walk(choose, self.latents.join(codes))
        mean, scale = (torch.cat(both, 1) for both in zip(low, high, strict=True))
        return Draw(z, image, mean, scale, gaussian_log_prob(z, mean, scale) - self.latents.join(log_p))

    # ---- training ---------------------------------------------------------------------------------------------------

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """``second``: f, γ_z and q(z_2|z_1); ``first``: all others."""
        parts = (self.generator.top, self.prior, self.inference.second)
        second = [p for part in parts for p in part.parameters()]
        known = {id(p) for p in second}
        return {"first": [p for p in self.parameters() if id(p) not in known], "second": second}

    def turns(self) -> dict[str, tuple[float, float]]:
        """The first stage's epochs, and all that come after them."""
        return {"first": (0, self.settings.first_stage), "second": (self.settings.first_stage, math.inf)}

    def first_loss(
        self, x: Tensor, weight: float, generator: torch.Generator | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The first stage's loss on a batch, a mean over images, its KL times ``weight``; and what to log."""
        posterior = self.inference.first(x)
        mean, scale = posterior.mean, posterior.stddev
        z_1 = mean + scale * torch.randn(mean.shape, dtype=mean.dtype, device=x.device, generator=generator)
        image = self.decode(
            torch.cat([z_1, z_1.new_zeros(len(x), self.latents.dims[1])], 1)
        )  # z_2 says nothing beside z_1
        kl = gaussian_kl(mean, scale).sum(1).mean()
        loss = weight * kl - self.pixel_log_likelihood(x, image).mean()
        sse, noise = self._squared_error(x, image).mean(), self.generator.log_noise.exp()
        return loss, {"sse": sse, "kl_first": kl, "pixel_noise": noise, "loss": loss}

    def second_loss(
        self, x: Tensor, weight: float, generator: torch.Generator | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The second stage's loss on draws of the first's codes, likewise. No gradient reaches the first stage."""
        self.inference.first.eval()
        with torch.no_grad():
            posterior = self.inference.first(x)
            noise = torch.randn(len(x), self.latents.total, dtype=x.dtype, device=x.device, generator=generator)
            low, high = self.latents.split(noise)
            z_1 = posterior.mean + posterior.stddev * low
        mean, scale = self.inference.given(z_1)
        image_of_code = self.prior.conditional(1, self.generator.top(mean + scale * high), z_1)
        kl = gaussian_kl(mean, scale).sum(1).mean()
        loss = weight * kl - gaussian_log_prob(z_1, *image_of_code).sum(1).mean()
        error = (z_1 - image_of_code[0]).square().sum(1).mean()
        return loss, {"code_sse": error, "kl_second": kl, "code_noise": self.prior.log_noise.exp(), "second_loss": loss}

    def algorithm(
        self, x: Tensor, config: TrainingConfig, epoch: float, generator: torch.Generator
    ) -> Iterator[Update]:
        """One step of the stage that it is time for; each begins with the KL's warm-up."""
        since = epoch - self.settings.first_stage
        stage, learn, done = ("first", self.first_loss, epoch) if since < 0 else ("second", self.second_loss, since)
        warm = min(1.0, done / config.kl_warmup_epochs) if config.kl_warmup_epochs else 1.0
        loss, terms = learn(x, warm, generator)
        yield Update(stage, loss, terms)


@register("twostage")
def build_two_stage(config: ModelConfig) -> TwoStageVAE:
    """Raises `ValueError` for another number of levels, and for a generator that lets more than z_1 through."""
    latents = LatentSpec(no_energy(config).latent_dims)
    down, size, channels = config.generator, config.image_size, config.image_channels
    if latents.levels != 2 or down.join != "replace" or down.factors != (0,):
        raise ValueError(
            "a two-stage VAE has two levels, of which the lower replaces the upper as a vector: generator.join 'replace' and "
            f"generator.factors (0,); got levels {latents.dims}, join {down.join!r}, factors {down.factors}"
        )
    generator = LadderGenerator(latents, size, channels, down)
    inference = TwoStageInference(latents, size, channels, config.inference, hidden=down.top_hidden[::-1])
    return TwoStageVAE(generator, inference, TwoStagePrior(generator), config.sigma, config.baseline)
