"""Two dimensions, where everything is exact: densities on a grid, a model's evidence and bound, targets in closed form."""

from hebm_lib.exact.grid import Grid2D, gaussian_on_grid, grid_kl, grid_mean
from hebm_lib.exact.plane import (
    ExactBound,
    exact_bound,
    exact_log_evidence,
    exact_log_likelihood,
    exact_log_posterior,
    exact_log_prior,
    posterior_law,
    propagate,
)
from hebm_lib.exact.targets import CoupledMixture, LinearChain, fit_by_chains, fit_by_quadrature

__all__ = [
    "CoupledMixture",
    "ExactBound",
    "Grid2D",
    "LinearChain",
    "exact_bound",
    "exact_log_evidence",
    "exact_log_likelihood",
    "exact_log_posterior",
    "exact_log_prior",
    "fit_by_chains",
    "fit_by_quadrature",
    "gaussian_on_grid",
    "grid_kl",
    "grid_mean",
    "posterior_law",
    "propagate",
]
