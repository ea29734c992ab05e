"""Figures 4, 5 and 6 of the paper as numbers: what changes when one level changes?

The class is judged by a classifier (`hebm_lib.metrics.classifier`); stroke width, slant, light and colour are read from the
pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor, nn

from hebm_lib.metrics.classifier import predict
from hebm_lib.metrics.pixels import decoded

__all__ = [
    "TraversalReport",
    "brightness",
    "class_change",
    "level_pairs",
    "pixel_variance_share",
    "slant",
    "stroke_width",
    "style_variation",
    "tint",
    "traversal_classes",
    "traversal_range",
    "traverse_report",
]


@dataclass(frozen=True)
class TraversalReport:
    """Shares over many prior samples (Fig. 6): ``stay`` keep one class along the whole traversal, ``visit`` meet all.

    Example:
        >>> TraversalReport(stay=0.9, visit=0.0).stay
        0.9
    """

    stay: float
    visit: float


def traversal_range(codes: Tensor, points: int = 11, coverage: float = 0.9) -> Tensor:
    """Values for a traversal: quantiles of the data's posterior means in one unit, ``(n,) -> (points,)``, ascending.

    The paper does not say how far Fig. 2 and 6 walk. These steps adapt to a unit's scale, each passes an equal share of
    the data, and together they cover the central 90 %: no step lands where a generator was never trained.

    Example:
        >>> [round(value, 4) for value in traversal_range(torch.linspace(0.0, 1.0, 1001), points=3).tolist()]
        [0.05, 0.5, 0.95]
    """
    shares = torch.linspace((1 - coverage) / 2, (1 + coverage) / 2, points)
    return torch.quantile(codes.float(), shares.to(codes.device))


def traversal_classes(model, classifier: nn.Module, z: Tensor, level: int, unit: int, values: Tensor) -> Tensor:
    """Class of the image at each value of one unit, the rest of ``z`` fixed: ``(n, d) -> (n, len(values))``.

    Example:
        >>> from types import SimpleNamespace
        >>> from hebm_lib.latents import LatentSpec
        >>> model = SimpleNamespace(latents=LatentSpec((1, 1)), decode=lambda z: z)  # an image of two pixels
        >>> sign = lambda x: torch.stack([-x[:, 0], x[:, 0]], 1)  # reads whether the first one is positive
        >>> traversal_classes(model, sign, torch.zeros(3, 2), 1, 0, torch.tensor([-1.0, 1.0])).tolist()
        [[0, 1], [0, 1], [0, 1]]
    """
    walks = model.latents.traverse(z, level, unit, values)
    return predict(classifier, decoded(model, walks.flatten(0, 1))).view(len(z), len(values))


def traverse_report(
    model, classifier: nn.Module, z: Tensor, level: int, unit: int, values: Tensor, classes: tuple[int, ...]
) -> TraversalReport:
    """How often the class stays, and how often every class of ``classes`` appears, along the traversal of one unit.

    Args:
        z: prior samples ``(n, d)``.
        values: what the unit is set to, in turn.
        classes: the classes that the model was trained on.

    Example:
        >>> from types import SimpleNamespace
        >>> from hebm_lib.latents import LatentSpec
        >>> model = SimpleNamespace(latents=LatentSpec((1, 1)), decode=lambda z: z)  # an image of two pixels
        >>> sign = lambda x: torch.stack([-x[:, 0], x[:, 0]], 1)  # reads whether the first one is positive
        >>> z, values = torch.ones(3, 2), torch.tensor([-1.0, 1.0])
        >>> [traverse_report(model, sign, z, level, 0, values, classes=(0, 1)) for level in (1, 2)]
        [TraversalReport(stay=0.0, visit=1.0), TraversalReport(stay=1.0, visit=0.0)]
    """
    seen = traversal_classes(model, classifier, z, level, unit, values)
    stay = (seen == seen[:, :1]).all(1).float().mean().item()
    visit = torch.stack([(seen == c).any(1) for c in classes]).all(0).float().mean().item()
    return TraversalReport(stay, visit)


def single_levels(model) -> list[tuple[int, ...]]:
    """Each level by itself, z_1 first."""
    return [(level,) for level in range(1, model.latents.levels + 1)]


def level_pairs(model) -> list[tuple[int, ...]]:
    """{1, 2}, {3, 4}, …: the groups of Fig. 1.

    Raises:
        ValueError: for an odd number of levels.

    Example:
        >>> from hebm_lib import load_pretrained
        >>> level_pairs(load_pretrained("digits"))
        [(1, 2)]
    """
    levels = model.latents.levels
    if levels % 2:
        raise ValueError(f"{levels} levels do not make pairs")
    return [(level, level + 1) for level in range(1, levels, 2)]


@torch.no_grad()
def class_change(
    model, classifier: nn.Module, z: Tensor, donors: Tensor, groups: list[tuple[int, ...]] | None = None
) -> list[float]:
    """Share of samples whose class changes when only some levels are taken from another joint prior chain.

    Args:
        z, donors: two independent sets of prior samples, each ``(n, d)``. This is the redraw of the authors' code.
        groups: the levels that are redrawn together; None redraws each by itself, z_1 first.

    Example:
        >>> from types import SimpleNamespace
        >>> from hebm_lib.latents import LatentSpec
        >>> model = SimpleNamespace(latents=LatentSpec((1, 1)), decode=lambda z: z)  # an image of two pixels
        >>> sign = lambda x: torch.stack([-x[:, 0], x[:, 0]], 1)  # reads whether the first one is positive
        >>> class_change(model, sign, torch.ones(4, 2), -torch.ones(4, 2))
        [1.0, 0.0]
    """
    before = predict(classifier, decoded(model, z))
    rates = []
    for levels in groups or single_levels(model):
        after = predict(classifier, decoded(model, model.latents.redraw(z, levels, donors)))
        rates.append((after != before).float().mean().item())
    return rates


@torch.no_grad()
def pixel_variance_share(
    model,
    z: Tensor,
    donors: Tensor,
    groups: list[tuple[int, ...]] | None = None,
    *,
    statistic: Callable[[Tensor], Tensor] | None = None,
) -> list[float]:
    """How much of the images' variance is there when only some levels are redrawn, all pixels together.

    ``E ‖g(z) - g(z')‖² / (2 Var g)`` with z' the redrawn code and g the image or a statistic of it: 1 if redrawing them is
    as good as drawing a new image, 0 if the generator does not see them. For independent levels it is the total-effect
    index of Sobol in Jansen's form (1999).
    The shares of several groups may add up to more than 1, since what two groups do together counts for both.

    Args:
        z, donors: two independent sets of prior samples, each ``(n, d)``.
        groups: the levels that are redrawn together; None redraws each by itself, z_1 first.
        statistic: ``(n, C, H, W) -> (n, …)``, such as `brightness`; None is the pixels themselves.

    Example:
        >>> from types import SimpleNamespace
        >>> from hebm_lib.latents import LatentSpec
        >>> model = SimpleNamespace(latents=LatentSpec((1, 3)), decode=lambda z: z)  # an image of four independent pixels
        >>> z, donors = torch.randn(2, 10_000, 4, generator=torch.Generator().manual_seed(0))
        >>> bottom, top = pixel_variance_share(model, z, donors)
        >>> abs(bottom - 1 / 4) < 0.02, abs(top - 3 / 4) < 0.02
        (True, True)
    """

    def look(codes: Tensor) -> Tensor:
        images = decoded(model, codes)
        return (images if statistic is None else statistic(images)).reshape(len(codes), -1)

    images, others = look(z), look(donors)
    variance = torch.cat([images, others]).var(0).sum()
    shares = []
    for levels in groups or single_levels(model):
        moved = look(model.latents.redraw(z, levels, donors)) - images
        shares.append((moved.square().sum(1).mean() / (2 * variance)).item())
    return shares


def brightness(images: Tensor) -> Tensor:
    """The mean of all pixels and channels, ``(n, C, H, W) -> (n,)``.

    >>> brightness(torch.tensor([[[[1.0, 0.0]], [[0.5, 0.5]]]]))
    tensor([0.5000])
    """
    return images.mean((1, 2, 3))


def tint(images: Tensor) -> Tensor:
    """How far each channel's mean is from the brightness, ``(n, C, H, W) -> (n, C)``: 0 where an image is grey on average.

    >>> tint(torch.tensor([[[[1.0, 1.0]], [[0.0, 0.0]]]]))
    tensor([[ 0.5000, -0.5000]])
    """
    return images.mean((2, 3)) - brightness(images)[:, None]


@torch.no_grad()
def style_variation(model, z: Tensor, donors: Tensor) -> dict[str, list[float]]:
    """Spread of stroke width (pixels) and slant (shear) over redraws of one level, averaged over samples.

    Args:
        z: ``(n, d)`` samples to start from.
        donors: ``(m, d)`` samples whose level i replaces theirs.

    Returns:
        ``{"stroke_width": [σ_1 … σ_L], "slant": […]}``: mean over the n samples of the standard deviation over m.

    Example:
        >>> from hebm_lib import load_pretrained
        >>> z, donors = torch.randn(3, 10), torch.randn(4, 10)
        >>> spread = style_variation(load_pretrained("digits"), z, donors)
        >>> [(name, len(values)) for name, values in spread.items()]
        [('stroke_width', 2), ('slant', 2)]
    """
    spread: dict[str, list[float]] = {"stroke_width": [], "slant": []}
    for level in range(1, model.latents.levels + 1):
        images = decoded(model, model.latents.redraw(z[:, None], level, donors[None]).flatten(0, 1))
        for name, measure in (("stroke_width", stroke_width), ("slant", slant)):
            spread[name].append(float(np.nanmean(np.nanstd(measure(images).reshape(len(z), len(donors)), axis=1))))
    return spread


def stroke_width(images: Tensor) -> np.ndarray:
    """Mean stroke width in pixels of each grey image ``(n, 1, S, S)`` in [-1, 1]; NaN for an empty image.

    The distance to the nearest background pixel, averaged over a straight stroke of width w, is w/4 + 1/2 (exactly for
    an even w, and 1/(4w) more for an odd one).

    Example:
        >>> bar = torch.full((1, 1, 100, 100), -1.0)
        >>> bar[..., 20:24] = 1  # four pixels wide
        >>> stroke_width(bar).tolist()
        [4.0]
    """
    ink = images[:, 0].cpu().numpy() > 0
    return np.array([4 * distance_transform_edt(i)[i].mean() - 2 if i.any() else np.nan for i in ink])


def slant(images: Tensor) -> np.ndarray:
    """Horizontal shear of each grey image from its second moments, positive to the right; NaN for an empty image.

    Example:
        >>> line = -torch.ones(1, 1, 9, 9)
        >>> for i in range(9):
        ...     line[0, 0, 8 - i, i] = 1  # one to the right with every row upwards
        >>> slant(torch.cat([line, line.flip(-1)])).tolist()
        [1.0, -1.0]
    """
    mass = ((images[:, 0] + 1) / 2).clamp(0, 1).double()
    mass = mass * (mass > 0.25)
    side = torch.arange(mass.shape[-1], dtype=torch.float64, device=mass.device)
    total = mass.sum((1, 2)).clamp_min(1e-9)
    mx, my = (mass.sum(1) @ side) / total, (mass.sum(2) @ side) / total
    dx = side[None, None, :] - mx[:, None, None]
    dy = my[:, None, None] - side[None, :, None]  # rows count downwards
    mu11, mu02 = (mass * dx * dy).sum((1, 2)) / total, (mass * dy * dy).sum((1, 2)) / total
    return torch.where(mu02 > 1e-6, mu11 / mu02, torch.nan).cpu().numpy()
