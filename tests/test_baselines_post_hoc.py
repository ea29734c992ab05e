"""The density on codes that is fitted after the training: `MixturePrior` against torch's own mixture and brute force."""

import pytest
import torch
from shared import quadrature
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from hebm_lib import LatentSpec, load_dataset, load_pretrained
from hebm_lib.baselines.post_hoc import MixturePrior, fitted_prior
from hebm_lib.prior import Prior


def gen(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def bent(n: int, d: int = 2) -> torch.Tensor:
    """Codes of two places and two shapes, float64."""
    narrow = torch.randn(n, d, generator=gen(1), dtype=torch.float64) @ torch.tensor([[1.0, 0.8], [0.0, 0.3]]).double()
    return torch.cat([narrow[: n // 3] - 1.5, 0.5 * narrow[n // 3 :].flip(1) + 1.0])


@pytest.fixture(scope="module")
def prior() -> MixturePrior:
    return MixturePrior(LatentSpec((1, 1)), components=3).double().fit(bent(3000))


def test_its_density_is_torchs_and_integrates_to_one(prior):
    m = prior.mixture
    theirs = MixtureSameFamily(
        Categorical(logits=m.log_weight), MultivariateNormal(m.mean, scale_tril=m.scale_tril, validate_args=False)
    )
    z = torch.randn(50, 2, dtype=torch.float64)
    torch.testing.assert_close(prior.log_prob_unnormalized(z), theirs.log_prob(z), rtol=1e-5, atol=1e-5)
    grid, _ = quadrature(prior.log_prob_unnormalized)
    assert prior.log_prob_unnormalized(grid).exp().sum().item() * 0.05**2 == pytest.approx(1, abs=1e-3)
    normal = MultivariateNormal(torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64))
    torch.testing.assert_close(prior(z) + normal.log_prob(z), prior.log_prob_unnormalized(z))
    assert isinstance(prior, Prior) and prior.log_z().estimate == 0


def test_a_fit_says_more_of_other_codes_than_one_gaussian(prior):
    other = bent(6000)[torch.randperm(6000, generator=gen())][:1000]
    one = MultivariateNormal(other.mean(0), other.T.cov())
    assert prior.log_prob_unnormalized(other).mean() > one.log_prob(other).mean() + 0.3


def test_samples_have_the_codes_moments(prior):
    z = prior.sample(20_000, generator=gen())
    torch.testing.assert_close(z.mean(0), bent(3000).mean(0), atol=0.03, rtol=0)
    torch.testing.assert_close(z.T.cov(), bent(3000).T.cov(), atol=0.05, rtol=0)


@pytest.mark.parametrize("level", [1, 2])
def test_a_level_is_drawn_given_the_others_exactly(prior, level):
    """Against p(z_i | z_j) on a grid, at a value of the other level where two components count."""
    held = 0.3
    z = prior.sample_level(torch.full((20_000, 2), held, dtype=torch.float64), level, generator=gen())
    other, drawn = z[:, 2 - level], z[:, level - 1]
    assert (other == held).all()
    axis = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    points = torch.full((4001, 2), held, dtype=torch.float64)
    points[:, level - 1] = axis
    weight = prior.log_prob_unnormalized(points).softmax(0)
    mean = (weight * axis).sum()
    deviation = (weight * (axis - mean).square()).sum().sqrt()
    assert drawn.mean().item() == pytest.approx(mean.item(), abs=0.03)
    assert drawn.std().item() == pytest.approx(deviation.item(), rel=0.03)


def test_with_one_level_that_level_is_a_whole_new_draw():
    prior = MixturePrior(LatentSpec((2,)), components=3).double().fit(bent(3000))
    z = prior.sample_level(torch.zeros(20_000, 2, dtype=torch.float64), 1, generator=gen())
    torch.testing.assert_close(z.T.cov(), bent(3000).T.cov(), atol=0.05, rtol=0)


def test_any_model_takes_one_in_its_priors_place():
    model, images = load_pretrained("digits"), load_dataset("digits", "train").subset(slice(0, 400))
    prior = fitted_prior(model, images, components=4)
    codes = model.draw(images.batch(slice(0, 400)), generator=gen())
    assert prior.log_prob_unnormalized(codes).mean() > MixturePrior(model.latents).log_prob_unnormalized(codes).mean()
    model.prior = prior
    assert model.sample(5).shape == (5, 1, 8, 8)

    # The bound's terms are those of the new prior: KL against N(0, I), and f which makes up for it.
    x, z = images.batch(slice(0, 5)), codes[:5]
    terms, posterior = model.elbo(x, z=z), model.encode(x)
    by_hand = model.log_likelihood(x, z) + prior.mixture.log_prob(z) - posterior.log_prob(z)
    sampled_kl = posterior.log_prob(z) - MultivariateNormal(torch.zeros(10), torch.eye(10)).log_prob(z)
    torch.testing.assert_close(terms.elbo_plus_log_z + terms.kl.sum(1) - sampled_kl, by_hand)
