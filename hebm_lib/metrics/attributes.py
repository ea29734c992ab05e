"""Which attribute of a face sits on which level: linear readers of features, asked before and after a level is redrawn.

The paper has no such table. CelebA's 40 attributes are yes or no for every image; a logistic regression per attribute on an
ImageNet network's features (`hebm_lib.metrics.natural`) reads them, and how well it does so on real test faces is told
beside what it finds on samples.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["AttributeReader", "fit_attribute_reader"]


@dataclass(frozen=True)
class AttributeReader:
    """A linear reader of ``a`` attributes from ``d`` features.

    Attributes:
        mean, scale: of the features it was fitted on, ``(d,)``.
        weights, bias: ``(d, a)`` and ``(a,)``.

    Example:
        >>> reader = AttributeReader(torch.zeros(2), torch.ones(2), torch.eye(2), torch.zeros(2))
        >>> (reader.logits(torch.tensor([[1.0, -3.0]])) > 0).tolist()
        [[True, False]]
    """

    mean: Tensor
    scale: Tensor
    weights: Tensor
    bias: Tensor

    def logits(self, features: Tensor) -> Tensor:
        """Log odds of every attribute, ``(n, a)``, of features ``(n, d)``."""
        return (features.double() - self.mean) / self.scale @ self.weights.double() + self.bias

    def flips(self, before: Tensor, after: Tensor) -> Tensor:
        """Share of the pairs whose reading changes from yes to no or back, per attribute, ``(a,)``.

        Args:
            before, after: features ``(n, d)``, paired.

        Example:
            >>> reader = AttributeReader(torch.zeros(2), torch.ones(2), torch.eye(2), torch.zeros(2))
            >>> before = torch.tensor([[1.0, 1.0], [-1.0, 1.0]])
            >>> reader.flips(before, before * torch.tensor([-1.0, 1.0])).tolist()
            [1.0, 0.0]
        """
        return ((self.logits(before) > 0) != (self.logits(after) > 0)).double().mean(0)

    def auroc(self, features: Tensor, attributes: Tensor) -> list[float]:
        """How well real images' attributes are read, per attribute: 0.5 is a guess, 1 is without fault.

        Args:
            features, attributes: ``(n, d)`` and ``(n, a)`` of 0 and 1; NaN where all images agree.
        """
        from sklearn.metrics import roc_auc_score

        logits, truth = self.logits(features).numpy(), attributes.numpy()
        return [
            float(roc_auc_score(truth[:, k], logits[:, k])) if len(np.unique(truth[:, k])) == 2 else float("nan")
            for k in range(truth.shape[1])
        ]


def fit_attribute_reader(features: Tensor, attributes: Tensor, *, strength: float = 0.01) -> AttributeReader:
    """A logistic regression per attribute on standardised features.

    Args:
        features, attributes: ``(n, d)``, and ``(n, a)`` of 0 and 1.
        strength: inverse of the ridge's weight, sklearn's ``C``.

    Raises:
        ValueError: for sets of different sizes, or an attribute that all images have or none has.

    Example:
        >>> x = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
        >>> reader = fit_attribute_reader(x, (x[:, :2] > 0).int(), strength=1.0)
        >>> [round(area, 1) for area in reader.auroc(x, (x[:, :2] > 0).int())]
        [1.0, 1.0]
    """
    from sklearn.linear_model import LogisticRegression

    if len(features) != len(attributes):
        raise ValueError(f"features of {len(features)} images, attributes of {len(attributes)}")
    same = [k for k in range(attributes.shape[1]) if len(attributes[:, k].unique()) < 2]
    if same:
        raise ValueError(f"all images agree on attribute(s) {same}: leave those out, or take more images")
    x = features.double()
    mean, scale = x.mean(0), x.std(0).clamp_min(1e-6)
    x = ((x - mean) / scale).numpy()
    fitted = [LogisticRegression(C=strength, max_iter=500).fit(x, y) for y in attributes.T.numpy()]
    weights = torch.tensor(np.stack([model.coef_[0] for model in fitted], 1))
    return AttributeReader(mean, scale, weights, torch.tensor([model.intercept_[0] for model in fitted]))
