"""Priors that are density ratios, against densities that are known."""

import math

import pytest
import torch

import hebm_lib as hl
from hebm_lib.algorithm import logistic_update
from hebm_lib.baselines.jebm import TiltedChain
from hebm_lib.baselines.multincp import StagedPrior
from hebm_lib.baselines.ncpvae import resample
from hebm_lib.training.on_codes import learn_on_codes
from hebm_lib.training.phases import FixedCodes


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear_prior(slope: float) -> hl.JointEBMPrior:
    """f(z) = slope · z exactly, for one unit: leaky(t) - leaky(-t) = 1.2 t. The tilted prior is N(slope, 1)."""
    prior = hl.JointEBMPrior(hl.LatentSpec((1,)), hidden=(2,), spectral_norm=False).requires_grad_(False)
    first, last = prior.energy.layers
    first.weight.copy_(torch.tensor([[1.0], [-1.0]]))
    last.weight.copy_(torch.tensor([[1.0, -1.0]]) * slope / 1.2)
    first.bias.zero_(), last.bias.zero_()
    return prior


def test_importance_resampling_draws_the_tilted_gaussian():
    z = resample(linear_prior(1.5), 3000, 300, generator=gen())
    assert abs(z.mean() - 1.5) < 0.1 and abs(z.var() - 1) < 0.1
    few = resample(linear_prior(1.5), 3000, 1, generator=gen())
    assert abs(few.mean()) < 0.1, "with one proposal nothing is chosen: N(0, 1)"
    with pytest.raises(ValueError, match="at least one proposal"):
        resample(linear_prior(1.0), 2, 0)


def test_the_classifiers_logit_is_the_log_ratio_of_two_gaussians():
    """Codes of N(1, 0.6²): log q/p₀ = z²/2 - (z - 1)²/(2 · 0.36) - log 0.6."""
    prior = hl.JointEBMPrior(hl.LatentSpec((1,)), hidden=(50, 50), spectral_norm=False)
    codes = FixedCodes(torch.ones(5000, 1), torch.full((5000, 1), 0.6))
    config = hl.TrainingConfig(energy=hl.config.EnergyConfig(lr_alone=5e-3, batch_alone=1000))
    learn_on_codes(prior, codes, config, steps=600, ratio_only=True)
    z = torch.linspace(-0.2, 2.2, 9)[:, None]
    exact = z.square() / 2 - (z - 1).square() / (2 * 0.36) - math.log(0.6)
    torch.testing.assert_close(prior(z).detach(), exact[:, 0], atol=0.25, rtol=0)
    drawn = resample(prior, 2000, 200, generator=gen())
    assert abs(drawn.mean() - 1) < 0.06 and abs(drawn.std() - 0.6) < 0.05


def test_the_vae_of_ncp_vae_knows_nothing_of_its_classifier(digits):
    """Its update is that of f = 0; and once epochs were set aside for it, only the classifier learns."""
    torch.manual_seed(0)
    model = hl.build_model(hl.config.ModelConfig(kind="ncpvae", latent_dims=(2, 3)))
    x = digits.batch(slice(0, 20))
    before, (alpha, bound) = [], model.algorithm(x, hl.TrainingConfig(), 1.0, gen())
    for _ in range(2):
        before.append(torch.autograd.grad(bound.loss, model.parameter_groups()["beta_phi"], retain_graph=True))
        with torch.no_grad():
            for p in model.prior.parameters():
                p.mul_(3)
        _, bound = model.algorithm(x, hl.TrainingConfig(), 1.0, gen())
    assert all(torch.equal(a, b) for a, b in zip(*before, strict=True))
    assert not alpha.loss.isnan() and alpha.group == "alpha"
    model.vae_epochs = 2.0
    groups = [[update.group for update in model.algorithm(x, hl.TrainingConfig(), e, gen())] for e in (0.0, 1.9, 2.0)]
    assert groups == [["beta_phi"], ["beta_phi"], ["alpha"]]


def test_stages_add_up_in_the_chains_as_in_f():
    prior = StagedPrior(hl.LatentSpec((2, 1)), stages=3, hidden=(8, 7), spectral_norm=False).eval()
    z = torch.randn(20, 3)
    for k in (1, 2, 3):
        prior.begin(k)
        by_hand = sum(f(z) for f in prior.stages[:k]).detach()
        torch.testing.assert_close(prior(z).detach(), by_hand)
        torch.testing.assert_close(prior.plain()(z), by_hand)
        torch.testing.assert_close(prior.before(k)(z), by_hand - prior.stages[k - 1](z).detach())


def test_stages_multiply_up_to_the_density_of_the_codes():
    """Codes of N(3, 0.5²), where N(0, 1) hardly is. After three stages the prior's draws have their mean and deviation."""
    torch.manual_seed(0)
    prior = StagedPrior(hl.LatentSpec((1,)), stages=3, hidden=(30, 30), spectral_norm=False)
    found = []
    for stage in (1, 2, 3):
        prior.begin(stage)
        optimiser = torch.optim.Adam(prior.stages[stage - 1].parameters(), lr=5e-3)
        grid = torch.linspace(-4, 8, 2001)[:, None]
        noise = gen(stage)
        for _ in range(250):
            weight = prior.before(stage).log_prob_unnormalized(grid).softmax(0)  # p_{k-1} exactly, by quadrature
            z_minus = grid[weight.multinomial(500, replacement=True, generator=noise)]
            (update,) = logistic_update(prior.stages[stage - 1], 3 + 0.5 * torch.randn(500, 1), z_minus)
            optimiser.zero_grad()
            update.loss.backward()
            optimiser.step()
        weight = prior.log_prob_unnormalized(grid).softmax(0).detach()
        mean = (weight * grid[:, 0]).sum()
        found.append((mean.item(), (weight * (grid[:, 0] - mean).square()).sum().sqrt().item()))
    assert abs(found[-1][0] - 3) < 0.1 and abs(found[-1][1] - 0.5) < 0.1, found


def test_a_chain_without_energies_is_the_gaussian_it_says():
    """z_1 = z_2 + N(0, s²): log p in closed form, log Z = 0; and its Langevin draws have that covariance."""
    prior = TiltedChain(hl.LatentSpec((1, 1)), hidden=(2,), spectral_norm=False).requires_grad_(False).eval()
    first, _, last = prior.conditionals[0]
    first.weight.copy_(torch.tensor([[1.0], [-1.0]]))
    last.weight.copy_(torch.tensor([[1.0, -1.0], [0.0, 0.0]]) / 1.2)
    for layer in (first, last, *(f.layers[-1] for f in prior.energy.levels)):
        layer.bias.zero_()
    for f in prior.energy.levels:
        f.layers[-1].weight.zero_()
    s = 1.01  # a softplus of 1 above the floor
    covariance = torch.tensor([[1 + s**2, 1.0], [1.0, 1.0]])
    exact = torch.distributions.MultivariateNormal(torch.zeros(2), covariance)
    z = exact.sample((50,))
    torch.testing.assert_close(prior.log_prob_unnormalized(z), exact.log_prob(z))
    drawn = prior.sample(4000, 120, 0.3, generator=gen())
    torch.testing.assert_close(drawn.T.cov(), covariance, atol=0.2, rtol=0)
    assert abs(prior.log_z(chains=200, temperatures=50, draws=20_000, generator=gen()).estimate) < 0.1
