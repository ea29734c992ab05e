"""What hierarchies with a conditional prior share: the way up, and the two names of a draw.

Levels that condition on each other are drawn one after another. Going down is
`hebm_lib.networks.LadderGenerator.descend`, which asks for each code when everything above it is known; going up is
`BottomUp.ascend`. What a model answers stands in its own file.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Independent

from hebm_lib.baselines.common import VariationalBaseline, no_energy
from hebm_lib.baselines.conditional_prior import ConditionalPrior, gaussian_head, positive
from hebm_lib.config import InferenceConfig, ModelConfig
from hebm_lib.latents import LatentSpec
from hebm_lib.model import Draw
from hebm_lib.networks import (
    Entry,
    LadderGenerator,
    Stage,
    check_images,
    diagonal_gaussian,
    way_to_the_top,
)
from hebm_lib.prior import GaussianPrior

__all__ = [
    "BottomUp",
    "HierarchicalBaseline",
    "MeanPath",
    "NoiseView",
    "Source",
    "build_hierarchy",
]


class BottomUp(nn.Module):
    """The deterministic way up r_1, r_2, …, with a Gaussian read off each level, and codes joining where asked.

    Args:
        latents: sizes of z_1 … z_L.
        image_size, channels: of the images.
        config: places and widths of the levels below the top; every level reads the whole map.
        sizes: how many units are read off each level.
        joins: the units drawn at a level are added to the feature that goes on up.
        local: which levels are read, and join, place by place.

    Raises:
        ValueError: for another read than ``map`` or another ``deviation``, which these models do not have.

    Example:
        >>> config = InferenceConfig(factors=(2,), widths=(16,), reads=("map",), top_hidden=(32,))
        >>> way_up = BottomUp(LatentSpec((2, 3)), 8, 1, config, sizes=(2, 3), joins=False, local=(False, False))
        >>> shapes = {}
        >>> _ = way_up.ascend(torch.zeros(4, 1, 8, 8), lambda level, mean, scale: shapes.update({level: mean.shape}))
        >>> shapes
        {1: torch.Size([4, 2]), 2: torch.Size([4, 3])}
    """

    def __init__(
        self,
        latents: LatentSpec,
        image_size: int,
        channels: int,
        config: InferenceConfig,
        sizes: tuple[int, ...],
        joins: bool,
        local: tuple[bool, ...],
    ):
        super().__init__()
        if set(config.reads) - {"map"} or config.deviation != "log-variance":
            raise ValueError(
                "the way up of a hierarchical baseline reads maps and gives deviations by a softplus, got inference.reads "
                f"{config.reads} and inference.deviation {config.deviation!r}"
            )
        self.latents, self.image_size, self.channels = latents, image_size, channels
        self.act = nn.LeakyReLU(config.slope)
        self.stages, self.heads, self.entries = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        width, factor = channels, 1
        for size, below, f, place_by_place in zip(sizes, config.widths, config.factors, local, strict=False):
            side = image_size // f
            self.stages.append(Stage(width, below, int(math.log2(f / factor)), config.slope, config.batch_norm))
            self.heads.append(gaussian_head((below, side, side), size, place_by_place))
            if joins:
                self.entries.append(Entry(size, below, side, "map", local=place_by_place))
            width, factor = below, f
        self.plain, self.top, head = way_to_the_top(config, width, factor, image_size, sizes[-1])
        self.heads.append(head)

    def ascend(self, x: Tensor, choose: Callable[[int, Tensor, Tensor], Tensor | None]) -> list[Tensor]:
        """Go up with ``choose(level, mean, scale)`` giving the units that join; returns the features below the top."""
        check_images(x, self.channels, self.image_size)
        h, features = x, []
        for i, stage in enumerate(self.stages):
            h = stage(h)
            features.append(h)
            code = choose(i + 1, *positive(self.heads[i](h)))
            if self.entries:
                h = self.act(h + self.entries[i](code))
        choose(len(self.heads), *positive(self.heads[-1](self.top(self.plain(h).flatten(1)))))
        return features


def build_hierarchy(kind: type["HierarchicalBaseline"], config: ModelConfig, *, joins: bool) -> "HierarchicalBaseline":
    """A hierarchy whose way up gives one code per level, with fresh weights.

    Args:
        kind: the model's class.
        config: its settings, without an energy.
        joins: whether the codes drawn on the way up join what goes on.

    Example:
        >>> from hebm_lib.baselines.lvae import LVAE
        >>> from hebm_lib.config import GeneratorConfig, PriorConfig
        >>> ladders = {"generator": GeneratorConfig(entries=("map",)), "inference": InferenceConfig(reads=("map",))}
        >>> config = ModelConfig(kind="lvae", latent_dims=(2, 3), prior=PriorConfig(hidden=()), **ladders)
        >>> build_hierarchy(LVAE, config, joins=False).sample(4).shape
        torch.Size([4, 1, 8, 8])
    """
    latents = LatentSpec(no_energy(config).latent_dims)
    size, channels = config.image_size, config.image_channels
    generator = LadderGenerator(latents, size, channels, config.generator)
    inference = BottomUp(latents, size, channels, config.inference, latents.dims, joins, generator.local)
    return kind(generator, inference, ConditionalPrior(generator), config.sigma, config.baseline)


class MeanPath(Independent):
    """A hierarchy's q(z|x) in short: the Gaussians along the path on which every level takes its mean.

    Example:
        >>> from hebm_lib import load_pretrained
        >>> posterior = load_pretrained("mnist-lvae").encode(torch.zeros(2, 1, 28, 28))
        >>> type(posterior).__name__, posterior.mean.shape
        ('MeanPath', torch.Size([2, 40]))
    """


@dataclass(frozen=True)
class Source:
    """Where the codes of a path come from: standard normal ``noise``, ``(n, d)``, or codes ``z`` that are given.

    Example:
        >>> latents, mean = LatentSpec((1, 1)), torch.ones(1, 1)
        >>> Source(latents, noise=torch.tensor([[0.0, 2.0]])).code(2, mean, 0.5 * mean).item()
        2.0
        >>> Source(latents, z=torch.tensor([[0.0, 7.0]])).code(2, mean, mean).item()
        7.0
    """

    latents: LatentSpec
    noise: Tensor | None = None
    z: Tensor | None = None

    def code(self, level: int, mean: Tensor, scale: Tensor, *, first: int = 0) -> Tensor:
        """The level's units from ``first`` on, as many as ``mean`` has, ``(n, m)``."""
        columns = slice(first, first + mean.shape[1])
        if self.z is not None:
            return self.latents.split(self.z)[level - 1][:, columns]
        return mean + scale * self.latents.split(self.noise)[level - 1][:, columns]


class HierarchicalBaseline(VariationalBaseline):
    """A hierarchy with a conditional prior. A model of this kind says in ``walk(x, source)`` how its posterior is drawn.

    What level i is drawn from depends on the draws of other levels, so ``q(z|x)`` is no diagonal Gaussian. `encode` gives
    the one along the path on which every level takes its mean.

    Example:
        >>> from hebm_lib import load_pretrained
        >>> model, x = load_pretrained("mnist-lvae"), torch.zeros(2, 1, 28, 28)
        >>> isinstance(model, HierarchicalBaseline), model.gaussian_posterior, model.draw(x).shape
        (True, False, torch.Size([2, 40]))
    """

    gaussian_posterior = False

    def encode(self, x: Tensor) -> "MeanPath":
        """Mean and deviation of each level where all the levels it depends on are at their means; event shape ``(d,)``."""
        draw = self.infer(x, torch.zeros(len(x), self.latents.total, device=x.device, dtype=x.dtype))
        return MeanPath(diagonal_gaussian(draw.mean, draw.scale).base_dist, 1, validate_args=False)

    def draw_path(
        self,
        x: Tensor,
        *,
        z: Tensor | None = None,
        posterior: Independent | None = None,
        generator: torch.Generator | None = None,
    ) -> Draw:
        """A draw, or the given ``z``, with the Gaussians along its own path.

        Raises:
            ValueError: for another ``posterior`` than `encode` gives.
        """
        self._check_posterior(posterior)
        return self.infer(x, None if z is not None else self.noise(x, generator), z=z)

    def infer(self, x: Tensor, noise: Tensor | None, *, z: Tensor | None = None) -> Draw:
        """A draw from q(z|x) made of ``noise``, ``(n, d)`` standard normal numbers; or the path of the given codes ``z``."""
        return self.walk(x, Source(self.latents, noise=noise, z=z))

    @staticmethod
    def _check_posterior(posterior: Independent | None) -> None:
        if posterior is not None and not isinstance(posterior, MeanPath):
            raise ValueError(
                "q(z|x) of a hierarchy is no diagonal Gaussian, so none can be put in its place: leave posterior out, or "
                "pass what encode(x) gave"
            )

    def draw(
        self, x: Tensor, *, posterior: Independent | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """One draw from ``q(z|x)`` per image, ``(n, d)``. Raises `ValueError` for another ``posterior`` than `encode` gives."""
        self._check_posterior(posterior)
        return self.infer(x, self.noise(x, generator)).z

    def noise_view(self) -> "NoiseView":
        """The same model seen through the noise of its prior; see `NoiseView`."""
        return NoiseView(self)


class NoiseView:
    """A hierarchical model with the noise ε of `ConditionalPrior.from_noise` in the place of z.

    To redraw one level and keep the rest means, in a conditional hierarchy, to redraw its noise (Fig. 1): the codes below
    follow. In this view, ``latents.redraw`` and everything that is made of it do just that.

    Example:
        >>> from hebm_lib import load_pretrained
        >>> view = load_pretrained("mnist-lvae").noise_view()
        >>> noise, donors = view.prior.sample(2), view.prior.sample(2)
        >>> view.decode(view.latents.redraw(noise, 3, donors)).shape  # z_3 and, below it, all that follows from it
        torch.Size([2, 1, 28, 28])
    """

    def __init__(self, model: HierarchicalBaseline):
        self.model, self.latents, self.device = model, model.latents, model.device
        self.prior = GaussianPrior(self.latents).to(self.device)

    def decode(self, noise: Tensor) -> Tensor:
        """Mean images of the codes that the noise makes: ``(n, d) -> (n, C, H, W)``."""
        return self.model.prior.from_noise(noise)[1]
