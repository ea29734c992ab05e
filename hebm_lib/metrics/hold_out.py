"""Table 3's protocol: leave one class out of the training, then find it.

Two test sets are in use, and rows of published tables mix them. One training serves both here: it sees 80 % of all images of
the other classes, none of them from the standard test set.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from hebm_lib.data import ImageDataset

__all__ = ["HeldOut", "hold_out"]

TRAINING_SHARE = 0.8


@dataclass(frozen=True)
class HeldOut:
    """A class left out, and where to look for it.

    Attributes:
        train: images of the other classes.
        tests: per test set its images.
        anomalous: per test set which of them are of the class that was left out, ``(n,)`` booleans.

    The test sets:

    - ``standard``: the data set's own test images; the class is rare (about 10 %).
    - ``pooled``: every image that was not trained on, with *all* images of the class (about 36 %). This is the 80/20 split
      of the pooled data as it is meant, but for one thing: the standard test set lies inside its test part.
    - ``leaking``: as the published code draws it. Train and test part are shuffled apart, so that about 80 % of the
      familiar test images were trained on.

    Example:
        >>> from hebm_lib.data import load_dataset
        >>> held = hold_out(load_dataset("digits", "train"), load_dataset("digits", "test"), label=3)
        >>> {name: len(test) == len(held.anomalous[name]) for name, test in held.tests.items()}
        {'standard': True, 'pooled': True, 'leaking': True}
    """

    train: ImageDataset
    tests: dict[str, ImageDataset]
    anomalous: dict[str, Tensor]


def hold_out(train: ImageDataset, test: ImageDataset, label: int, *, seed: int = 0) -> HeldOut:
    """Leave one class out.

    Args:
        train, test: the data set's standard parts.
        label: the class that is left out.
        seed: of both shuffles.

    Raises:
        ValueError: if the class is missing, or too few training images are left for 80 % of the pool.

    Example:
        >>> from hebm_lib.data import load_dataset
        >>> held = hold_out(load_dataset("digits", "train"), load_dataset("digits", "test"), label=3)
        >>> 3 in held.train.classes, held.anomalous["standard"].sum().item()
        (False, 37)
    """
    pool = ImageDataset(torch.cat([train.images, test.images]), torch.cat([train.labels, test.labels]), train.name)
    anomaly = pool.labels == label
    if not anomaly[: len(train)].any() or not anomaly[len(train) :].any():
        raise ValueError(f"there are no images of class {label} in {train.name}")
    generator = torch.Generator().manual_seed(seed)
    normal = (~anomaly).nonzero()[:, 0]
    wanted = round(TRAINING_SHARE * len(normal))
    candidates = normal[normal < len(train)]
    if len(candidates) < wanted:
        raise ValueError(f"{wanted} images to train on, but only {len(candidates)} outside the standard test set")
    chosen = candidates[torch.randperm(len(candidates), generator=generator)[:wanted]].sort().values
    kept = torch.zeros(len(pool), dtype=torch.bool)
    kept[chosen] = True
    again = normal[torch.randperm(len(normal), generator=generator)[wanted:]]
    everywhere = anomaly.nonzero()[:, 0]
    index = {
        "standard": torch.arange(len(train), len(pool)),
        "pooled": torch.cat([normal[~kept[normal]], everywhere]),
        "leaking": torch.cat([again, everywhere]),
    }
    return HeldOut(
        pool.subset(chosen),
        {name: pool.subset(rows) for name, rows in index.items()},
        {name: anomaly[rows] for name, rows in index.items()},
    )
