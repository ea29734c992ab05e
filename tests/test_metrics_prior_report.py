"""The ablations' measures, on the embedded digits with tiny models."""

import json

import pytest
import torch
from shared import tiny_model

from hebm_lib import build_model
from hebm_lib.config import LangevinConfig, PriorConfig
from hebm_lib.metrics import prior_report as room
from hebm_lib.metrics.classifier import DigitClassifier
from hebm_lib.metrics.prior_report import prior_report, prior_samples

CHAIN = LangevinConfig(steps=4, step_size=0.4)
KINDS = {"gaussian", "prior", "long", "codes", "shuffled"}


def report(model, digits, **settings):
    return prior_report(model.eval(), CHAIN, digits, digits, DigitClassifier(size=8).eval(), n=200, **settings)


@pytest.mark.parametrize(
    "prior, kinds",
    [
        (PriorConfig(hidden=(8, 8)), KINDS),
        (PriorConfig(hidden=(8, 8), levels="separate"), KINDS),
        (PriorConfig(hidden=(8, 8), chains=30), KINDS | {"persistent"}),
        (PriorConfig(hidden=()), {"prior", "codes", "shuffled"}),
    ],
)
def test_a_report_is_json_and_has_every_kind_of_sample(digits, prior, kinds):
    found = report(build_model(tiny_model(prior=prior)), digits)
    assert json.loads(json.dumps(found)) == found
    assert found["distance"].keys() == found["mmd2"].keys() == kinds and all(v > 0 for v in found["distance"].values())
    assert len(found["kl"]) == 2 and bool(prior.hidden) == (found["gap"] != 0)


def test_samples_are_what_they_are_called():
    model = build_model(tiny_model(prior=PriorConfig(hidden=(8, 8), lipschitz=20.0, chains=30))).eval()
    chains = model.prior.chains.clone()
    samples = prior_samples(model, CHAIN, 70, torch.Generator().manual_seed(3))
    assert {name: tuple(z.shape) for name, z in samples.items()} == dict.fromkeys(samples, (70, 5))
    assert torch.equal(model.prior.chains, chains), "measuring leaves the chains where training left them"
    noise = torch.Generator().manual_seed(3)
    assert torch.equal(samples["gaussian"], torch.randn(70, 5, generator=noise))
    assert torch.equal(samples["prior"], model.prior.sample(70, 4, 0.4, generator=noise))


def test_shuffled_levels_cost_what_ties_them(digits, monkeypatch):
    """Codes in two corners: with the levels put together at random they are in four, and MMD says so."""
    model = build_model(tiny_model(latent_dims=(1, 1))).eval()
    real = room.encode_posterior

    def tied(*arguments, **settings):
        codes = real(*arguments, **settings)
        codes.draw[:] = torch.randn(len(codes.draw), 2) + 20 * torch.randint(2, (len(codes.draw), 1))
        return codes

    monkeypatch.setattr(room, "encode_posterior", tied)
    found = report(model, digits)["mmd2"]
    assert abs(found["codes"]) < 0.03 < 0.08 < found["shuffled"]


def test_a_seed_makes_the_numbers(digits):
    model = build_model(tiny_model())
    torch.manual_seed(1)
    first = report(model, digits, seed=5)
    torch.manual_seed(1)
    again, other = report(model, digits, seed=5), report(model, digits, seed=6)
    assert first == again and first["distance"] != other["distance"]
