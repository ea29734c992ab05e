import math

import pytest
import torch
from shared import quadrature
from torch.distributions import MultivariateNormal

from hebm_lib import GaussianPrior, JointEBMPrior, LatentSpec, langevin_dynamics
from hebm_lib.langevin import langevin_block, metropolis_langevin

LATENTS = LatentSpec((2, 3))


def rough(prior, factor=3.0):
    """The prior with larger weights where nothing holds them at norm 1, so that the energy matters."""
    for name, p in prior.named_parameters():
        p.data.mul_(factor if "weight" in name else 1)
    return prior


def coupled_prior():
    """One unit per level, float64: f pulls towards the two corners where both signs agree."""
    prior = JointEBMPrior(LatentSpec((1, 1)), hidden=(16,), spectral_norm=False).double().eval()
    with torch.no_grad():
        first, last = prior.energy.layers
        angles = torch.arange(16, dtype=torch.float64) * (math.pi / 8)
        first.weight.copy_(torch.stack([angles.cos(), angles.sin()], 1))
        first.bias.fill_(-0.8)
        last.weight.copy_((3 * (angles.cos() * angles.sin()))[None])
    return prior


def generators(seed=5):
    return torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed)


# ---- densities ------------------------------------------------------------------------------------------------------


def test_log_prob_is_f_plus_the_standard_normal():
    prior, z = rough(JointEBMPrior(LATENTS)).eval(), torch.randn(7, 5)
    normal = MultivariateNormal(torch.zeros(5), torch.eye(5)).log_prob(z)
    assert prior(z).shape == (7,)
    torch.testing.assert_close(prior.log_prob_unnormalized(z), prior(z) + normal)


def test_the_gaussian_prior_is_normalised_and_flat():
    prior, z = GaussianPrior(LATENTS), torch.randn(7, 5)
    assert torch.equal(prior(z), torch.zeros(7))
    torch.testing.assert_close(
        prior.log_prob_unnormalized(z), MultivariateNormal(torch.zeros(5), torch.eye(5)).log_prob(z)
    )


def test_one_energy_couples_the_levels():
    """Eq. 3's point: f is on all levels together, so ∂f/∂z_1 depends on z_2."""
    prior = rough(JointEBMPrior(LatentSpec((1, 1)), spectral_norm=False))
    z = torch.tensor([[0.3, -1.0], [0.3, 1.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(prior(z).sum(), z)
    assert (gradient[0, 0] - gradient[1, 0]).abs() > 1e-3


# ---- sampling -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spectral_norm", [True, False])
@pytest.mark.parametrize("hidden", [(7,), (100, 100), (9, 5, 8), (50,) * 4])
@pytest.mark.parametrize("steps", [0, 1, 2, 40])
def test_sample_equals_the_reference_on_the_same_noise(hidden, steps, spectral_norm):
    prior = rough(JointEBMPrior(LATENTS, hidden=hidden, spectral_norm=spectral_norm).double())
    prior.eval()
    z0 = torch.randn(50, 5, dtype=torch.float64)
    one, two = generators()
    fast = prior.sample(50, steps, 0.4, z0=z0, generator=one, trajectory=True)
    slow = langevin_dynamics(prior.log_prob_unnormalized, z0, steps, 0.4, generator=two, trajectory=True)
    assert fast.shape == (steps + 1, 50, 5)
    torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-10)
    if steps == 40:
        free = langevin_dynamics(lambda z: -0.5 * z.square().sum(-1), z0, 40, 0.4, generator=generators()[0])
        assert (fast[-1] - free).abs().max() > 1e-3, "the energy is too weak for this test to notice it"


@pytest.mark.parametrize("slope", [0.0, 0.01, 0.2, 1.0])
def test_every_slope_of_the_leaky_relu(slope):
    prior = rough(JointEBMPrior(LATENTS, hidden=(9, 8), slope=slope).double().eval())
    one, two = generators()
    z0 = torch.randn(50, 5, dtype=torch.float64)
    fast = prior.sample(50, 10, 0.4, z0=z0, generator=one)
    slow = langevin_dynamics(prior.log_prob_unnormalized, z0, 10, 0.4, generator=two)
    torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-10)


def test_starting_noise_and_chain_noise_come_from_the_generator():
    prior = JointEBMPrior(LATENTS).eval()
    one, two = generators()
    state = torch.get_rng_state()
    fast = prior.sample(50, 8, 0.4, generator=one)
    assert torch.equal(torch.get_rng_state(), state)
    z0 = torch.randn(50, 5, generator=two)
    torch.testing.assert_close(fast, langevin_dynamics(prior.log_prob_unnormalized, z0, 8, 0.4, generator=two))


def test_the_last_state_of_the_trajectory_is_the_sample():
    prior = JointEBMPrior(LATENTS)
    one, two = generators()
    path = prior.sample(6, 5, 0.4, generator=one, trajectory=True)
    assert torch.equal(path[-1], prior.sample(6, 5, 0.4, generator=two))


def test_z0_is_not_written_into():
    z0 = torch.randn(6, 5)
    before = z0.clone()
    JointEBMPrior(LATENTS).sample(6, 5, 0.4, z0=z0)
    assert torch.equal(z0, before)


@pytest.mark.parametrize("training", [True, False])
def test_sampling_changes_nothing_in_the_prior(training):
    """Neither the power iteration's vectors, nor the mode, nor a gradient."""
    prior = JointEBMPrior(LATENTS).train(training)
    before = {name: tensor.clone() for name, tensor in prior.state_dict().items()}
    z = prior.sample(6, 5, 0.4)
    assert not z.requires_grad
    assert all(torch.equal(before[name], tensor) for name, tensor in prior.state_dict().items())
    assert all(module.training is training for module in prior.modules())
    assert all(p.grad is None for p in prior.parameters())
    prior.train()(z)  # the check above can fail: a call in training mode does move them
    assert any(not torch.equal(before[name], tensor) for name, tensor in prior.state_dict().items())


def test_samples_of_a_learned_energy_follow_the_exact_density():
    """A 2-D joint energy with modes: means, covariance and E[f] of the chain against the quadrature."""
    prior = coupled_prior()
    points, weight = quadrature(prior.log_prob_unnormalized)
    z = prior.sample(8_000, 1000, 0.12)
    exact = (points.T * weight) @ points
    assert exact[0, 1] > 0.3, "the energy is meant to couple the levels"
    torch.testing.assert_close(z.T @ z / len(z), exact, atol=0.15, rtol=0)
    assert prior(z).mean().item() == pytest.approx((prior(points) * weight).sum().item(), abs=0.12)
    noise = torch.randn(8_000, 2, dtype=torch.float64)
    assert abs(prior(noise).mean() - (prior(points) * weight).sum()) > 0.5


def test_spectral_norm_stays_on_whatever_threads_do():
    """Sampling changes no module's mode, not even for a moment in which another thread might look."""
    prior, off = JointEBMPrior(LATENTS, hidden=(9, 9)).train(), []

    def spy(module, was_set):
        if not was_set:
            off.append(module)

    class Watched(type(prior.energy.layers[0].parametrizations.weight[0])):
        def __setattr__(self, name, value):
            if name == "training":
                spy(self, value)
            super().__setattr__(name, value)

    for layer in prior.energy.layers:
        layer.parametrizations.weight[0].__class__ = Watched
    prior.sample(6, 5, 0.4)
    assert not off
    prior.eval()
    assert len(off) == 3, "the spy is meant to see a change of mode"


def test_fixed_weights_are_those_of_evaluation_mode_bit_for_bit():
    prior = JointEBMPrior(LATENTS, hidden=(9, 8))
    plain = prior.train().plain()
    prior.eval()
    for layer, weight in zip(prior.energy.layers, plain.weights, strict=True):
        assert torch.equal(layer.weight, weight)


@pytest.mark.parametrize("trajectory", [False, True])
@pytest.mark.parametrize("backend", [None, "reference", "closed-form"])
@pytest.mark.parametrize("make", [GaussianPrior, JointEBMPrior])
def test_without_steps_a_sample_is_the_start_in_memory_of_its_own(make, backend, trajectory):
    z0 = torch.randn(4, 5)
    z = make(LATENTS).sample(4, 0, 0.4, z0=z0, backend=backend, trajectory=trajectory).squeeze(0)
    assert torch.equal(z, z0)
    z.zero_()
    assert z0.abs().min() > 0


def test_the_reference_chains_without_steps_return_memory_of_their_own():
    z0 = torch.randn(4, 5)
    for chain in (
        langevin_dynamics,
        lambda *a: metropolis_langevin(*a)[0],
        lambda f, z, *a: langevin_block(f, z, slice(0, 2), *a),
        lambda f, z, *a: langevin_dynamics(f, z, *a, trajectory=True)[0],
    ):
        z = chain(lambda z: -z.square().sum(-1), z0, 0, 0.4)
        assert torch.equal(z, z0)
        z.zero_()
        assert z0.abs().min() > 0


# ---- one level given the others -------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [1, 2])
def test_a_level_is_drawn_as_the_reference_draws_it_and_the_others_stay_bit_for_bit(level):
    prior, z = rough(JointEBMPrior(LATENTS, hidden=(9, 8)).double().eval()), torch.randn(50, 5, dtype=torch.float64)
    columns, (one, two) = LATENTS.columns(level), generators()
    before, state = z.clone(), torch.get_rng_state()
    fast = prior.sample_level(z, level, 12, 0.4, generator=one)
    assert torch.equal(torch.get_rng_state(), state) and torch.equal(z, before) and not fast.requires_grad
    other = [c for c in range(5) if c not in range(5)[columns]]
    assert torch.equal(fast[:, other], z[:, other])
    # Apart from the library's block: the whole vector's gradient, of which only the level's columns are used.
    slow = z.clone()
    slow[:, columns] = torch.randn(z[:, columns].shape, dtype=z.dtype, generator=two)
    for _ in range(12):
        slow.requires_grad_(True)
        (gradient,) = torch.autograd.grad(prior.log_prob_unnormalized(slow).sum(), slow)
        slow = slow.detach()
        noise = torch.randn(z[:, columns].shape, dtype=z.dtype, generator=two)
        slow[:, columns] += 0.08 * gradient[:, columns] + 0.4 * noise
    torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-10)


def silent(prior):
    """The same prior with f = 0: a last layer of zeros."""
    for p in prior.energy.layers[-1].parameters():
        p.data.zero_()
    return prior


@pytest.mark.parametrize(
    "prior, steps",
    [(GaussianPrior(LATENTS), 0), (silent(JointEBMPrior(LATENTS, hidden=(8, 8), spectral_norm=False)), 60)],
)
def test_without_an_energy_a_level_is_a_normal_whatever_the_others_are(prior, steps):
    z = 3 + torch.randn(20_000, 5)
    drawn = prior.sample_level(z, 2, steps, 0.4)
    assert torch.equal(drawn[:, :2], z[:, :2])
    variance = 1 / (1 - 0.4**2 / 4) if steps else 1.0
    torch.testing.assert_close(drawn[:, 2:].T.cov(), variance * torch.eye(3), atol=0.05, rtol=0)
    assert drawn[:, 2:].mean(0).abs().max() < 0.04
    assert torch.cat([drawn, z[:, 2:]], 1).T.corrcoef()[2:5, [0, 1, 5, 6, 7]].abs().max() < 0.03


@pytest.mark.parametrize("level", [1, 2])
def test_a_level_given_the_other_follows_the_exact_conditional(level):
    """Kolmogorov and Smirnov's distance to p(z_1 | z_2), and p(z_2 | z_1), by quadrature."""
    prior, n = coupled_prior(), 4_000
    axis = torch.linspace(-6, 6, 4001, dtype=torch.float64)
    exact = {}
    for value in (-1.5, 0.0, 1.5):
        line = torch.full((len(axis), 2), value, dtype=torch.float64)
        line[:, level - 1] = axis
        with torch.no_grad():
            exact[value] = torch.softmax(prior.log_prob_unnormalized(line), 0).cumsum(0)
        z = prior.sample_level(torch.full((n, 2), value, dtype=torch.float64), level, 400, 0.15)[:, level - 1]
        found = torch.searchsorted(z.sort().values, axis, right=True) / n
        assert (found - exact[value]).abs().max() < 2.0 / math.sqrt(n)  # by chance once in a thousand
    assert (exact[-1.5] - exact[1.5]).abs().max() > 0.5, "the condition is meant to matter"


def test_a_level_given_the_others_keeps_the_joint_law_and_a_level_of_another_chain_does_not():
    """E f falls by ``KL(p ‖ q) + KL(q ‖ p)`` with q = p(z_1) p(z_2): what page 11 reads off a trained model."""
    prior, n = coupled_prior(), 10_000
    points, weight = quadrature(prior.log_prob_unnormalized)
    side = round(len(points) ** 0.5)
    p = weight.view(side, side)
    q = p.sum(1, keepdim=True) * p.sum(0, keepdim=True)
    symmetric = ((p - q) * (p.log() - q.log())).sum().item()
    assert symmetric > 0.3
    with torch.no_grad():
        f = prior(points)
        assert ((p - q).flatten() * f).sum().item() == pytest.approx(symmetric, rel=1e-9)
    z = points[torch.multinomial(weight, n, replacement=True)]
    means = [
        prior(x).mean().item()
        for x in (z, prior.sample_level(z, 1, 400, 0.15), prior.latents.redraw(z, 1, z.roll(1, 0)))
    ]
    noise = 4 * prior(z).std().item() / math.sqrt(n)
    assert means[1] == pytest.approx(means[0], abs=noise + 0.02)  # and the bias of the step size
    assert means[0] - means[2] == pytest.approx(symmetric, abs=2 * noise)


@pytest.mark.parametrize("make", [GaussianPrior, JointEBMPrior])
@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"level": 0}, "level must be between"),
        ({"level": 3}, "level must be between"),
        ({"steps": -1}, "whole number"),
        ({"step_size": 0.0}, "positive"),
        ({"z": torch.zeros(4, 6)}, r"\(n, 5\)"),
    ],
)
def test_a_level_that_cannot_be_drawn_is_refused(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(LATENTS).sample_level(**({"z": torch.zeros(4, 5), "level": 1, "steps": 2, "step_size": 0.4} | arguments))


@pytest.mark.parametrize("training", [True, False])
def test_drawing_a_level_changes_nothing_in_the_prior(training):
    prior = JointEBMPrior(LATENTS).train(training)
    before = {name: tensor.clone() for name, tensor in prior.state_dict().items()}
    prior.sample_level(torch.randn(6, 5), 1, 5, 0.4)
    assert all(torch.equal(before[name], tensor) for name, tensor in prior.state_dict().items())
    assert all(p.grad is None for p in prior.parameters())


# ---- contract -------------------------------------------------------------------------------------------------------


def test_gaussian_samples_are_exact_without_steps():
    z = GaussianPrior(LATENTS).sample(100_000)
    torch.testing.assert_close(z.T.cov(), torch.eye(5), atol=0.03, rtol=0)
    assert GaussianPrior(LATENTS).sample(3, 4, 0.4, trajectory=True).shape == (5, 3, 5)
    z0 = torch.randn(3, 5)
    assert torch.equal(GaussianPrior(LATENTS).sample(3, z0=z0), z0)


def test_samples_are_drawn_where_the_prior_is():
    for prior in (GaussianPrior(LATENTS), JointEBMPrior(LATENTS)):
        assert prior.double().sample(3, 0, 0.4).dtype == torch.float64
        assert "place" not in prior.state_dict()


@pytest.mark.parametrize("make", [GaussianPrior, JointEBMPrior])
@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"steps": -1}, "whole number"),
        ({"steps": 2.5}, "whole number"),
        ({"step_size": 0.0}, "positive"),
        ({"z0": torch.zeros(4, 6)}, r"z0 must have shape \(4, 5\)"),
        ({"z0": torch.zeros(3, 5)}, r"z0 must have shape \(4, 5\)"),
        ({"z0": torch.zeros(4, 5, dtype=torch.int64)}, "floating-point"),
    ],
)
def test_bad_arguments_are_refused(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(LATENTS).sample(4, **({"steps": 2, "step_size": 0.4} | arguments))


@pytest.mark.parametrize("make", [GaussianPrior, JointEBMPrior])
def test_a_latent_of_another_width_is_refused(make):
    for method in (make(LATENTS), make(LATENTS).log_prob_unnormalized):
        with pytest.raises(ValueError, match=r"\(n, 5\)"):
            method(torch.zeros(4, 6))


def test_a_prior_without_hidden_layers_is_the_gaussian_one():
    with pytest.raises(ValueError, match="GaussianPrior"):
        JointEBMPrior(LATENTS, hidden=())


# ---- one f per level ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spectral_norm", [True, False])
@pytest.mark.parametrize("hidden", [(7,), (9, 5, 8)])
def test_separate_energies_are_sampled_as_the_reference_does(hidden, spectral_norm):
    """The sum of perceptrons, as one perceptron with block-diagonal weights."""
    prior = rough(
        JointEBMPrior(LATENTS, hidden=hidden, spectral_norm=spectral_norm, lipschitz=2.0, separate=True).double()
    ).eval()
    z = torch.randn(50, 5, dtype=torch.float64)
    torch.testing.assert_close(prior.plain()(z), prior(z), rtol=1e-12, atol=1e-12)
    one, two = generators()
    fast = prior.sample(50, 20, 0.4, z0=z, generator=one)
    torch.testing.assert_close(fast, langevin_dynamics(prior.log_prob_unnormalized, z, 20, 0.4, generator=two))


def test_separate_energies_cannot_tie_levels():
    """∂f/∂z_1 does not depend on z_2, and each level's f sees its own units only."""
    prior = rough(JointEBMPrior(LATENTS, hidden=(9, 9), spectral_norm=False, separate=True))
    z = torch.randn(6, 5)
    other = LATENTS.join([LATENTS.split(z)[0], torch.randn(6, 3)])
    slopes = []
    for point in (z, other):
        point = point.requires_grad_(True)
        slopes.append(torch.autograd.grad(prior(point).sum(), point)[0])
    assert torch.equal(slopes[0][:, :2], slopes[1][:, :2]) and not torch.equal(slopes[0][:, 2:], slopes[1][:, 2:])
    parts = [f(part) for f, part in zip(prior.energy.levels, LATENTS.split(z), strict=True)]
    torch.testing.assert_close(prior(z), sum(parts))


# ---- persistent chains ----------------------------------------------------------------------------------------------


def test_persistent_chains_go_on_where_they_stood():
    """Twice K steps from the first state, on the noise of both draws."""
    prior = rough(JointEBMPrior(LATENTS, hidden=(9, 9), chains=30)).eval()
    start, (one, two) = prior.chains.clone(), generators()
    first, second = (prior.negatives(7, 4, 0.4, generator=one) for _ in range(2))
    whole = langevin_dynamics(prior.log_prob_unnormalized, start, 8, 0.4, generator=two, trajectory=True)
    torch.testing.assert_close(first, whole[4])
    torch.testing.assert_close(second, whole[8])
    assert torch.equal(prior.chains, second) and second.shape == (30, 5), "as many as there are, not as are asked for"


def test_without_persistent_chains_the_negatives_are_fresh_samples():
    prior = JointEBMPrior(LATENTS, hidden=(9, 9)).eval()
    one, two = generators()
    assert torch.equal(prior.negatives(7, 4, 0.4, generator=one), prior.sample(7, 4, 0.4, generator=two))
    assert prior.chains is None and not any("chains" in name for name in prior.state_dict())


def test_persistent_chains_are_saved_with_the_weights():
    prior = JointEBMPrior(LATENTS, hidden=(9, 9), chains=4)
    prior.negatives(4, 3, 0.4)
    again = JointEBMPrior(LATENTS, hidden=(9, 9), chains=4)
    again.load_state_dict(prior.state_dict())
    assert torch.equal(again.chains, prior.chains)
