"""The ladder VAE: a chain of levels, inferred from the top down.

Model and bound::

    p(x, z) = p(x|z_1) Π_{i<L} p(z_i | z_{i+1}) p(z_L),   p(z_i | z_{i+1}) = N(μ_p, σ_p²),   p(z_L) = N(0, I)
    the way up gives each level a guess N(μ̂_i, σ̂_i²) from x; going down it is combined with the prior by precision,
        σ_i² = 1 / (σ̂_i⁻² + σ_p⁻²),   μ_i = σ_i² (μ̂_i σ̂_i⁻² + μ_p σ_p⁻²),   q(z_i | z_{i+1}, x) = N(μ_i, σ_i²)
    log p(x) ≥ E_q [ log p(x|z_1) - Σ_{i<L} KL(q(z_i|z_{i+1}, x) ‖ p(z_i|z_{i+1})) - KL(q(z_L|x) ‖ N(0, I)) ]

Source: Sønderby, Raiko, Maaløe, Sønderby and Winther (2016). The KL of each level is in closed form, given the draw
above it. It is warmed up (``training.kl_warmup_epochs``), and both networks have batch norm; without it the levels above
the bottom fall silent. ``generator.join = "replace"`` makes the chain: from each level to the next nothing passes but the
code. With another join the features above stay in sight (skip connections).

What differs from the published MNIST settings (entry ``published-lvae``: levels of 64-32-16-8-4 units, Bernoulli pixels,
batch 256, 2,000 epochs with 200 of warm-up; the batch and the epochs are from memory of the publication): our ladders
with convolutions below and fully connected layers above instead of perceptrons of 512-256-128-64-64; the images are grey
instead of drawn black or white anew in every epoch; the rate does not fall; deviations have a floor of 0.05. The entry
``mnist-lvae`` has the joint EBM's widths, Gaussian pixels and three levels of 16-16-8 units.
"""

import torch
from torch import Tensor

from hebm_lib.baselines.common import gaussian_kl_between
from hebm_lib.baselines.hierarchy import HierarchicalBaseline, Source, build_hierarchy
from hebm_lib.config import ModelConfig
from hebm_lib.model import Draw, register

__all__ = ["LVAE", "precision_weighted"]


def precision_weighted(mean: Tensor, scale: Tensor, prior_mean: Tensor, prior_scale: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the normalised product of two Gaussians, per unit.

    Example:
        >>> zero, one = torch.zeros(1), torch.ones(1)
        >>> mean, scale = precision_weighted(2 * one, one, zero, one)  # half way, and twice as sure
        >>> mean, scale.square()
        (tensor([1.]), tensor([0.5000]))
    """
    weight, prior_weight = scale.pow(-2), prior_scale.pow(-2)
    variance = 1 / (weight + prior_weight)
    return variance * (mean * weight + prior_mean * prior_weight), variance.sqrt()


class LVAE(HierarchicalBaseline):
    """Top-down inference by precision weighting; see the module's docstring.

    Example:
        >>> from hebm_lib import load_pretrained
        >>> model, x = load_pretrained("mnist-lvae"), torch.full((2, 1, 28, 28), -1.0)
        >>> model.elbo(x).kl.shape, model.sample(3).shape
        (torch.Size([2, 3]), torch.Size([3, 1, 28, 28]))
    """

    def walk(self, x: Tensor, source: Source) -> Draw:
        """Up for the guesses, then down for the draw."""
        guesses: dict[int, tuple[Tensor, Tensor]] = {}
        self.inference.ascend(x, lambda level, mean, scale: guesses.update({level: (mean, scale)}))
        drawn: dict[int, tuple[Tensor, ...]] = {}

        def choose(level: int, feature: Tensor | None) -> Tensor:
            mean, scale = guesses[level]
            prior = self.prior.conditional(level, feature, mean)
            if feature is not None:
                mean, scale = precision_weighted(mean, scale, *prior)
            z = source.code(level, mean, scale)
            drawn[level] = (z, mean, scale, gaussian_kl_between(mean, scale, *prior))
            return z

        image = self.generator.descend(choose)
        columns = zip(*(drawn[level] for level in range(1, self.latents.levels + 1)), strict=True)
        z, mean, scale, kl = (torch.cat(parts, 1) for parts in columns)
        return Draw(z, image, mean, scale, kl)


@register("lvae")
def build_lvae(config: ModelConfig) -> LVAE:
    return build_hierarchy(LVAE, config, joins=False)
