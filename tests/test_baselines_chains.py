"""ABP and SRI on linear-Gaussian models, where the posterior, the evidence and the best decoder are known."""

import pytest
import torch
from test_baselines_contract import experiment, make
from test_baselines_models import PAIR, Plane
from test_baselines_terms import STEP, gen
from torch import nn
from torch.distributions import MultivariateNormal

from hebm_lib import GaussianPrior, LatentSpec, Trainer, load_dataset
from hebm_lib.baselines.abp import ABP
from hebm_lib.baselines.conditional_prior import ConditionalPrior, positive
from hebm_lib.baselines.lebm import ShortRun
from hebm_lib.baselines.sri import SRI
from hebm_lib.config import BaselineConfig, LangevinConfig, OptimiserConfig, TrainingConfig
from hebm_lib.training.needs import begin_run

SIGMA = 0.5


def posterior_of(w: torch.Tensor, x: torch.Tensor) -> MultivariateNormal:
    """``p(z|x)`` of ``x = w z + noise``, z ~ N(0, I): factor analysis with one σ."""
    covariance = torch.linalg.inv(torch.eye(w.shape[1]).to(w) + w.T @ w / SIGMA**2)
    return MultivariateNormal(x.flatten(1) @ w @ covariance / SIGMA**2, covariance)


def evidence(w: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Mean of ``log N(x; 0, w wᵀ + σ² I)`` over images."""
    covariance = w @ w.T + SIGMA**2 * torch.eye(len(w)).to(w)
    return MultivariateNormal(torch.zeros(len(w)).to(w), covariance).log_prob(x.flatten(1)).mean()


def linear_abp(weight, *, steps: int, step_size: float) -> ABP:
    chain = ShortRun(PAIR, 4, 1, LangevinConfig(steps=steps, step_size=step_size))
    return ABP(Plane(weight), chain, GaussianPrior(PAIR).to(weight.dtype), SIGMA)


# ---- ABP ------------------------------------------------------------------------------------------------------------


def test_chains_that_go_on_arrive_at_the_posterior_of_their_own_image():
    """Two steps a visit: after one visit they stand near their start, after 60 the law of each is p(z|x) of its image."""
    w = 0.4 * torch.randn(16, 2, generator=gen(5))
    two = torch.randn(2, 1, 4, 4, generator=gen(6))
    model, n = linear_abp(w, steps=2, step_size=0.15), 3000
    begin_run(model, 2 * n, gen(7))
    chains, noise, known = model.image_chains, gen(8), posterior_of(w, two)
    which = torch.arange(2 * n) % 2
    for visit in range(60):
        for batch in torch.randperm(2 * n, generator=noise).split(n):
            chains.images = batch
            (update,) = model.algorithm(two[which[batch]], STEP, 0.0, noise)
        if visit == 0:
            assert (chains.states[which == 0].mean(0) - known.mean[0]).norm() > 0.5 * known.mean[0].norm()
    for image in (0, 1):
        states = chains.states[which == image]
        torch.testing.assert_close(states.mean(0), known.mean[image], atol=0.03, rtol=0)
        torch.testing.assert_close(states.T.cov(), known.covariance_matrix[0], atol=0.03, rtol=0)
    error = (two[which[batch]] - model.decode(chains.read())).square().flatten(1).sum(1).mean()
    torch.testing.assert_close(update.loss, error / (2 * SIGMA**2))


def test_abp_learns_factor_analysis():
    """The best decoder of a linear model with this σ is known (Tipping and Bishop 1999): ABP comes near its evidence."""
    truth = torch.randn(16, 2, generator=gen(1))
    x = torch.randn(300, 2, generator=gen(2)) @ truth.T + SIGMA * torch.randn(300, 16, generator=gen(3))
    x = 0.2 * (x - x.mean(0)).view(-1, 1, 4, 4)
    scale = 0.2 * SIGMA
    values, vectors = torch.linalg.eigh(x.flatten(1).T @ x.flatten(1) / len(x))
    best = vectors[:, -2:] * (values[-2:] - scale**2).sqrt()
    chain = ShortRun(PAIR, 4, 1, LangevinConfig(steps=5, step_size=0.06))
    model = ABP(Plane(0.1 * torch.randn(16, 2, generator=gen(4))), chain, GaussianPrior(PAIR), scale)

    def of(w):
        return evidence(w / 0.2, x / 0.2).item()

    start = of(model.generator.weight.detach())
    config = TrainingConfig(
        epochs=80, batch_size=100, langevin=STEP.langevin, optimiser=OptimiserConfig(lr_beta_phi=5e-3)
    )
    Trainer(model, config, progress=False).fit(x)
    found, highest = of(model.generator.weight.detach()), of(best)
    assert start < highest - 5 and highest - 0.3 < found <= highest + 1e-4


def test_chains_belong_to_the_run(tmp_path):
    data, config = load_dataset("digits", "train").subset(slice(0, 250)), experiment("abp", epochs=1)
    trainer = Trainer(make("abp"), config, tmp_path, progress=False).fit(data)
    chains = trainer.model.image_chains
    assert chains.states.shape == (250, 3) and chains.images is None
    assert not any("chain" in name for name in trainer.model.state_dict())
    again = Trainer(make("abp"), config, progress=False).resume(tmp_path)
    assert torch.equal(again.model.image_chains.states, chains.states)
    with pytest.raises(ValueError, match="chains of 250 images, but is given 240"):
        begin_run(again.model, 240, gen())
    with pytest.raises(ValueError, match="train it on one"):
        begin_run(make("abp"), 250, gen(), processes=2)


# ---- SRI ------------------------------------------------------------------------------------------------------------


class Chain(nn.Module):
    """Two levels of one unit and 16 pixels, all linear: ``g(z) = W [z_1, z_2]``; what arrives at level 1 is z_2."""

    latents, arriving, local = LatentSpec((1, 1)), ((1,), ()), (False, False)

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def descend(self, choose):
        top = choose(2, None)
        return (torch.cat([choose(1, top), top], 1) @ self.weight.T).view(-1, 1, 4, 4)

    def forward(self, z):
        parts = self.latents.split(z)
        return self.descend(lambda level, feature: parts[level - 1])


def linear_sri(*, steps: int, step_size: float) -> tuple[SRI, torch.Tensor]:
    """A model whose z_1 = s ε_1 does not depend on z_2, and V with ``E[x|ε] = V ε``."""
    generator = Chain(0.4 * torch.randn(16, 2, generator=gen(1)))
    prior = ConditionalPrior(generator)
    head = prior.heads[0][1]
    with torch.no_grad():
        head.mean.weight.zero_()
        head.mean.bias.zero_()
        head.log_variance.weight.zero_()
        head.log_variance.bias.fill_(0.5)
    inference = ShortRun(generator.latents, 4, 1, LangevinConfig(steps=steps, step_size=step_size))
    model = SRI(generator, inference, prior, SIGMA, BaselineConfig()).double()
    _, scale = positive((torch.zeros(1), torch.tensor([0.5])))
    return model, generator.weight.detach().double() * torch.tensor([scale.item(), 1.0], dtype=torch.float64)


def test_the_chain_in_noise_arrives_at_the_posterior():
    model, v = linear_sri(steps=300, step_size=0.1)
    x = torch.randn(1, 1, 4, 4, generator=gen(2)).double()
    known, n = posterior_of(v, x), 4000
    noise = model.noise_chain(x.expand(n, -1, -1, -1), torch.zeros(n, 2).double(), 300, generator=gen(3))
    torch.testing.assert_close(noise.mean(0), known.mean[0], atol=0.03, rtol=0)
    torch.testing.assert_close(noise.T.cov(), known.covariance_matrix[0], atol=0.03, rtol=0)
    z = model.prior.from_noise(noise)[0]
    torch.testing.assert_close(
        model.log_joint_of_noise(x.expand(n, -1, -1, -1), noise) - model.log_joint(x.expand(n, -1, -1, -1), z),
        torch.full((n,), (v[0, 0] / model.generator.weight[0, 0]).log().item(), dtype=torch.float64),  # dz_1 / dε_1
    )


def test_the_short_runs_gaussian_gives_a_bound_near_the_evidence():
    model, v = linear_sri(steps=300, step_size=0.1)
    x = torch.randn(4, 1, 4, 4, generator=gen(4)).double()
    many = x.repeat(200, 1, 1, 1)  # each row has a short run and so a Gaussian of its own: all are valid
    bound = model.elbo(many, generator=gen(5)).elbo_plus_log_z.view(200, 4).mean(1)
    log_p, error = evidence(v, x), bound.std() / 200**0.5
    assert log_p - 1 < bound.mean() < log_p + 4 * error
    weights = model.log_weight(many, generator=gen(6)).view(200, 4)
    tight = (torch.logsumexp(weights, 0) - torch.tensor(200.0).log()).mean()
    assert tight.item() == pytest.approx(log_p.item(), abs=0.1)


def test_sris_loss_is_the_likelihood_at_the_chains_end(digits):
    model, x = make("sri").eval(), digits.batch(slice(0, 6))
    (update,) = model.algorithm(x, STEP, 0.0, gen())
    source = gen()
    noise = model.noise_chain(x, torch.randn(6, 9, generator=source), 4, generator=source)
    z, image = model.prior.from_noise(noise)
    torch.testing.assert_close(update.loss, -model.log_likelihood(x, z).mean())
    torch.testing.assert_close(update.terms["sse"], (x - image).square().flatten(1).sum(1).mean())
