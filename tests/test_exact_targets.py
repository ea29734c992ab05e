"""The 2-D target is what it says it is, the exact fit is Eq. 10 with exact expectations, the chain's bound is exact."""

import math

import numpy as np
import pytest
import torch

from hebm_lib import GaussianPrior, JointEBMPrior, LatentSpec
from hebm_lib.exact import Grid2D, propagate
from hebm_lib.exact.targets import CoupledMixture, LinearChain, fit_by_chains, fit_by_quadrature

TWO = LatentSpec((1, 1))


def test_density_is_normalised():
    grid = Grid2D(5.0, 161)
    assert grid.log_z(CoupledMixture().log_prob) == pytest.approx(0, abs=1e-6)


def test_density_matches_torch_mixture():
    target = CoupledMixture(means=((0.0, 1.0), (2.0, -1.0)), scales=((1.0, 0.5), (0.3, 2.0)), weights=(1, 3))
    parts = torch.distributions.Independent(
        torch.distributions.Normal(torch.tensor(target.means), torch.tensor(target.scales)), 1
    )
    mixture = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(torch.tensor([0.25, 0.75])), parts)
    z = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(target.log_prob(z), mixture.log_prob(z))


def test_samples_follow_the_density():
    target, grid = CoupledMixture(), Grid2D(4.0, 33)
    z = target.sample(50_000, torch.Generator().manual_seed(0))
    assert z.shape == (50_000, 2)
    exact = grid.density(target.log_prob)
    assert grid.total_variation(grid.histogram(z), exact) < 0.05
    # The same samples against the mirrored density must fail this clearly, or the bound means nothing.
    assert grid.total_variation(grid.histogram(z * torch.tensor([-1.0, 1.0])), exact) > 0.5
    assert torch.equal(z, target.sample(50_000, torch.Generator().manual_seed(0)))


def test_gradient_reaches_every_coordinate():
    z = torch.tensor([[0.1, 0.7], [-2.0, 3.0]], requires_grad=True)
    CoupledMixture().log_prob(z).sum().backward()
    assert (z.grad != 0).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"weights": (1.0,)},
        {"weights": (1.0, 1.0, 1.0, 0.0)},
        {"scales": ((0.3, 0.3),) * 3 + ((0.3, -0.3),)},
        {"means": ((0.0, 0.0),) * 3 + ((0.0,),)},
        {"means": (), "scales": (), "weights": ()},
    ],
)
def test_a_wrong_mixture_is_an_error(wrong):
    with pytest.raises(ValueError, match="mixture"):
        CoupledMixture(**wrong)


def test_fit_lowers_kl_and_its_first_gradient_is_eq_10():
    target, grid = CoupledMixture(), Grid2D(4.0, 41)
    torch.manual_seed(0)
    prior = JointEBMPrior(TWO, hidden=(16, 16), spectral_norm=False).double()
    # Eq. 10 by quadrature: E_target[∇f] - E_prior[∇f]; SGD's step would be along it.
    p, q = (torch.softmax(f(grid.z), 0).detach() for f in (target.log_prob, prior.log_prob_unnormalized))
    eq_10 = torch.autograd.grad(((p - q) * prior(grid.z)).sum(), list(prior.parameters()))
    log_p = torch.log_softmax(target.log_prob(grid.z), 0)
    kl = (p * (log_p - torch.log_softmax(prior.log_prob_unnormalized(grid.z), 0))).sum()
    for ours, exact in zip(torch.autograd.grad(kl, list(prior.parameters())), eq_10, strict=True):
        torch.testing.assert_close(-ours, exact, rtol=1e-6, atol=1e-9)
    history = fit_by_quadrature(prior.log_prob_unnormalized, prior.parameters(), target.log_prob, grid.z, steps=150)
    assert history[0] == pytest.approx(kl.item()) and history[-1] < 0.3 * history[0]


def test_grid_measures_against_closed_forms():
    grid = Grid2D(6.0, 121)
    rho = 0.6
    inverse = torch.linalg.inv(torch.tensor([[1.0, rho], [rho, 1.0]], dtype=torch.float64))
    coupled = grid.density(lambda z: -0.5 * ((z @ inverse) * z).sum(-1))
    normal = grid.density(GaussianPrior(TWO).log_prob_unnormalized)
    exact = -0.5 * torch.log(torch.tensor(1 - rho**2)).item()  # mutual information of a bivariate normal
    assert grid.mutual_information(coupled) == pytest.approx(exact, rel=1e-6)
    assert grid.mutual_information(normal) == pytest.approx(0, abs=1e-9)
    assert grid.kl(coupled, normal) == pytest.approx(exact, rel=1e-6)
    mean = (grid.conditional(coupled, 1.0) * grid.axis).sum() * grid.cell**0.5
    assert mean.item() == pytest.approx(rho, rel=1e-6)
    assert grid.total_variation(coupled, coupled) == 0


@pytest.mark.parametrize("chains", [0, 200])
def test_learning_by_chains_comes_nearer_to_the_codes(chains):
    """Far nearer than N(0, I); the exact law of the K-step chain where chains are fresh, the density where they persist."""
    target, grid = CoupledMixture(), Grid2D(5.0, 101)
    p = grid.density(target.log_prob)
    codes = target.sample(4000, torch.Generator().manual_seed(1))
    prior = JointEBMPrior(LatentSpec((1, 1)), hidden=(32, 32), lipschitz=20.0, chains=chains)
    gaps = fit_by_chains(prior, codes, 20, 0.4, updates=300, generator=torch.Generator().manual_seed(2))
    exact = prior.double().eval()
    if chains:
        fitted = grid.density(exact.log_prob_unnormalized)
    else:
        fitted = propagate(exact, grid, 20, 0.4)[-1].exp().view(grid.points, grid.points)
    start = grid.density(lambda z: -0.5 * z.square().sum(1))
    assert len(gaps) == 300 and grid.kl(p, fitted) < 0.6 * grid.kl(p, start)


@pytest.mark.parametrize("t", [0.0, 0.3, 0.99])
def test_the_bound_of_the_linear_chain_is_the_exact_log_density_at_every_draw(t):
    x = torch.linspace(-30, 30, 61, dtype=torch.float64)
    exact = -0.5 * (x.square() / 101 + math.log(2 * math.pi * 101))
    torch.testing.assert_close(LinearChain(t).draw_bound(x), exact)


@pytest.mark.parametrize("t", [0.0, 0.3, 0.99])
def test_the_kl_of_the_linear_chain_is_the_information_of_each_level(t):
    """From the covariance of (x, z_2, z_1), by determinants."""
    w, root = 10.0, math.sqrt(t)
    c = np.array([[w**2 + 1, w * root, w], [w * root, 1, root], [w, root, 1]])  # x, z_2, z_1
    about_top = 0.5 * math.log(c[0, 0] * c[1, 1] / np.linalg.det(c[:2, :2]))
    about_both = 0.5 * math.log(c[0, 0] * np.linalg.det(c[1:, 1:]) / np.linalg.det(c)) if t < 1 else math.inf
    bottom, top = LinearChain(t).kl()
    assert top == pytest.approx(about_top, abs=1e-9) and bottom == pytest.approx(about_both - about_top, abs=1e-9)
    assert bottom + top == pytest.approx(0.5 * math.log(101))
