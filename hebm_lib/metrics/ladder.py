"""What one place of a ladder reaches and sees, and what a level changes in the picture."""

import copy

import torch
from torch import Tensor

from hebm_lib.networks import LadderGenerator, LadderInference

__all__ = ["jacobians", "near_ink", "reach", "roughness", "view"]


@torch.no_grad()
def reach(generator: LadderGenerator, level: int) -> Tensor:
    """Pixels that the middle place of the feature which z_level joins can change: a mask ``(H, W)``.

    A random vector is added there, to all channels, at a random code. Raises `ValueError` for a level that joins no map.

    Example:
        >>> from hebm_lib import load_pretrained
        >>> pixels = reach(load_pretrained("digits").generator, 1)
        >>> pixels.shape, pixels.dtype
        (torch.Size([8, 8]), torch.bool)
    """
    if not 1 <= level <= generator.maps:
        raise ValueError(f"level {level} joins no map; the levels that do are 1 … {generator.maps}")

    def nudge(module, inputs):
        h, *rest = inputs
        moved = h.clone()
        moved[..., h.shape[-2] // 2, h.shape[-1] // 2] += torch.randn(h.shape[:2]).to(h)
        return moved, *rest

    # In double precision: a pixel outside must not move by rounding.
    generator = _double(generator)
    z = torch.randn(1, generator.latents.total, dtype=torch.float64)
    before = generator(z)
    rung = generator.rungs[generator.rung_levels.index(level - 1)]
    hook = rung.register_forward_pre_hook(nudge)
    after = generator(z)
    hook.remove()
    return (after - before).abs().amax((0, 1)) > 1e-12


def view(inference: LadderInference, level: int) -> Tensor:
    """Pixels that the middle place of the feature which z_level is read from depends on: a mask ``(H, W)``.

    Raises `ValueError` for the top level, which is read by a fully connected network.

    Example:
        >>> from hebm_lib import load_pretrained
        >>> pixels = view(load_pretrained("digits").inference, 1)
        >>> pixels.shape, bool(pixels[4, 4])
        (torch.Size([8, 8]), True)
    """
    if not 1 <= level <= len(inference.branches):
        raise ValueError(f"level {level} has no branch; the levels that do are 1 … {len(inference.branches)}")
    inference = _double(inference)
    x = torch.randn(1, inference.channels, inference.image_size, inference.image_size, dtype=torch.float64)
    h = x.requires_grad_()
    for stage in inference.trunk[: level - 1]:
        h = stage(h)
    h = inference.branches[level - 1](h)
    (gradient,) = torch.autograd.grad(h[..., h.shape[-2] // 2, h.shape[-1] // 2].sum(), x)
    return gradient.abs().amax((0, 1)) > 0


def _double(module):
    """A copy in double precision that leaves the module as it is."""
    return copy.deepcopy(module).double()


def jacobians(model, z: Tensor) -> Tensor:
    """``∂g(z)/∂z``: how each pixel answers to each unit, ``(n, d) -> (n, d, C, H, W)``, detached.

    Example:
        >>> from types import SimpleNamespace
        >>> model = SimpleNamespace(decode=lambda z: (2 * z).view(-1, 1, 1, 2))
        >>> jacobians(model, torch.zeros(1, 2))[0, :, 0, 0]
        tensor([[2., 0.],
                [0., 2.]])
    """
    columns = []
    for unit in range(z.shape[1]):
        direction = torch.zeros_like(z)
        direction[:, unit] = 1
        columns.append(torch.autograd.functional.jvp(model.decode, z, direction)[1].detach())
    return torch.stack(columns, dim=1)


def roughness(pictures: Tensor) -> Tensor:
    """How much neighbouring pixels differ: 0 for a flat picture, about 1 for white noise; ``(..., H, W) -> (...)``.

    The mean squared difference of neighbours over twice the mean square. NaN for a picture of zeros.

    Example:
        >>> noise = torch.randn(200, 200, generator=torch.Generator().manual_seed(0))
        >>> roughness(torch.ones(4, 4)).item(), round(roughness(noise).item(), 1)
        (0.0, 1.0)
    """
    across = pictures.diff(dim=-1).square().mean((-2, -1))
    along = pictures.diff(dim=-2).square().mean((-2, -1))
    return (across + along) / (4 * pictures.square().mean((-2, -1)))


def near_ink(before: Tensor, after: Tensor, threshold: float = -0.5) -> Tensor:
    """Share of a squared change that falls on the old strokes or next to them, ``(n, 1, H, W)`` twice ``-> (n,)``.

    Args:
        threshold: brighter pixels of ``before`` are ink; their eight neighbours count too.

    Example:
        >>> before, after = -torch.ones(2, 1, 1, 5, 5)
        >>> before[0, 0, 2, 2] = after[0, 0, 2, 2] = 1  # a dot
        >>> after[0, 0, 2, 3] = after[0, 0, 0, 0] = 1  # grows to its right, and one appears far away
        >>> near_ink(before, after).item()
        0.5
    """
    ink = torch.nn.functional.max_pool2d((before > threshold).float(), 3, stride=1, padding=1)
    change = (after - before).square()
    return (change * ink).flatten(1).sum(1) / change.flatten(1).sum(1)
