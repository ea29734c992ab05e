"""The 2-D quadrature against closed forms: with f = 0 or a quadratic f and a linear decoder, everything is Gaussian."""

import math
from dataclasses import replace

import pytest
import torch
from shared import tiny_model
from torch import nn
from torch.distributions import Independent, MultivariateNormal, Normal

from hebm_lib.exact import (
    Grid2D,
    exact_bound,
    exact_log_evidence,
    exact_log_posterior,
    exact_log_prior,
    gaussian_on_grid,
    grid_kl,
    grid_mean,
    posterior_law,
    propagate,
)
from hebm_lib.latents import LatentSpec
from hebm_lib.model import JointEBM, build_model, gaussian_kl
from hebm_lib.prior import GaussianPrior, JointEBMPrior

LATENTS = LatentSpec((1, 1))
SIGMA = 0.7


class LinearGenerator(nn.Module):
    """``g(z) = W z + b`` as an image of 1 × 1 × 3 pixels."""

    latents = LATENTS

    def __init__(self):
        super().__init__()
        self.w = torch.tensor([[1.0, 0.3], [-0.5, 0.8], [0.2, -0.6]], dtype=torch.float64)
        self.b = torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64)

    def forward(self, z):
        return (z @ self.w.t() + self.b).view(-1, 1, 1, 3)


class LinearInference(nn.Module):
    """A Gaussian whose mean is linear in the pixels."""

    latents = LATENTS

    def forward(self, x):
        mean = x.flatten(1) @ torch.tensor([[0.4, 0.1], [0.2, -0.3], [0.0, 0.5]], dtype=x.dtype)
        return Independent(Normal(mean, torch.tensor([0.6, 0.8], dtype=x.dtype).expand_as(mean)), 1)


class QuadraticPrior(GaussianPrior):
    """``f(z) = -zᵀAz/2``: the prior is N(0, (I + A)⁻¹)."""

    def __init__(self, a):
        super().__init__(LATENTS)
        self.a = torch.tensor(a, dtype=torch.float64)

    def forward(self, z):
        return -0.5 * ((z @ self.a) * z).sum(-1)

    def log_prob_unnormalized(self, z):
        return self(z) + super().log_prob_unnormalized(z)


PRIORS = {"f = 0": [[0.0, 0.0], [0.0, 0.0]], "quadratic f": [[0.8, -0.5], [-0.5, 0.9]]}


@pytest.fixture(params=PRIORS.values(), ids=PRIORS)
def gaussian_world(request):
    """A model in which all is Gaussian, three images, and the prior's covariance."""
    prior = QuadraticPrior(request.param)
    model = JointEBM(LinearGenerator(), LinearInference(), prior, SIGMA)
    x = torch.tensor([[0.2, -0.4, 0.9], [-1.0, 0.5, 0.0], [0.3, 0.3, 0.3]], dtype=torch.float64).view(3, 1, 1, 3)
    return model, x, torch.linalg.inv(torch.eye(2, dtype=torch.float64) + prior.a)


@pytest.fixture
def grid():
    return Grid2D(8.0, 161)


def posterior_of(model, x, covariance):
    """Mean ``(n, 2)`` and covariance of ``p(z|x)`` in closed form."""
    w, b = model.generator.w, model.generator.b
    precision = torch.linalg.inv(covariance) + w.t() @ w / SIGMA**2
    inverse = torch.linalg.inv(precision)
    return (x.flatten(1) - b) @ w @ inverse / SIGMA**2, inverse


def test_prior_and_its_constant(gaussian_world, grid):
    model, _, covariance = gaussian_world
    exact = MultivariateNormal(torch.zeros(2, dtype=torch.float64), covariance)
    torch.testing.assert_close(exact_log_prior(model.prior, grid), exact.log_prob(grid.z), atol=1e-9, rtol=0)
    assert grid.log_z(model.prior.log_prob_unnormalized) == pytest.approx(
        0.5 * float(torch.logdet(covariance)), abs=1e-9
    )


def test_evidence_is_the_marginal_gaussian(gaussian_world, grid):
    model, x, covariance = gaussian_world
    w, b = model.generator.w, model.generator.b
    marginal = MultivariateNormal(b, w @ covariance @ w.t() + SIGMA**2 * torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(exact_log_evidence(model, x, grid), marginal.log_prob(x.flatten(1)), atol=1e-9, rtol=0)


def test_posterior_is_the_conditional_gaussian(gaussian_world, grid):
    model, x, covariance = gaussian_world
    mean, inverse = posterior_of(model, x, covariance)
    log_p = exact_log_posterior(model, x, grid)
    for i in range(len(x)):
        exact = MultivariateNormal(mean[i], inverse).log_prob(grid.z)
        torch.testing.assert_close(log_p[i], exact, atol=1e-8, rtol=0)
    torch.testing.assert_close(grid_mean(log_p[:, None], grid.z.t(), grid), mean, atol=1e-9, rtol=0)


def test_the_gap_is_the_divergence_of_two_gaussians(gaussian_world, grid):
    model, x, covariance = gaussian_world
    mean, inverse = posterior_of(model, x, covariance)
    q = model.encode(x)
    expected = [
        torch.distributions.kl_divergence(
            MultivariateNormal(q.mean[i], torch.diag(q.variance[i])), MultivariateNormal(mean[i], inverse)
        )
        for i in range(len(x))
    ]
    bound = exact_bound(model, x, grid)
    torch.testing.assert_close(bound.gap, torch.stack(expected), atol=1e-9, rtol=0)
    torch.testing.assert_close(bound.elbo + bound.gap, bound.log_evidence, atol=1e-9, rtol=0)


def test_a_gaussian_on_the_grid_has_the_closed_form_divergence(grid):
    q = Independent(Normal(torch.tensor([[0.5, -1.0], [0.0, 2.0]]), torch.tensor([[0.4, 0.9], [1.1, 0.3]])), 1)
    log_q = gaussian_on_grid(q, grid)
    torch.testing.assert_close(grid_mean(log_q, torch.ones_like(log_q), grid), torch.ones(2, dtype=torch.float64))
    reference = exact_log_prior(GaussianPrior(LATENTS), grid)
    expected = gaussian_kl(q.mean.double(), q.stddev.double()).sum(1)
    torch.testing.assert_close(grid_kl(log_q, reference, grid), expected, atol=1e-8, rtol=0)


def test_the_librarys_bound_agrees_with_quadrature_on_a_real_model(grid):
    """`JointEBM.elbo` averaged over q on the grid, minus log Z, is the ELBO: its constants and signs are right."""
    config = tiny_model(latent_dims=(1, 1))
    model = build_model(replace(config, sigma=0.8)).double().eval()
    x = torch.rand(1, 1, 8, 8, dtype=torch.float64) * 2 - 1
    with torch.no_grad():
        q = model.encode(x)
        terms = model.elbo(x, z=grid.z, posterior=q)
        log_q = gaussian_on_grid(q, grid)
        elbo = grid_mean(log_q, terms.elbo_plus_log_z, grid) - grid.log_z(model.prior.log_prob_unnormalized)
    torch.testing.assert_close(elbo, exact_bound(model, x, grid).elbo, atol=1e-6, rtol=0)


def test_gradients_pass_through_the_quadrature(grid):
    """The gradient of Eq. 10 (posterior minus prior expectation of ∇f) is that of the exact log-likelihood."""
    prior = JointEBMPrior(LATENTS, hidden=(8,), spectral_norm=False).double()
    model = JointEBM(LinearGenerator(), LinearInference(), prior, SIGMA)
    x = torch.randn(4, 1, 1, 3, dtype=torch.float64)
    exact = torch.autograd.grad(exact_log_evidence(model, x, grid).mean(), prior.energy.layers[0].weight)[0]
    with torch.no_grad():
        weights = exact_log_posterior(model, x, grid).exp().mean(0) - exact_log_prior(prior, grid).exp()
    eq10 = torch.autograd.grad((weights * prior(grid.z)).sum() * grid.cell, prior.energy.layers[0].weight)[0]
    torch.testing.assert_close(eq10, exact, atol=1e-10, rtol=1e-8)
    assert exact.abs().max() > 1e-3


@pytest.mark.parametrize("step_size", [0.4, 0.8])
def test_a_chain_on_a_gaussian_has_the_closed_form_variance_at_every_step(grid, step_size):
    """v ← (1 - s²/2)² v + s², from any start; the limit is 1 / (1 - s²/4)."""
    start = Normal(0.5, 0.6).log_prob(grid.z).sum(1)
    laws = propagate(GaussianPrior(LATENTS), grid, 60, step_size, start=start)
    mean, variance, keep = 0.5, 0.36, 1 - step_size**2 / 2
    for law in laws:
        assert grid_mean(law, grid.z[:, 0], grid) == pytest.approx(mean, abs=1e-7)
        assert grid_mean(law, (grid.z[:, 1] - mean).square(), grid) == pytest.approx(variance, abs=1e-6)
        mean, variance = keep * mean, keep**2 * variance + step_size**2
    assert variance == pytest.approx(1 / (1 - step_size**2 / 4), rel=1e-4)


def test_propagated_law_is_the_law_of_the_samplers_chains(grid):
    prior = JointEBMPrior(LATENTS, hidden=(16,), spectral_norm=False).double()
    with torch.no_grad():
        prior.energy.layers[1].weight.mul_(20)
    law = propagate(prior, grid, 7, 0.5)[-1]
    z = prior.sample(200_000, 7, 0.5, generator=torch.Generator().manual_seed(1))
    for statistic in (lambda z: z[:, 0], lambda z: z[:, 1], lambda z: z.prod(1), lambda z: prior(z).detach()):
        values = statistic(z)
        exact, spread = grid_mean(law, statistic(grid.z), grid), values.std() / math.sqrt(len(z))
        assert abs(values.mean() - exact) < 4 * spread
    # and it is another law than the one it started from, so that the agreement means something
    assert grid_kl(law, exact_log_prior(GaussianPrior(LATENTS), grid), grid) > 0.1


def test_no_step_leaves_the_start_and_bad_steps_are_refused(grid):
    laws = propagate(GaussianPrior(LATENTS), grid, 0, 0.4)
    torch.testing.assert_close(laws[0], exact_log_prior(GaussianPrior(LATENTS), grid), atol=1e-9, rtol=0)
    with pytest.raises(ValueError, match="step size"):
        propagate(GaussianPrior(LATENTS), grid, 3, 0.0)


def test_the_law_of_a_posterior_chain_has_the_closed_form_of_a_linear_gaussian_model(gaussian_world, grid):
    """With precision P and A = I - s²P/2 the mean goes ``m ← μ + A (m - μ)`` and the covariance ``C ← A C Aᵀ + s² I``."""
    model, x, covariance = gaussian_world
    target, inverse = posterior_of(model, x[:1], covariance)
    eye, step_size = torch.eye(2, dtype=torch.float64), 0.5
    a = eye - 0.5 * step_size**2 * torch.linalg.inv(inverse)
    mean, spread = torch.zeros(2, dtype=torch.float64), eye
    laws = posterior_law(model, x[:1], grid, 12, step_size)
    for law in laws:
        exact = MultivariateNormal(mean, spread).log_prob(grid.z)
        torch.testing.assert_close(law.exp(), exact.exp(), atol=1e-8, rtol=0)
        mean, spread = target[0] + a @ (mean - target[0]), a @ spread @ a.t() + step_size**2 * eye
    # It has come nearer to the posterior, and being unadjusted it stays a little too wide.
    log_p = exact_log_posterior(model, x[:1], grid)[0]
    assert grid_kl(laws[0], log_p, grid) > 3 * grid_kl(laws[-1], log_p, grid) > 0


def test_a_posterior_law_takes_a_start_and_one_image_only(gaussian_world, grid):
    model, x, covariance = gaussian_world
    start = Normal(1.0, 0.5).log_prob(grid.z).sum(1)
    laws = posterior_law(model, x[:1], grid, 1, 0.3, start=start)
    torch.testing.assert_close(laws[0], start, atol=1e-8, rtol=0)
    with pytest.raises(ValueError, match="one image, got 3"):
        posterior_law(model, x, grid, 1, 0.3)
    with pytest.raises(ValueError, match="step size"):
        posterior_law(model, x[:1], grid, 1, 0.0)
