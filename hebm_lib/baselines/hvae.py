"""A hierarchical VAE with bottom-up inference and skip connections, and its scores for unfamiliar images.

Model and bound::

    p(x, z) = p(x|z_1 … z_L) Π_{i<L} p(z_i | z_{>i}) p(z_L),   q(z|x) = q(z_1|x) Π_{i>1} q(z_i | z_{<i}, x)
    log p(x) ≥ L = E_q [ log p(x|z) - Σ_i (log q(z_i | z_{<i}, x) - log p(z_i | z_{>i})) ]

    L^{>k}   = E [ log p(x|z) - Σ_{i>k} (log q - log p)_i ],   z_{>k} from q, z_{≤k} from p(z_{≤k} | z_{>k})
    LLR^{>k} = L - L^{>k}

L^{>0} is the bound itself. An image that only the bottom levels can explain loses much when these are drawn from the prior:
a high LLR^{>k} marks an unfamiliar image, and so does a low L^{>k}.

The authors' script measures something else: ``scripts/ood-llr.py`` (commit 037cd11) fills ``kl_divergences_k`` from the
plain bound's ``stage_datas``, so that L^{>k} pays for the skipped levels too. In LLR^{>k} the KL terms then fall out, and what
is left is ``log p(x|z) - log p(x|z')``, z' with z_{≤k} from the prior: `hebm_lib.metrics.scores.likelihood_scores` has both.

Source: Havtorn, Frellsen, Hauberg and Maaløe (2021), and their code, JakobHavtorn/hvae-oodd. As there, the KL terms are
``log q - log p`` at the draw (in closed form they would be wrong: what is drawn above depends on what was drawn below), the
levels that L^{>k} skips take the prior's mode, and the training has free bits that fall to 0.

What differs from the published settings (entry ``published-hvae``, MNIST): one pair of convolutions per level instead of
three residual blocks with weight norm, all kernels 3×3; leaky ReLU instead of ReLU; free bits are a floor under the batch's
mean per unit instead of under each image's; the last weights are kept instead of those of the best test bound; deviations
have a floor of 0.05. The entries
``mnist-hvae`` and ``fashion-hvae`` have the joint EBM's widths, batch norm and Gaussian pixels; their z_1 is 2 channels on
14×14 instead of 8. ``fashion-hvae-binary`` has Bernoulli pixels and images drawn black or white, as its authors do, without
which z_1 falls silent (``fashion-hvae-bernoulli``); ``fashion-hvae-binary-long`` trains it for 30 epochs (published: 1,000).
"""

import math

import torch
from torch import Tensor

from hebm_lib.baselines.common import gaussian_log_prob
from hebm_lib.baselines.hierarchy import HierarchicalBaseline, Source, build_hierarchy
from hebm_lib.config import ModelConfig
from hebm_lib.model import Draw, register

__all__ = ["HVAE"]


class HVAE(HierarchicalBaseline):
    """Bottom-up inference; see the module's docstring.

    Example:
        >>> from hebm_lib import load_pretrained
        >>> model, x = load_pretrained("mnist-hvae"), torch.full((2, 1, 28, 28), -1.0)
        >>> model.bound_above(x, k=1).shape, model.log_likelihood_ratio(x, k=1).shape
        (torch.Size([2]), torch.Size([2]))
    """

    bounds_levels = True

    def climb(self, x: Tensor, source: Source) -> tuple[Tensor, Tensor, Tensor]:
        """A draw from q on the way up, with the mean and deviation that each unit was drawn from; each ``(n, d)``."""
        drawn: list[tuple[Tensor, Tensor, Tensor]] = []

        def choose(level: int, mean: Tensor, scale: Tensor) -> Tensor:
            drawn.append((source.code(level, mean, scale), mean, scale))
            return drawn[-1][0]

        self.inference.ascend(x, choose)
        z, mean, scale = (torch.cat(parts, 1) for parts in zip(*drawn, strict=True))
        return z, mean, scale

    def walk(self, x: Tensor, source: Source) -> Draw:
        """Up for the draw, then down for the prior of each level at it."""
        z, mean, scale = self.climb(x, source)
        image, log_p = self.descend(z)
        return Draw(z, image, mean, scale, gaussian_log_prob(z, mean, scale) - log_p)

    def descend(self, z: Tensor, above: int = 0) -> tuple[Tensor, Tensor]:
        """Mean images and ``log p(z_i | z_{>i})`` per unit, ``(n, d)``; levels up to ``above`` take the prior's mode."""
        log_p: list[Tensor] = [z] * self.latents.levels
        parts = self.latents.split(z)

        def choose(level: int, mean: Tensor, scale: Tensor) -> Tensor:
            code = mean if level <= above else parts[level - 1]
            log_p[level - 1] = gaussian_log_prob(code, mean, scale)
            return code

        _, image = self.prior.walk(choose, z)
        return image, self.latents.join(log_p)

    def terms_above(self, x: Tensor, k: int, *, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """The two terms of ``L^{>k}`` at one draw, in nats: ``log p(x|z)`` and ``Σ_{i>k} (log q - log p)_i``, each ``(n,)``.

        Args:
            x: images.
            k: how many levels, from the bottom, are left to the prior's mode; 0 is the plain bound.
            generator: source of the draw's noise.

        Raises:
            ValueError: unless 0 ≤ k < L.
        """
        if not 0 <= k < self.latents.levels:
            raise ValueError(f"k must be between 0 and {self.latents.levels - 1}, got {k}")
        first = sum(self.latents.dims[:k])
        z, mean, scale = self.climb(x, Source(self.latents, noise=self.noise(x, generator)))
        image, log_p = self.descend(z, above=k)
        kl = (gaussian_log_prob(z, mean, scale) - log_p)[:, first:].sum(1)
        return self.pixel_log_likelihood(x, image), kl

    def bound_above(self, x: Tensor, k: int, *, samples: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """``L^{>k}`` per image, ``(n,)``, in nats.

        Args:
            x, k, generator: of `terms_above`.
            samples: draws per image; the log of their mean weight is taken, which for more than one is a tighter bound.

        Raises:
            ValueError: unless 0 ≤ k < L and there is a draw.
        """
        if samples < 1:
            raise ValueError(f"samples must be at least 1, got {samples}")
        terms = [self.terms_above(x, k, generator=generator) for _ in range(samples)]
        weights = torch.stack([log_likelihood - kl for log_likelihood, kl in terms])
        return torch.logsumexp(weights, 0) - math.log(samples)

    def log_likelihood_ratio(
        self, x: Tensor, k: int, *, samples: int = 1, generator: torch.Generator | None = None
    ) -> Tensor:
        """``LLR^{>k} = L - L^{>k}`` per image, ``(n,)``: the higher, the less familiar."""
        whole, part = (self.bound_above(x, j, samples=samples, generator=generator) for j in (0, k))
        return whole - part


@register("hvae")
def build_hvae(config: ModelConfig) -> HVAE:
    return build_hierarchy(HVAE, config, joins=True)
