"""The regularised autoencoder: no noise and no prior in training, a density on its codes afterwards.

Model, loss and density::

    z = μ(x),   x̂ = g(z)
    loss = (1/D) ‖(x - x̂)/2‖² + β (1/d) ‖z‖² + λ Σ (weights of g)²,   D pixel values, d units
    afterwards:  p(z) = Σ_k w_k N(z; μ_k, Σ_k), fitted to the codes of the training images;   x = g(z)

Source: Ghosh, Sajjadi, Vergari, Black and Schölkopf (2020), and their code, ParthaEth/Regularized_autoencoders-RAE-. The
factor 1/2 makes images of [-1, 1] what they are there, images of [0, 1]. Uses ``baseline.code_weight`` (β),
``decoder_weight`` (λ) and ``components``; ``decoder = "spectral"`` puts spectral norm on every layer of g in the place of
λ (their RAE-SN). The loss is multiplied by 2 D/σ², so that its first term is the squared error over 2σ² like everywhere.

The mixture is `hebm_lib.baselines.post_hoc.MixturePrior`. It is fitted at the end of every epoch, so that any checkpoint can
be sampled; nothing is trained on it.

A code without noise has no bound: the KL of a point is infinite. `RAE.encode` therefore gives a Gaussian of a small fixed
deviation around the code, under which the bound is valid like any other. The model was not trained on it. The score that
is its own is the log joint, ``log p(x|z) + log p(z)``, with the mixture for p(z) and σ for the pixels.

What differs from the published settings (entry ``published-rae``, CelebA at 64×64, RAE-SN with β = 2.4e-3): our ladders with
one level, where each halving has a plain convolution beside the strided one of 4×4 instead of one of 5×5, the decoder begins
at 8×8 with 1,024 channels and ends with a tanh instead of a sigmoid; leaky ReLU instead of ReLU; the learning rate falls by
a factor each epoch instead of halving on a plateau; the centre square of our packs instead of one of 140. The gradient
penalty on the decoder, their third variant, is left out. The entries ``mnist-rae``, ``svhn-11k-rae`` and ``celeba-64-rae``
have the widths of the other models of their tables, no batch norm, and RAE-L2.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.distributions import Independent
from torch.nn.utils import parametrizations

from hebm_lib.algorithm import Update
from hebm_lib.baselines.common import VariationalBaseline, no_energy
from hebm_lib.baselines.post_hoc import MixturePrior
from hebm_lib.config import BaselineConfig, InferenceConfig, ModelConfig, TrainingConfig
from hebm_lib.latents import LatentSpec
from hebm_lib.model import register
from hebm_lib.networks import LadderGenerator, check_images, diagonal_gaussian, way_to_the_top

__all__ = ["RAE", "PointInference"]

DEVIATION = 0.1


class PointInference(nn.Module):
    """An encoder that gives a point: the way to the top level of the other models, with one linear map at its end.

    Example:
        >>> config = InferenceConfig(factors=(), widths=(), reads=(), plain_factors=(2,), plain_widths=(8,))
        >>> posterior = PointInference(LatentSpec((3,)), 8, 1, config)(torch.zeros(4, 1, 8, 8))
        >>> posterior.mean.shape, posterior.stddev.unique().tolist()
        (torch.Size([4, 3]), [0.10000000149011612])
    """

    def __init__(self, latents: LatentSpec, image_size: int, channels: int, config: InferenceConfig):
        super().__init__()
        self.latents, self.image_size, self.channels = latents, image_size, channels
        self.plain, self.top, head = way_to_the_top(config, channels, 1, image_size, latents.total)
        self.mean = head.mean

    def forward(self, x: Tensor) -> Independent:
        check_images(x, self.channels, self.image_size)
        mean = self.mean(self.top(self.plain(x).flatten(1))).to(torch.promote_types(x.dtype, torch.float32))
        return diagonal_gaussian(mean, torch.full_like(mean, DEVIATION))


class RAE(VariationalBaseline):
    """One level of points, a mixture as prior; see the module's docstring. `ValueError` for a latent of more levels.

    Example:
        >>> from hebm_lib import Trainer, build_model, load_dataset
        >>> from hebm_lib.config import GeneratorConfig, PriorConfig
        >>> data = load_dataset("digits", "train").subset(slice(0, 400))
        >>> ladder = {"factors": (), "widths": ()}
        >>> config = ModelConfig(
        ...     kind="rae",
        ...     latent_dims=(4,),
        ...     generator=GeneratorConfig(entries=(), **ladder),
        ...     inference=InferenceConfig(reads=(), **ladder),
        ...     prior=PriorConfig(hidden=()),
        ...     baseline=BaselineConfig(components=3),
        ... )
        >>> model = build_model(config)
        >>> _ = Trainer(model, TrainingConfig(epochs=1), progress=False).fit(data)
        >>> model.sample(5).shape, bool(model.prior.mixture.mean.any())  # fitted
        (torch.Size([5, 1, 8, 8]), True)
    """

    def __init__(
        self,
        generator: LadderGenerator,
        inference: PointInference,
        prior: MixturePrior,
        sigma: float,
        settings: BaselineConfig,
    ):
        super().__init__(generator, inference, prior, sigma, settings)
        if self.latents.levels != 1:
            raise ValueError(f"a regularised autoencoder has one level, got {self.latents.dims}")

    def fit_codes(self, codes: Tensor, *, seed: int) -> None:
        """Fit the mixture to codes ``(n, d)``; the trainer calls it after every epoch (`hebm_lib.training.needs`). With fewer
        codes than components the prior stays as it is."""
        if len(codes) >= self.settings.components:
            self.prior.fit(codes, seed=seed)

    def algorithm(
        self, x: Tensor, config: TrainingConfig, epoch: float, generator: torch.Generator
    ) -> Iterator[Update]:
        """One step: lower the loss on a batch ``x``. There is no noise to draw."""
        z = self.encode(x).mean
        sse = self.sse(x, z).mean()
        scale, s = 2 * x[0].numel() / self.sigma**2, self.settings
        codes = z.square().mean()
        loss = sse / (2 * self.sigma**2) + scale * s.code_weight * codes
        if s.decoder == "weights":
            loss = loss + scale * s.decoder_weight * sum(p.square().sum() for p in self.generator.parameters())
        yield Update("beta_phi", loss, {"sse": sse, "codes": codes, "loss": loss})


def with_spectral_norm(network: nn.Module) -> nn.Module:
    """The network with every linear and convolutional layer's largest singular value kept at 1."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            parametrizations.spectral_norm(layer)
    return network


@register("rae")
def build_rae(config: ModelConfig) -> RAE:
    latents = LatentSpec(no_energy(config).latent_dims)
    size, channels = config.image_size, config.image_channels
    if latents.levels != 1:
        raise ValueError(f"a regularised autoencoder has one level, got {latents.dims}")
    generator = LadderGenerator(latents, size, channels, config.generator)
    if config.baseline.decoder == "spectral":
        with_spectral_norm(generator)
    inference = PointInference(latents, size, channels, config.inference)
    prior = MixturePrior(latents, components=config.baseline.components)
    return RAE(generator, inference, prior, config.sigma, config.baseline)
