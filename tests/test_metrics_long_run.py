"""Long chains in numbers: the distance against two other implementations, and reports of chains whose fate is known."""

import json
import math

import pytest
import torch
from scipy.linalg import sqrtm
from shared import tiny_model
from torchmetrics.image.fid import FrechetInceptionDistance

from hebm_lib import build_model
from hebm_lib.config import LangevinConfig
from hebm_lib.metrics.classifier import DigitClassifier
from hebm_lib.metrics.long_run import (
    class_switching,
    drift,
    frechet_distance,
    kept_steps,
    long_run_report,
    look_at,
    read_images,
)

# ---- the distance ---------------------------------------------------------------------------------------------------


def two_sets(n=300, m=400, d=6):
    mix = torch.randn(d, d)
    return torch.randn(n, d) @ mix, 0.5 + torch.randn(m, d)


def test_distance_by_the_matrix_root_of_scipy():
    a, b = two_sets()
    cov_a, cov_b = a.double().T.cov(), b.double().T.cov()
    cross = sqrtm((cov_a @ cov_b).numpy()).real.trace()
    gap = (a.double().mean(0) - b.double().mean(0)).square().sum()
    assert frechet_distance(a, b) == pytest.approx(float(gap + (cov_a + cov_b).trace() - 2 * cross), rel=1e-6)


def test_distance_by_torchmetrics():
    class Same(torch.nn.Module):
        num_features = 6

        def forward(self, x):
            return x.flatten(1)

    a, b = two_sets()
    other = FrechetInceptionDistance(Same(), normalize=True, input_img_size=(1, 1, 6))
    other.update(a.view(-1, 1, 1, 6), real=True)
    other.update(b.view(-1, 1, 1, 6), real=False)
    assert frechet_distance(a, b) == pytest.approx(float(other.compute()), rel=1e-3)


def test_distance_of_known_gaussians():
    """Independent units: the sum of squared differences of means and of deviations."""
    base = torch.randn(20_000, 3, dtype=torch.float64)
    base = (base - base.mean(0)) / base.std(0)
    a, b = (
        base * torch.tensor([1.0, 2.0, 0.5]),
        base.flip(0) * torch.tensor([3.0, 2.0, 0.5]) + torch.tensor([0, 1.0, 0]),
    )
    assert frechet_distance(a, b) == pytest.approx(4 + 1, abs=0.1)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_distance_with_features_that_never_fire():
    """A covariance without full rank: dead features of a ReLU layer."""
    a, b = two_sets()
    a[:, 0], b[:, 0] = 0, 0
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(a[:, 1:], b[:, 1:]), rel=1e-6)
    with pytest.raises(ValueError, match="at least two rows"):
        frechet_distance(a[:1], b)


# ---- what is read off images ----------------------------------------------------------------------------------------


def test_images_are_read_as_the_classifier_reads_them():
    classifier = DigitClassifier(size=12).eval()
    images = torch.rand(7, 1, 8, 8) * 2 - 1
    bordered = torch.full((7, 1, 12, 12), -1.0)
    bordered[..., 2:-2, 2:-2] = images
    features, shares = read_images(classifier, images, batch=3)
    assert features.shape == (7, 128)
    assert torch.allclose(shares, classifier(bordered).softmax(1), atol=1e-6)
    with pytest.raises(ValueError, match="do not fit"):
        read_images(classifier, torch.zeros(1, 1, 16, 16))


def test_pixels_at_the_ends():
    images = torch.tensor([-1.0, -0.96, -0.9, 0.0, 0.9, 0.96, 1.0, 1.0]).view(2, 1, 2, 2)
    found = look_at(images, torch.tensor([[0.9, 0.1], [0.4, 0.6]]))
    assert found == pytest.approx({"black": 0.25, "white": 0.375, "ink": 0.5625, "confidence": 0.75})


def test_class_switching_of_hand_made_chains():
    stay, swap = torch.tensor([[0, 1, 2, 3]] * 5), torch.tensor([[0, 1], [1, 0]] * 4)
    assert class_switching(stay) == pytest.approx({"per_interval": 0, "independent": 0.75, "visited": 1})
    assert class_switching(swap) == pytest.approx({"per_interval": 1, "independent": 0.5, "visited": 2})
    forgetful = class_switching(torch.randint(10, (200, 100)))
    assert forgetful["per_interval"] == pytest.approx(forgetful["independent"], abs=0.01)


# ---- the report -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "k, steps, every, kept, stride",
    [
        (60, 250, 100, [0, 60, 100, 200, 250], 10),
        (100, 300, 100, [0, 100, 200, 300], 100),
        (7, 20, 10, [0, 7, 10, 20], 1),
    ],
)
def test_moments_and_the_stride_that_meets_them(k, steps, every, kept, stride):
    assert kept_steps(LangevinConfig(steps=k), steps, every) == (kept, stride)


def test_a_run_shorter_than_the_training_is_refused():
    with pytest.raises(ValueError, match="more than the 60 steps"):
        kept_steps(LangevinConfig(steps=60), 50, 10)


@pytest.fixture
def classifier():
    return DigitClassifier(size=8).eval()


CHAIN = LangevinConfig(steps=4, step_size=0.4)


def report(model, digits, classifier, **changes):
    settings = {"steps": 20, "every": 5, "n": 60, "sets": 2} | changes
    return long_run_report(model.eval(), CHAIN, digits, classifier, **settings)


def test_a_drift_is_the_slope_of_the_end():
    """The climb of the first steps does not count; noise around a level line has a slope of 0 in the mean."""
    steps = list(range(0, 2_501, 100))
    noise = torch.randn(200, len(steps), generator=torch.Generator().manual_seed(1)).tolist()
    slopes = [drift(steps, [-50.0] * 5 + row[5:], start=500) for row in noise]
    assert abs(sum(slopes) / 200) < 0.1 and drift(steps, [0.002 * t for t in steps], start=0) == pytest.approx(2)
    with pytest.raises(ValueError, match="two looks from step 2500 on, got 1"):
        drift(steps, steps, start=2_500)


def test_a_report_is_json_and_has_one_value_per_moment(digits, classifier):
    found = report(build_model(tiny_model()), digits, classifier)
    assert json.loads(json.dumps(found)) == found
    assert found["steps"] == [0, 4, 5, 10, 15, 20] and found["K"] == 4 and found["chains"] == [2, 60]
    per_moment = {"distance", "distance_sd", "f", "f_low", "f_high", "black", "white", "ink", "confidence", "left"}
    assert all(len(found[name]) == 6 for name in per_moment | {"class_shares"})
    assert all(math.isclose(sum(shares), 1, abs_tol=1e-3) for shares in found["class_shares"])
    assert found["left"][1] == 0 and found["f_low"][-1] < found["f"][-1] < found["f_high"][-1]
    assert found["reference"].keys() == {"images", "data", "reconstructions"} and found["reference"]["images"] == 60
    assert found == report(build_model_again(), digits, classifier), "the same seed, the same report"


def build_model_again():
    torch.manual_seed(0)
    # The autouse fixture seeds with 0 as well; the classifier was drawn first.
    DigitClassifier(size=8)
    return build_model(tiny_model())


def test_a_stationary_chain_does_not_drift_and_a_runaway_chain_does(digits, classifier):
    """Without an energy the start is the law of the chain. With one that pulls far out, the images change and saturate."""
    model = build_model(tiny_model())
    for parameter in model.generator.parameters():
        parameter.data *= 1.5  # a generator that answers to its codes
    with torch.no_grad():
        for layer in model.prior.energy.layers:
            layer.bias.zero_()
    model.prior.energy.lipschitz = 40.0
    steep = report(model, digits, classifier, n=300)
    model.prior.energy.lipschitz = 0.0
    still = report(model, digits, classifier, n=300)

    def change(found, name):
        return abs(found[name][-1] - found[name][0])

    assert still["f"] == [0] * 6
    assert change(still, "distance") < 4 * max(still["distance_sd"]) + 0.02 * still["distance"][0]
    assert change(steep, "distance") > 10 * change(still, "distance")
    ends = [sum(steep[name][i] for name in ("black", "white")) for i in (0, -1)]
    assert ends[1] > 3 * ends[0] and steep["f"][-1] > steep["f"][0] + 1


def test_the_reference_of_the_data_is_nearer_than_noise(digits, classifier):
    found = report(build_model(tiny_model()), digits, classifier, n=300)
    data = found["reference"]["data"]
    assert data["distance"] < found["distance"][0] and sum(data["class_shares"]) == pytest.approx(1, abs=1e-3)
    assert data["ink"] == pytest.approx(float((digits.batch(slice(None)).mean() + 1) / 2), abs=0.02)
