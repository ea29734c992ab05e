"""A prior whose levels condition on each other from the top down: each a Gaussian read off the generator's way down."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from hebm_lib.baselines.common import exact_or_chain, gaussian_log_prob
from hebm_lib.networks import GaussianHead, LadderGenerator, LocalHead
from hebm_lib.prior import sample_level
from hebm_lib.sampling import LogZ

__all__ = ["ConditionalPrior", "gaussian_head", "positive"]

SCALE_FLOOR = 0.05
"""Smallest deviation of any unit, prior or posterior. With a floor near 0 a prior can become so narrow, early on, that one
step of the posterior costs 10⁵ nats, and the shock empties the upper levels for good."""


def positive(head: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """A head's two outputs as mean and deviation; a second output of 0 makes the deviation 1.

    Example:
        >>> mean, scale = positive((torch.zeros(1), torch.tensor([0.0])))
        >>> scale, positive((mean, torch.tensor([-100.0])))[1]  # from 1 down to the floor
        (tensor([1.]), tensor([0.0500]))
    """
    precise = torch.promote_types(head[0].dtype, torch.float32)  # at least: half precision is too coarse for a KL
    mean, spread = (output.to(precise) for output in head)
    return mean, SCALE_FLOOR + (1 - SCALE_FLOOR) * nn.functional.softplus(spread + math.log(math.e - 1))


def gaussian_head(shape: tuple[int, ...], dim: int, local: bool) -> nn.Module:
    """Reads ``dim`` units off a feature of that shape: off all of it, or place by place.

    Example:
        >>> mean, spread = gaussian_head((8, 2, 2), 12, local=True)(torch.zeros(5, 8, 2, 2))
        >>> mean.shape, spread.shape
        (torch.Size([5, 12]), torch.Size([5, 12]))
    """
    if local:
        return LocalHead(shape[0], dim // math.prod(shape[1:]))
    return nn.Sequential(nn.Flatten(), GaussianHead(math.prod(shape), dim))


class ConditionalPrior(nn.Module):
    """``p(z) = p(z_L) Π p(z_i | z_{>i})``, each factor a Gaussian that is read off the generator's way down; f = 0.

    Args:
        generator: whose feature arriving at level i depends on z_{>i} alone.

    Example:
        >>> from hebm_lib import load_pretrained
        >>> prior, noise = load_pretrained("mnist-lvae").prior, torch.randn(2, 40)
        >>> z, images = prior.from_noise(noise)
        >>> images.shape, torch.allclose(prior.noise_of(z), noise, atol=1e-4)
        (torch.Size([2, 1, 28, 28]), True)
    """

    has_energy = False

    def __init__(self, generator: LadderGenerator):
        super().__init__()
        self.latents = generator.latents
        # In a tuple: the generator belongs to the model, and a second registration would store it twice.
        self.way_down = (generator,)
        shapes = zip(generator.arriving, self.latents.dims, generator.local, strict=True)
        self.heads = nn.ModuleList(gaussian_head(*level) for level in list(shapes)[:-1])

    def conditional(self, level: int, feature: Tensor | None, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of ``p(z_level | z_{>level})``, in the shape of ``like``; N(0, I) at the top."""
        if feature is None:
            return torch.zeros_like(like), torch.ones_like(like)
        return positive(self.heads[level - 1](nn.functional.leaky_relu(feature, 0.2)))

    def walk(self, choose: Callable[[int, Tensor, Tensor], Tensor], like: Tensor) -> tuple[Tensor, Tensor]:
        """Go down with ``choose(level, mean, scale)`` giving each code; returns codes ``(n, d)`` and mean images."""
        codes: list[Tensor] = [like] * self.latents.levels
        parts = self.latents.split(like)

        def answer(level: int, feature: Tensor | None) -> Tensor:
            codes[level - 1] = choose(level, *self.conditional(level, feature, parts[level - 1]))
            return codes[level - 1]

        image = self.way_down[0].descend(answer)
        return self.latents.join(codes), image

    def from_noise(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """``z_i = μ_i(z_{>i}) + σ_i(z_{>i}) ε_i`` from the top down (the paper's Sec. 2.1): codes and mean images."""
        parts = self.latents.split(noise)
        return self.walk(lambda level, mean, scale: mean + scale * parts[level - 1], noise)

    def noise_of(self, z: Tensor) -> Tensor:
        """The ε that `from_noise` makes ``z`` of."""
        noise: list[Tensor] = [z] * self.latents.levels
        parts = self.latents.split(z)

        def choose(level: int, mean: Tensor, scale: Tensor) -> Tensor:
            noise[level - 1] = (parts[level - 1] - mean) / scale
            return parts[level - 1]

        self.walk(choose, z)
        return self.latents.join(noise)

    def forward(self, z: Tensor) -> Tensor:
        """``f(z) = 0``, shape ``(n,)``."""
        self.latents.check(z)
        return torch.zeros(z.shape[:-1], dtype=z.dtype, device=z.device)

    def log_prob_unnormalized(self, z: Tensor) -> Tensor:
        """``log p(z_L) + Σ log p(z_i | z_{>i})``, shape ``(n,)``; normalised."""
        total = []
        parts = self.latents.split(z)

        def choose(level: int, mean: Tensor, scale: Tensor) -> Tensor:
            total.append(gaussian_log_prob(parts[level - 1], mean, scale).sum(-1))
            return parts[level - 1]

        self.walk(choose, z)
        return torch.stack(total).sum(0)

    def log_z(self, *, generator: torch.Generator | None = None) -> LogZ:
        """``log Z = 0``: this prior is normalised. Nothing is drawn."""
        return LogZ.exact()

    @torch.no_grad()
    def sample(
        self, n, steps=0, step_size=0.4, *, z0=None, generator=None, trajectory=False, every=1, backend=None
    ) -> Tensor:
        """``n`` exact draws, top level first, ``(n, d)``; arguments as of `Prior.sample`.

        A chain that starts from exact draws has arrived: it is run only from a given ``z0``, or where its trajectory is
        asked for. ``backend`` changes nothing.
        """
        where = next(self.way_down[0].parameters())

        def exact() -> Tensor:
            noise = torch.randn(n, self.latents.total, dtype=where.dtype, device=where.device, generator=generator)
            return self.from_noise(noise)[0]

        chain = {"z0": z0, "generator": generator, "trajectory": trajectory, "every": every}
        return exact_or_chain(self, exact, n, steps, step_size, **chain)

    @torch.no_grad()
    def sample_level(self, z, level, steps=0, step_size=0.4, *, generator=None) -> Tensor:
        """Same signature as `JointEBMPrior.sample_level`: a chain towards ``p(z_i | all other levels)``."""
        return sample_level(self.log_prob_unnormalized, self.latents, z, level, steps, step_size, generator)
