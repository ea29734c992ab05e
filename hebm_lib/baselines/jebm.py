"""JEBM: an energy per level on a conditional hierarchy, posterior and prior by Langevin.

Model and learning::

    p(z) ∝ exp(f_1(z_1) + … + f_L(z_L)) Π_i p(z_i | z_{i+1}),   p(z_i | z_{i+1}) = N(μ_i(z_{i+1}), diag σ_i²(z_{i+1}))
    p(z_L | ·) = N(0, I),   p(x|z) = N(g(z), σ² I)
    posterior:  z⁺ after K' Langevin steps on log p(x, z) from N(0, I);   prior: z⁻ after K steps on log p(z) from N(0, I)
    prior:  raise  E log p̃(z⁺) - E log p̃(z⁻);     β:  raise  E log p(x|z⁺)

The tilt leaves the conditionals unnormalised, so they are learned by contrast as the energies are: log p̃ has both in it.

Source: Cui, Wu and Han (2023), and their code, jcui1224/hierarchical-joint-ebm. Uses ``baseline.posterior`` (K' and s).

What differs from the published settings (entry ``published-jebm``, CIFAR-10, z_1 of 128 and z_2 of 100 units): g reads both
levels through our ladder, where theirs reads z_1 alone; σ_i has a softplus in the place of exp + 0.01; energies and
conditionals share one learning rate, 2e-5, where theirs learn at 2e-5 and 1e-4; both energies have two hidden layers of 200
units, where theirs have 3×200 and 2×100, and a conditional two, where theirs has four. Their second variant, on a frozen
NVAE, is left out.
"""

import math

import torch
from torch import Tensor, nn

from hebm_lib.baselines.common import gaussian_log_prob
from hebm_lib.baselines.lebm import LatentEBM, ShortRun
from hebm_lib.config import ModelConfig
from hebm_lib.langevin import langevin_dynamics
from hebm_lib.latents import LatentSpec
from hebm_lib.model import JointEBM, register
from hebm_lib.networks import LadderGenerator, SeparateEnergies
from hebm_lib.prior import sample_level, standard_normal_log_prob
from hebm_lib.sampling import LogZ, estimate_log_z

__all__ = ["JEBM", "TiltedChain"]

SCALE_FLOOR = 0.01


class TiltedChain(nn.Module):
    """``p(z) ∝ exp(Σ f_i(z_i)) p(z_L) Π p(z_i | z_{i+1})``, a `Prior`.

    Args:
        latents: sizes of z_1 … z_L.
        hidden: widths of every perceptron, at least one.
        settings: of the energies, as of `hebm_lib.networks.EnergyMLP`.

    Example:
        >>> prior = TiltedChain(LatentSpec((2, 3)), hidden=(8,))
        >>> z = prior.sample(4, 5, 0.1, generator=torch.Generator().manual_seed(0))
        >>> z.shape, prior.log_prob_unnormalized(z).shape
        (torch.Size([4, 5]), torch.Size([4]))
    """

    has_energy = True

    def __init__(self, latents: LatentSpec, *, hidden: tuple[int, ...], slope: float = 0.2, **settings):
        super().__init__()
        self.latents = latents
        self.energy = SeparateEnergies(latents, hidden=hidden, slope=slope, **settings)
        self.conditionals = nn.ModuleList()
        for below, above in zip(latents.dims, latents.dims[1:], strict=False):
            widths = (above, *hidden)
            layers = [
                m for pair in zip(widths, widths[1:], strict=False) for m in (nn.Linear(*pair), nn.LeakyReLU(slope))
            ]
            self.conditionals.append(nn.Sequential(*layers, nn.Linear(widths[-1], 2 * below)))

    def log_chain(self, z: Tensor) -> Tensor:
        """``log p(z_L) + Σ log p(z_i | z_{i+1})`` without the energies, normalised: ``(n, d) -> (n,)``."""
        self.latents.check(z)
        parts = self.latents.split(z)
        total = standard_normal_log_prob(parts[-1])
        for network, below, above in zip(self.conditionals, parts, parts[1:], strict=False):
            mean, spread = network(above).chunk(2, -1)
            scale = SCALE_FLOOR + nn.functional.softplus(spread + math.log(math.e - 1))
            total = total + gaussian_log_prob(below, mean, scale).sum(-1)
        return total

    def log_prob_unnormalized(self, z: Tensor) -> Tensor:
        """``Σ f_i(z_i) + log p(z_L) + Σ log p(z_i | z_{i+1})``: ``(n, d) -> (n,)``."""
        return self.log_chain(z) + self.energy(z)

    def forward(self, z: Tensor) -> Tensor:
        """All of it as a tilt of N(0, I): ``log_prob_unnormalized(z) - log N(z; 0, I)``, ``(n,)``."""
        return self.log_prob_unnormalized(z) - standard_normal_log_prob(z)

    @torch.no_grad()
    def sample(
        self, n, steps, step_size, *, z0=None, generator=None, trajectory=False, every=1, backend=None
    ) -> Tensor:
        """Langevin steps from N(0, I); arguments as of `Prior.sample`. It runs in plain torch: ``backend`` changes nothing."""
        like, d = next(self.parameters()), self.latents.total
        if z0 is None:
            z0 = torch.randn(n, d, dtype=like.dtype, device=like.device, generator=generator)
        if z0.shape != (n, d):
            raise ValueError(f"z0 must have shape ({n}, {d}), got {tuple(z0.shape)}")
        states = langevin_dynamics(
            self.log_prob_unnormalized, z0, steps, step_size, generator=generator, trajectory=trajectory
        )
        return states[::every] if trajectory else states

    @torch.no_grad()
    def negatives(self, n: int, steps: int, step_size: float, *, metropolis: bool = False, generator=None) -> Tensor:
        """The z⁻ of a training step, ``(n, d)``: fresh chains. Raises `ValueError` for ``metropolis``."""
        if metropolis:
            raise ValueError("chains of a JEBM are uncorrected: set langevin.metropolis to false")
        return self.sample(n, steps, step_size, generator=generator)

    @torch.no_grad()
    def sample_level(self, z, level, steps, step_size, *, generator=None) -> Tensor:
        """Same signature as `JointEBMPrior.sample_level`: a chain towards ``p(z_i | all other levels)``."""
        return sample_level(self.log_prob_unnormalized, self.latents, z, level, steps, step_size, generator)

    def log_z(
        self,
        *,
        generator: torch.Generator | None = None,
        chains: int = 1000,
        temperatures: int = 1000,
        draws: int = 100_000,
        settle: int = 300,
    ) -> LogZ:
        """``log Z`` with a bracket, from N(0, I); settings as of `hebm_lib.sampling.estimate_log_z`."""
        like = next(self.parameters())
        settings = {"chains": chains, "temperatures": temperatures, "draws": draws, "settle": settle}
        return estimate_log_z(self, self.latents.total, like=like, generator=generator, **settings)


class JEBM(LatentEBM):
    """Energies on a conditional hierarchy; see the module's docstring.

    Example:
        >>> from hebm_lib import build_model
        >>> model = build_model(ModelConfig(kind="jebm", latent_dims=(2, 3)))
        >>> type(model.prior).__name__, model.sample(4, steps=3, step_size=0.1).shape
        ('TiltedChain', torch.Size([4, 1, 8, 8]))
    """

    def __init__(self, generator: LadderGenerator, inference: ShortRun, prior: TiltedChain, sigma: float):
        JointEBM.__init__(self, generator, inference, prior, sigma)  # of any number of levels


@register("jebm")
def build_jebm(config: ModelConfig) -> JEBM:
    p = config.prior
    if not p.hidden or p.chains or p.start == "zero":
        raise ValueError("a JEBM has energies with hidden layers, fresh chains and random weights at the start")
    latents = LatentSpec(config.latent_dims)
    size, channels = config.image_size, config.image_channels
    settings = {"spectral_norm": p.spectral_norm, "lipschitz": p.lipschitz, "activation": p.activation}
    return JEBM(
        LadderGenerator(latents, size, channels, config.generator),
        ShortRun(latents, size, channels, config.baseline.posterior),
        TiltedChain(latents, hidden=p.hidden, slope=p.slope, **settings),
        config.sigma,
    )
