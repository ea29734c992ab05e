"""MMD and the classifier test against NumPy, closed forms and samples whose relation is known; `prior_fit` of models."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist, pdist
from shared import tiny_model
from test_baselines_contract import make
from torch import nn
from torch.distributions import Independent, Normal

from hebm_lib import GaussianPrior, LatentSpec, build_model
from hebm_lib.checkpoint import load_pretrained
from hebm_lib.config import LangevinConfig, PriorConfig
from hebm_lib.data import ImageDataset
from hebm_lib.metrics.two_sample import (
    classifier_two_sample,
    gaussian_like,
    median_distance,
    mmd2,
    mmd2_of_splits,
    prior_fit,
)


def normal(n, d, *, mean=0.0, seed=0):
    return mean + torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


# ---- MMD ------------------------------------------------------------------------------------------------------------


def test_mmd2_equals_the_double_sums_written_out():
    x, y, h = normal(13, 3), normal(9, 3, mean=0.5, seed=1), 1.3

    def k(a, b):
        return math.exp(-float(((a - b) ** 2).sum()) / (2 * h * h))

    a, b = x.numpy().astype(float), y.numpy().astype(float)
    xx = sum(k(a[i], a[j]) for i in range(13) for j in range(13) if i != j) / (13 * 12)
    yy = sum(k(b[i], b[j]) for i in range(9) for j in range(9) if i != j) / (9 * 8)
    xy = sum(k(p, q) for p in a for q in b) / (13 * 9)
    assert mmd2(x, y, h) == pytest.approx(xx + yy - 2 * xy, abs=1e-12)


def test_mmd2_of_two_gaussians_against_its_closed_form():
    """``E k(a, b)`` of a ~ N(μ, I), b ~ N(ν, I) is ``(h²/(h²+2))^{d/2} exp(-‖μ-ν‖²/(2(h²+2)))``."""
    d, h, gap = 2, 1.5, 1.0
    shrink = (h**2 / (h**2 + 2)) ** (d / 2)
    answer = 2 * shrink * (1 - math.exp(-d * gap**2 / (2 * (h**2 + 2))))
    found = [mmd2(normal(800, d, seed=2 * i), normal(800, d, mean=gap, seed=2 * i + 1), h) for i in range(5)]
    assert np.mean(found) == pytest.approx(answer, rel=0.05)


def test_the_estimate_is_unbiased():
    found = [mmd2(normal(20, 2, seed=2 * i), normal(30, 2, seed=2 * i + 1), 1.0) for i in range(300)]
    assert abs(np.mean(found)) < 3 * np.std(found) / 300**0.5
    assert min(found) < 0 < max(found)


def test_a_bandwidth_must_be_positive():
    with pytest.raises(ValueError, match="bandwidth must be positive"):
        mmd2(normal(3, 1), normal(3, 1), 0.0)


def test_median_distance_leaves_out_a_points_distance_to_itself():
    assert median_distance(torch.tensor([[0.0], [3.0]])) == 3
    x = normal(101, 4)
    assert median_distance(x) == pytest.approx(np.median(pdist(x.numpy())), rel=1e-2)


def test_splits_are_the_mmd2_of_their_halves():
    x, h, seed = normal(24, 2), 0.9, 5
    found = mmd2_of_splits(x, h, splits=4, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for value in found.tolist():
        order = torch.randperm(24, generator=generator)
        rest = torch.tensor(sorted(set(range(24)) - set(order[:12].tolist())))
        assert value == pytest.approx(mmd2(x[order[:12]], x[rest], h), abs=1e-12)
    with pytest.raises(ValueError, match="even number"):
        mmd2_of_splits(x[:23], h)


def test_the_floor_is_where_two_samples_of_one_distribution_lie():
    x, y, far = normal(800, 2), normal(400, 2, seed=1), normal(400, 2, mean=0.5, seed=2)
    h = median_distance(x)
    floor = mmd2_of_splits(x, h)
    assert abs(floor.mean()) < 3 * floor.std() / 200**0.5
    assert mmd2(x[:400], y, h) < floor.quantile(0.99) < 0.1 * mmd2(x[:400], far, h)


# ---- the classifier -------------------------------------------------------------------------------------------------


def test_classifier_two_sample_between_chance_and_certainty():
    """Two Gaussians 2δ apart: the best possible accuracy is Φ(δ)."""
    assert classifier_two_sample(normal(1000, 2), normal(1000, 2, seed=1)) == pytest.approx(0.5, abs=0.05)
    assert classifier_two_sample(normal(1000, 2), normal(1000, 2, mean=9, seed=1)) == 1
    best = 0.5 * (1 + math.erf(1 / 2**0.5))
    assert classifier_two_sample(normal(1000, 1), normal(1000, 1, mean=2, seed=1)) == pytest.approx(best, abs=0.03)


def test_classifier_two_sample_sees_more_than_means():
    """The same mean and covariance, another shape: points on a circle."""
    angle = 2 * math.pi * torch.rand(1000, generator=torch.Generator().manual_seed(1))
    circle = 2**0.5 * torch.stack([angle.cos(), angle.sin()], 1)
    assert classifier_two_sample(circle, normal(1000, 2)) > 0.75


def test_classifier_two_sample_does_not_depend_on_a_common_scale_and_wants_equal_sizes():
    x, y = normal(200, 2), normal(200, 2, mean=0.7, seed=1)
    assert classifier_two_sample(x, y) == pytest.approx(classifier_two_sample(100 * x + 5, 100 * y + 5), abs=0.01)
    with pytest.raises(ValueError, match="as many points"):
        classifier_two_sample(x, y[:100])


# ---- a model's priors -----------------------------------------------------------------------------------------------


def test_prior_fit_of_codes_that_are_gaussian(digits):
    """A model that encodes every image as N(0, I) fits the Gaussian, and its own Gaussian prior, up to the floor."""
    model = build_model(tiny_model(kind="vlae", prior=PriorConfig(hidden=()))).eval()
    for p in model.inference.heads.parameters():
        nn.init.zeros_(p)
    codes = model.encode(digits.batch(slice(0, 5)))
    assert codes.mean.abs().max() == 0 and (codes.stddev - 1).abs().max() < 0.05
    fit = prior_fit(model, digits, LangevinConfig(steps=0), seed=3)
    assert fit["spaces"] == ["z_1", "z_2", "all"] and set(fit["mmd2"]) == {
        "prior",
        "gaussian",
        "matched",
        "codes",
        "shuffled",
    }
    for name in fit["mmd2"]:
        assert all(value < 3 * floor for value, floor in zip(fit["mmd2"][name], fit["mmd2_floor"], strict=True))
        assert all(abs(value - 0.5) < 0.07 for value in fit["c2st"][name])


def test_prior_fit_of_a_published_model(digits):
    """The model has an energy that was fitted to its codes: it is closer to them than N(0, I)."""
    model = load_pretrained("digits-capped")
    fit = prior_fit(model, digits, LangevinConfig(steps=60, step_size=0.4), seed=1)
    assert fit == prior_fit(model, digits, LangevinConfig(steps=60, step_size=0.4), seed=1)
    assert set(fit["mmd2"]) == set(fit["c2st"]) == {"prior", "gaussian", "matched", "long", "codes", "shuffled"}
    assert fit["mmd2"]["prior"][1] < 0.5 * fit["mmd2"]["gaussian"][1]
    assert fit["c2st"]["prior"][2] < fit["c2st"]["gaussian"][2]
    assert all(abs(value - 0.5) < 0.06 for value in fit["c2st"]["codes"])
    # Place and width are right, the shape is not: the finer kernel sees it, against its own noise.
    assert fit["mmd2"]["matched"][1] < 0.1 * fit["mmd2"]["gaussian"][1]
    assert fit["mmd2_fine"]["matched"][1] > 2 * fit["mmd2_fine_floor"][1]
    assert all(0 < value < 0.01 for value in fit["mmd2_floor"])
    assert len(fit["codes"]) == 10 and {len(column) for column in fit["codes"]} == {400} == {len(fit["labels"])}
    assert set(fit["labels"]) == set(range(10))
    everything = np.array(fit["codes"]).T
    assert fit["bandwidth"][2] == pytest.approx(np.median(cdist(everything, everything)), rel=0.05)


def test_the_matched_gaussian_has_the_mean_and_covariance():
    x = normal(5000, 3) @ torch.tensor([[1.0, 0.5, 0], [0, 2.0, 0], [0, 0, 0.1]]) + 4
    y = gaussian_like(x, torch.Generator().manual_seed(1))
    torch.testing.assert_close(y.mean(0), x.mean(0), atol=0.1, rtol=0)
    torch.testing.assert_close(y.T.cov(), x.T.cov(), atol=0.2, rtol=0.05)
    one = gaussian_like(x[:, :1], torch.Generator().manual_seed(1))
    assert one.shape == (5000, 1) and one.std() == pytest.approx(x[:, 0].std().item(), rel=0.05)


class Twin(nn.Module):
    """Two levels that say the same, by an exact Gaussian; the prior is N(0, I)."""

    latents, device = LatentSpec((1, 1)), torch.device("cpu")

    def __init__(self):
        super().__init__()
        self.inference, self.prior = nn.Linear(1, 1), GaussianPrior(self.latents)

    def encode(self, x):
        mean = x.flatten(1)[:, :1].expand(-1, 2)
        return Independent(Normal(mean, torch.full_like(mean, 0.1)), 1)

    def draw(self, x, *, posterior, generator):
        return posterior.mean + posterior.stddev * torch.randn(posterior.mean.shape, generator=generator)


def test_shuffled_levels_show_what_separate_priors_would_miss(monkeypatch):
    monkeypatch.setattr("hebm_lib.metrics.two_sample.SAMPLES", 200)
    pixels = torch.randint(256, (900, 1, 2, 2), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    fit = prior_fit(Twin(), ImageDataset(pixels, torch.arange(900) % 3), LangevinConfig(steps=0), seed=1)
    assert set(fit["mmd2"]) == {"prior", "gaussian", "matched", "codes", "shuffled"}
    for test, null, clear in (("mmd2", 0.0, 0.04), ("c2st", 0.5, 0.3)):
        shuffled, codes = fit[test]["shuffled"], fit[test]["codes"]
        assert all(abs(value - null) < 0.08 for value in [*shuffled[:2], *codes])
        assert shuffled[2] > null + clear
    images, labels = len(fit["codes"][0]), fit["labels"]
    assert images == len(labels) == 400 and sorted(set(labels)) == [0, 1, 2]


def test_prior_fit_of_one_level_and_few_images(digits):
    fit = prior_fit(make("lebm").eval(), digits.subset(slice(0, 101)), LangevinConfig(steps=3), seed=1)
    assert (
        fit["spaces"] == ["z_1"]
        and "shuffled" not in fit["mmd2"]
        and len(fit["labels"]) == 100
        and len(fit["codes"]) == 3
    )
