"""Alternating back-propagation: no inference network, and a chain for every training image that never starts again.

Model and learning::

    p(x, z) = N(x; g(z), σ² I) N(z; 0, I)
    inference:  z_i ← z_i + (s²/2) [σ⁻² J_g(z_i)ᵀ (x_i - g(z_i)) - z_i] + s ε,   K' steps for the images i of a batch,
                from where the chain of image i stood when the image was last seen (Eq. 13 on log p(x_i, z_i))
    learning:   β:  raise  E log p(x|z)  at those codes

Both halves go back through the same network, once to its input and once to its weights. The gradient of the second is that
of the log-likelihood if the chains have arrived, and since they persist they may take many epochs for that.

Source: Han, Lu, Zhu and Wu (2017). Uses ``baseline.posterior`` (K' and s). It is the latent EBM with f = 0 and chains
that persist, and `ABP` shares its methods: `ABP.encode` summarises a chain from N(0, I) by a Gaussian, also for images that
were trained on, since chains belong to the run (`hebm_lib.training.needs.ImageChains`) and not to the model. The bound under
that Gaussian is valid, the log joint is the model's own score, and samples are ``g(z)`` of draws from N(0, I).

What differs from the published settings: neither the setting behind Table 2 nor a configuration for these images is stated
anywhere. The entry ``published-abp`` has what is remembered of the publication: σ = 0.3, 100 units, 30 steps of 0.3 (here
0.1, for which the chain is stable at this σ), on the generator of the latent EBM's code. The entries ``mnist-abp``,
``svhn-11k-abp`` and ``celeba-64-abp`` have the widths of the other models of their tables, 8 steps of 0.15 for time, and a
fifth or a quarter of the epochs, because every step goes through the generator nine times.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from hebm_lib.algorithm import Update
from hebm_lib.baselines.common import no_energy
from hebm_lib.baselines.lebm import LatentEBM, ShortRun
from hebm_lib.config import ModelConfig, TrainingConfig
from hebm_lib.latents import LatentSpec
from hebm_lib.model import build_prior, register
from hebm_lib.networks import LadderGenerator
from hebm_lib.training.needs import ImageChains

__all__ = ["ABP"]


class ABP(LatentEBM):
    """f = 0, one persistent posterior chain per image; see the module's docstring.

    Attributes:
        image_chains: where the chains stand, one per training image; the trainer says which images a batch holds. Outside a
            run every batch starts from N(0, I).

    Example:
        >>> from hebm_lib import Trainer, build_model, load_dataset
        >>> from hebm_lib.config import GeneratorConfig, InferenceConfig, PriorConfig
        >>> ladder = {"factors": (), "widths": ()}
        >>> config = ModelConfig(
        ...     kind="abp",
        ...     latent_dims=(4,),
        ...     generator=GeneratorConfig(entries=(), **ladder),
        ...     inference=InferenceConfig(reads=(), **ladder),
        ...     prior=PriorConfig(hidden=()),
        ... )
        >>> model = build_model(config)
        >>> data = load_dataset("digits", "train").subset(slice(0, 300))
        >>> _ = Trainer(model, TrainingConfig(epochs=1), progress=False).fit(data)
        >>> model.image_chains.states.shape, model.sample(5).shape
        (torch.Size([300, 4]), torch.Size([5, 1, 8, 8]))
    """

    def __init__(self, generator: LadderGenerator, inference: ShortRun, prior: nn.Module, sigma: float):
        super().__init__(generator, inference, prior, sigma)
        self.image_chains = ImageChains()

    def algorithm(
        self, x: Tensor, config: TrainingConfig, epoch: float, generator: torch.Generator
    ) -> Iterator[Update]:
        """One step: the chains of the batch's images go on, then the generator learns at where they stand."""
        within = self.image_chains.images is not None
        noise = {"dtype": x.dtype, "device": x.device, "generator": generator}
        z0 = self.image_chains.read() if within else torch.randn(len(x), self.latents.total, **noise)
        z = self.posterior_chain(x, z0, self.inference.chain.steps, generator=generator)
        if within:
            self.image_chains.write(z)
        sse, spread = self.sse(x, z).mean(), z.square().mean()
        loss = sse / (2 * self.sigma**2)
        yield Update("beta", loss, {"sse": sse, "codes": spread, "loss": loss})


@register("abp")
def build_abp(config: ModelConfig) -> ABP:
    latents = LatentSpec(no_energy(config).latent_dims)
    size, channels = config.image_size, config.image_channels
    return ABP(
        LadderGenerator(latents, size, channels, config.generator),
        ShortRun(latents, size, channels, config.baseline.posterior),
        build_prior(config),
        config.sigma,
    )
