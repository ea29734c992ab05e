"""The latent vector and its levels.

A latent is always one tensor ``z`` of shape ``(n, d)``. Its columns are the levels one after another, bottom first:
``z = [z_1, ..., z_L]`` as in the paper, where ``z_1`` is the bottom level (closest to the pixels) and ``z_L`` the top.
`LatentSpec` is the only place that knows which columns belong to which level.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor

__all__ = ["LatentSpec"]


@dataclass(frozen=True)
class LatentSpec:
    """Sizes ``d_1 ... d_L`` of the levels, bottom first.

    Args:
        dims: number of units per level; ``dims[0]`` is the bottom level ``z_1``.

    Raises:
        ValueError: if there is no level, or a level has no unit.

    Example:
        >>> latents = LatentSpec((2, 2, 10))
        >>> latents.levels, latents.total, latents.columns(3)
        (3, 14, slice(4, 14, None))
        >>> z = torch.arange(14.0)[None]
        >>> [tuple(part.shape) for part in latents.split(z)], torch.equal(latents.join(latents.split(z)), z)
        ([(1, 2), (1, 2), (1, 10)], True)
        >>> latents.redraw(z, 2, torch.zeros(1, 14))[0, :6].tolist()
        [0.0, 1.0, 0.0, 0.0, 4.0, 5.0]
        >>> latents.traverse(z, 1, 0, torch.tensor([-1.0, 1.0]))[0, :, :3].tolist()
        [[-1.0, 1.0, 2.0], [1.0, 1.0, 2.0]]
    """

    dims: tuple[int, ...]

    def __post_init__(self):
        dims = tuple(int(d) for d in self.dims)
        if not dims:
            raise ValueError(
                "a latent needs at least one level: LatentSpec((2, 2, 10)) has three, L = 0 is not a model"
            )
        if any(d < 1 for d in dims):
            raise ValueError(f"every level needs at least one unit, got dims={dims}")
        object.__setattr__(self, "dims", dims)

    @property
    def levels(self) -> int:
        """``L``, the number of levels."""
        return len(self.dims)

    @property
    def total(self) -> int:
        """``d``, the number of units of all levels together."""
        return sum(self.dims)

    def columns(self, level: int) -> slice:
        """The columns of ``z`` that hold ``z_level``; levels count from 1 (bottom) to ``L`` (top) as in the paper."""
        if not 1 <= level <= self.levels:
            raise ValueError(f"level must be between 1 (bottom) and {self.levels} (top), got {level}")
        start = sum(self.dims[: level - 1])
        return slice(start, start + self.dims[level - 1])

    def split(self, z: Tensor) -> tuple[Tensor, ...]:
        """``z`` of shape ``(..., d)`` as views ``(z_1, ..., z_L)``; raises `ValueError` where the width is not ``d``."""
        self.check(z)
        return z.split(self.dims, dim=-1)

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """``(z_1, ..., z_L)`` as one tensor ``(..., d)``, the inverse of `split`."""
        widths = tuple(part.shape[-1] for part in parts)
        if widths != self.dims:
            raise ValueError(f"levels of widths {widths} do not fit a latent of dims {self.dims}")
        return torch.cat(tuple(parts), dim=-1)

    def check(self, z: Tensor) -> None:
        """Raise `ValueError` unless the last axis of ``z`` has ``d`` entries."""
        if z.ndim == 0 or z.shape[-1] != self.total:
            raise ValueError(f"expected a latent of shape (n, {self.total}) for dims {self.dims}, got {tuple(z.shape)}")

    def redraw(self, z: Tensor, level: int | Sequence[int], donor: Tensor) -> Tensor:
        """``z`` with one level, or several, replaced by the same of ``donor`` (shapes broadcast), the rest kept.

        This is how the authors' code draws Figures 4 and 5: ``donor`` holds the codes of other joint prior chains.
        """
        self.check(z)
        self.check(donor)
        z, donor = torch.broadcast_tensors(z, donor)
        out = z.clone()
        for one in (level,) if isinstance(level, Integral) else level:
            out[..., self.columns(one)] = donor[..., self.columns(one)]
        return out

    def traverse(self, z: Tensor, level: int, unit: int, values: Tensor) -> Tensor:
        """Copies of ``z`` in which one unit of one level takes each of ``values`` in turn.

        Args:
            z: ``(n, d)``.
            level: 1 … L.
            unit: index inside the level, from 0.
            values: ``(m,)``.

        Returns:
            ``(n, m, d)``.
        """
        self.check(z)
        columns = self.columns(level)
        if not 0 <= unit < self.dims[level - 1]:
            raise ValueError(f"level {level} has units 0 … {self.dims[level - 1] - 1}, got {unit}")
        values = torch.as_tensor(values, dtype=z.dtype, device=z.device)
        out = z[:, None, :].expand(-1, len(values), -1).clone()
        out[:, :, columns.start + unit] = values
        return out
