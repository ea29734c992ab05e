"""How unfamiliar a model finds an image: every score is higher for the less familiar (Table 3, supplement Table 1).

Two of them need no pixel noise of the Gaussian kind. Read a grey value ``u`` in [0, 1] as the probability that
the pixel is on, as a Bernoulli likelihood does, and its mean over all such black-and-white images is

    -log p(x|z) = Σ_j H(u_j) + Σ_j KL(u_j ‖ g_j(z)),   H(u) = -u log u - (1 - u) log(1 - u).

The first sum, `hebm_lib.metrics.pixels.grey_entropy`, is what the image costs under a perfect model, and knows nothing
of any model.
"""

import math
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from hebm_lib.data import ImageDataset
from hebm_lib.metrics.detection import joint_terms
from hebm_lib.model import bernoulli_log_likelihood

__all__ = [
    "SIGMAS",
    "OwnScore",
    "bernoulli_score",
    "bound_score",
    "likelihood_scores",
    "model_scores",
    "own_score",
]


SIGMAS = tuple(0.05 * 2**k for k in range(9))
"""σ in the decision function. Images in [0, 1] instead of [-1, 1] have a quarter of the SSE, so that is as a σ twice as
large: one step in this list."""


@torch.no_grad()
def bernoulli_score(model, data: ImageDataset, *, seed: int = 0, batch: int = 500) -> Tensor:
    """``-log p(x|z)`` had the model's pixels been Bernoulli, at one draw of z per image, ``(n,)``.

    The model may have been trained otherwise: its mean image in [-1, 1] is read as the probability ``(g(z) + 1) / 2``.

    Example:
        >>> from hebm_lib import load_dataset, load_pretrained
        >>> bernoulli_score(load_pretrained("digits"), load_dataset("digits", "test").subset(slice(0, 5))).shape
        torch.Size([5])
    """
    generator, parts = torch.Generator(device=model.device).manual_seed(seed), []
    for x in data.batches(batch, model.device):
        parts.append(-bernoulli_log_likelihood(x, model.decode(model.draw(x, generator=generator))).cpu())
    return torch.cat(parts)


@torch.no_grad()
def bound_score(model, data: ImageDataset, *, seed: int = 0, batch: int = 500) -> dict[str, Tensor]:
    """``KL``, of the code's posterior from N(0, I) or the conditional prior, and ``-ELBO`` without log Z; each ``(n,)``.

    Example:
        >>> from hebm_lib import load_dataset, load_pretrained
        >>> scores = bound_score(load_pretrained("digits"), load_dataset("digits", "test").subset(slice(0, 5)))
        >>> {name: tuple(score.shape) for name, score in scores.items()}
        {'KL': (5,), '-ELBO': (5,)}
    """
    generator = torch.Generator(device=model.device).manual_seed(seed)
    parts: dict[str, list[Tensor]] = {"KL": [], "-ELBO": []}
    for x in data.batches(batch, model.device):
        terms = model.elbo(x, generator=generator)
        parts["KL"].append(terms.kl.sum(1).cpu())
        parts["-ELBO"].append(-terms.elbo_plus_log_z.cpu())
    return {name: torch.cat(values) for name, values in parts.items()}


@runtime_checkable
class OwnScore(Protocol):
    """A model that is not trained on a likelihood and has a decision function of its own: MEG, BiGAN-σ.

    Example:
        >>> from hebm_lib import load_pretrained
        >>> isinstance(load_pretrained("digits"), OwnScore)  # its decision function is log p(x, z)
        False
    """

    def own_score(self, x: Tensor) -> Tensor:
        """Of images ``(n, …)``, ``(n,)``: high for the unfamiliar."""


@torch.no_grad()
def own_score(model: OwnScore, data: ImageDataset, *, batch: int = 500) -> Tensor:
    """The model's own score of every image, ``(n,)`` on the CPU.

    Example:
        >>> from hebm_lib import load_dataset
        >>> class Dark:
        ...     device = "cpu"
        ...     def own_score(self, x):
        ...         return -x.flatten(1).mean(1)
        >>> own_score(Dark(), load_dataset("digits", "test").subset(slice(0, 5))).shape
        torch.Size([5])
    """
    return torch.cat([model.own_score(x).cpu() for x in data.batches(batch, model.device)])


@torch.no_grad()
def likelihood_scores(
    model, data: ImageDataset, *, seed: int = 0, batch: int = 500, draws: int = 1
) -> dict[str, Tensor]:
    """The scores of a hierarchy that has bounds above a level, beside ``-ELBO``, each ``(n,)``.

    ``-L^{>k}``; ``LLR^{>k}``; and LLR^{>k} without the KL terms, ``log p(x|z) - log p(x|z')``, which is what the published
    script of HVAE's authors measures (`hebm_lib.baselines.hvae`).

    Args:
        model: one with ``terms_above(x, k)``, such as `hebm_lib.baselines.hvae.HVAE`.
        draws: of q per image and bound. Bounds take the log of their mean weight, the ratio without KL the mean. A ratio of
            two single draws is noisy: on black-or-white clothes and digits the AUROC of LLR^{>2} was .92 with one draw, .96
            with 40.

    Raises:
        ValueError: if there is not even one draw.

    Example:
        >>> from hebm_lib import load_pretrained
        >>> black = ImageDataset(torch.zeros(2, 1, 28, 28, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64))
        >>> model = load_pretrained("mnist-hvae")
        >>> list(likelihood_scores(model, black))
        ['-L>1', 'LLR>1', 'LLR>1 without KL', '-L>2', 'LLR>2', 'LLR>2 without KL']
        >>> list(likelihood_scores(model, black, draws=3))[:2]
        ['-L>1, 3 draws', 'LLR>1, 3 draws']
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    generator = torch.Generator(device=model.device).manual_seed(seed)
    terms: dict[int, list[Tensor]] = {k: [] for k in range(model.latents.levels)}
    for x in data.batches(batch, model.device):
        for k, parts in terms.items():
            drawn = [torch.stack(model.terms_above(x, k, generator=generator)) for _ in range(draws)]
            parts.append(torch.stack(drawn).cpu())
    # Per k: log p(x|z) and the KL of the levels above, each (draws, n).
    whole, *above = (torch.cat(parts, 2).unbind(1) for parts in terms.values())

    def bound(log_likelihood: Tensor, kl: Tensor) -> Tensor:
        return torch.logsumexp(log_likelihood - kl, 0) - math.log(draws)

    scores, how = {}, "" if draws == 1 else f", {draws} draws"
    for k, part in enumerate(above, start=1):
        scores |= {f"-L>{k}{how}": -bound(*part), f"LLR>{k}{how}": bound(*whole) - bound(*part)}
        scores[f"LLR>{k} without KL{how}"] = whole[0].mean(0) - part[0].mean(0)
    return scores


def model_scores(model, data: ImageDataset, seed: int = 0) -> dict[str, Tensor]:
    """All scores of one model, each ``(n,)`` and higher for the less familiar.

    ``-log p(x, z)`` is the paper's. A model without an energy has no ``-f(z)`` and what goes with it.

    Example:
        >>> from hebm_lib import load_dataset, load_pretrained
        >>> scores = model_scores(load_pretrained("digits"), load_dataset("digits", "test").subset(slice(0, 5)))
        >>> list(scores)[:4], scores["-log p(x, z)"].shape
        (['-log p(x, z)', 'SSE', '-log N(z; 0, I)', '-f(z)'], torch.Size([5]))
    """
    terms = joint_terms(model, data, seed=seed)
    scores = {"-log p(x, z)": -terms.log_joint, "SSE": terms.sse, "-log N(z; 0, I)": -terms.base}
    if terms.energy.any():
        scores |= {"-f(z)": -terms.energy, "-f(z) - log N(z; 0, I)": -terms.energy - terms.base}
        scores["without f(z)"] = terms.energy - terms.log_joint
    scores |= bound_score(model, data, seed=seed)
    scores["Bernoulli"] = bernoulli_score(model, data, seed=seed)
    scores |= {f"sigma {sigma:g}": -terms.at_sigma(sigma) for sigma in SIGMAS}
    return scores | (likelihood_scores(model, data, seed=seed) if model.bounds_levels else {})
