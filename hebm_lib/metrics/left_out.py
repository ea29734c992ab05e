"""What cannot be measured on a data set, and why: said once, for every measure that needs images or labels."""

import torch

from hebm_lib.data import ImageDataset

__all__ = ["FEWEST", "labelled", "left_out"]

FEWEST = {"class measures": 20, "health": 20, "prior_fit": 40}
"""Images without which a measure would say nothing: labelled test images, test images, training images."""


def left_out(train: ImageDataset, test: ImageDataset) -> dict[str, str]:
    """Measures that these images do not allow, each with the reason in words; empty where all can be taken.

    The names: ``bound`` (and all that is measured on test images), ``health`` (`chain_health`), ``class measures``
    (`level_information`), ``prior_fit``.

    Example:
        >>> images = torch.zeros(50, 1, 2, 2, dtype=torch.uint8)
        >>> one_class = ImageDataset(images, torch.ones(50, dtype=torch.int64))
        >>> left_out(one_class, one_class)
        {'class measures': 'all labelled training images are of one class, 1'}
    """
    reasons = {}
    if not len(test):
        reasons["bound"] = "there are no test images"
    if len(test) < FEWEST["health"]:
        reasons["health"] = f"{len(test)} test images are fewer than {FEWEST['health']}"
    why = without_classes(train, test)
    if why:
        reasons["class measures"] = why
    if len(train) < FEWEST["prior_fit"]:
        reasons["prior_fit"] = f"{len(train)} training images are fewer than {FEWEST['prior_fit']}"
    return reasons


def without_classes(train: ImageDataset, test: ImageDataset) -> str | None:
    """Why nothing can be said of classes, or None."""
    if not train.classes:
        return "no training image has a label"
    if len(train.classes) == 1:
        return f"all labelled training images are of one class, {train.classes[0]}"
    known = torch.isin(test.labels, torch.tensor(train.classes, device=test.labels.device)).sum().item()
    if known < FEWEST["class measures"]:
        return f"{known} test images have a label that training images have, which is fewer than {FEWEST['class measures']}"
    return None


def labelled(train: ImageDataset, test: ImageDataset) -> tuple[ImageDataset, ImageDataset]:
    """The images whose class was trained on, with labels 0, 1, 2 … in place of those with gaps.

    >>> images = torch.zeros(4, 1, 2, 2, dtype=torch.uint8)
    >>> data = ImageDataset(images, torch.tensor([7, -1, 3, 7]))
    >>> [part.labels.tolist() for part in labelled(data, data)]
    [[1, 0, 1], [1, 0, 1]]
    """
    classes = torch.tensor(train.classes)
    parts = []
    for data in (train, test):
        labels = data.labels.cpu()
        kept = data.subset(torch.isin(labels, classes))
        kept.labels = torch.searchsorted(classes, kept.labels.cpu())
        parts.append(kept)
    return tuple(parts)
