"""Multi-NCP: the density ratio between codes and N(0, I) learned in stages, each from where the last one stands.

Model and learning::

    p_S(z) ∝ N(z; 0, I) r_1(z) … r_S(z),   log r_k = f_k,   p(x|z) = N(g(z), σ² I)
    posterior:  z⁺ after K' Langevin steps on log p(x|z) + log p_{k-1}(z), from N(0, I)
    prior:      z⁻ after K  Langevin steps on log p_{k-1}(z), from N(0, I)
    stage k:    a classifier with the logit f_k tells z⁺ from z⁻ by logistic regression; r_1 … r_{k-1} stand still
    always:     β:  raise  E log p(x|z⁺)

One ratio between two densities that hardly overlap is learned from few draws and poorly. Each stage has to bridge only what
the stages before it left, and its best answer makes p_k the density of the codes.

Source: Xiao and Han (2022). Uses ``baseline.stages`` (S), ``epochs_per_step`` (epochs per stage; the last goes on to the end)
and ``posterior`` (K' and its step size). While stage k learns, chains go by the stages before it; from the moment that the
next begins, f_k is part of the prior. In evaluation the prior has the stage that is learning as well, so that a checkpoint
shows what has been learned.

What differs from the published settings: number of stages, networks, steps and learning rates were not found, and no code
either. Everything is therefore a guess: three stages of the joint EBM's energy without spectral norm, the generator and the
posterior's steps of the latent EBM, fresh chains. ``published-multincp`` has the sizes of the latent EBM's own SVHN
settings. Our generator is that of one level; the published model has several.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from hebm_lib.algorithm import Update, logistic_update
from hebm_lib.baselines.lebm import LatentEBM, ShortRun
from hebm_lib.config import ModelConfig, TrainingConfig
from hebm_lib.langevin import langevin_dynamics
from hebm_lib.latents import LatentSpec
from hebm_lib.model import register
from hebm_lib.networks import EnergyMLP, LadderGenerator
from hebm_lib.prior import JointEBMPrior, fixed_weights
from hebm_lib.sampling import Perceptron, run_chain

__all__ = ["MultiNCP", "StagedPrior"]


class StagedPrior(JointEBMPrior):
    """``p(z) ∝ exp(f_1(z) + … + f_k(z)) N(z; 0, I)``, k of S stages in use: a `Prior`.

    Attributes:
        stages: the perceptrons f_1 … f_S.
        learning: number of the stage that learns, from 1; saved with the weights. Later stages are not in use.

    Args:
        latents: sizes of z_1 … z_L.
        stages: S.
        hidden, spectral_norm, slope, lipschitz: of every stage, as of `JointEBMPrior`.

    Example:
        >>> prior = StagedPrior(LatentSpec((2,)), stages=3, hidden=(8,)).eval()
        >>> z = torch.randn(4, 2)
        >>> torch.equal(prior(z), prior.stages[0](z)), prior.before(1)(z).tolist()
        (True, [0.0, 0.0, 0.0, 0.0])
    """

    def __init__(self, latents: LatentSpec, *, stages: int, hidden: tuple[int, ...], **settings):
        super().__init__(latents, hidden=hidden, **settings)
        first, settings = self.energy, {"hidden": tuple(hidden)} | settings
        del self.energy
        self.stages = nn.ModuleList([first, *(EnergyMLP(latents.total, **settings) for _ in range(stages - 1))])
        self.register_buffer("learning", torch.ones((), dtype=torch.long))

    def begin(self, stage: int) -> None:
        """Let a stage, 1 … S, learn; those before it are part of the prior."""
        self.learning.fill_(stage)

    def in_use(self) -> int:
        """How many stages the prior has now."""
        return len(self.stages) if self.learning.is_meta else int(self.learning)

    def forward(self, z: Tensor) -> Tensor:
        """``f_1(z) + … + f_k(z)``, the NEGATIVE energy: ``(n, d) -> (n,)``."""
        self.latents.check(z)
        return torch.stack([f(z) for f in self.stages[: self.in_use()]]).sum(0)

    @torch.no_grad()
    def plain(self, dtype: torch.dtype | None = None) -> Perceptron:
        """The sum as fixed weights: one perceptron with the stages side by side in it."""
        return self.before(self.in_use() + 1, dtype)

    @torch.no_grad()
    def before(self, stage: int, dtype: torch.dtype | None = None) -> Perceptron:
        """``f_1 + … + f_{stage-1}`` as fixed weights; f = 0 before the first."""
        parts = [fixed_weights(f) for f in self.stages[: max(1, stage - 1)]]
        first, *inner, last = zip(*(weights for weights, _ in parts), strict=True)
        *shifts, end = zip(*(biases for _, biases in parts), strict=True)
        used = float(stage > 1)  # before the first stage f = 0
        weights = [torch.cat(first), *(torch.block_diag(*layer) for layer in inner), used * torch.cat(last, 1)]
        biases = [*(torch.cat(layer) for layer in shifts), used * torch.stack(end).sum(0)]
        like = self.stages[0]
        return Perceptron(weights, biases, like.slope, like.activation).to(dtype or weights[0].dtype)


class MultiNCP(LatentEBM):
    """One level, a prior of several density ratios, posterior by Langevin; see the module's docstring.

    Example:
        >>> from hebm_lib import build_model
        >>> from hebm_lib.config import GeneratorConfig, InferenceConfig
        >>> ladder = {"factors": (), "widths": ()}
        >>> config = ModelConfig(
        ...     kind="multincp",
        ...     latent_dims=(4,),
        ...     generator=GeneratorConfig(entries=(), **ladder),
        ...     inference=InferenceConfig(reads=(), **ladder),
        ... )
        >>> model = build_model(config)
        >>> len(model.prior.stages), model.sample(5, steps=3, step_size=0.1).shape
        (3, torch.Size([5, 1, 8, 8]))
    """

    def __init__(
        self, generator: LadderGenerator, inference: ShortRun, prior: StagedPrior, sigma: float, epochs_per_stage: float
    ):
        super().__init__(generator, inference, prior, sigma)
        self.epochs_per_stage = epochs_per_stage

    def algorithm(
        self, x: Tensor, config: TrainingConfig, epoch: float, generator: torch.Generator
    ) -> Iterator[Update]:
        """One step: both chains by the stages that stand still, then the stage that learns and the generator."""
        prior, langevin = self.prior, config.langevin
        stage = min(len(prior.stages), 1 + int(epoch / self.epochs_per_stage))
        prior.begin(stage)
        still = prior.before(stage, x.dtype)
        noise = {"dtype": x.dtype, "device": x.device, "generator": generator}
        z0, start = torch.randn(2, len(x), self.latents.total, **noise)
        chain = self.inference.chain

        def log_joint(z: Tensor) -> Tensor:
            return self.log_likelihood(x, z) + still.log_prob_unnormalized(z)

        z_plus = langevin_dynamics(log_joint, z0, chain.steps, chain.step_size, generator=generator)
        z_minus = run_chain(still, start, langevin.steps, langevin.step_size, generator=generator)
        yield from logistic_update(prior.stages[stage - 1], z_plus, z_minus)
        sse = self.sse(x, z_plus).mean()
        yield Update("beta", sse / (2 * self.sigma**2), {"sse": sse, "loss": sse / (2 * self.sigma**2)})


@register("multincp")
def build_multincp(config: ModelConfig) -> MultiNCP:
    p, b = config.prior, config.baseline
    if not p.hidden or p.chains or p.levels == "separate" or p.start == "zero":
        raise ValueError(
            "Multi-NCP's stages are joint classifiers with hidden layers and fresh chains, at random weights"
        )
    latents = LatentSpec(config.latent_dims)
    size, channels = config.image_size, config.image_channels
    settings = {
        "spectral_norm": p.spectral_norm,
        "slope": p.slope,
        "lipschitz": p.lipschitz,
        "activation": p.activation,
    }
    return MultiNCP(
        LadderGenerator(latents, size, channels, config.generator),
        ShortRun(latents, size, channels, b.posterior),
        StagedPrior(latents, stages=b.stages, hidden=p.hidden, **settings),
        config.sigma,
        b.epochs_per_step,
    )
