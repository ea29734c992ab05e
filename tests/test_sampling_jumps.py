"""Jumps between modes: the mixture's density, its fit, and Metropolis's rule against a target that is known."""

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from hebm_lib.sampling import JumpProposal


def two_modes(n: int, seed: int = 1) -> torch.Tensor:
    """Codes of two narrow modes, three to one."""
    noise = torch.Generator().manual_seed(seed)
    centre = torch.where(
        torch.rand(n, 1, generator=noise) < 0.75, torch.tensor([[-2.0, 1.0]]), torch.tensor([[2.0, -1.0]])
    )
    return centre + 0.3 * torch.randn(n, 2, generator=noise)


def as_torch(proposal: JumpProposal) -> MixtureSameFamily:
    parts = MultivariateNormal(proposal.mean, scale_tril=proposal.scale_tril)
    return MixtureSameFamily(Categorical(logits=proposal.log_weight), parts)


def test_the_density_is_that_of_torch():
    proposal = JumpProposal(2, components=3).fit(two_modes(2000))
    z = 2 * torch.randn(50, 2)
    torch.testing.assert_close(proposal.log_prob(z), as_torch(proposal).log_prob(z), atol=1e-4, rtol=1e-4)


def test_draws_follow_the_density():
    """One for one: the mean of exp(log N - log q) over draws of q is 1."""
    proposal = JumpProposal(2, components=2).fit(two_modes(2000))
    z = proposal.draw(200_000, torch.Generator().manual_seed(2))
    normal = MultivariateNormal(torch.tensor([-2.0, 1.0]), 0.09 * torch.eye(2))
    assert (normal.log_prob(z) - proposal.log_prob(z)).exp().mean().item() == pytest.approx(1, abs=0.01)


def test_chains_reach_the_masses_of_modes_whatever_the_mixture_says():
    """All chains begin in the lighter mode, and the mixture believes in one to one; the target is three to one."""
    target = JumpProposal(2, components=2).fit(two_modes(5000))
    proposal = JumpProposal(2, components=2).fit(torch.cat([two_modes(500), -two_modes(500, seed=5)]))
    z, noise = torch.tensor([[2.0, -1.0]]).repeat(4000, 1), torch.Generator().manual_seed(3)
    for _ in range(60):
        z, taken = proposal.step(target.log_prob, z, generator=noise)
    assert (z[:, 0] < 0).double().mean().item() == pytest.approx(0.95 * 0.75 + 0.05 * 0.5, abs=0.03)
    assert 0.3 < taken.double().mean() < 1


def test_the_fit_is_repeatable_and_leaves_other_noise_alone():
    codes, state = two_modes(1000), torch.get_rng_state()
    one, other = (JumpProposal(2, components=4).fit(codes, seed=3) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.buffers(), other.buffers(), strict=True))
    assert torch.equal(torch.get_rng_state(), state)


def test_an_unfitted_proposal_is_the_standard_normal():
    proposal, z = JumpProposal(3, components=5), torch.randn(10, 3)
    normal = MultivariateNormal(torch.zeros(3), torch.eye(3))
    torch.testing.assert_close(proposal.log_prob(z), normal.log_prob(z))


@pytest.mark.parametrize("codes", [torch.zeros(3, 2), torch.zeros(9, 3), torch.zeros(9)])
def test_codes_that_cannot_be_fitted_are_refused(codes):
    with pytest.raises(ValueError, match="4 components need"):
        JumpProposal(2, components=4).fit(codes)


def test_at_least_one_component():
    with pytest.raises(ValueError, match="at least one"):
        JumpProposal(2, components=0)
