"""The latent attack (Fig. 9): a small change of an image that gives one level of its code to another image.

Attacked level i, original x, target x_t, weight C of the distortion d::

    min_d  KL(q(z_i|x + d) ‖ q(z_i|x_t)) + C ‖d‖²      with x + d in [-1, 1]

Without C, and with ``‖d‖`` at most a share of ``‖x - x_t‖`` instead, the attack has a *budget*.

Source: the objective of Gondim-Ribeiro, Tabacof and Valle (2018) and their code, gondimribeiro/adv-attacks-vae, with the
divergence of one level in the place of the whole code's, as the paper says. From them: the direction of the KL, the sweep
over C, the best iterate, and AUDDC. Different here: all pairs and all C are one batch; d starts at 0 instead of at noise
of 1e-8; after each step the image is put back into the box, so that ‖d‖ is what was really changed. And Adam's second
moment is one number per image instead of one per pixel. Its steps then follow the gradient, and do not wander along pixels
that hardly matter for the code, where a small C takes thousands of steps to pull them back. So 400 steps of a falling size
do what the original does in 3,000.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Independent

from hebm_lib.model import gaussian_kl

__all__ = [
    "WEIGHTS",
    "Attack",
    "attack_divergence",
    "auddc",
    "latent_attack",
    "relative_distance",
    "share_of_the_way",
]

WEIGHTS = (0.0, *(2.0**k for k in (-6, -4, -2, *range(7), 8, 12)))
"""Values of C. The original sweep has 51, evenly from 2⁻²⁰ to 2²⁰. On MNIST d is next to nothing with the largest of these,
and the divergence with the smallest."""


@dataclass(frozen=True)
class Attack:
    """What an attack found, for m values of C, or budgets, and n pairs.

    Attributes:
        images: ``x + d``, ``(m, n, C, H, W)`` in [-1, 1].
        divergence: of the attacked level at these images, ``(m, n)`` nats.
        distortion: ``‖d‖``, ``(m, n)``.

    Example:
        >>> attack = Attack(torch.zeros(3, 5, 1, 8, 8), divergence=torch.zeros(3, 5), distortion=torch.zeros(3, 5))
        >>> m, n = attack.distortion.shape
        >>> m, n
        (3, 5)
    """

    images: Tensor
    divergence: Tensor
    distortion: Tensor


def attack_divergence(q: Independent, target: Independent, columns: slice) -> Tensor:
    """``KL(q(z_i|x + d) ‖ q(z_i|x_t))`` of the units in ``columns``, shape ``(n,)``: from the attacked to the target.

    Example:
        >>> from torch.distributions import Normal
        >>> q, target = (Independent(Normal(mean * torch.ones(1, 3), 1.0), 1) for mean in (0.0, 2.0))
        >>> attack_divergence(q, target, slice(0, 2))  # 2²/2 for each of two units
        tensor([4.])
    """
    kl = gaussian_kl((q.mean - target.mean) / target.stddev, q.stddev / target.stddev)
    return kl[..., columns].sum(-1)


def latent_attack(
    model,
    x: Tensor,
    target: Tensor,
    level: int | None,
    weights=WEIGHTS,
    *,
    budgets=None,
    steps: int = 400,
    rate: float = 0.2,
) -> Attack:
    """Attack every pair with every weight, or within every budget.

    Args:
        model: a `JointEBM` or a baseline with an inference network, in evaluation mode.
        x, target: original and target images, paired, ``(n, C, H, W)`` in [-1, 1].
        level: which z_i is to become the target's; None takes the whole code.
        weights: values of C.
        budgets: in the place of weights, with C = 0: the largest ``‖d‖`` that is allowed, as shares of ``‖x - x_t‖``. After
            each step d is put back into that ball, so levels and models are attacked with the same change.
        steps: of the descent, from d = 0; the best of all iterates is returned, d = 0 among them.
        rate: root mean square over pixels of the first step; it falls to zero along a half cosine.

    Raises:
        ValueError: for unpaired images, a budget that is not positive, or a model whose code no gradient connects with the
            image.

    Example:
        >>> from hebm_lib import load_dataset, load_pretrained
        >>> model, x = load_pretrained("digits"), load_dataset("digits", "test").batch(slice(0, 4))
        >>> attack = latent_attack(model, x[:2], x[2:], level=1, weights=(0.0, 1.0, 1e6), steps=5)
        >>> attack.images.shape, bool((attack.divergence[0] < attack.divergence[2]).all())
        (torch.Size([3, 2, 1, 8, 8]), True)
        >>> attack.distortion[2].max().item() < 0.01  # where the change costs that much there is hardly any
        True
        >>> within = latent_attack(model, x[:2], x[2:], level=1, budgets=(0.3,), steps=5)
        >>> bool((within.distortion[0] <= 0.3001 * (x[2:] - x[:2]).flatten(1).norm(dim=1)).all())
        True
    """
    if x.shape != target.shape:
        raise ValueError(f"originals {tuple(x.shape)} and targets {tuple(target.shape)} have to be paired")
    if budgets is not None and min(budgets) <= 0:
        raise ValueError(f"a budget is a positive share of the way to the target; got {budgets}")
    columns = slice(None) if level is None else model.latents.columns(level)
    m, n = len(weights if budgets is None else budgets), len(x)

    def a_row_each(values) -> Tensor:
        return torch.tensor(values, dtype=x.dtype, device=x.device).repeat_interleave(n)

    cost = a_row_each(weights if budgets is None else [0.0] * m)
    way = (target - x).flatten(1).norm(dim=1).repeat(m)
    limit = way * torch.inf if budgets is None else way * a_row_each(budgets)
    x, target = (images.repeat(m, 1, 1, 1) for images in (x, target))
    with torch.no_grad():
        goal = model.encode(target)
    d, momentum, scale = torch.zeros_like(x), torch.zeros_like(x), torch.zeros_like(cost)
    best = {"objective": torch.full_like(cost, torch.inf), "divergence": torch.zeros_like(cost), "d": d.clone()}
    for step in range(1, steps + 2):
        d = d.detach().requires_grad_()
        divergence = attack_divergence(model.encode(x + d), goal, columns)
        if not divergence.requires_grad:
            raise ValueError(f"no gradient leads from the code of a {type(model).__name__} to the image")
        objective = divergence + cost * d.square().flatten(1).sum(1)
        better = objective.detach() < best["objective"]
        for name, value in (("objective", objective), ("divergence", divergence), ("d", d)):
            best[name][better] = value.detach()[better]
        slope = torch.autograd.grad(objective.sum(), d)[0]  # images do not meet: each has a problem of its own
        momentum = 0.9 * momentum + 0.1 * slope
        scale = 0.99 * scale + 0.01 * slope.square().flatten(1).mean(1)
        size = 0.5 * rate * (1 + math.cos(math.pi * (step - 1) / max(steps, 1)))
        size = size / (1 - 0.9**step) * ((1 - 0.99**step) / scale.clamp_min(1e-30)).sqrt()
        d = (x + d.detach() - size.view(-1, 1, 1, 1) * momentum).clamp(-1, 1) - x
        # Box and ball are convex and hold d = 0, so a shorter d is still in the box.
        d = d * torch.where(limit < torch.inf, limit / d.flatten(1).norm(dim=1), 1.0).clamp_max(1).view(-1, 1, 1, 1)
    found = best["d"]
    return Attack(
        (x + found).view(m, n, *x.shape[1:]),
        best["divergence"].view(m, n),
        found.flatten(1).norm(dim=1).view(m, n),
    )


def relative_distance(
    reconstruction: Tensor, original: Tensor, target_reconstruction: Tensor, target: Tensor
) -> Tensor:
    """How far reconstructions of attacked images are from the target, ``(m, n)``: 1 untouched, 0 as the target's own.

    Args:
        reconstruction: of the attacked images, ``(m, n, C, H, W)``.
        original, target_reconstruction: reconstructions of originals and targets, ``(n, C, H, W)``.
        target: ``(n, C, H, W)``.

    Example:
        >>> original, target = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
        >>> half_way = torch.full((1, 1, 1, 2, 2), 0.5)
        >>> relative_distance(half_way, original, target, target).item()  # the target is reconstructed as it is
        0.5
    """

    def far(images: Tensor) -> Tensor:
        return (images - target).flatten(-3).norm(dim=-1)

    floor = far(target_reconstruction)
    return (far(reconstruction) - floor) / (far(original) - floor)


def share_of_the_way(reconstruction: Tensor, original: Tensor, target_reconstruction: Tensor) -> Tensor:
    """How far attacked reconstructions moved: ``‖g(x + d) - g(x)‖ / ‖g(x_t) - g(x)‖``, with g for reconstruction.

    Shapes as in `relative_distance`. 0 is a faithful reconstruction of the original, whatever its direction.

    Example:
        >>> original, target = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
        >>> share_of_the_way(torch.full((1, 1, 1, 2, 2), 0.25), original, target).item()
        0.25
    """
    moved, way = (
        images.flatten(-3).norm(dim=-1) for images in (reconstruction - original, target_reconstruction - original)
    )
    return moved / way


def auddc(distortion: Tensor, distance: Tensor) -> Tensor:
    """Area under the distortion-distortion curve of each pair, ``(m, n), (m, n) -> (n,)``; large is robust.

    Args:
        distortion: ``‖d‖ / ‖x - x_t‖``. Points beyond 1 are left out: there the target itself is cheaper.
        distance: of the reconstruction from the target, see `relative_distance`.

    The curve starts at (0, 1), d = 0, and ends at 1 with the smallest distance that was reached.

    Example:
        >>> auddc(torch.tensor([[0.5]]), torch.tensor([[0.0]])).item()  # a triangle: the target is reached half way
        0.25
    """
    areas = []
    for x, y in zip(distortion.T.double().cpu().numpy(), distance.T.double().cpu().numpy(), strict=True):
        x, y = x[x <= 1], y[x <= 1]
        order = np.argsort(x)
        x, y = np.concatenate([[0.0], x[order]]), np.concatenate([[1.0], y[order]])
        areas.append(np.trapezoid([*y, y.min(), y.min()], [*x, x[-1], 1.0]))
    return torch.tensor(areas)
