"""How much of the class a level knows, in nats: a lower and an upper bound on ``I(z_i; y)`` that need no trained classifier.

Let ``q(z_i | y)`` be the codes of class y: the mixture of the Gaussians ``q(z_i | x_n)`` of that class's images. With M
images as components, shares included,

    p̂(y | z) = Σ_{n: y_n = y} q(z | x_n) / Σ_n q(z | x_n).

Lower bound (Barber and Agakov 2003): for any p̂, ``H(y) + E log p̂(y | z) <= I(z; y)``, where the mean is over draws z of
other images and their labels. Between the components of a level with narrow Gaussians there are gaps into which those
draws fall, and the bound is loose; so all deviations are multiplied by one factor, chosen on a third set of images, and
one part in a thousand of p̂ is a blind guess, which keeps a rare surprise from costing more than 9 nats.

Upper bound: draws of the component images themselves, nothing widened. This is I for the data set of just these M
images. I is convex in q(z | y), so by Jensen's inequality its mean over data sets is at least the I of all images (with
class shares taken as known). Where a code is so narrow that it identifies its image it says no more than ``H(y)``. In a
hierarchy q(z_i | x) is no Gaussian, the components are those of the mean path, and there is no upper bound; the lower
one holds.
"""

import json
import math

import torch
from torch import Tensor

from hebm_lib.data import ImageDataset
from hebm_lib.metrics.latent_classifier import Codes, accuracy_of_codes, encode_posterior, linear_probe

__all__ = ["class_information", "class_log_posterior", "fano_accuracy", "level_information"]

WIDENING = (1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 20.0)
"""Factors for the components' deviations to choose from."""

COMPONENTS, DRAWS, TUNING = 10_000, 4_000, 1_000
"""Most images in the mixture, draws behind each bound, draws that choose the factor."""

BLIND = 1e-3
"""Share of the blind guess in the lower bound's p̂."""


def class_log_posterior(
    z: Tensor,
    mean: Tensor,
    scale: Tensor,
    labels: Tensor,
    *,
    widening: float = 1.0,
    classes: int | None = None,
    batch: int = 500,
) -> Tensor:
    """``log p̂(y | z)`` of the mixture, ``(m, C)``, float64; a class without components has -inf.

    Args:
        z: codes ``(m, d)``.
        mean, scale, labels: of the components, ``(n, d)``, ``(n, d)`` and ``(n,)``, labels from 0 to C - 1.
        widening: what every ``scale`` is multiplied by.
        classes: C; None takes the largest label plus one.
        batch: codes at a time; memory goes with ``batch * n``.

    Raises:
        ValueError: where a deviation or ``widening`` is not positive.

    Example:
        >>> mean, scale, labels = torch.tensor([[-1.0], [1.0]]), torch.ones(2, 1), torch.tensor([0, 1])
        >>> class_log_posterior(torch.zeros(1, 1), mean, scale, labels).exp().tolist()  # half way between two classes
        [[0.5, 0.5]]
    """
    if not (scale > 0).all() or not widening > 0:
        raise ValueError("deviations and widening must be positive")
    order = labels.argsort(stable=True)
    sizes = labels.bincount(minlength=classes or 0).tolist()
    mean, scale = mean[order].double(), scale[order].double()
    precision = (widening * scale).square().reciprocal()
    constant = 0.5 * (precision * mean.square()).sum(1) + scale.log().sum(1)  # what widening adds to each cancels
    rows = []
    for part in z.double().split(batch):
        log_q = part @ (precision * mean).T - 0.5 * part.square() @ precision.T - constant
        rows.append(torch.stack([block.logsumexp(1) for block in log_q.split(sizes, 1)], 1))
    joint = torch.cat(rows)
    return joint - joint.logsumexp(1, keepdim=True)


def class_information(
    codes: Codes, labels: Tensor, test: Codes, truth: Tensor, *, seed: int = 0, upper: bool = True
) -> dict[str, float]:
    """Bounds on ``I(z; y)`` of one level, in nats: ``{"lower": …, "upper": …}``.

    Of the training images at most 10,000 are the mixture and 1,000 others choose the widening; 4,000 draws make each
    bound. The draws' standard error is about 0.01 nats, so a bound of 0 may come out slightly negative.

    Args:
        codes, labels: of training images, ``(n, d)`` and ``(n,)``.
        test, truth: of test images.
        seed: of the choice of images.
        upper: False leaves the upper bound out.

    Example:
        >>> labels = torch.arange(1000) % 2
        >>> mean = 10.0 * labels[:, None].float()  # the code is the class
        >>> codes = Codes(mean, torch.ones_like(mean), mean + torch.randn(1000, 1))
        >>> bounds = class_information(codes, labels, codes, labels)
        >>> [round(bounds[name], 1) for name in ("lower", "upper")], round(math.log(2), 1)
        ([0.7, 0.7], 0.7)
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator)
    tuning = order[: min(TUNING, len(order) // 5)]
    chosen = order[len(tuning) :][:COMPONENTS]
    held_out = torch.randperm(len(truth), generator=generator)[:DRAWS]
    components = (codes.mean[chosen], codes.scale[chosen], labels[chosen])
    classes = int(torch.cat([labels, truth]).max()) + 1

    def information(z: Tensor, y: Tensor, widening: float = 1.0, blind: float = BLIND) -> float:
        p = class_log_posterior(z, *components, widening=widening, classes=classes).exp()
        p = (1 - blind) * p + blind / classes
        return _entropy(y) + p.gather(1, y[:, None]).log().mean().item()

    # One factor after the other, as long as the bound rises.
    best, widening = -math.inf, WIDENING[0]
    for factor in WIDENING:
        reached = information(codes.draw[tuning], labels[tuning], factor)
        if reached < best:
            break
        best, widening = reached, factor
    result = {"lower": information(test.draw[held_out], truth[held_out], widening)}
    if upper:
        own = chosen[:DRAWS]
        result["upper"] = information(codes.draw[own], labels[own], blind=0.0)
    return result


def _entropy(labels: Tensor) -> float:
    """``H(y)`` of the labels' shares, nats."""
    share = labels.unique(return_counts=True)[1].double() / len(labels)
    return -(share * share.log()).sum().item()


def fano_accuracy(information: float, classes: int) -> float:
    """The best accuracy that any classifier can have on codes that know so many nats of C equally frequent classes.

    Fano's inequality: with error e, ``log C - I <= -e log e - (1 - e) log(1 - e) + e log(C - 1)``. The right side grows
    from 0 at e = 0 to log C at e = 1 - 1/C, so the smallest error is where both sides are equal.

    Raises:
        ValueError: for less than two classes.

    Example:
        >>> round(fano_accuracy(0.0, classes=10), 6), round(fano_accuracy(math.log(10), classes=10), 6)
        (0.1, 1.0)
    """
    if classes < 2:
        raise ValueError(f"there must be at least two classes, got {classes}")
    missing = math.log(classes) - information
    low, high = 0.0, 1 - 1 / classes
    for _ in range(60):
        e = (low + high) / 2
        doubt = e * math.log((classes - 1) / e) - (1 - e) * math.log1p(-e)
        low, high = (low, e) if doubt > missing else (e, high)
    return 1 - low


def level_information(model, train: ImageDataset, test: ImageDataset, seed: int = 0) -> dict[str, list[float]]:
    """What each level's codes know of the class, by four measures; lists with z_1 first, plain JSON types.

    The images are encoded once. The two neural classifiers learn from all training images, the probe from at most
    20,000, the mixture has at most 10,000.

    Args:
        model: of any kind; in a hierarchy the means are those of the path on which every level takes its mean.
        train, test: labelled images of the model's size.
        seed: of draws, classifiers and the choice of images.

    Returns:
        ``latent_accuracy`` and ``sampled_latent_accuracy`` (Table 1's classifier on means and on draws),
        ``linear_probe`` (on means), ``mutual_information`` (the lower bound) and, unless the model is a conditional
        hierarchy, ``mutual_information_upper``, in nats.

    Example:
        >>> from hebm_lib import load_dataset, load_pretrained
        >>> train, test = (load_dataset("digits", split).subset(slice(0, 300)) for split in ("train", "test"))
        >>> known = level_information(load_pretrained("digits"), train, test)
        >>> [len(values) for values in known.values()], known["linear_probe"][1] > known["linear_probe"][0]
        ([2, 2, 2, 2, 2], True)
    """
    a, b = encode_posterior(model, train, seed=seed), encode_posterior(model, test, seed=seed + 1)
    labels, truth, split = train.labels.cpu(), test.labels.cpu(), model.latents.split
    means, draws = (split(a.mean), labels, split(b.mean), truth), (split(a.draw), labels, split(b.draw), truth)
    per_level = [
        [Codes(*parts) for parts in zip(split(c.mean), split(c.scale), split(c.draw), strict=True)] for c in (a, b)
    ]
    gaussian = model.gaussian_posterior
    bounds = [
        class_information(mine, labels, theirs, truth, seed=seed, upper=gaussian)
        for mine, theirs in zip(*per_level, strict=True)
    ]
    result = {
        "latent_accuracy": accuracy_of_codes(*means, seed=seed),
        "sampled_latent_accuracy": accuracy_of_codes(*draws, seed=seed),
        "linear_probe": linear_probe(*means),
        "mutual_information": [bound["lower"] for bound in bounds],
    }
    if gaussian:
        result["mutual_information_upper"] = [bound["upper"] for bound in bounds]
    return json.loads(json.dumps(result))
