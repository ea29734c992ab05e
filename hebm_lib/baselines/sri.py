"""Short-run inference: a conditional hierarchy whose posterior is a short chain in the space of its noise.

Model and learning::

    ε = [ε_1, …, ε_L] ~ N(0, I),   z_L = ε_L,   z_i = μ_i(z_{>i}) + σ_i(z_{>i}) ε_i,   x ~ N(g(z), σ² I)
    inference:  ε ← ε + (s²/2) ∇_ε [-‖x - g(z(ε))‖² / (2σ²) - ‖ε‖²/2] + s η,   K' steps from N(0, I), never persistent
    learning:   generator and conditionals together:  raise  E log p(x | z(ε))  at those ε

In noise the prior is N(0, I) whatever the conditionals are, so one step size serves all levels; in z it would not.

Source: Nijkamp, Pang, Han, Zhou, Zhu and Wu (2020), and their code, enijkamp/short_run_inf. Uses ``baseline.posterior`` (K'
and s).

The chain gives draws but no density. As for the latent EBM, its mean m and deviation ρ over time make a Gaussian,
``q(ε|x) = N(m, diag ρ²)``, which in z is a hierarchy like any other: ``q(z_i | z_{>i}, x) = N(μ_i + σ_i m_i, (σ_i ρ_i)²)``,
with ``KL(q(z|x) ‖ p(z)) = KL(N(m, ρ²) ‖ N(0, I))`` level by level in closed form. Any q makes a valid bound; this one is not
what the model was trained with.

What differs from the published settings (entry ``published-sri``: five levels of 64-64-64-96-128 units, the first the top,
25 steps of 0.05, σ = 0.15, 600 epochs, batch 100): our ladder, whose levels join by addition in blocks of plain
convolutions, instead of residual blocks of 5×5 that are all at 16×16; conditionals read by one linear map, with a floor of
0.05 and no cap under the deviations; leaky ReLU instead of GELU; the rate falls by a factor each epoch instead of in three
halvings; 64×64 faces of ``celeba-64`` instead of 40,000 of 32×32. Their second step, which chooses s by the KL from the short
run to the posterior, is left out, as in their code. The entries ``mnist-sri``, ``svhn-11k-sri`` and ``celeba-64-sri`` have the
widths of the other models of their tables, 8 steps of 0.15 for time and a fifth or a quarter of the epochs.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.distributions import Independent

from hebm_lib.algorithm import Update
from hebm_lib.baselines.common import no_energy
from hebm_lib.baselines.conditional_prior import ConditionalPrior
from hebm_lib.baselines.hierarchy import HierarchicalBaseline, MeanPath, Source
from hebm_lib.baselines.lebm import DEVIATION_FLOOR, ShortRun
from hebm_lib.config import BaselineConfig, ModelConfig, TrainingConfig
from hebm_lib.langevin import langevin_dynamics
from hebm_lib.latents import LatentSpec
from hebm_lib.model import Draw, gaussian_kl, register
from hebm_lib.networks import LadderGenerator, check_images, diagonal_gaussian
from hebm_lib.prior import standard_normal_log_prob

__all__ = ["SRI", "ShortRunPath"]


class ShortRunPath(MeanPath):
    """What `SRI.encode` gives: the path of the middle of the short run, and the Gaussian of ε around it.

    Passed on as ``posterior``, it saves running the chain again for every draw of the same images.

    Example:
        >>> one = torch.ones(2, 3)
        >>> path = ShortRunPath(diagonal_gaussian(one, one).base_dist, 1)
        >>> path.run = (0 * one, one)
        >>> path.mean.shape, path.run[1].shape
        (torch.Size([2, 3]), torch.Size([2, 3]))
    """

    run: tuple[Tensor, Tensor]
    """Mean and deviation of ε, ``(n, d)`` each."""


class SRI(HierarchicalBaseline):
    """A conditional hierarchy without an inference network; see the module's docstring.

    Example:
        >>> from hebm_lib import build_model
        >>> from hebm_lib.config import GeneratorConfig, InferenceConfig, PriorConfig
        >>> ladders = {"generator": GeneratorConfig(entries=("map",)), "inference": InferenceConfig(reads=("map",))}
        >>> model = build_model(ModelConfig(kind="sri", latent_dims=(2, 3), prior=PriorConfig(hidden=()), **ladders))
        >>> x, noise = torch.zeros(4, 1, 8, 8), torch.zeros(4, 5)
        >>> there = model.noise_chain(x, noise, 20)
        >>> there.shape, model.elbo(x).kl.shape
        (torch.Size([4, 5]), torch.Size([4, 2]))
    """

    def __init__(
        self,
        generator: LadderGenerator,
        inference: ShortRun,
        prior: ConditionalPrior,
        sigma: float,
        settings: BaselineConfig,
    ):
        super().__init__(generator, inference, prior, sigma, settings)

    def log_joint_of_noise(self, x: Tensor, noise: Tensor) -> Tensor:
        """``log p(x | z(ε)) + log N(ε; 0, I)``, ``(n,)``: what the chain climbs."""
        return self.pixel_log_likelihood(x, self.prior.from_noise(noise)[1]) + standard_normal_log_prob(noise)

    def noise_chain(
        self,
        x: Tensor,
        noise: Tensor,
        steps: int,
        *,
        generator: torch.Generator | None = None,
        trajectory: bool = False,
    ) -> Tensor:
        """Langevin steps on `log_joint_of_noise` from ``noise``: ``(n, d)``, or ``(steps + 1, n, d)``. Detached."""
        step_size = self.inference.chain.step_size
        return langevin_dynamics(
            lambda e: self.log_joint_of_noise(x, e),
            noise,
            steps,
            step_size,
            generator=generator,
            trajectory=trajectory,
        )

    def short_run(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of ε in time, ``(n, d)`` each: K' steps as in training, then as many over which they are taken.

        The chain's noise is always the same for a batch of a given size. No gradient reaches ``x`` or the weights.
        """
        check_images(x, self.inference.channels, self.inference.image_size)
        # Tensors without data, which only have shapes, have no source of noise either.
        source = None if x.is_meta else torch.Generator(x.device).manual_seed(0)
        start = torch.randn(len(x), self.latents.total, device=x.device, dtype=x.dtype, generator=source)
        steps = self.inference.chain.steps
        chain = self.noise_chain(x, start, 2 * steps, generator=source, trajectory=True)[steps + 1 :]
        return chain.mean(0), chain.std(0).clamp_min(DEVIATION_FLOOR)

    def walk(self, x: Tensor, source: Source) -> Draw:
        """A draw from the Gaussian around the short run of ``x``, or the path of codes that are given."""
        return self.walk_around(*self.short_run(x), source)

    def walk_around(self, middle: Tensor, spread: Tensor, source: Source) -> Draw:
        """The same around a short run that is known: mean and deviation of ε, ``(n, d)`` each."""
        middles, spreads = self.latents.split(middle), self.latents.split(spread)
        means: list[Tensor] = [middle] * self.latents.levels
        scales: list[Tensor] = [spread] * self.latents.levels

        def choose(level: int, mean: Tensor, scale: Tensor) -> Tensor:
            means[level - 1], scales[level - 1] = mean + scale * middles[level - 1], scale * spreads[level - 1]
            return source.code(level, means[level - 1], scales[level - 1])

        z, image = self.prior.walk(choose, middle)
        return Draw(z, image, self.latents.join(means), self.latents.join(scales), gaussian_kl(middle, spread))

    def encode(self, x: Tensor) -> ShortRunPath:
        """The path of the short run's middle, as of `HierarchicalBaseline.encode`, with the run itself."""
        run = self.short_run(x)
        draw = self.walk_around(*run, Source(self.latents, noise=torch.zeros_like(run[0])))
        path = ShortRunPath(diagonal_gaussian(draw.mean, draw.scale).base_dist, 1, validate_args=False)
        path.run = run
        return path

    def draw_path(
        self,
        x: Tensor,
        *,
        z: Tensor | None = None,
        posterior: Independent | None = None,
        generator: torch.Generator | None = None,
    ) -> Draw:
        """As of `HierarchicalBaseline.draw_path`; with ``posterior`` what `encode` gave, no chain is run."""
        self._check_posterior(posterior)
        run = posterior.run if isinstance(posterior, ShortRunPath) else self.short_run(x)
        return self.walk_around(
            *run, Source(self.latents, z=z, noise=None if z is not None else self.noise(x, generator))
        )

    def draw(
        self, x: Tensor, *, posterior: Independent | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """One draw per image, ``(n, d)``; ``posterior`` as of `draw_path`."""
        return self.draw_path(x, posterior=posterior, generator=generator).z

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """``beta``: the generator and the conditionals; there is no φ."""
        return {"beta": list(self.parameters())}

    def algorithm(
        self, x: Tensor, config: TrainingConfig, epoch: float, generator: torch.Generator
    ) -> Iterator[Update]:
        """One step: a short run from noise, then generator and conditionals learn at its end."""
        noise = self.noise_chain(x, self.noise(x, generator), self.inference.chain.steps, generator=generator)
        image = self.prior.from_noise(noise)[1]
        sse = self._squared_error(x, image).mean()
        loss = -self.pixel_log_likelihood(x, image).mean()
        squares = torch.stack([part.square().mean() for part in self.latents.split(noise)])
        yield Update("beta", loss, {"sse": sse, "noise": squares, "loss": loss})


@register("sri")
def build_sri(config: ModelConfig) -> SRI:
    latents = LatentSpec(no_energy(config).latent_dims)
    size, channels = config.image_size, config.image_channels
    generator = LadderGenerator(latents, size, channels, config.generator)
    inference = ShortRun(latents, size, channels, config.baseline.posterior)
    return SRI(generator, inference, ConditionalPrior(generator), config.sigma, config.baseline)
