"""Scores for unfamiliar images, the areas under their curves, and Table 3's splits."""

import math

import numpy as np
import pytest
import torch
from shared import tiny_model

from hebm_lib import build_model
from hebm_lib.data import ImageDataset
from hebm_lib.experiments import load_experiment
from hebm_lib.metrics.detection import detection, joint_terms, read_auprc, worst_auprc
from hebm_lib.metrics.hold_out import hold_out

# ---- the decision function ------------------------------------------------------------------------------------------


def test_the_terms_add_up_to_the_log_joint(digits):
    model, data = build_model(tiny_model()).eval(), digits.subset(slice(0, 70))
    terms = joint_terms(model, data, seed=4, batch=30)
    x, generator = data.batch(slice(None)), torch.Generator().manual_seed(4)
    z = torch.cat([model.draw(part, generator=generator) for part in x.split(30)])
    torch.testing.assert_close(terms.log_joint, model.log_joint(x, z).detach(), rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(terms.energy, model.prior(z).detach())
    torch.testing.assert_close(terms.base, -0.5 * z.square().sum(1).detach() - 2.5 * math.log(2 * math.pi))
    torch.testing.assert_close(terms.sse, model.sse(x, z).detach(), rtol=1e-5, atol=1e-4)
    constant = terms.log_joint - terms.at_sigma(model.sigma)
    torch.testing.assert_close(constant, constant[:1].expand(70), rtol=1e-4, atol=1e-3)
    mean = joint_terms(model, data, sampled=False)
    torch.testing.assert_close(mean.likelihood, model.log_likelihood(x, model.encode(x).mean).detach())


@pytest.mark.parametrize("name", ["mnist-hvae", "mnist-vae", "mnist-lebm"])
def test_every_kind_of_model_has_the_terms(name):
    model = build_model(load_experiment(name).model).eval()
    data = ImageDataset(torch.randint(256, (6, 1, 28, 28), dtype=torch.uint8), torch.zeros(6, dtype=torch.int64))
    terms = joint_terms(model, data)
    assert terms.log_joint.shape == (6,) and terms.log_joint.isfinite().all()
    assert bool(terms.energy.any()) == (name == "mnist-lebm")


# ---- areas ----------------------------------------------------------------------------------------------------------


def by_hand(score, truth):
    """Average precision and AUROC straight from their definitions (no ties)."""
    order = np.argsort(-score)
    hits = truth[order]
    precision = hits.cumsum() / np.arange(1, len(hits) + 1)
    positives, negatives = score[truth], score[~truth]
    return precision[hits].mean(), (positives[:, None] > negatives[None, :]).mean()


def test_areas_are_those_of_their_definitions():
    rng = np.random.default_rng(0)
    truth = rng.random(400) < 0.3
    score = rng.normal(size=400) + truth
    found = detection(torch.from_numpy(score), torch.from_numpy(truth))
    expected = by_hand(score, truth)
    assert (found.average_precision, found.auroc) == pytest.approx(expected)
    assert found.prevalence == pytest.approx(truth.mean())
    assert found.auprc == pytest.approx(found.average_precision, abs=0.01), "by trapezoids it is nearly the same"


def test_perfect_worst_and_random_scores():
    truth = torch.arange(20_000) < 5_000
    perfect, worst = detection(truth.float() + torch.rand(20_000) / 2, truth), None
    worst = detection(torch.arange(20_000.0), truth)
    assert (perfect.auprc, perfect.auroc) == (1, 1)
    assert worst.auprc == pytest.approx(worst.worst, abs=1e-3) and worst.auroc == 0
    assert detection(torch.rand(20_000), truth).auprc == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(("prevalence", "floor"), [(0.388, 0.225), (0.351, 0.200), (0.331, 0.188), (0.368, 0.212)])
def test_floors_of_the_pooled_split(prevalence, floor):
    """Worked out once more by numerical integration of precision = 1 - (1 - π)/(recall π + 1 - π)."""
    recall = np.linspace(0, 1, 100_001)
    precision = recall * prevalence / (recall * prevalence + 1 - prevalence)
    assert worst_auprc(prevalence) == pytest.approx(np.trapezoid(precision, recall), abs=1e-4)
    assert worst_auprc(prevalence) == pytest.approx(floor, abs=1e-3)


@pytest.mark.parametrize(
    ("score", "truth", "message"),
    [
        (torch.tensor([1.0, math.nan]), torch.tensor([True, False]), "not finite"),
        (torch.ones(2), torch.tensor([True, True]), "one kind"),
        (torch.ones(3), torch.tensor([True, False]), "one truth per image"),
    ],
)
def test_what_cannot_be_compared_is_refused(score, truth, message):
    with pytest.raises(ValueError, match=message):
        detection(score, truth)


def test_a_prevalence_of_one_has_no_floor():
    with pytest.raises(ValueError, match="between 0 and 1"):
        worst_auprc(1.0)


# ---- splits ---------------------------------------------------------------------------------------------------------


def numbered_set(first: int, n: int) -> ImageDataset:
    """Images that carry their own number in two pixels, so that they can be found again."""
    number = torch.arange(first, first + n)
    images = torch.stack([number // 256, number % 256], 1).to(torch.uint8).view(n, 1, 1, 2)
    return ImageDataset(images, number % 10, "numbered")


def numbers(data: ImageDataset) -> set[int]:
    return {256 * int(a) + int(b) for a, b in data.images.flatten(1)}


def test_held_out_splits():
    train, test = numbered_set(0, 6000), numbered_set(6000, 1000)
    held = hold_out(train, test, 3, seed=1)
    seen = numbers(held.train)
    assert len(seen) == round(0.8 * 6300) and all(n % 10 != 3 and n < 6000 for n in seen)
    assert numbers(held.tests["standard"]) == set(range(6000, 7000))
    assert not numbers(held.tests["standard"]) & seen and not numbers(held.tests["pooled"]) & seen
    assert numbers(held.tests["pooled"]) == set(range(7000)) - seen
    leak = numbers(held.tests["leaking"])
    assert len(leak) == len(held.tests["pooled"])
    normal = {n for n in leak if n % 10 != 3}
    assert 0.75 < len(normal & seen) / len(normal) < 0.85
    for name, data in held.tests.items():
        assert torch.equal(held.anomalous[name], data.labels == 3)
    assert held.anomalous["pooled"].sum() == 700 and held.anomalous["standard"].sum() == 100


def test_a_class_that_is_not_there_cannot_be_held_out():
    with pytest.raises(ValueError, match="class 11"):
        hold_out(numbered_set(0, 600), numbered_set(600, 100), 11)
    with pytest.raises(ValueError, match="only"):
        hold_out(numbered_set(0, 300), numbered_set(300, 300), 1)


def test_an_auprc_is_read_beside_its_floor_and_chance():
    """At the floor of the worst ranking it is possible, just below it is not; a perfect one has gone the whole way."""
    positive = torch.arange(1000) < 360
    worst, best = (detection(sign * positive.float() + 1e-4 * torch.arange(1000), positive) for sign in (-1, 1))
    assert read_auprc(worst.auprc + 0.005, 0.36).verdict == "worse than random"
    assert read_auprc(worst.auprc - 0.005, 0.36).verdict == "impossible"
    assert read_auprc(best.auprc, 0.36).way == pytest.approx(1, abs=0.01) and read_auprc(0.36, 0.36).way == 0
    for value, prevalence in ((-0.1, 0.3), (1.1, 0.3), (0.5, 0.0), (0.5, 1.0)):
        with pytest.raises(ValueError, match="between 0 and 1"):
            read_auprc(value, prevalence)
