"""Fig. 8's test as numbers: what becomes of samples when the chain runs far beyond the K steps of its training?

At every kept step the chains' images are compared with the test images: by a Fréchet distance in the features of a digit
classifier, by the pixels at both ends of their range, by how surely a digit is read in them, and by which digits are there.

The distance is Fréchet's as in FID :cite:p:`heusel2017gans`, but the features are the 128 of `DigitClassifier`'s last
hidden layer. It has a name of its own, *digit Fréchet distance*, because its values cannot be compared with any FID.
"""

import math
import statistics
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hebm_lib.config import LangevinConfig
from hebm_lib.data import ImageDataset, pad_black
from hebm_lib.metrics.classifier import device_of
from hebm_lib.metrics.pixels import PART, decoded
from hebm_lib.provenance import rounded

__all__ = ["class_switching", "drift", "frechet_distance", "kept_steps", "long_run_report", "look_at", "read_images"]

BLACK, WHITE = -0.95, 0.95
"""A pixel below or above counts as saturated."""


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """``‖μ_a - μ_b‖² + tr(Σ_a + Σ_b - 2 (Σ_a Σ_b)^½)`` of two sets of features ``(n, d)`` and ``(m, d)``.

    Raises:
        ValueError: for fewer than two rows in a set.

    Example:
        >>> a = torch.randn(1000, 3)
        >>> round(frechet_distance(a, a + 2), 3)  # the same shape, moved by 2 along each of three axes
        12.0
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"a covariance needs at least two rows, got {len(a)} and {len(b)}")
    a, b = a.double(), b.double().to(a.device)
    root_a, root_b = root_of_covariance(a), root_of_covariance(b)
    # Σ_a Σ_b = R_aᵀ (R_a R_bᵀ) R_b has the eigenvalues of (R_a R_bᵀ)(R_a R_bᵀ)ᵀ: the squared singular values of R_a R_bᵀ.
    cross = torch.linalg.svdvals(root_a @ root_b.T).sum()
    spread = root_a.square().sum() + root_b.square().sum()
    return float((a.mean(0) - b.mean(0)).square().sum() + spread - 2 * cross)


def root_of_covariance(x: Tensor) -> Tensor:
    """An R with ``RᵀR`` the covariance of the rows of ``x``, at most as high as wide.

    >>> x = torch.randn(50, 3, dtype=torch.float64)
    >>> torch.allclose(root_of_covariance(x).T @ root_of_covariance(x), x.T.cov()), root_of_covariance(x).shape
    (True, torch.Size([3, 3]))
    """
    centred = (x - x.mean(0)) / (len(x) - 1) ** 0.5
    return torch.linalg.qr(centred, mode="r").R if len(x) > x.shape[1] else centred


@torch.no_grad()
def read_images(classifier: nn.Module, images: Tensor, batch: int = PART) -> tuple[Tensor, Tensor]:
    """A `DigitClassifier`'s features ``(n, 128)`` and class probabilities ``(n, classes)`` of images in [-1, 1].

    Images smaller than the classifier's get a border of black; larger ones raise `ValueError`. They are read where the
    classifier is, and the answers come back to where they are.

    Example:
        >>> from hebm_lib.metrics.classifier import load_classifier
        >>> features, shares = read_images(load_classifier(), torch.zeros(2, 1, 28, 28))
        >>> features.shape, shares.shape
        (torch.Size([2, 128]), torch.Size([2, 10]))
    """
    features, shares = [], []
    for part in images.split(batch):
        seen = classifier.features(pad_black(part, classifier.size).to(device_of(classifier)))
        features.append(seen)
        shares.append(classifier.head(seen).softmax(1))
    return torch.cat(features).to(images.device), torch.cat(shares).to(images.device)


def look_at(images: Tensor, shares: Tensor) -> dict[str, float]:
    """Saturation and legibility of images ``(n, C, H, W)`` whose class probabilities are ``shares``.

    ``black`` and ``white`` are shares of pixels at the ends of the range, ``ink`` the mean brightness from 0 to 1,
    ``confidence`` the mean probability of the class that is read.

    Example:
        >>> look_at(torch.full((2, 1, 4, 4), -1.0), torch.tensor([[0.5, 0.5], [1.0, 0.0]]))
        {'black': 1.0, 'white': 0.0, 'ink': 0.0, 'confidence': 0.75}
    """
    return {
        "black": float((images < BLACK).float().mean()),
        "white": float((images > WHITE).float().mean()),
        "ink": float((images.mean() + 1) / 2),
        "confidence": float(shares.max(1).values.mean()),
    }


def kept_steps(langevin: LangevinConfig, steps: int, every: int) -> tuple[list[int], int]:
    """The steps that are looked at, ``0, K, every, 2 every … steps``, and a stride that meets all of them.

    Example:
        >>> kept_steps(LangevinConfig(steps=60), steps=300, every=100)
        ([0, 60, 100, 200, 300], 20)
    """
    kept = sorted({0, langevin.steps, *range(0, steps + 1, every), steps})
    if kept[-1] > steps:
        raise ValueError(f"a long run has more than the {langevin.steps} steps of training, got {steps}")
    return kept, math.gcd(*kept)


def class_switching(classes: Tensor) -> dict[str, float]:
    """How chains move between classes that were read at regular moments, ``(t, n)``.

    ``per_interval`` is the share of chains whose class differs from that one interval before; ``independent`` is what it
    would be if the images of a chain had nothing to do with each other; ``visited`` the mean number of classes that a
    chain was seen in.

    Example:
        >>> class_switching(torch.tensor([[0, 0], [0, 1]]))  # two chains at two moments: one moves from class 0 to 1
        {'per_interval': 0.5, 'independent': 0.375, 'visited': 1.5}
    """
    frequency = classes.flatten().bincount().double() / classes.numel()
    visited = torch.stack([(classes == c).any(0) for c in range(len(frequency))]).sum(0)
    return {
        "per_interval": float((classes[1:] != classes[:-1]).double().mean()),
        "independent": float(1 - frequency.square().sum()),
        "visited": float(visited.double().mean()),
    }


def drift(steps: Sequence[int], values: Sequence[float], *, start: int) -> float:
    """How much a measure of chains still moves per 1,000 steps: the slope of a least-squares line from ``start`` on.

    Args:
        steps: the moments of the looks, ascending.
        values: the measure at each.
        start: the first moment that counts; two at least must be left.

    Example:
        >>> round(drift([0, 500, 1000, 2000], [9.0, 1.0, 1.5, 2.5], start=500), 6)
        1.0
    """
    kept = [(step, value) for step, value in zip(steps, values, strict=True) if step >= start]
    if len(kept) < 2:
        raise ValueError(f"a slope needs two looks from step {start} on, got {len(kept)} of {list(steps)}")
    return 1000 * statistics.linear_regression(*zip(*kept, strict=True)).slope


@torch.no_grad()
def long_run_report(
    model,
    langevin: LangevinConfig,
    test: ImageDataset,
    classifier: nn.Module,
    *,
    steps: int = 2500,
    every: int = 100,
    n: int = 1000,
    sets: int = 3,
    seed: int = 1,
) -> dict:
    """Run chains far beyond their training and follow what the generator makes of them.

    Args:
        model: a `JointEBM` or a baseline with the same methods, in evaluation mode.
        langevin: K and s of its training.
        test: images of the model's size that the samples are compared with.
        classifier: a `DigitClassifier`.
        steps: length of the chains.
        every: steps between two looks; K is looked at as well.
        n: chains of a set; the distance of finite sets is biased upwards, so all are of this size.
        sets: independent sets, for the spread of every distance.
        seed: of the first set; the others follow.

    Returns:
        Plain JSON types. ``steps``, the moments; per moment ``distance`` and ``distance_sd`` over sets (digit Fréchet
        distance to the test images), ``f``, ``f_low``, ``f_high`` (mean and middle 80 %), ``black``, ``white``, ``ink``,
        ``confidence``, ``class_shares`` and ``left`` (share of chains whose class is no longer that of step K);
        ``switching``, see `class_switching`, from step K on; ``reference`` with the same measures of ``n`` test images (the
        distance is that to the other test images) and of their reconstructions.

    Example:
        >>> from hebm_lib import load_dataset, load_pretrained
        >>> from hebm_lib.metrics.classifier import DigitClassifier
        >>> model, test = load_pretrained("digits"), load_dataset("digits", "test").subset(slice(0, 40))
        >>> report = long_run_report(
        ...     model, LangevinConfig(steps=5), test, DigitClassifier(size=8).eval(), steps=20, every=10, n=20, sets=2
        ... )
        >>> report["steps"], len(report["distance"]), report["left"][1]  # at step K no chain has left its class
        ([0, 5, 10, 20], 4, 0.0)
    """
    kept, stride = kept_steps(langevin, steps, every)
    features, shares = read_images(classifier, test.batch(slice(None)))
    rows: dict[str, list] = {name: [] for name in ("f", "f_low", "f_high", "class_shares")}
    looks, distances, classes = [], [], []
    paths = []
    for k in range(sets):
        noise = torch.Generator(device=model.device).manual_seed(seed + k)
        path = model.prior.sample(n, steps, langevin.step_size, generator=noise, trajectory=True, every=stride)
        paths.append(path[[step // stride for step in kept]].clone())
    for z in torch.stack(paths, 1):  # (sets, n, d) at one moment
        f = torch.cat([model.prior(codes) for codes in z])
        images = decoded(model, z.flatten(0, 1))
        seen, read = read_images(classifier, images)
        distances.append(torch.tensor([frechet_distance(part, features) for part in seen.split(n)]))
        classes.append(read.argmax(1))
        looks.append(look_at(images, read))
        rows["f"].append(float(f.mean()))
        for name, share in (("f_low", 0.1), ("f_high", 0.9)):
            rows[name].append(float(torch.quantile(f.float(), share)))
        rows["class_shares"].append((classes[-1].bincount(minlength=read.shape[1]) / len(images)).tolist())
    arrived = kept.index(langevin.steps)
    regular = [i for i, step in enumerate(kept) if step >= langevin.steps and step % every == 0]
    rows |= {name: [look[name] for look in looks] for name in looks[0]}
    rows["distance"] = [float(d.mean()) for d in distances]
    rows["distance_sd"] = [float(d.std()) if sets > 1 else None for d in distances]
    rows["left"] = [float((c != classes[arrived]).float().mean()) for c in classes]
    return rounded(
        {
            "K": langevin.steps,
            "step_size": langevin.step_size,
            "chains": [sets, n],
            "every": every,
            "steps": kept,
            **rows,
            "switching": class_switching(torch.stack([classes[i] for i in regular])),
            "reference": _reference(model, test, features, shares, classifier, min(n, len(test) // 2)),
        }
    )


def _reference(model, test: ImageDataset, features: Tensor, shares: Tensor, classifier, n: int) -> dict:
    """The same measures of ``n`` test images, and of their reconstructions: what the generator can do with good codes."""
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))
    some, rest = order[:n], order[n:]
    rebuilt = torch.cat([model.reconstruct(test.batch(index).to(model.device)) for index in some.split(PART)])
    seen, read = read_images(classifier, rebuilt)
    data = look_at(test.batch(some), shares[some]) | {"distance": frechet_distance(features[some], features[rest])}
    return {
        "images": n,
        "data": data | {"class_shares": (test.labels.bincount(minlength=read.shape[1]) / len(test)).tolist()},
        "reconstructions": look_at(rebuilt, read) | {"distance": frechet_distance(seen, features[rest])},
    }
