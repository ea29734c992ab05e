"""The reference chain (Eq. 13) against closed forms, a quadrature and another library's sampler."""

import math

import pytest
import torch
from shared import quadrature

from hebm_lib import langevin_dynamics
from hebm_lib.langevin import langevin_block, metropolis_langevin


def standard_normal(z):
    return -0.5 * z.square().sum(-1)


# ---- closed forms ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("s", [0.2, 0.4, 1.0])
def test_stationary_variance_of_the_standard_normal(s):
    """``z ← (1 - s²/2) z + s ε`` has variance 1 / (1 - s²/4), not 1: the price of leaving out the accept-reject step."""
    steps = math.ceil(6 / s**2)
    z = langevin_dynamics(standard_normal, torch.randn(40_000, 4, dtype=torch.float64), steps, s)
    exact = 1 / (1 - s**2 / 4)
    error = math.sqrt(2 / z.numel())  # relative standard error of a variance
    assert z.var().item() == pytest.approx(exact, rel=4 * error)
    assert z.mean().abs().item() < 4 * math.sqrt(exact / z.numel())
    if s > 0.2:
        assert abs(z.var().item() - 1) > 4 * error, "the test could not tell the chain's law from the exact one"


def test_stationary_law_of_a_coupled_quadratic():
    """``f = -½ (z-m)ᵀ A (z-m)``: each eigendirection with precision a has variance 1 / (a (1 - a s²/4))."""
    s, m = 0.4, torch.tensor([1.0, -2.0], dtype=torch.float64)
    a = torch.tensor([[2.0, 0.8], [0.8, 1.0]], dtype=torch.float64)

    def log_prob(z):
        return -0.5 * ((z - m) @ a * (z - m)).sum(-1)

    z = langevin_dynamics(log_prob, torch.randn(100_000, 2, dtype=torch.float64), 150, s)
    values, vectors = torch.linalg.eigh(a)
    exact = vectors @ torch.diag(1 / (values * (1 - values * s**2 / 4))) @ vectors.T
    torch.testing.assert_close(z.T.cov(), exact, atol=0.02, rtol=0)
    torch.testing.assert_close(z.mean(0), m, atol=0.02, rtol=0)
    assert (torch.linalg.inv(a) - exact).abs().max() > 0.03, "without the bias the answer would be another"


def test_the_path_to_the_stationary_law_is_exact_too():
    """For a normal every step's mean and variance are known: c_k = (1 - s²/2)^k."""
    s, steps = 0.5, 7
    z0 = torch.full((50_000, 1), 3.0, dtype=torch.float64)
    path = langevin_dynamics(standard_normal, z0, steps, s, trajectory=True)
    shrink = 1 - s**2 / 2
    variance = 0.0
    for k in range(steps + 1):
        assert path[k].mean().item() == pytest.approx(3 * shrink**k, abs=0.03)
        assert path[k].var().item() == pytest.approx(variance, abs=0.03)
        variance = shrink**2 * variance + s**2


def test_one_step_by_hand():
    z0 = torch.tensor([[1.0, -2.0]])
    noise = torch.randn(1, 2, generator=torch.Generator().manual_seed(3))
    z1 = langevin_dynamics(standard_normal, z0, 1, 0.3, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(z1, z0 - 0.045 * z0 + 0.3 * noise)


def test_two_modes_against_the_quadrature():
    """A density with two modes and a coupling, small steps: cell by cell the chain's histogram is the exact one."""

    def log_prob(z):
        well = -(z[:, 0].square() - 1).square()
        return well - (z[:, 1] - 0.8 * z[:, 0]).square() - 0.2 * z[:, 0]

    points, weight = quadrature(log_prob, extent=4.0)
    z = langevin_dynamics(log_prob, torch.randn(20_000, 2), 1500, 0.1)
    edges = torch.tensor([-1.2, -0.8, 0.0, 0.8, 1.2])  # six cells per axis

    def histogram(z, weight):
        first, second = torch.bucketize(z.contiguous(), edges).unbind(1)
        cells = 6 * first + second
        return torch.zeros(36, dtype=torch.float64).index_add_(0, cells, weight)

    exact = histogram(points.float(), weight)
    found = histogram(z, torch.full((len(z),), 1 / len(z), dtype=torch.float64))
    distance = 0.5 * (exact - found).abs().sum().item()
    assert distance < 0.045
    mirrored = histogram(-z, torch.full((len(z),), 1 / len(z), dtype=torch.float64))
    assert 0.5 * (exact - mirrored).abs().sum() > 0.1, "the histogram is too coarse to tell the density from its mirror"


# ---- one block ------------------------------------------------------------------------------------------------------


def test_one_step_on_a_block_by_hand():
    z0 = torch.tensor([[1.0, -2.0, 0.5]])
    noise = torch.randn(1, 2, generator=torch.Generator().manual_seed(3))

    def log_prob(z):  # the gradient in z_1 and z_2 is (z_2, z_1 + z_3)
        return z[:, 0] * z[:, 1] + z[:, 1] * z[:, 2]

    z1 = langevin_block(log_prob, z0, slice(0, 2), 1, 0.3, generator=torch.Generator().manual_seed(3))
    drift = 0.045 * torch.tensor([[-2.0, 1.5]])
    torch.testing.assert_close(z1[:, :2], z0[:, :2] + drift + 0.3 * noise)
    assert z1[0, 2] == z0[0, 2]


def test_a_block_without_a_tie_is_a_normal_and_the_rest_stays_bit_for_bit():
    s, z0 = 0.4, torch.randn(20_000, 4, dtype=torch.float64)
    before = z0.clone()
    z = langevin_block(standard_normal, z0, slice(1, 3), 90, s)
    assert torch.equal(z0, before)
    assert torch.equal(z[:, [0, 3]], z0[:, [0, 3]])
    assert z[:, 1:3].var().item() == pytest.approx(1 / (1 - s**2 / 4), rel=4 * math.sqrt(2 / z[:, 1:3].numel()))
    both = torch.cat([z0, z[:, 1:3]], 1).T.corrcoef()
    assert both[4:, :4].abs().max() < 4 / math.sqrt(len(z)), "after ninety steps the start is forgotten"


def test_the_conditional_of_a_coupled_quadratic():
    """For a normal with precision A: mean ``-A_11⁻¹ A_12 z_2`` given z_2, and the chain's own bias on ``A_11⁻¹``."""
    s = 0.4
    a = torch.tensor([[2.0, 0.3, 0.8], [0.3, 1.0, -0.5], [0.8, -0.5, 1.5]], dtype=torch.float64)
    z_2 = torch.tensor([-2.0, 0.5, 2.0], dtype=torch.float64)
    z0 = torch.zeros(3, 15_000, 3, dtype=torch.float64)
    z0[..., 2] = z_2[:, None]
    z = langevin_block(lambda z: -0.5 * (z @ a * z).sum(-1), z0.flatten(0, 1), slice(0, 2), 100, s)
    mean = -z_2[:, None] * torch.linalg.solve(a[:2, :2], a[:2, 2])
    values, vectors = torch.linalg.eigh(a[:2, :2])
    covariance = vectors @ torch.diag(1 / (values * (1 - values * s**2 / 4))) @ vectors.T
    for chains, expected in zip(z.unflatten(0, (3, -1)), mean, strict=True):
        torch.testing.assert_close(chains[:, :2].mean(0), expected, atol=0.04, rtol=0)
        torch.testing.assert_close(chains[:, :2].T.cov(), covariance, atol=0.05, rtol=0)


def test_a_block_of_all_columns_is_the_chain_itself():
    z0, both = torch.randn(5, 3), [torch.Generator().manual_seed(3) for _ in range(2)]
    block = langevin_block(standard_normal, z0, slice(None), 6, 0.4, generator=both[0])
    assert torch.equal(block, langevin_dynamics(standard_normal, z0, 6, 0.4, generator=both[1]))


def test_a_block_without_steps_gives_z0_back_and_leaves_no_gradient_behind():
    z0 = torch.randn(5, 2, requires_grad=True)
    assert torch.equal(langevin_block(standard_normal, z0, slice(0, 1), 0, 0.4), z0)
    with torch.no_grad():
        z = langevin_block(standard_normal, z0, slice(0, 1), 3, 0.4)
    assert not z.requires_grad and z0.grad is None


# ---- another library ------------------------------------------------------------------------------------------------


def test_parity_with_torchebm(monkeypatch):
    """Their update is x - η ∇U + √(2η) ε: the same chain for η = s²/2, U = ½‖z‖² - f."""
    samplers = pytest.importorskip("torchebm.samplers", reason="torchebm is not installed")
    from torchebm.core import BaseModel

    weight = torch.randn(3, dtype=torch.float64)

    def log_prob(z):
        return torch.sin(z @ weight) + standard_normal(z)

    class Energy(BaseModel):
        def forward(self, x):
            return -log_prob(x)

    s, steps, z0 = 0.4, 25, torch.randn(200, 3, dtype=torch.float64)
    noise = torch.randn(steps, 200, 3, dtype=torch.float64)

    def replay(draws):
        queue = iter(draws)
        return lambda *args, **kwargs: next(queue).clone()

    monkeypatch.setattr(torch, "randn", replay(noise))
    ours = langevin_dynamics(log_prob, z0, steps, s)
    monkeypatch.setattr(torch, "randn_like", replay(noise))
    monkeypatch.setattr(torch, "randn", replay(noise))
    sampler = samplers.LangevinDynamics(Energy(dtype=torch.float64), step_size=s**2 / 2, dtype=torch.float64)
    theirs = sampler.sample(x=z0.clone(), n_steps=steps)
    assert (ours - z0).abs().mean() > 0.3
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


# ---- contract -------------------------------------------------------------------------------------------------------


def test_trajectory_starts_at_z0_and_ends_at_the_result():
    z0 = torch.randn(5, 2)
    path = langevin_dynamics(standard_normal, z0, 6, 0.4, generator=torch.Generator().manual_seed(1), trajectory=True)
    last = langevin_dynamics(standard_normal, z0, 6, 0.4, generator=torch.Generator().manual_seed(1))
    assert path.shape == (7, 5, 2)
    assert torch.equal(path[0], z0)
    assert torch.equal(path[-1], last)


def test_no_steps_give_z0_back():
    z0 = torch.randn(5, 2)
    assert torch.equal(langevin_dynamics(standard_normal, z0, 0, 0.4), z0)


def test_the_generator_is_the_only_source_of_noise():
    z0 = torch.zeros(5, 2)
    state = torch.get_rng_state()
    a = langevin_dynamics(standard_normal, z0, 3, 0.4, generator=torch.Generator().manual_seed(1))
    assert torch.equal(torch.get_rng_state(), state)
    b = langevin_dynamics(standard_normal, z0, 3, 0.4, generator=torch.Generator().manual_seed(2))
    assert not torch.equal(a, b)


def test_it_works_under_no_grad_and_leaves_no_gradient_behind():
    weight = torch.ones(2, requires_grad=True)
    z0 = torch.randn(5, 2, requires_grad=True)
    with torch.no_grad():
        z = langevin_dynamics(lambda z: (z * weight).sum(-1), z0, 3, 0.4)
    assert not z.requires_grad and weight.grad is None and z0.grad is None


@pytest.mark.parametrize(
    "z0, steps, step_size, message",
    [
        (torch.zeros(3), 1, 0.4, r"shape \(n, d\)"),
        (torch.zeros(3, 2, dtype=torch.int64), 1, 0.4, "floating-point"),
        (torch.zeros(3, 2), -1, 0.4, "whole number"),
        (torch.zeros(3, 2), 1.5, 0.4, "whole number"),
        (torch.zeros(3, 2), 1, 0.0, "positive"),
        (torch.zeros(3, 2), 1, -0.4, "positive"),
        (torch.zeros(3, 2), 1, math.nan, "positive"),
    ],
)
def test_a_chain_that_cannot_be_run_is_refused(z0, steps, step_size, message):
    with pytest.raises(ValueError, match=message):
        langevin_dynamics(standard_normal, z0, steps, step_size)
    with pytest.raises(ValueError, match=message):
        langevin_block(standard_normal, z0, slice(0, 1), steps, step_size)


# ---- Metropolis's correction ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("s", [0.4, 1.2])
def test_corrected_chains_keep_a_coupled_normal_exactly(s):
    """Where the plain chain is wide of it: at s = 1.2 its variance is 1.56 times the target's."""
    rho = 0.6
    covariance = torch.tensor([[1.0, rho], [rho, 1.0]], dtype=torch.float64)
    inverse, root = torch.linalg.inv(covariance), torch.linalg.cholesky(covariance)
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(40_000, 2, dtype=torch.float64, generator=generator) @ root.T
    z, taken = metropolis_langevin(lambda z: -0.5 * ((z @ inverse) * z).sum(1), start, 40, s, generator=generator)
    torch.testing.assert_close(z.T.cov(), covariance, atol=0.03, rtol=0)
    assert (z - start).abs().mean() > 0.3 and 0.4 < taken.mean() < 0.995
    far = metropolis_langevin(lambda z: -0.5 * ((z @ inverse) * z).sum(1), start[:5000] * 0 + 4, 300, s)[0]
    torch.testing.assert_close(far.T.cov(), covariance, atol=0.1, rtol=0)


def test_a_refused_proposal_leaves_the_chain_where_it_was():
    """A density without a slope and a wall: proposals beyond the wall are refused, all others taken."""
    z0 = torch.zeros(2000, 1)
    z, taken = metropolis_langevin(
        lambda z: torch.where(z[:, 0].abs() < 0.5, 0.0, -1e9) + 0 * z[:, 0], z0, 1, 0.5, generator=torch.Generator()
    )
    assert (z.abs() < 0.5).all() and torch.equal(z[taken == 0], z0[taken == 0])
    assert taken.mean().item() == pytest.approx(math.erf(1 / math.sqrt(2)), abs=0.03)
    assert metropolis_langevin(standard_normal, z0, 0, 0.5)[1].eq(1).all()
