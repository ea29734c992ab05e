"""The latent EBM: one level of codes under an energy, and no inference network.

Model and learning::

    p(x, z) = p(x|z) p_α(z),   p_α(z) ∝ exp(f_α(z)) N(z; 0, I)   (Eq. 1),   p(x|z) = N(g(z), σ² I)
    posterior:  z⁺ after K' Langevin steps on log p(x, z) from N(0, I), through the generator
    prior:      z⁻ after K  Langevin steps on log p_α(z) from N(0, I)
    α:  raise  E f_α(z⁺) - E f_α(z⁻);     β:  raise  E log p(x|z⁺)

Source: Pang, Han, Nijkamp, Zhu and Wu (2020), and their code, bpucla/latent-space-EBM-prior. Uses ``baseline.posterior``
(K' and its step size). The gradients are those of the log-likelihood if both chains have arrived; they have not, and the
learning is that of short-run chains.

`LatentEBM.encode` summarises the posterior chain by a Gaussian, so that everything the book measures of an inference
network can be measured of it. Any q makes a valid bound, so the reported one is valid as well; this q is not what the
model was trained with.

What differs from the published settings (entry ``published-lebm``, SVHN): the generator is our ladder with one level,
whose doublings have a plain convolution each, instead of four transposed convolutions from 512 to 3 channels; leaky ReLU
in the energy instead of GELU; the generator's loss is weighed by 1/(2σ²), which Adam hardly notices; weights start by
Xavier's rule. The entries ``mnist-lebm`` and ``mnist-012-lebm`` have the widths of the joint EBM's generator and its energy;
the first has 8 posterior steps of 0.15 instead of 20 of 0.1, for time.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.distributions import Independent
from torch.nn.utils import parametrize

from hebm_lib.algorithm import Update, learn_energy
from hebm_lib.config import LangevinConfig, ModelConfig, TrainingConfig
from hebm_lib.langevin import langevin_dynamics
from hebm_lib.latents import LatentSpec
from hebm_lib.model import JointEBM, build_prior, register
from hebm_lib.networks import LadderGenerator, diagonal_gaussian

__all__ = ["LatentEBM", "ShortRun"]

DEVIATION_FLOOR = 1e-2


class ShortRun(nn.Module):
    """In the place of an inference network: the posterior chain's settings. It has no parameters.

    Example:
        >>> ShortRun(LatentSpec((10,)), 28, 1, LangevinConfig(steps=20, step_size=0.1)).chain.steps
        20
    """

    def __init__(self, latents: LatentSpec, image_size: int, channels: int, chain: LangevinConfig):
        super().__init__()
        self.latents, self.image_size, self.channels, self.chain = latents, image_size, channels, chain


class LatentEBM(JointEBM):
    """One level, an energy, posterior by Langevin; see the module's docstring.

    Example:
        >>> from hebm_lib import load_pretrained
        >>> model, x = load_pretrained("mnist-lebm"), torch.full((2, 1, 28, 28), -1.0)
        >>> z = model.posterior_chain(x, torch.zeros(2, model.latents.total), 20)
        >>> bool((model.log_joint(x, z) > model.log_joint(x, torch.zeros_like(z))).all())  # the chain climbs
        True
    """

    def __init__(self, generator: LadderGenerator, inference: ShortRun, prior: nn.Module, sigma: float):
        super().__init__(generator, inference, prior, sigma)
        if self.latents.levels != 1:
            raise ValueError(f"the latent EBM has one level, got {self.latents.dims}")

    def posterior_chain(
        self, x: Tensor, z0: Tensor, steps: int, *, generator: torch.Generator | None = None, trajectory: bool = False
    ) -> Tensor:
        """Langevin steps on ``log p(x, z)`` from ``z0``: ``(n, d)``, or ``(steps + 1, n, d)``. Detached."""
        step_size = self.inference.chain.step_size
        # Spectral norm is worked out once per chain.
        with parametrize.cached():
            return langevin_dynamics(
                lambda z: self.log_joint(x, z), z0, steps, step_size, generator=generator, trajectory=trajectory
            )

    def encode(self, x: Tensor) -> Independent:
        """A Gaussian with the mean and deviation of a posterior chain in time.

        K' steps as in training, then as many again over which the mean and the deviation of each unit are taken. The
        noise is always the same for a batch of a given size, so that images have one code. No gradient reaches ``x``.
        """
        # Tensors without data, which only have shapes, have no source of noise either.
        noise = None if x.is_meta else torch.Generator(x.device).manual_seed(0)
        z0 = torch.randn(len(x), self.latents.total, device=x.device, dtype=x.dtype, generator=noise)
        steps = self.inference.chain.steps
        chain = self.posterior_chain(x, z0, 2 * steps, generator=noise, trajectory=True)[steps + 1 :]
        return diagonal_gaussian(chain.mean(0), chain.std(0).clamp_min(DEVIATION_FLOOR))

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """``alpha``, the energy, and ``beta``, the generator; there is no φ."""
        groups = {"alpha": list(self.prior.parameters()), "beta": list(self.generator.parameters())}
        return {name: parameters for name, parameters in groups.items() if parameters}

    def algorithm(
        self, x: Tensor, config: TrainingConfig, epoch: float, generator: torch.Generator
    ) -> Iterator[Update]:
        """One step: both chains, then the energy and the generator in the order that the config says."""
        z0 = torch.randn(len(x), self.latents.total, device=x.device, generator=generator)
        z_plus = self.posterior_chain(x, z0, self.inference.chain.steps, generator=generator)

        def learn_generator() -> Iterator[Update]:
            sse = self.sse(x, z_plus).mean()
            yield Update("beta", sse / (2 * self.sigma**2), {"sse": sse, "loss": sse / (2 * self.sigma**2)})

        alpha = learn_energy(self.prior, z_plus, config.langevin, updates=config.energy.updates, generator=generator)
        for half in (alpha, learn_generator()) if config.order == "alpha-first" else (learn_generator(), alpha):
            yield from half


@register("lebm")
def build_lebm(config: ModelConfig) -> LatentEBM:
    latents = LatentSpec(config.latent_dims)
    size, channels = config.image_size, config.image_channels
    return LatentEBM(
        LadderGenerator(latents, size, channels, config.generator),
        ShortRun(latents, size, channels, config.baseline.posterior),
        build_prior(config),
        config.sigma,
    )
