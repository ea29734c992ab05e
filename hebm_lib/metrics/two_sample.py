"""Do prior samples look like posterior codes? Two two-sample tests, and what they say of a model's priors (Fig. 7).

MMD (Gretton et al. 2012): the squared distance between the means of two samples in the feature space of the kernel
``k(a, b) = exp(-‖a - b‖² / (2 h²))``. The unbiased estimate is 0 on average for two samples of one distribution.

Classifier two-sample test (Lopez-Paz and Oquab 2017): how often does a classifier, here √n nearest neighbours, say of a
held-out point which of two equally large samples it is from? One half where they cannot be told apart.
"""

import json
import math

import torch
from torch import Tensor

from hebm_lib.config import LangevinConfig
from hebm_lib.data import ImageDataset
from hebm_lib.metrics.latent_classifier import encode_posterior

__all__ = ["classifier_two_sample", "gaussian_like", "median_distance", "mmd2", "mmd2_of_splits", "prior_fit"]

SAMPLES = 1000
"""Points of each of two samples that are compared."""
REPEATS = 9
"""How often that is repeated, with other images and other samples; the means are reported."""
FINE = 4
"""The finer of two bandwidths is the median distance over this."""
LONG = 20
"""How many times the steps of training a long chain has."""
DRAWN = 400
"""Posterior codes kept for figures."""


def median_distance(x: Tensor) -> float:
    """The median distance between two different points of ``x`` ``(n, d)``: the usual choice of h.

    Example:
        >>> median_distance(torch.tensor([[0.0], [3.0]]))
        3.0
    """
    n = len(x)
    return torch.cdist(x, x)[~torch.eye(n, dtype=torch.bool, device=x.device)].median().item()


def _kernel(a: Tensor, b: Tensor, bandwidth: float) -> Tensor:
    if not bandwidth > 0:
        raise ValueError(f"the kernel's bandwidth must be positive, got {bandwidth}")
    return (-torch.cdist(a.double(), b.double()).square() / (2 * bandwidth**2)).exp()


def mmd2(x: Tensor, y: Tensor, bandwidth: float) -> float:
    """Unbiased MMD² of samples ``(n, d)`` and ``(m, d)``, each of at least two points; it may be slightly negative.

    Raises:
        ValueError: for a bandwidth that is not positive.

    Example:
        >>> x = torch.zeros(2, 1)
        >>> mmd2(x, x, 1.0), round(mmd2(x, x + 100.0, 1.0), 6)  # equal, and as far apart as can be
        (0.0, 2.0)
    """
    n, m = len(x), len(y)
    within_x = (_kernel(x, x, bandwidth).sum() - n) / (n * (n - 1))
    within_y = (_kernel(y, y, bandwidth).sum() - m) / (m * (m - 1))
    return (within_x + within_y - 2 * _kernel(x, y, bandwidth).mean()).item()


def mmd2_of_splits(x: Tensor, bandwidth: float, *, splits: int = 200, seed: int = 0) -> Tensor:
    """MMD² between the two halves of ``x`` ``(2n, d)``, for random halves: what two samples of one distribution give.

    Returns:
        ``(splits,)``, float64.

    Raises:
        ValueError: for an odd number of points, or a bandwidth that is not positive.

    Example:
        >>> floor = mmd2_of_splits(torch.randn(200, 2), 1.0, splits=50)
        >>> floor.shape, abs(floor.mean().item()) < 0.01
        (torch.Size([50]), True)
    """
    if len(x) % 2:
        raise ValueError(f"two halves need an even number of points, got {len(x)}")
    n, generator = len(x) // 2, torch.Generator().manual_seed(seed)
    k = _kernel(x, x, bandwidth)
    signs = torch.ones(splits, 2 * n, dtype=k.dtype)
    for row in signs:
        row[torch.randperm(2 * n, generator=generator)[:n]] = -1
    # With s = ±1, s·K·s is (sum within both halves) - 2 (sum across); without signs it is the sum of all.
    signed, total = ((signs @ k) * signs).sum(1), k.sum()
    within, across = (total + signed) / 2 - 2 * n, (total - signed) / 4
    return within / (n * (n - 1)) - 2 * across / n**2


def classifier_two_sample(x: Tensor, y: Tensor, *, seed: int = 0) -> float:
    """Accuracy of telling ``x`` from ``y``, both ``(n, d)``, on held-out points (five folds); 1/2 is chance.

    Raises:
        ValueError: where the samples differ in size, so that chance would not be one half.

    Example:
        >>> x = torch.randn(100, 2)
        >>> classifier_two_sample(x, x + 100)
        1.0
    """
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(x) != len(y):
        raise ValueError(f"both samples need as many points, got {len(x)} and {len(y)}")
    points = torch.cat([x, y]).cpu().double().numpy()
    side = torch.arange(len(points)).ge(len(x)).long().numpy()
    neighbours = math.isqrt(len(points) * 4 // 5)
    judge = make_pipeline(StandardScaler(), KNeighborsClassifier(neighbours))
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    return float(cross_val_score(judge, points, side, cv=folds).mean())


def gaussian_like(x: Tensor, generator: torch.Generator) -> Tensor:
    """As many draws from the Gaussian with the mean and the covariance of ``x`` ``(n, d)``.

    Example:
        >>> x = torch.randn(20_000, 2) * torch.tensor([1.0, 3.0]) + 5
        >>> like = gaussian_like(x, torch.Generator().manual_seed(0))
        >>> like.mean(0).round().tolist(), like.std(0).round().tolist()
        ([5.0, 5.0], [1.0, 3.0])
    """
    precise = x.double()
    covariance = precise.T.cov().reshape(x.shape[1], x.shape[1])
    root = torch.linalg.cholesky(covariance + 1e-9 * torch.eye(x.shape[1], dtype=torch.float64))
    noise = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    return (precise.mean(0) + noise @ root.T).to(x.dtype)


def prior_fit(model, train: ImageDataset, langevin: LangevinConfig, seed: int = 0) -> dict:
    """How close a model's prior, and N(0, I), come to the aggregate posterior; plain JSON types.

    Each list has one entry per level, z_1 first, and, where there are several levels, one for all units together.
    Posterior draws of 1,000 training images meet as many samples of each prior, nine times with other images (fewer
    where there are fewer, once where a model has no inference network); the means are reported. h is the codes' median
    distance.

    Args:
        model: of any kind whose prior can be sampled.
        langevin: K and s of the prior's chains.
        seed: of images, draws and chains.

    Returns:
        ``spaces``: names of the entries; ``mmd2`` and ``c2st``: per name a list, where the names are ``prior`` (K steps,
        as in training), ``long`` (20 K steps, for a model with an energy), ``gaussian``, ``codes`` (codes of other
        images: what a perfect prior would give), ``matched`` (the Gaussian with the mean and covariance of those
        codes), and with several levels ``shuffled`` (those codes with the levels put together at random: what a perfect
        prior per level would give); ``mmd2_fine``: the same with h / 4, which sees shape where ``mmd2`` sees place and
        width; ``mmd2_floor``, ``mmd2_fine_floor``: 95 % of single comparisons of codes with codes lie below;
        ``bandwidth``: h; ``codes`` and ``labels``: 400 codes, one list per unit, with their
        classes, for drawing.

    Example:
        >>> from hebm_lib import load_dataset, load_pretrained
        >>> train = load_dataset("digits", "train").subset(slice(0, 200))
        >>> fit = prior_fit(load_pretrained("digits"), train, LangevinConfig(steps=5))
        >>> fit["spaces"], list(fit["c2st"])
        (['z_1', 'z_2', 'all'], ['prior', 'codes', 'gaussian', 'matched', 'long', 'shuffled'])
    """
    latents, generator = model.latents, torch.Generator().manual_seed(seed)
    n = min(SAMPLES, len(train) // 2)
    cheap = next(model.inference.parameters(), None) is not None  # otherwise a chain runs for every code
    repeats = min(REPEATS, len(train) // (2 * n)) if cheap else 1
    images = train.subset(torch.randperm(len(train), generator=generator)[: 2 * n * repeats])
    everything = encode_posterior(model, images, seed=seed).draw
    noise = torch.Generator(device=model.device).manual_seed(seed + 1)

    def chains(steps: int) -> Tensor:
        return model.prior.sample(n, steps, langevin.step_size, generator=noise).cpu()

    def spaces(z: Tensor) -> list[Tensor]:
        parts = list(latents.split(z))
        return [*parts, z] if len(parts) > 1 else parts

    bandwidth = [median_distance(view[: 2 * n]) for view in spaces(everything)]
    widths = {"mmd2": bandwidth, "mmd2_fine": [h / FINE for h in bandwidth]}
    found: dict[str, dict[str, list]] = {"mmd2": {}, "mmd2_fine": {}, "c2st": {}}
    for codes, others in everything.view(repeats, 2, n, latents.total):
        samples = {"prior": chains(langevin.steps), "codes": others}
        samples["gaussian"] = torch.randn(n, latents.total, generator=generator)
        samples["matched"] = gaussian_like(others, generator)
        if model.prior.has_energy:
            samples["long"] = chains(LONG * langevin.steps)
        if latents.levels > 1:
            parts = [part[torch.randperm(n, generator=generator)] for part in latents.split(others)]
            samples["shuffled"] = latents.join(parts)
        for name, z in samples.items():
            pairs = list(zip(spaces(z), spaces(codes), strict=True))
            for test, hs in widths.items():
                distances = [mmd2(*pair, h) for pair, h in zip(pairs, hs, strict=True)]
                found[test].setdefault(name, []).append(distances)
            found["c2st"].setdefault(name, []).append([classifier_two_sample(*pair, seed=seed) for pair in pairs])
    means = {
        test: {name: [sum(column) / repeats for column in zip(*rows, strict=True)] for name, rows in by_name.items()}
        for test, by_name in found.items()
    }
    floors = {
        f"{test}_floor": [
            mmd2_of_splits(view[: 2 * n], h, seed=seed).quantile(0.95).item()
            for view, h in zip(spaces(everything), hs, strict=True)
        ]
        for test, hs in widths.items()
    }
    drawn = everything[:DRAWN]
    result = (
        means
        | floors
        | {
            "spaces": [f"z_{i + 1}" for i in range(latents.levels)] + ["all"] * (latents.levels > 1),
            "bandwidth": bandwidth,
            "codes": [[round(value, 2) for value in column] for column in drawn.T.tolist()],
            "labels": images.labels[: len(drawn)].tolist(),
        }
    )
    return json.loads(json.dumps(result))
