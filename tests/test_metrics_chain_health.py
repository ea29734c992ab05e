"""What an energy is worth: against a quadratic f, where log Z, the chain's law and the gain are known."""

import math
from dataclasses import replace

import pytest
import torch
from shared import tiny_experiment, tiny_model

from hebm_lib import JointEBM, JointEBMPrior, LatentSpec, build_model, langevin_dynamics, load_dataset
from hebm_lib.config import LangevinConfig
from hebm_lib.metrics.chain_health import chain_health, gain, lengths_of
from hebm_lib.metrics.summary import bound_given, log_z_of, measure_worth, tightening
from hebm_lib.sampling import LogZ


class Quadratic(JointEBMPrior):
    """``f(z) = -(c/2) |z|²``: the prior is N(0, I / (1 + c)), and log Z is -(d/2) log(1 + c)."""

    def __init__(self, latents, c: float):
        super().__init__(latents, hidden=(4,))
        self.c = c

    def forward(self, z):
        return -0.5 * self.c * z.square().sum(-1)

    def log_prob_unnormalized(self, z):
        return self(z) - 0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)

    def sample(self, n, steps, step_size, *, z0=None, generator=None, **options):
        z0 = torch.randn(n, self.latents.total, generator=generator) if z0 is None else z0
        return langevin_dynamics(self.log_prob_unnormalized, z0, steps, step_size, generator=generator)


def exact(c: float, d: int) -> LogZ:
    return LogZ.exact(-0.5 * d * math.log(1 + c))


def test_gain_of_a_quadratic():
    """Codes from N(0, v I): the gain is -(c/2) d v + (d/2) log(1 + c), best where v = 1 / (1 + c), then KL to N(0, I)."""
    prior, noise = Quadratic(LatentSpec((2, 3)), 1.0), torch.Generator().manual_seed(1)
    codes = math.sqrt(0.5) * torch.randn(50_000, 5, generator=noise)
    best, low, high = gain(prior, codes, exact(1.0, 5))
    assert best == low == high == pytest.approx(-0.5 * 5 * 0.5 + 2.5 * math.log(2), abs=0.02)
    kl = 0.5 * 5 * (0.5 - 1 - math.log(0.5))
    assert best == pytest.approx(kl, abs=0.02)


def test_the_bracket_turns_round():
    prior = Quadratic(LatentSpec((1, 1)), 0.0)
    assert gain(prior, torch.ones(3, 2), LogZ(0.5, 0.25, 1.0, 0.1, 10.0, 100, "exact")) == (-0.5, -1.0, -0.25)


@pytest.fixture(scope="module")
def test_images():
    return load_dataset("digits", "test")


def test_health_of_a_quadratic(test_images):
    """f on the chains and the acceptance of a Metropolis check are those of Gaussians that are known."""
    ladder = build_model(tiny_model())
    model = JointEBM(ladder.generator, ladder.inference, Quadratic(LatentSpec((2, 3)), 3.0), 0.4).eval()
    found = chain_health(model, LangevinConfig(steps=30, step_size=0.2), test_images, log_z=exact(3.0, 5), n=2000)
    assert found["steps"] == [15, 30, 60, 300, 2500]
    # After many steps z ~ N(0, v I) with v = 1 / ((1 + c) (1 - s² (1 + c) / 4)), the chain's own law.
    v = 1 / (4 * (1 - 0.04 * 4 / 4))
    assert found["f"][-1] == pytest.approx(-1.5 * 5 * v, rel=0.05)
    assert found["f_long"][1] == pytest.approx(1.5 * v * math.sqrt(2 * 5), rel=0.1)
    assert found["f"][0] < found["f"][-1] + 0.5 and 0.9 < found["acceptance"] <= 1
    assert "distance" not in found and "references" not in found
    assert found["gain_bracket"] == [found["gain"], found["gain"]]


def test_a_step_that_is_too_large_is_refused_by_metropolis(test_images):
    ladder = build_model(tiny_model())
    model = JointEBM(ladder.generator, ladder.inference, Quadratic(LatentSpec((2, 3)), 8.0), 0.4).eval()
    small, large = (
        chain_health(model, LangevinConfig(steps=20, step_size=s), test_images, log_z=exact(8.0, 5), n=600)
        for s in (0.1, 0.6)
    )
    assert small["acceptance"] > 0.95 > 0.7 > large["acceptance"]


def test_lengths_are_ascending_and_said_once():
    assert lengths_of(250) == [125, 250, 500, 2500]
    assert lengths_of(300) == [150, 300, 600, 2500, 3000]


def test_worth_of_a_model_with_and_without_an_energy(test_images):
    config = tiny_experiment()
    model = build_model(config.model).eval()
    found = measure_worth(model, config, test_images)
    assert found["health"]["gain"] == pytest.approx(found["health"]["f_codes"][0] - found["log_z"]["estimate"])
    assert found["tightening"]["nats"] > 0 and found["tightening"]["images"] == 200
    plain = replace(config, model=replace(config.model, prior=replace(config.model.prior, hidden=())))
    found = measure_worth(build_model(plain.model).eval(), plain, test_images)
    assert found["log_z"]["estimate"] == 0 and "health" not in found


def test_many_draws_tighten_where_q_is_poor(test_images):
    """With q = p(z|x) nothing is left to gain; a fresh network is far from that."""
    model = build_model(tiny_model()).eval()
    found = tightening(model, test_images, seed=1, draws=50)
    assert found["nats"] > 3 * found["standard_error"] > 0


def test_in_the_plane_log_z_is_a_sum():
    prior = JointEBMPrior(LatentSpec((1, 1)), hidden=(20, 20)).eval()
    ladder = build_model(tiny_model(latent_dims=(1, 1)))
    model = JointEBM(ladder.generator, ladder.inference, prior, 0.4)
    log_z = log_z_of(model, 1)
    drawn = prior.log_z(generator=torch.Generator().manual_seed(1))
    assert log_z.method == "exact" and log_z.estimate == pytest.approx(drawn.estimate, abs=4 * drawn.standard_error)


def test_bound_given():
    assert bound_given(-10.0, {"estimate": 1.0, "lower": 0.5, "upper": 2.0}) == {
        "elbo": -11.0,
        "elbo_bracket": [-12.0, -10.5],
    }
