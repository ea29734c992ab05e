"""Scores for unfamiliar images, and how well a score tells them from familiar ones (Table 3, supplement Table 1).

The decision function of the paper is the unnormalised ``log p(x, z)`` at a code z from q(z|x). It is kept here in its
three terms, so that a page can say which of them decides.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from hebm_lib.data import ImageDataset

__all__ = [
    "Detection",
    "JointTerms",
    "ReadAuprc",
    "auprc_at",
    "detection",
    "joint_terms",
    "read_auprc",
    "tell_apart",
    "worst_auprc",
]


@dataclass(frozen=True)
class JointTerms:
    """``log p(x, z)`` per image in its terms, each ``(n,)`` on the CPU, in nats.

    Attributes:
        likelihood: ``log p_β(x|z)``.
        energy: ``f_α(z)``; 0 for a model without an energy.
        base: ``log N(z; 0, I)``, or of a conditional hierarchy ``log p(z)``.
        sse: ``‖x - g(z)‖²``; the likelihood without σ and its constant.

    Example:
        >>> terms = JointTerms(*(torch.tensor([value]) for value in (-50.0, 3.0, -9.0, 8.0)))
        >>> terms.log_joint.item(), terms.at_sigma(1.0).item()
        (-56.0, -10.0)
    """

    likelihood: Tensor
    energy: Tensor
    base: Tensor
    sse: Tensor

    @property
    def log_joint(self) -> Tensor:
        """The paper's decision function: high for familiar images."""
        return self.likelihood + self.energy + self.base

    def at_sigma(self, sigma: float) -> Tensor:
        """The same, had the model's σ been another: ``-SSE/(2σ²) + f(z) + log N(z; 0, I)``."""
        return -self.sse / (2 * sigma**2) + self.energy + self.base


@torch.no_grad()
def joint_terms(model, data: ImageDataset, *, sampled: bool = True, seed: int = 0, batch: int = 500) -> JointTerms:
    """The terms of ``log p(x, z)`` for every image.

    Args:
        model: a `JointEBM` or a baseline with the same methods, in evaluation mode.
        data: images of the model's size.
        sampled: z is a draw from q(z|x), as the paper says; else its mean.
        seed: of those draws.

    Example:
        >>> from hebm_lib import load_dataset, load_pretrained
        >>> model, data = load_pretrained("digits"), load_dataset("digits", "test").subset(slice(0, 10))
        >>> x = data.batch(slice(None))
        >>> terms = joint_terms(model, data, sampled=False)
        >>> torch.allclose(terms.log_joint, model.log_joint(x, model.encode(x).mean), rtol=1e-4)
        True
    """
    generator = torch.Generator(device=model.device).manual_seed(seed)
    parts: dict[str, list[Tensor]] = {"likelihood": [], "energy": [], "base": [], "sse": []}
    for x in data.batches(batch, model.device):
        z = model.draw(x, generator=generator) if sampled else model.encode(x).mean
        image, energy = model.decode(z), model.prior(z)
        values = {
            "likelihood": model.pixel_log_likelihood(x, image),
            "energy": energy,
            "base": model.prior.log_prob_unnormalized(z) - energy,
            "sse": (x - image).square().flatten(1).sum(1),
        }
        for name, value in values.items():
            parts[name].append(value.cpu())
    return JointTerms(**{name: torch.cat(values) for name, values in parts.items()})


@dataclass(frozen=True)
class Detection:
    """How well a score finds the positives.

    Attributes:
        auprc: area under the precision-recall curve by trapezoids, as in the code whose protocol Table 3 follows.
        average_precision: the same without interpolation, as in the code behind the supplement's Table 1.
        auroc: area under the receiver operating curve; 0.5 is chance.
        prevalence: share of positives, the ``auprc`` of a random score.
        worst: the smallest ``auprc`` that any score can have at this prevalence.

    Example:
        >>> Detection(0.123456, 0.2, 0.7, prevalence=0.1, worst=0.05).rounded()["auprc"]
        0.1235
    """

    auprc: float
    average_precision: float
    auroc: float
    prevalence: float
    worst: float

    def rounded(self) -> dict[str, float]:
        """As plain numbers of four digits."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def worst_auprc(prevalence: float) -> float:
    """``1 + (1 - π) ln(1 - π)/π``: the area if every positive comes last, in the limit of many images.

    Raises:
        ValueError: unless 0 < π < 1.

    Example:
        >>> round(worst_auprc(0.5), 4), round(1 - math.log(2), 4)
        (0.3069, 0.3069)
    """
    if not 0 < prevalence < 1:
        raise ValueError(f"a prevalence is between 0 and 1, got {prevalence}")
    return 1 + (1 - prevalence) * math.log(1 - prevalence) / prevalence


@dataclass(frozen=True)
class ReadAuprc:
    """What a published AUPRC means at a share of positives.

    Attributes:
        value, prevalence: as given.
        floor: the smallest area that any ranking can have there.
        verdict: ``impossible``, below the floor: measured at another share; ``worse than random``, below the prevalence;
            ``better than random``.
        way: how far from a random ranking to a perfect one, 0 to 1; negative below random.

    Example:
        >>> found = read_auprc(0.063, 0.388)  # a VAE's published row for the digit 1, were it measured on the 80/20 split
        >>> found.verdict, round(found.floor, 3)
        ('impossible', 0.225)
        >>> read_auprc(0.063, 0.11).verdict, read_auprc(0.722, 0.388).verdict
        ('worse than random', 'better than random')
    """

    value: float
    prevalence: float
    floor: float
    verdict: str
    way: float


def read_auprc(value: float, prevalence: float) -> ReadAuprc:
    """Read an AUPRC beside its floor and what a random ranking has: the first thing to do with a table of them.

    Floor and prevalence are limits of many images; a small test set may fall a little below either.

    Args:
        value: the area, 0 to 1.
        prevalence: share of positives in the test set, between 0 and 1.

    Raises:
        ValueError: for a value or a share that is none.

    Example:
        >>> round(read_auprc(0.68, 0.36).way, 2)
        0.5
    """
    if not 0 <= value <= 1:
        raise ValueError(f"an AUPRC is between 0 and 1, got {value}")
    floor = worst_auprc(prevalence)
    verdict = "impossible" if value < floor else "worse than random" if value < prevalence else "better than random"
    return ReadAuprc(value, prevalence, floor, verdict, (value - prevalence) / (1 - prevalence))


def detection(score: Tensor, positive: Tensor) -> Detection:
    """Compare a score with the truth.

    Args:
        score: ``(n,)``, higher for what is to be found; for the paper's decision function its negative.
        positive: ``(n,)`` booleans.

    Raises:
        ValueError: for scores that are not finite, other shapes, or one class only.

    Example:
        >>> positive = torch.tensor([False, False, True, True])
        >>> found = detection(torch.tensor([0.1, 0.2, 0.8, 0.9]), positive)
        >>> found.auprc, found.auroc, found.prevalence
        (1.0, 1.0, 0.5)
    """
    # Here: it takes a second to import.
    from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score

    score, truth = score.double().cpu(), positive.bool().cpu()
    if score.shape != truth.shape or score.ndim != 1:
        raise ValueError(f"one score and one truth per image, got {tuple(score.shape)} and {tuple(truth.shape)}")
    if not score.isfinite().all():
        raise ValueError(f"{int((~score.isfinite()).sum())} of {len(score)} scores are not finite")
    if truth.all() or not truth.any():
        raise ValueError("all images are of one kind: there is nothing to tell apart")
    s, t = score.numpy(), truth.numpy()
    precision, recall, _ = precision_recall_curve(t, s)
    prevalence = float(t.mean())
    return Detection(
        float(auc(recall, precision)),
        float(average_precision_score(t, s)),
        float(roc_auc_score(t, s)),
        prevalence,
        worst_auprc(prevalence),
    )


def auprc_at(score: torch.Tensor, positive: torch.Tensor, prevalence: float) -> float:
    """AUPRC had the positives been another share of the images: positives and negatives are weighed to make it so.

    Args:
        score, positive: ``(n,)``, as of `detection`.
        prevalence: between 0 and 1.

    Example:
        >>> score, positive = torch.arange(1000.0), torch.arange(1000) % 2 == 0
        >>> round(auprc_at(score, positive, 0.1), 1)  # a score that knows nothing has the share of the positives
        0.1
    """
    from sklearn.metrics import auc, precision_recall_curve

    truth = positive.bool().cpu().numpy()
    weights = np.where(truth, prevalence / truth.sum(), (1 - prevalence) / (~truth).sum())
    precision, recall, _ = precision_recall_curve(truth, score.double().cpu().numpy(), sample_weight=weights)
    return float(auc(recall, precision))


def tell_apart(inside: ImageDataset, outside: ImageDataset, score: Callable[[ImageDataset], dict[str, Tensor]]) -> dict:
    """Average precision and AUROC of every score, the unfamiliar images being the positives.

    Args:
        inside, outside: as many images of each as the smaller set has, the first ones.
        score: gives named scores ``(n,)`` of a data set.

    Example:
        >>> images, labels = torch.zeros(3, 1, 4, 4, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64)
        >>> black, white = ImageDataset(images, labels), ImageDataset(images + 255, labels)
        >>> tell_apart(black, white, lambda data: {"ink": data.images.flatten(1).float().mean(1)})
        {'ink': {'auprc': 1.0, 'auroc': 1.0}}
    """
    n = min(len(inside), len(outside))
    near, far = (score(data.subset(slice(0, n))) for data in (inside, outside))
    truth = torch.arange(2 * n) >= n
    found = {name: detection(torch.cat([near[name], far[name]]), truth) for name in near}
    return {name: {"auprc": round(d.average_precision, 4), "auroc": round(d.auroc, 4)} for name, d in found.items()}
