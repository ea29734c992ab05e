"""MIG, MIG-sup, DCI: codes whose values are known, and scikit-learn beside them."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score

from hebm_lib.metrics.disentanglement import (
    active_units,
    by_level,
    dci,
    dci_of_importance,
    entropies,
    factor_information,
    factor_probe,
    mig,
    mig_sup,
    mixture_log_density,
)
from hebm_lib.metrics.latent_classifier import Codes


def grid(*sizes, times=40):
    return torch.cartesian_prod(*(torch.arange(n) for n in sizes)).repeat(times, 1)


def codes_at(mean, scale=0.02, seed=1):
    mean = mean.float()
    scale = torch.as_tensor(scale).expand_as(mean)
    return Codes(mean, scale, mean + scale * torch.randn(mean.shape, generator=torch.Generator().manual_seed(seed)))


def test_a_perfect_code():
    factors = grid(4, 3, 2)
    codes = codes_at(factors.flip(1) * torch.tensor([3.0, 1.0, 5.0]))
    information = factor_information(codes, factors)
    assert torch.allclose(information, torch.eye(3, dtype=torch.float64).flip(1), atol=0.03)
    assert mig(information) == pytest.approx(1, abs=0.03) and mig_sup(information, active_units(codes.mean)) > 0.97


def test_a_factor_in_two_units_costs_mig_and_two_factors_in_a_unit_cost_mig_sup():
    factors = grid(4, 4)
    twice = codes_at(torch.stack([factors[:, 0], factors[:, 1], 2 * factors[:, 1]], 1))
    information = factor_information(twice, factors)
    assert mig(information) == pytest.approx(0.5, abs=0.03)
    assert mig_sup(information, active_units(twice.mean)) == pytest.approx(1, abs=0.03)
    both = codes_at((factors[:, :1] + 10 * factors[:, 1:]) * torch.tensor([1.0, 0.0]))
    information = factor_information(both, factors)
    assert active_units(both.mean).tolist() == [True, False], "a silent unit is not counted"
    assert mig(information) == pytest.approx(1, abs=0.03) and mig_sup(information, active_units(both.mean)) < 0.03


def test_a_rotated_code_has_the_information_of_a_sum():
    """Turned by 45 degrees both units hold sum and difference of the factors; scikit-learn counts the discrete case."""
    factors = grid(5, 5)
    total, difference = factors.sum(1), factors[:, 0] - factors[:, 1]
    codes = codes_at(torch.stack([total, difference], 1) / math.sqrt(2))
    information = factor_information(codes, factors)
    for k in range(2):
        for j, discrete in enumerate((total, difference)):
            counted = mutual_info_score(discrete.numpy(), factors[:, k].numpy()) / math.log(5)
            assert information[k, j].item() == pytest.approx(counted, abs=0.02)
            assert 0.2 < counted < 0.5
    assert mig(information) < 0.02 and mig_sup(information, active_units(codes.mean)) < 0.02


def test_noise_says_nothing():
    factors = grid(4, 3)
    codes = codes_at(torch.zeros(len(factors), 3), 1.0)
    information = factor_information(codes, factors)
    assert information.abs().max() < 0.05 and mig(information) < 0.05
    assert not active_units(codes.mean).any() and mig_sup(information, active_units(codes.mean)) == 0


def test_the_entropy_is_that_of_the_mixture():
    """Two broad posteriors that overlap: against the integral, and each density against torch's own mixture."""
    mean, scale = torch.tensor([-0.8, 1.0]).repeat(10_000), torch.tensor([0.7, 1.1]).repeat(10_000)
    parts = torch.distributions.Normal(mean[:2].double(), scale[:2].double())
    mixture = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(torch.ones(2).double()), parts)
    x = torch.linspace(-9, 9, 4001, dtype=torch.float64)
    log_q = mixture.log_prob(x)
    exact = -torch.trapezoid(log_q.exp() * log_q, x).item()
    codes = codes_at(mean[:, None], scale[:, None])
    found = entropies(codes, torch.arange(20_000), 4000, torch.Generator().manual_seed(0)).item()
    assert found == pytest.approx(exact, abs=4 * 0.8 / 4000**0.5)
    few = torch.tensor([-2.0, 0.0, 3.0])
    assert torch.allclose(mixture_log_density(few, mean[:2], scale[:2]), mixture.log_prob(few.double()), atol=1e-6)


def test_within_a_value_is_the_mean_over_values_and_the_share_is_of_all_values():
    factors = grid(4, 3)
    codes = codes_at(factors)
    kept = factors[:, 0] < 2
    part = Codes(codes.mean[kept], codes.scale[kept], codes.draw[kept])
    as_seen = factor_information(part, factors[kept])
    of_four = factor_information(part, factors[kept], (4, 3))
    assert torch.allclose(as_seen[0], 2 * of_four[0]) and torch.allclose(as_seen[1], of_four[1])
    with pytest.raises(ValueError, match="factor 0 has one value"):
        factor_information(part, torch.zeros_like(factors[kept]))
    with pytest.raises(ValueError, match="need factors"):
        factor_information(part, factors)


def test_levels_are_judged_by_their_best_unit():
    information = torch.tensor([[0.1, 0.5, 0.0, 0.2], [0.3, 0.0, 0.0, 0.9]])
    assert torch.allclose(by_level(information, (2, 1, 1)), torch.tensor([[0.5, 0.3], [0.0, 0.0], [0.2, 0.9]]))


# ---- DCI and the probe ----------------------------------------------------------------------------------------------


def test_dci_of_known_tables():
    assert dci_of_importance(np.eye(3)) == pytest.approx((1, 1))
    assert dci_of_importance(np.full((3, 4), 0.25)) == pytest.approx((0, 0), abs=1e-12)
    assert dci_of_importance(np.zeros((3, 4))) == (0, 0)
    silent = np.vstack([np.eye(2), np.zeros((1, 2))])
    assert dci_of_importance(silent) == pytest.approx((1, 1)), "a unit that is not needed costs nothing"
    # By hand: rows (.9, .1) and (.1, .9) of two factors.
    h = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1)) / math.log(2)
    assert dci_of_importance(np.array([[0.9, 0.1], [0.1, 0.9]])) == pytest.approx((1 - h, 1 - h))


def test_dci_of_a_good_code_and_of_noise():
    factors = grid(4, 3, times=30)
    noise = 0.01 * torch.randn(len(factors), 3)
    good = torch.cat([factors.float(), torch.zeros(len(factors), 1)], 1) + noise
    found = dci(good[::2], factors[::2], good[1::2], factors[1::2], trees=10)
    assert min(found.disentanglement, found.completeness, found.informativeness) > 0.97
    assert found.importance.shape == (3, 2) and found.importance.sum(0) == pytest.approx(1)
    nothing = dci(noise[::2], factors[::2], noise[1::2], factors[1::2], trees=10)
    assert nothing.disentanglement < 0.1 and nothing.completeness < 0.1 and nothing.informativeness < 0.5


def test_the_probe_reads_levels():
    factors = grid(3, 2)
    levels = [factors[:, :1].float(), torch.randn(len(factors), 2)]
    found = factor_probe(levels, factors, levels, factors)
    assert found.shape == (2, 2) and found[0, 0] > 0.99 and found[1].max() < 0.75
