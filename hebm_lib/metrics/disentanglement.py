"""Does each unit of the code carry one factor of variation, and each factor live in one unit? (Supplement, Table 2.)

Images come from a grid of known factors v_1 … v_K. What unit j says of factor k is measured without bins, as in the code of
Chen, Li, Grosse and Duvenaud (2018, rtqichen/beta-tcvae). The codes of a set of N images are the mixture of all posteriors,

    q(z_j) = 1/N Σ_n q(z_j | x_n),      H(z_j) = -E log q(z_j)   over draws of z_j,

and the same within the images on which factor k has one value gives H(z_j | v_k), the mean over its values. Then

    I_jk = (H(z_j) - H(z_j | v_k)) / ln|v_k|,   as a share of what there is to know of the factor
    MIG      = mean over factors of the largest I_jk minus the second largest, over units
    MIG-sup  = mean over active units of the largest I_jk minus the second largest, over factors

with negative values set to 0. MIG-sup is of Li, Murkute, Gyawali and Wang (2020, Zhiyuan1991/proVLAE); a unit is active if
its posterior means vary, by more than 0.01. MIG as disentanglement_lib has it, in 20 bins, is another number.

DCI (Eastwood and Williams 2018) asks a random forest which units it needs for which factor. The linear probe asks what a
whole level knows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hebm_lib.metrics.latent_classifier import Codes, linear_probe

__all__ = [
    "DCI",
    "active_units",
    "by_level",
    "dci",
    "dci_of_importance",
    "factor_information",
    "factor_probe",
    "mig",
    "mig_sup",
]

ACTIVE = 0.01
"""A unit whose posterior means vary by no more than this says nothing."""
SAMPLES = 10_000
"""Draws behind each entropy, at most."""
BLOCK = 2**18
"""Densities at a time: a block that stays in the processor's cache."""
NEIGHBOURS = 64
"""Draws that share a window of parts."""
REACH = 8.0
"""Deviations beyond which a part of a mixture counts for nothing."""


def factor_information(
    codes: Codes, factors: Tensor, sizes: Sequence[int] | None = None, *, samples: int = SAMPLES, seed: int = 0
) -> Tensor:
    """What each unit says of each factor, as a share of that factor's entropy: ``(K, d)``, float64.

    Estimates: near 0 they may be a little negative.

    Args:
        codes: posteriors of images that fill the grid evenly, or are drawn evenly from it, with a draw of each.
        factors: the factors of these images ``(n, K)``, whole numbers.
        sizes: how many values each factor has; None takes those that occur.
        samples: draws behind each entropy; all, where there are fewer images.
        seed: of the choice of draws.

    Raises:
        ValueError: where codes and factors are not of as many images, or a factor has one value only.

    Example:
        >>> factors = torch.cartesian_prod(torch.arange(4), torch.arange(3)).repeat(50, 1)
        >>> mean = torch.stack([factors[:, 0] * 5.0, torch.zeros(600), factors[:, 1] * 9.0], 1)
        >>> scale = torch.full_like(mean, 0.1)
        >>> codes = Codes(mean, scale, mean + scale * torch.randn(mean.shape))
        >>> factor_information(codes, factors).round(decimals=1).abs().tolist()
        [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    if factors.ndim != 2 or len(factors) != len(codes.mean):
        raise ValueError(
            f"codes of {len(codes.mean)} images need factors ({len(codes.mean)}, K), got {tuple(factors.shape)}"
        )
    generator = torch.Generator().manual_seed(seed)
    marginal = entropies(codes, torch.arange(len(factors)), samples, generator)
    rows = []
    for k, column in enumerate(factors.T):
        values = column.unique()
        count = len(values) if sizes is None else int(sizes[k])
        if count < 2 or len(values) < 2:
            raise ValueError(f"factor {k} has one value only: nothing can be said of it")
        within = [entropies(codes, (column == v).nonzero().flatten(), samples, generator) for v in values]
        rows.append((marginal - torch.stack(within).mean(0)) / math.log(count))
    return torch.stack(rows)


def entropies(codes: Codes, rows: Tensor, samples: int, generator: torch.Generator) -> Tensor:
    """``H(z_j)`` in nats of the mixture of the posteriors of some images, ``(d,)`` float64, from their own draws."""
    drawn = rows[torch.randperm(len(rows), generator=generator)[:samples]]
    mean, scale, z = codes.mean[rows].float(), codes.scale[rows].float(), codes.draw[drawn].float()
    return torch.stack([-mixture_log_density(*column).mean() for column in zip(z.T, mean.T, scale.T, strict=True)])


def mixture_log_density(z: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """``log 1/N Σ_n N(z; mean_n, scale_n²)`` in one dimension, ``(m,)`` float64; each z is a draw of one of the parts.

    Parts whose mean is further from z than `REACH` of the widest deviation are left out: they add less than 1e-13 of a
    peak, and most of a sharp unit's parts are that far away.
    """
    mean, order = mean.sort()
    narrow = scale[order].reciprocal()
    offset, reach = mean * narrow, REACH * scale.max()
    z, place = z.sort()
    total = torch.empty(len(z), dtype=torch.float64)
    for first in range(0, len(z), NEIGHBOURS):
        near = z[first : first + NEIGHBOURS]
        low, high = torch.searchsorted(mean, torch.stack([near[0] - reach, near[-1] + reach])).tolist()
        window, at = slice(low, high), first
        for part in near.split(max(1, BLOCK // max(1, high - low))):
            # A draw is never far from its own part: the sum cannot vanish, and no maximum needs to be taken out of it.
            density = (
                torch.outer(part, narrow[window]).sub_(offset[window]).square_().mul_(-0.5).exp_() @ narrow[window]
            )
            total[place[at : at + len(part)]] = density.double()
            at += len(part)
    return (total / len(mean)).clamp_min(1e-300).log() - 0.5 * math.log(2 * math.pi)


def active_units(mean: Tensor) -> Tensor:
    """Which units say anything: those whose posterior means ``(n, d)`` have a variance above 0.01; ``(d,)`` truth values.

    Example:
        >>> active_units(torch.tensor([[0.0, -1.0], [0.1, 1.0]])).tolist()
        [False, True]
    """
    return mean.var(0) > ACTIVE


def gaps(information: Tensor, dim: int) -> Tensor:
    """The largest minus the second largest along ``dim``, of values that are set to 0 where negative."""
    top = information.clamp_min(0).topk(2, dim).values
    return top.select(dim, 0) - top.select(dim, 1)


def mig(information: Tensor) -> float:
    """The mutual information gap of `factor_information`: 1 where each factor stands in one unit, and nowhere else.

    Example:
        >>> round(mig(torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.6, 0.6]])), 3)  # 0.8 for one factor, 0 for the other
        0.4
    """
    return gaps(information, 1).mean().item()


def mig_sup(information: Tensor, active: Tensor) -> float:
    """The gap the other way round: 1 where each active unit carries one factor. 0 where no unit is active.

    Args:
        information: of `factor_information`, ``(K, d)``.
        active: of `active_units`, ``(d,)``.

    Example:
        >>> information = torch.tensor([[0.9, 0.5, 0.0], [0.1, 0.5, 0.0]])
        >>> round(mig_sup(information, torch.tensor([True, True, False])), 3)  # 0.8 for one unit, 0 for the other
        0.4
    """
    if not bool(active.any()):
        return 0.0
    return gaps(information, 0)[active].mean().item()


def by_level(information: Tensor, dims: Sequence[int]) -> Tensor:
    """What the best unit of each level says of each factor: ``(L, K)``, z_1 first.

    Args:
        information: of `factor_information`, ``(K, d)``.
        dims: units per level.

    Example:
        >>> by_level(torch.tensor([[0.1, 0.9, 0.0], [0.0, 0.2, 0.7]]), (2, 1))
        tensor([[0.9000, 0.2000],
                [0.0000, 0.7000]])
    """
    return torch.stack([part.amax(1) for part in information.split(list(dims), 1)])


@dataclass(frozen=True)
class DCI:
    """Disentanglement, completeness and informativeness, each at most 1.

    Attributes:
        disentanglement: is each unit needed for one factor? Units weigh as much as they are needed.
        completeness: is one unit enough for each factor? Factors weigh as much as they need.
        informativeness: accuracy of the forest on images that it has not seen, mean over factors.
        importance: ``(d, K)``, how much the forest for factor k leans on unit j; sums to 1 over units.

    Example:
        >>> DCI(1.0, 1.0, 0.9, np.eye(2)).completeness
        1.0
    """

    disentanglement: float
    completeness: float
    informativeness: float
    importance: np.ndarray


def dci(train: Tensor, factors: Tensor, test: Tensor, truth: Tensor, *, trees: int = 50, seed: int = 0) -> DCI:
    """DCI with scikit-learn's random forests, one of the two regressors of its authors.

    disentanglement_lib boosts trees instead, which gives other numbers.

    Args:
        train, test: codes ``(n, d)``, such as posterior means.
        factors, truth: their factors ``(n, K)``, whole numbers.
        trees: trees in a forest.
        seed: of the forests.

    Example:
        >>> factors = torch.randint(4, (400, 2))
        >>> codes = factors.float().flip(1) + 0.01 * torch.randn(400, 2)
        >>> found = dci(codes[:200], factors[:200], codes[200:], factors[200:], trees=5)
        >>> round(found.disentanglement, 1), round(found.completeness, 1), round(found.informativeness, 1)
        (1.0, 1.0, 1.0)
    """
    from sklearn.ensemble import RandomForestClassifier

    columns, right = [], []
    for k in range(factors.shape[1]):
        forest = RandomForestClassifier(trees, min_samples_leaf=3, max_features=None, random_state=seed)
        forest.fit(train.numpy(), factors[:, k].numpy())
        columns.append(forest.feature_importances_)
        right.append(forest.score(test.numpy(), truth[:, k].numpy()))
    importance = np.stack(columns, 1)
    return DCI(*dci_of_importance(importance), float(np.mean(right)), importance)


def dci_of_importance(importance: np.ndarray) -> tuple[float, float]:
    """Disentanglement and completeness of a table ``(d, K)``: one minus the entropy of its rows, and of its columns.

    Rows and columns of zeros say nothing and count for nothing.

    Example:
        >>> disentangled, complete = dci_of_importance(np.array([[1.0, 0.0], [0.0, 0.5], [0.0, 0.5]]))
        >>> round(disentangled, 2), round(complete, 2)  # two units share the second factor: each has one, it has two
        (1.0, 0.68)
    """
    return one_sided(importance), one_sided(importance.T)


def one_sided(table: np.ndarray) -> float:
    """Mean of ``1 - entropy`` over rows, in units of the largest possible entropy, weighed by the rows' sums."""
    from scipy.stats import entropy

    weight = table.sum(1)
    if not weight.sum() > 0:
        return 0.0
    used = table[weight > 0]
    return float(np.average(1 - entropy(used, base=table.shape[1], axis=1), weights=weight[weight > 0]))


def factor_probe(train: Sequence[Tensor], factors: Tensor, test: Sequence[Tensor], truth: Tensor, **options) -> Tensor:
    """Test accuracy of `linear_probe` for each factor on each level's code, ``(L, K)``.

    Args:
        train, test: codes ``(n, d_i)`` per level, z_1 first.
        factors, truth: their factors ``(n, K)``.
        options: of `linear_probe`.

    Example:
        >>> factors = torch.randint(2, (300, 2))
        >>> levels = [factors[:, :1].float(), factors[:, 1:].float()]
        >>> factor_probe(levels, factors, levels, factors).diagonal().tolist()
        [1.0, 1.0]
    """
    columns = [linear_probe(train, factors[:, k], test, truth[:, k], **options) for k in range(factors.shape[1])]
    return torch.tensor(columns).T
