"""MEG and BiGAN-σ against closed forms: energies that are known, a classifier that cannot tell, losses by hand."""

import math
from dataclasses import replace

import pytest
import torch
from test_baselines_contract import MODELS, experiment, make
from test_baselines_terms import STEP, gen
from torch import nn

from hebm_lib import Trainer, build_model, load_dataset
from hebm_lib.baselines.critic import ImageCritic, gradient_penalty
from hebm_lib.baselines.meg import pair_loss
from hebm_lib.config import InferenceConfig, OptimiserConfig
from hebm_lib.metrics.scores import OwnScore, own_score
from hebm_lib.sampling.cpu_speed import tuned

NETWORK = InferenceConfig(factors=(), widths=(), reads=(), plain_factors=(2,), plain_widths=(6,), top_hidden=(8,))


@pytest.fixture
def x(digits):
    return digits.batch(slice(0, 6))


# ---- the critic -----------------------------------------------------------------------------------------------------


def test_a_critic_needs_its_code_and_nothing_else():
    x, z = torch.zeros(2, 1, 8, 8), torch.zeros(2, 3)
    with pytest.raises(ValueError, match="an image and a code"):
        ImageCritic(8, 1, NETWORK, units=3)(x)
    with pytest.raises(ValueError, match="sees no code"):
        ImageCritic(8, 1, NETWORK)(x, z)
    with pytest.raises(ValueError, match="expected images"):
        ImageCritic(8, 1, NETWORK)(x.tile(1, 3, 1, 1))


def test_the_penalty_is_that_of_finite_differences():
    """``‖∇ critic‖² / 64`` of each image, its directions tried one by one; and inside `tuned` the same, with its gradient."""
    torch.manual_seed(0)
    critic, x = ImageCritic(8, 1, NETWORK).double(), torch.randn(3, 1, 8, 8, dtype=torch.float64, generator=gen())
    step = 1e-6 * torch.eye(64, dtype=torch.float64).view(64, 1, 8, 8)
    with torch.no_grad():
        slopes = torch.stack([(critic(one + step) - critic(one - step)) / 2e-6 for one in x])
    penalty = gradient_penalty(critic, x)
    torch.testing.assert_close(penalty, slopes.square().sum(1).mean() / 64, rtol=1e-5, atol=0)
    weights = list(critic.parameters())
    plain = torch.autograd.grad(penalty, weights, allow_unused=True)
    with tuned():
        fast = torch.autograd.grad(gradient_penalty(critic, x), weights, allow_unused=True)
    for a, b in zip(plain, fast, strict=True):
        assert (a is None and b is None) or torch.allclose(a, b)
    assert sum(part is not None for part in plain) > 3


# ---- MEG ------------------------------------------------------------------------------------------------------------


class Quadratic(nn.Module):
    """E(x) = c ‖x‖²/2."""

    def __init__(self, c: float):
        super().__init__()
        self.c = nn.Parameter(torch.tensor(c))

    def forward(self, x):
        return self.c * x.square().flatten(1).sum(1) / 2


def test_the_slope_of_a_quadratic_energy_by_hand(digits):
    """With E = c ‖x‖²/2 the loss is linear in c but for the penalty λ c² ‖x‖²/places: its slope is known in closed form."""
    model = make("meg").eval()
    x = digits.batch(slice(0, 200))
    model.inference.energy = Quadratic(0.3)
    (update,) = (u for u in model.algorithm(x, STEP, 0.0, gen(5)) if u.group == "alpha")
    (slope,) = torch.autograd.grad(update.loss, model.inference.energy.c)
    made = model.decode(torch.randn(200, 3, generator=gen(5)))
    squares = [part.square().flatten(1).sum(1).mean() for part in (x, made)]
    by_hand = (squares[0] - squares[1]) / 2 + model.penalty * 2 * 0.3 * squares[0] / 64
    torch.testing.assert_close(slope, by_hand, rtol=1e-4, atol=1e-4)
    assert model.own_score(x).mean().item() == pytest.approx(0.15 * squares[0].item(), rel=1e-4)


def test_the_pair_loss_measures_what_a_pair_shares():
    """Of the best classifier: 2 log 2 less twice the Jensen-Shannon divergence, by quadrature, of a Gaussian pair."""
    rho, grid = 0.8, torch.linspace(-5, 5, 201, dtype=torch.float64)
    a, b = torch.meshgrid(grid, grid, indexing="ij")
    apart = torch.exp(-(a**2 + b**2) / 2) / (2 * math.pi)
    together = torch.exp(-(a**2 - 2 * rho * a * b + b**2) / (2 * (1 - rho**2))) / (2 * math.pi * math.sqrt(1 - rho**2))
    cell, middle = (grid[1] - grid[0]) ** 2, (together + apart) / 2
    divergence = ((together * (together / middle).log() + apart * (apart / middle).log()).sum() * cell / 2).item()

    n, logit = (
        200_000,
        lambda u, v: ((2 * rho * u * v - rho**2 * (u**2 + v**2)) / (2 * (1 - rho**2))) - 0.5 * math.log(1 - rho**2),
    )
    z, noise = torch.randn(2, n, dtype=torch.float64, generator=gen(1))
    other = rho * z + math.sqrt(1 - rho**2) * noise
    loss = pair_loss(logit(z, other), logit(z, other.roll(1)))
    assert loss.item() == pytest.approx(2 * math.log(2) - 2 * divergence, abs=0.01)


def test_megs_steps_of_the_energy_are_as_many_as_asked_for(x):
    model = make("meg").train()
    config = replace(STEP, energy=replace(STEP.energy, updates=3))
    assert [update.group for update in model.algorithm(x, config, 0.0, gen())] == ["alpha"] * 3 + ["beta"]


# ---- BiGAN ----------------------------------------------------------------------------------------------------------


def test_bigans_losses_by_hand(x):
    model = make("bigan")
    critic, updates = model.inference.critic, model.algorithm(x, STEP, 0.0, gen(2))
    z = torch.randn(6, 3, generator=gen(2))
    real, fake = critic(x, model.encode(x).mean).sigmoid(), critic(model.decode(z), z).sigmoid()
    torch.testing.assert_close(next(updates).loss, -(real.log() + (1 - fake).log()).mean())
    torch.testing.assert_close(next(updates).loss, -((1 - real).log() + fake.log()).mean())


def test_bigans_penalty_is_added_to_the_discriminators_loss_alone(x):
    plain, smooth = make("bigan"), make("bigan")
    smooth.penalty = 10.0
    losses = [[update.loss for update in model.algorithm(x, STEP, 0.0, gen(2))] for model in (plain, smooth)]
    codes = plain.encode(x).mean
    added = gradient_penalty(lambda images: plain.inference.critic(images, codes), x)
    torch.testing.assert_close(losses[1][0] - losses[0][0], 10 * added)
    torch.testing.assert_close(losses[1][1], losses[0][1])


def test_bigans_score_by_hand(x):
    model = make("bigan").eval()
    z = model.encode(x).mean
    again = model.decode(z)
    crossed = -model.inference.critic(again, z).sigmoid().log()
    torch.testing.assert_close(model.own_score(x), 0.9 * (x - again).abs().sum((1, 2, 3)) + 0.1 * crossed)


# ---- both -----------------------------------------------------------------------------------------------------------


def test_models_without_a_likelihood_have_a_score_of_their_own_and_others_have_none(digits):
    assert {name for name in MODELS if isinstance(make(name), OwnScore)} == {"meg", "bigan"}
    for name in ("meg", "bigan"):
        model = make(name).eval()
        scores = own_score(model, digits.subset(slice(0, 7)), batch=3)
        torch.testing.assert_close(scores, model.own_score(digits.batch(slice(0, 7))).detach())


@pytest.mark.parametrize("name", ["meg", "bigan"])
def test_samples_come_nearer_to_the_data(name):
    """The mean image of the samples, after some steps of the game, is nearer to that of the data than before.

    By how much is the processor's doing as well: a game amplifies the last digits. BiGAN ended at 0.7 and at 0.8 of the start.
    """
    data = load_dataset("digits", "train")
    optimiser = OptimiserConfig(lr_alpha=2e-3, lr_beta_phi=2e-3)
    config = experiment(name, epochs=12, batch_size=50, optimiser=optimiser)
    normed = replace(config.model.generator, batch_norm=True)
    config = replace(config, model=replace(config.model, generator=normed))
    torch.manual_seed(1)
    model = build_model(config.model)

    def distance() -> float:
        samples = model.eval().sample(500, generator=gen(3))
        return (samples.mean(0) - data.batch(slice(None)).mean(0)).square().mean().item()

    before = distance()
    Trainer(model, config, progress=False).fit(data)
    assert distance() < 0.9 * before
