"""BiGAN-σ: a generator and an encoder against a discriminator of pairs, and a score made of both.

Model and learning::

    pairs (x, e(x)) of images, and (g(z), z) of codes z ~ N(0, I)
    D:     tells the first from the second by logistic regression, and is kept smooth: + λ ‖∇_x D(x, e(x))‖² / places
    g, e:  the same with the labels exchanged

Where nothing can tell the pairs apart, e and g undo each other. σ in the name is the discriminator's sigmoid, whose
cross-entropy makes the second part of the score::

    A(x) = 0.9 ‖x - g(e(x))‖₁ + 0.1 (-log D(g(e(x)), e(x)))

Source: Zenati, Foo, Lecouat, Manek and Chandrasekhar (2018), and their code, houssamzenati/Efficient-GAN-Anomaly-Detection.
Uses ``baseline.gradient_penalty`` (λ, 0 there). `BiGAN.own_score` is A: high for what is unfamiliar.

A code without noise has no bound. As for RAE, `BiGAN.encode` gives a Gaussian of a small fixed deviation around it, with
σ for the pixels; the model was trained on neither.

What differs from the published settings (entry ``published-bigan``, MNIST): our encoder and generator of one level, each
halving and doubling with a plain convolution beside the strided one; a discriminator with the encoder's widths and without
dropout; Xavier's rule instead of N(0, 0.02²); no average of the weights at test time; 100 epochs, a guess. The entry
``mnist-bigan`` has the widths of the other models of MNIST, higher rates for its fewer epochs, batch norm in the encoder as
well, and λ = 1,000 (Mescheder, Geiger and Nowozin 2018); in first tries without the two the generator fell upon a few images.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from hebm_lib.algorithm import Update
from hebm_lib.baselines.common import no_energy
from hebm_lib.baselines.critic import ImageCritic, gradient_penalty
from hebm_lib.baselines.rae import PointInference
from hebm_lib.config import ModelConfig, TrainingConfig
from hebm_lib.latents import LatentSpec
from hebm_lib.model import JointEBM, build_prior, register
from hebm_lib.networks import LadderGenerator

__all__ = ["BiGAN", "JudgedInference"]

ERROR_SHARE = 0.9
"""Weight of the error in the score; the discriminator has the rest."""


class JudgedInference(PointInference):
    """The encoder e, and beside it the discriminator of pairs.

    Attributes:
        critic: D's logit, an `ImageCritic` of images and codes; high for an image with its code.

    Example:
        >>> from hebm_lib.config import GeneratorConfig, InferenceConfig
        >>> ladder = {"factors": (), "widths": ()}
        >>> networks = {"generator": GeneratorConfig(entries=(), **ladder), "inference": InferenceConfig(reads=(), **ladder)}
        >>> encoder, x = JudgedInference(LatentSpec((3,)), ModelConfig(latent_dims=(3,), **networks)), torch.zeros(2, 1, 8, 8)
        >>> z = encoder(x).mean
        >>> z.shape, encoder.critic(x, z).shape
        (torch.Size([2, 3]), torch.Size([2]))
    """

    def __init__(self, latents: LatentSpec, config: ModelConfig):
        size, channels = config.image_size, config.image_channels
        super().__init__(latents, size, channels, config.inference)
        self.critic = ImageCritic(size, channels, config.inference, units=latents.total)


class BiGAN(JointEBM):
    """One level of points, trained against a discriminator; see the module's docstring. `ValueError` for more levels.

    Example:
        >>> from hebm_lib import build_model
        >>> from hebm_lib.config import GeneratorConfig, InferenceConfig, PriorConfig
        >>> ladder = {"factors": (), "widths": ()}
        >>> config = ModelConfig(
        ...     kind="bigan",
        ...     latent_dims=(4,),
        ...     generator=GeneratorConfig(entries=(), **ladder),
        ...     inference=InferenceConfig(reads=(), **ladder),
        ...     prior=PriorConfig(hidden=()),
        ... )
        >>> model = build_model(config).eval()
        >>> model.sample(5).shape, model.own_score(torch.zeros(2, 1, 8, 8)).shape
        (torch.Size([5, 1, 8, 8]), torch.Size([2]))
    """

    def __init__(
        self, generator: LadderGenerator, inference: JudgedInference, prior: nn.Module, sigma: float, penalty: float
    ):
        super().__init__(generator, inference, prior, sigma)
        self.penalty = penalty
        if self.latents.levels != 1:
            raise ValueError(f"a BiGAN has one level, got {self.latents.dims}")

    def own_score(self, x: Tensor) -> Tensor:
        """A(x), ``(n,)``: its decision function in Table 3, high for the unfamiliar."""
        z = self.encode(x).mean
        again = self.decode(z)
        error = (x - again).abs().flatten(1).sum(1)
        return ERROR_SHARE * error + (1 - ERROR_SHARE) * nn.functional.softplus(-self.inference.critic(again, z))

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """``critic``, the discriminator, and ``beta_phi``, generator and encoder."""
        critic = list(self.inference.critic.parameters())
        inside = {id(p) for p in critic}
        encoder = [p for p in self.inference.parameters() if id(p) not in inside]
        return {"critic": critic, "beta_phi": [*self.generator.parameters(), *encoder]}

    def algorithm(
        self, x: Tensor, config: TrainingConfig, epoch: float, generator: torch.Generator
    ) -> Iterator[Update]:
        """One step of the discriminator, then one of generator and encoder, on the same images and codes."""
        z = torch.randn(len(x), self.latents.total, dtype=x.dtype, device=x.device, generator=generator)
        codes, made = self.encode(x).mean, self.decode(z)
        critic, softplus = self.inference.critic, nn.functional.softplus

        def logits(detached: bool) -> tuple[Tensor, Tensor]:
            pairs = ((x, codes.to(x.dtype)), (made.to(x.dtype), z))
            images, all_codes = (torch.cat(part) for part in zip(*pairs, strict=True))
            if detached:
                images, all_codes = images.detach(), all_codes.detach()
            return critic(images, all_codes).split(len(x))

        real, fake = logits(detached=True)
        told = (softplus(-real) + softplus(fake)).mean()
        smooth = (
            self.penalty * gradient_penalty(lambda images: critic(images, codes.detach()), x) if self.penalty else 0.0
        )
        yield Update("critic", told + smooth, {"discriminator": told})
        real, fake = logits(detached=False)
        loss = (softplus(real) + softplus(-fake)).mean()
        yield Update("beta_phi", loss, {"loss": loss})


@register("bigan")
def build_bigan(config: ModelConfig) -> BiGAN:
    latents = LatentSpec(no_energy(config).latent_dims)
    return BiGAN(
        LadderGenerator(latents, config.image_size, config.image_channels, config.generator),
        JudgedInference(latents, config),
        build_prior(config),
        config.sigma,
        config.baseline.gradient_penalty,
    )
