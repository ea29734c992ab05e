"""What a level knows of the class: bounds against closed forms, quadrature and scikit-learn; the probe; the whole call."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from shared import tiny_model
from sklearn.feature_selection import mutual_info_classif
from test_baselines_contract import make

from hebm_lib import build_model, load_dataset
from hebm_lib.checkpoint import load_pretrained
from hebm_lib.metrics.information import class_information, class_log_posterior, fano_accuracy, level_information
from hebm_lib.metrics.latent_classifier import (
    Codes,
    accuracy_of_codes,
    encode_dataset,
    encode_posterior,
    latent_accuracy,
    linear_probe,
)

# ---- the mixture ----------------------------------------------------------------------------------------------------


def components(n=40, d=3, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    labels = torch.as_tensor(rng.integers(classes, size=n))
    mean, scale = rng.normal(size=(n, d)), rng.uniform(0.2, 1.5, size=(n, d))
    return torch.as_tensor(mean), torch.as_tensor(scale), labels


@pytest.mark.parametrize("widening", [1.0, 2.5])
def test_the_class_posterior_equals_bayes_rule_written_out_with_scipy(widening):
    mean, scale, labels = components()
    z = torch.as_tensor(np.random.default_rng(1).normal(size=(23, 3)))
    log_p = class_log_posterior(z, mean, scale, labels, widening=widening, batch=7)
    for row, point in zip(log_p.exp().numpy(), z.numpy(), strict=True):
        density = norm.pdf(point, mean, widening * scale).prod(1)
        shares = [density[labels.numpy() == c].sum() for c in range(4)]
        assert row == pytest.approx(shares / np.sum(shares), rel=1e-9)


def test_far_from_every_component_the_class_posterior_is_still_finite():
    mean, scale, labels = components()
    log_p = class_log_posterior(torch.full((1, 3), 1e3), mean, 0.05 * scale, labels)
    assert log_p.exp().sum().item() == pytest.approx(1) and log_p.max() <= 0


def test_a_class_without_components_has_probability_zero():
    mean, scale, labels = components(classes=3)
    log_p = class_log_posterior(mean, mean, scale, labels, classes=5)
    assert log_p.shape == (40, 5) and (log_p[:, 3:] == -math.inf).all() and log_p[:, :3].isfinite().all()


@pytest.mark.parametrize("bad", [{"scale": 0.0}, {"widening": 0.0}, {"scale": float("nan")}])
def test_impossible_deviations_are_refused(bad):
    mean, scale, labels = components()
    scale = torch.full_like(scale, bad["scale"]) if "scale" in bad else scale
    with pytest.raises(ValueError, match="must be positive"):
        class_log_posterior(mean, mean, scale, labels, widening=bad.get("widening", 1.0))


# ---- the bounds -----------------------------------------------------------------------------------------------------


def codes_of(centres, spread, scale, n, seed):
    """Codes of n images: the means lie around their class's centre, ``(C, d)``; every posterior has the same deviation."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(len(centres), (n,), generator=rng)
    mean = centres[labels] + spread * torch.randn(n, centres.shape[1], generator=rng)
    deviation = torch.full_like(mean, scale)
    return Codes(mean, deviation, mean + scale * torch.randn(mean.shape, generator=rng)), labels


def exact(centres, deviation):
    """``I(z; y)`` of equally likely Gaussians N(c, deviation²) on a line, by quadrature."""

    def integrand(z):
        p = norm.pdf(z, centres, deviation)
        return (p * np.log(np.maximum(p, 1e-300) / p.mean())).mean()

    return quad(integrand, min(centres) - 10 * deviation, max(centres) + 10 * deviation, limit=500)[0]


@pytest.mark.parametrize("gap", [0.0, 1.0, 2.0, 8.0])
def test_where_all_images_of_a_class_share_one_posterior_both_bounds_are_exact(gap):
    centres = torch.tensor([[-gap / 2], [gap / 2]])
    (a, labels), (b, truth) = codes_of(centres, 0.0, 0.7, 4000, 1), codes_of(centres, 0.0, 0.7, 4000, 2)
    bounds = class_information(a, labels, b, truth)
    answer = exact(centres[:, 0].numpy(), 0.7)
    assert bounds["lower"] == pytest.approx(answer, abs=0.03)
    assert bounds["upper"] == pytest.approx(answer, abs=0.03)
    if gap == 8.0:
        assert answer == pytest.approx(math.log(2), abs=1e-3)


def test_the_bounds_enclose_the_quadrature_of_spread_out_posteriors():
    """The means of a class are Gaussian themselves, so its codes are N(centre, spread² + scale²)."""
    centres = torch.tensor([[-1.0], [0.5], [2.5]])
    (a, labels), (b, truth) = codes_of(centres, 0.6, 0.5, 6000, 3), codes_of(centres, 0.6, 0.5, 6000, 4)
    bounds = class_information(a, labels, b, truth)
    answer = exact(centres[:, 0].numpy(), math.hypot(0.6, 0.5))
    assert answer - 0.04 < bounds["lower"] < answer + 0.02 < bounds["upper"] + 0.04
    knn = mutual_info_classif(b.draw.numpy(), truth.numpy(), n_neighbors=5, random_state=0)[0]
    assert bounds["lower"] == pytest.approx(knn, abs=0.05)


def test_narrow_posteriors_leave_a_bracket_and_the_upper_end_is_the_entropy():
    """Each code identifies its image: of these images it tells everything, of the classes no more than their overlap."""
    centres = torch.tensor([[-0.7], [0.7]])
    (a, labels), (b, truth) = codes_of(centres, 1.0, 1e-4, 3000, 5), codes_of(centres, 1.0, 1e-4, 3000, 6)
    bounds = class_information(a, labels, b, truth)
    answer = exact(centres[:, 0].numpy(), 1.0)
    assert bounds["upper"] > 0.6 and bounds["upper"] <= math.log(2) + 1e-3
    assert bounds["lower"] < answer + 0.03


def test_widening_fills_the_gaps():
    centres = torch.tensor([[-0.7, 0.0], [0.7, 0.0]])
    (a, labels), (b, truth) = codes_of(centres, 1.0, 0.05, 3000, 5), codes_of(centres, 1.0, 0.05, 3000, 6)
    bounds = class_information(a, labels, b, truth)
    answer = exact(centres[:, 0].numpy(), math.hypot(1.0, 0.05))
    p = class_log_posterior(b.draw, a.mean, a.scale, labels)
    plain = math.log(2) + p.gather(1, truth[:, None]).mean().item()
    assert answer - 0.06 < bounds["lower"] < answer + 0.03
    assert bounds["lower"] > plain + 0.05


def test_codes_that_know_nothing():
    centres = torch.zeros(10, 2)
    (a, labels), (b, truth) = codes_of(centres, 0.3, 0.95, 4000, 7), codes_of(centres, 0.3, 0.95, 4000, 8)
    bounds = class_information(a, labels, b, truth)
    assert abs(bounds["lower"]) < 0.02 and abs(bounds["upper"]) < 0.02
    assert "upper" not in class_information(a, labels, b, truth, upper=False)


def test_a_class_that_the_mixture_never_saw_costs_a_bounded_surprise():
    (a, labels), (b, truth) = codes_of(torch.eye(3), 0.1, 0.1, 500, 1), codes_of(torch.eye(4, 3), 0.1, 0.1, 500, 2)
    lower = class_information(a, labels, b, truth)["lower"]
    assert math.isfinite(lower) and lower > math.log(4) - 0.3 * math.log(4 / 1e-3)


# ---- the probe ------------------------------------------------------------------------------------------------------


def test_the_probe_is_linear_and_the_classifier_is_not():
    codes = torch.randn(3000, 2, generator=torch.Generator().manual_seed(1))
    line, cross = (codes.sum(1) > 0).long(), (codes.prod(1) > 0).long()
    for labels, low, high in ((line, 0.97, 1.0), (cross, 0.4, 0.6)):
        pair = ([1e3 * codes[:2000] + 5], labels[:2000], [1e3 * codes[2000:] + 5], labels[2000:])
        assert low <= linear_probe(*pair)[0] <= high
        assert accuracy_of_codes(*pair, epochs=20)[0] > 0.93


def test_the_probe_takes_no_more_codes_than_asked():
    """Nine in ten labels are wrong, but not the ones that are used."""
    codes = torch.randn(1000, 1, generator=torch.Generator().manual_seed(1))
    labels = (codes[:, 0] > 0).long()
    wrong = 1 - labels
    wrong[::10] = labels[::10]
    assert linear_probe([codes], wrong, [codes], labels, images=100)[0] > 0.9
    assert linear_probe([codes], wrong, [codes], labels)[0] < 0.1


# ---- a model --------------------------------------------------------------------------------------------------------

KINDS = ["vae", "vlae", "provlae", "lebm", "lvae", "hvae", "biva"]


def test_one_pass_gives_the_codes_of_encode_dataset(digits):
    model = build_model(tiny_model()).eval()
    codes = encode_posterior(model, digits, seed=3)
    torch.testing.assert_close(codes.mean, encode_dataset(model, digits))
    torch.testing.assert_close(codes.draw, encode_dataset(model, digits, sampled=True, seed=3))
    assert codes.scale.shape == codes.mean.shape and (codes.scale > 0).all()


def test_level_information_is_plain_repeatable_and_agrees_with_its_parts(digits):
    model, test = build_model(tiny_model()).eval(), load_dataset("digits", "test")
    found = level_information(model, digits, test, seed=2)
    assert set(found) == {
        "latent_accuracy",
        "sampled_latent_accuracy",
        "linear_probe",
        "mutual_information",
        "mutual_information_upper",
    }
    assert all(type(v) is list and len(v) == 2 and all(type(x) is float for x in v) for v in found.values())
    assert found == level_information(model, digits, test, seed=2)
    assert found["latent_accuracy"] == latent_accuracy(model, digits, test, seed=2)
    assert found["sampled_latent_accuracy"] == latent_accuracy(model, digits, test, seed=2, sampled=True)
    lower, upper = found["mutual_information"], found["mutual_information_upper"]
    assert all(a < b + 0.02 and b <= math.log(10) + 1e-6 for a, b in zip(lower, upper, strict=True))


@pytest.mark.parametrize("name", KINDS)
def test_level_information_of_every_kind_of_model(name, digits):
    model, test = make(name).eval(), load_dataset("digits", "test").subset(slice(0, 200))
    found = level_information(model, digits.subset(slice(0, 300)), test, seed=1)
    assert {len(values) for values in found.values()} == {model.latents.levels}
    assert ("mutual_information_upper" in found) == (name not in ("lvae", "hvae", "biva"))
    assert all(math.isfinite(x) for values in found.values() for x in values)


def test_a_trained_level_knows_more_than_an_untrained_one_and_the_classifier_agrees(digits):
    """`digits`, published: the top level is the one with the class, by every measure."""
    found = level_information(load_pretrained("digits"), digits, load_dataset("digits", "test"), seed=1)
    for key in ("latent_accuracy", "sampled_latent_accuracy", "linear_probe", "mutual_information"):
        assert found[key][1] > found[key][0] + 0.2, key
    assert 1.0 < found["mutual_information"][1] < math.log(10)


# ---- Fano's limit ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [0.01, 0.3, 0.6])
@pytest.mark.parametrize("classes", [2, 10])
def test_fano_accuracy_undoes_fanos_inequality(error, classes):
    error = min(error, 0.9 * (1 - 1 / classes))
    doubt = -error * math.log(error) - (1 - error) * math.log(1 - error) + error * math.log(classes - 1)
    assert fano_accuracy(math.log(classes) - doubt, classes) == pytest.approx(1 - error, abs=1e-9)


def test_fano_accuracy_ends_at_chance_and_at_one_and_is_reached():
    """Reached where, after the code, one class is likelier and all others are alike."""
    assert fano_accuracy(0.0, 10) == pytest.approx(0.1, abs=1e-6)
    assert fano_accuracy(math.log(10), 10) == pytest.approx(1)
    row = np.array([0.55] + [0.05] * 9)
    assert fano_accuracy(float((row * np.log(10 * row)).sum()), 10) == pytest.approx(0.55)
    with pytest.raises(ValueError, match="two classes"):
        fano_accuracy(0.5, 1)
