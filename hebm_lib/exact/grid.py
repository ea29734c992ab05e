"""A regular grid over the plane, on which densities and their integrals are exact to rounding."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

__all__ = ["Grid2D", "gaussian_on_grid", "grid_kl", "grid_mean"]


class Grid2D:
    """A regular grid over a square of the plane, for densities that are exact by quadrature.

    Args:
        extent: the square is ``[-extent, extent]²``.
        points: grid points per side.

    Attributes:
        z: ``(points², 2)`` float64, row by row with the first coordinate running fastest.
        axis: ``(points,)``.
        cell: area of one cell.
    """

    def __init__(self, extent: float = 4.0, points: int = 161):
        self.extent, self.points = extent, points
        self.axis = torch.linspace(-extent, extent, points, dtype=torch.float64)
        second, first = torch.meshgrid(self.axis, self.axis, indexing="ij")
        self.z = torch.stack([first.flatten(), second.flatten()], dim=1)
        self.cell = float(self.axis[1] - self.axis[0]) ** 2

    def log_z(self, log_prob_unnormalized) -> float:
        """Log of the normalising constant by the trapezoid rule (exact to rounding where the tails lie inside)."""
        with torch.no_grad():
            return float(torch.logsumexp(log_prob_unnormalized(self.z), 0) + np.log(self.cell))

    def density(self, log_prob_unnormalized) -> Tensor:
        """The normalised density on the grid, ``(points, points)``; rows are the second coordinate."""
        with torch.no_grad():
            log_prob = log_prob_unnormalized(self.z)
        return (log_prob - torch.logsumexp(log_prob, 0)).exp().view(self.points, self.points) / self.cell

    def histogram(self, samples: Tensor) -> Tensor:
        """Samples ``(n, 2)`` as a density ``(points, points)``; those outside the square are not counted."""
        cells = ((samples.double() + self.extent) / self.cell**0.5).nan_to_num(nan=-1).round()
        first, second = cells[((cells >= 0) & (cells < self.points)).all(1)].long().unbind(1)
        counts = torch.bincount(second * self.points + first, minlength=self.points**2)
        return counts.view(self.points, self.points) / (len(samples) * self.cell)

    def kl(self, p: Tensor, q: Tensor) -> float:
        """``KL(p ‖ q)`` in nats of two densities ``(points, points)``, as `density` returns them."""
        return float((torch.xlogy(p, p) - torch.xlogy(p, q)).sum() * self.cell)

    def total_variation(self, p: Tensor, q: Tensor) -> float:
        """``½ ∫ |p - q|``: 0 for equal densities, 1 for disjoint ones."""
        return float(0.5 * (p - q).abs().sum() * self.cell)

    def marginals(self, density: Tensor) -> tuple[Tensor, Tensor]:
        """``p(z_1)`` and ``p(z_2)``, each ``(points,)``."""
        return density.sum(0) * self.cell**0.5, density.sum(1) * self.cell**0.5

    def conditional(self, density: Tensor, z_2: float) -> Tensor:
        """``p(z_1 | z_2)`` at the grid row nearest to ``z_2``, ``(points,)``."""
        row = density[int((self.axis - z_2).abs().argmin())]
        return row / (row.sum() * self.cell**0.5)

    def mutual_information(self, density: Tensor) -> float:
        """``KL(p(z_1, z_2) ‖ p(z_1) p(z_2))`` in nats: 0 exactly where the two levels know nothing of each other."""
        first, second = self.marginals(density)
        return self.kl(density, second[:, None] * first[None, :])


def gaussian_on_grid(posterior: Distribution, grid: Grid2D) -> Tensor:
    """``log q_φ(z|x)`` on the grid: a diagonal Gaussian with batch shape ``(n,)`` gives ``(n, m)``.

    It is not renormalised: where the grid is too coarse or too small for q, its sum over the grid is not 1.
    """
    mean, scale = posterior.mean[:, None].to(grid.z), posterior.stddev[:, None].to(grid.z)
    return -(0.5 * ((grid.z - mean) / scale).square() + scale.log() + 0.5 * math.log(2 * math.pi)).sum(-1)


def grid_mean(log_p: Tensor, values: Tensor, grid: Grid2D) -> Tensor:
    """``E_p[values]`` over the last axis: densities ``(..., m)`` and values ``(..., m)`` give ``(...)``."""
    return (log_p.exp() * values).sum(-1) * grid.cell


def grid_kl(log_p: Tensor, log_q: Tensor, grid: Grid2D) -> Tensor:
    """``KL(p ‖ q)`` in nats between densities on the grid, ``(..., m)`` each (they broadcast)."""
    return grid_mean(log_p, log_p - log_q, grid)
