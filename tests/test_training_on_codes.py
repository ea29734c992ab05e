"""α alone on codes that stand still: against densities that are known."""

import pytest
import torch

from hebm_lib import JointEBMPrior, LatentSpec, TrainingConfig
from hebm_lib.config import EnergyConfig, LangevinConfig
from hebm_lib.training.on_codes import learn_on_codes
from hebm_lib.training.phases import FixedCodes

CONFIG = TrainingConfig(
    langevin=LangevinConfig(steps=20, step_size=0.2),
    energy=EnergyConfig(fit_steps=700, lr_alone=5e-3, batch_alone=300, average=0.99),
)


def codes(n: int = 5000) -> FixedCodes:
    """Posteriors whose mixture is N((1, -0.5), 0.5² I)."""
    noise = torch.Generator().manual_seed(1)
    mean = torch.tensor([1.0, -0.5]) + 0.4 * torch.randn(n, 2, generator=noise)
    return FixedCodes(mean, torch.full((n, 2), 0.3))


def prior_for(chains: int = 300, jumps: int = 3) -> JointEBMPrior:
    torch.manual_seed(2)
    spec = LatentSpec((1, 1))
    restart = 0.05 if chains else 0.0
    return JointEBMPrior(
        spec, hidden=(40, 40), spectral_norm=False, zero=True, chains=chains, restart=restart, jumps=jumps
    )


@pytest.mark.parametrize("ratio_only", [False, True])
def test_the_gain_reaches_the_divergence_from_the_normal(ratio_only):
    """The best f gains KL(N(m, v I) ‖ N(0, I)) nats; 0 before."""
    prior, given = prior_for(), codes()
    z = given.draw(20_000, torch.Generator().manual_seed(3))

    def gain() -> float:
        return prior(z).mean().item() - prior.log_z(generator=torch.Generator().manual_seed(4)).estimate

    assert gain() == pytest.approx(0, abs=1e-6)
    learn_on_codes(prior, given, CONFIG, steps=700, ratio_only=ratio_only)
    v, m2 = 0.25, 1.25
    exact = 0.5 * (2 * v + m2 - 2 - 2 * torch.tensor(v).log().item())
    assert gain() == pytest.approx(exact, abs=0.12)
    assert not prior.training


def test_the_same_seed_learns_the_same():
    one, other = prior_for(), prior_for()
    for prior in (one, other):
        learn_on_codes(prior, codes(500), CONFIG, steps=30, seed=5)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_fresh_chains_need_no_chains_of_the_prior():
    history = learn_on_codes(prior_for(chains=0, jumps=0), codes(500), CONFIG, steps=30, log_every=10)
    assert len(history) == 3 and history[-1] > 0


def test_a_run_away_ends_and_says_so():
    wild = TrainingConfig(
        langevin=LangevinConfig(steps=5, step_size=1.9), energy=EnergyConfig(lr_alone=5.0), energy_bound=10.0
    )
    history = learn_on_codes(prior_for(jumps=0), codes(500), wild, steps=2000, log_every=10)
    assert len(history) < 200 and not abs(history[-1]) <= 10.0
