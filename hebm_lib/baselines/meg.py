"""MEG, maximum entropy generators: an energy of images, and a generator that learns to sample from it.

Model and learning::

    p(x) ∝ exp(-E(x)),   samples x = g(z), z ~ N(0, I)
    E:  lower  E(x) - E(g(z)) + λ ‖∇_x E(x)‖² / places       on real x, several times per step
    g:  lower  E(g(z)) - I(g(z); z),   the second term in the place of the entropy of g(z)
    I:  a classifier T tells pairs (g(z), z) from pairs whose codes are exchanged; its log-likelihood rises with I

A generator that only sought low energy would stop at one image. A code that can be read off its image keeps images apart:
g lowers E and T's error together.

Source: Kumar, Ozair, Goyal, Courville and Bengio (2019), and their code, ritheshkumar95/energy_based_generative_models. Uses
``baseline.gradient_penalty`` (λ), ``energy.updates`` (steps of E per step of g) and ``baseline.posterior``. Images are
scored by E (`MEG.own_score`): high for what is unfamiliar.

Nothing is inferred in it. So that it can be asked for what every model of the book is asked for, `MEG.encode` is the latent
EBM's short run on ``log N(x; g(z), σ² I) + log N(z; 0, I)``, and its bound is valid as any other; it was not trained on it.

What differs from the published settings (entry ``published-meg``, MNIST): each halving and doubling has a plain convolution
beside the strided one of 4×4 instead of one of 5×5; images of 32×32 with a border; Xavier's rule instead of N(0, 0.02²); E's
steps share one batch of images and draw fresh codes, where theirs takes five batches. The entry ``mnist-meg`` has the widths
of the other models of MNIST, two steps of E, and higher rates for its fewer epochs. Their second way to sample, a Markov
chain on ``E(g(z))``, is left out.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from hebm_lib.algorithm import Update
from hebm_lib.baselines.common import no_energy
from hebm_lib.baselines.critic import ImageCritic, gradient_penalty
from hebm_lib.baselines.lebm import LatentEBM, ShortRun
from hebm_lib.config import ModelConfig, TrainingConfig
from hebm_lib.latents import LatentSpec
from hebm_lib.model import build_prior, register
from hebm_lib.networks import LadderGenerator

__all__ = ["MEG", "ImageEnergy", "pair_loss"]


class ImageEnergy(ShortRun):
    """The two networks that look at images, beside the posterior chain's settings.

    Attributes:
        energy: E, an `ImageCritic` of images.
        information: T, one of images and codes.

    Example:
        >>> from hebm_lib.config import GeneratorConfig, InferenceConfig
        >>> ladder = {"factors": (), "widths": ()}
        >>> networks = {"generator": GeneratorConfig(entries=(), **ladder), "inference": InferenceConfig(reads=(), **ladder)}
        >>> both, x = ImageEnergy(LatentSpec((3,)), ModelConfig(latent_dims=(3,), **networks)), torch.zeros(2, 1, 8, 8)
        >>> both.energy(x).shape, both.information(x, torch.zeros(2, 3)).shape
        (torch.Size([2]), torch.Size([2]))
    """

    def __init__(self, latents: LatentSpec, config: ModelConfig):
        super().__init__(latents, config.image_size, config.image_channels, config.baseline.posterior)
        size, channels = config.image_size, config.image_channels
        self.energy = ImageCritic(size, channels, config.inference)
        self.information = ImageCritic(size, channels, config.inference, units=latents.total)


def pair_loss(together: Tensor, apart: Tensor) -> Tensor:
    """Cross-entropy of a classifier with these logits, ``(n,)`` each: pairs that belong together, and exchanged ones.

    The best classifier's is ``2 log 2`` minus twice the Jensen-Shannon divergence between the joint law of a pair and the
    product of its two: the lower, the more a pair's parts know of each other.

    Example:
        >>> pair_loss(torch.zeros(3), torch.zeros(3)).item()  # 2 log 2
        1.386...
    """
    return (nn.functional.softplus(-together) + nn.functional.softplus(apart)).mean()


class MEG(LatentEBM):
    """One level, an energy of images, no likelihood in training; see the module's docstring.

    Example:
        >>> from hebm_lib import build_model
        >>> from hebm_lib.config import GeneratorConfig, InferenceConfig, PriorConfig
        >>> ladder = {"factors": (), "widths": ()}
        >>> config = ModelConfig(
        ...     kind="meg",
        ...     latent_dims=(4,),
        ...     generator=GeneratorConfig(entries=(), **ladder),
        ...     inference=InferenceConfig(reads=(), **ladder),
        ...     prior=PriorConfig(hidden=()),
        ... )
        >>> model = build_model(config)
        >>> model.sample(5).shape, model.own_score(torch.zeros(2, 1, 8, 8)).shape
        (torch.Size([5, 1, 8, 8]), torch.Size([2]))
    """

    def __init__(
        self, generator: LadderGenerator, inference: ImageEnergy, prior: nn.Module, sigma: float, penalty: float
    ):
        super().__init__(generator, inference, prior, sigma)
        self.penalty = penalty

    def own_score(self, x: Tensor) -> Tensor:
        """E(x), ``(n,)``: its decision function in Table 3, high for the unfamiliar."""
        return self.inference.energy(x)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """``alpha``, the energy of images; ``beta``, the generator and the classifier that keeps its images apart."""
        return {
            "alpha": list(self.inference.energy.parameters()),
            "beta": [*self.generator.parameters(), *self.inference.information.parameters()],
        }

    def algorithm(
        self, x: Tensor, config: TrainingConfig, epoch: float, generator: torch.Generator
    ) -> Iterator[Update]:
        """One step: the energy ``energy.updates`` times, then the generator and its classifier."""
        energy, information = self.inference.energy, self.inference.information
        noise = {"dtype": x.dtype, "device": x.device, "generator": generator}
        for i in range(config.energy.updates):
            with torch.no_grad():
                made = self.decode(torch.randn(len(x), self.latents.total, **noise))
            real, fake = energy(torch.cat([x, made.to(x.dtype)])).split(len(x))
            smooth = gradient_penalty(energy, x)
            terms = {"energy_data": real.mean(), "energy_samples": fake.mean(), "gradient": smooth}
            yield Update("alpha", real.mean() - fake.mean() + self.penalty * smooth, terms if i == 0 else {})
        z = torch.randn(len(x), self.latents.total, **noise)
        made = self.decode(z)
        # Exchanged by one place: every code meets another image, and nothing is drawn.
        together, apart = (information(made, codes) for codes in (z, z.roll(1, 0)))
        pairs = pair_loss(together, apart)
        loss = energy(made).mean() + pairs
        yield Update("beta", loss, {"pairs": pairs, "loss": loss})


@register("meg")
def build_meg(config: ModelConfig) -> MEG:
    latents = LatentSpec(no_energy(config).latent_dims)
    return MEG(
        LadderGenerator(latents, config.image_size, config.image_channels, config.generator),
        ImageEnergy(latents, config),
        build_prior(config),
        config.sigma,
        config.baseline.gradient_penalty,
    )
