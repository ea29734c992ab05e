"""Table 3's runs, small: 8×8 digits in the place of MNIST, three epochs."""

import json
from dataclasses import replace

import pytest
import torch
from shared import tiny_experiment

from hebm_lib.data import ImageDataset, load_dataset
from hebm_lib.experiments import load_experiment
from hebm_lib.metrics.detection import auprc_at, detection
from hebm_lib.metrics.pixels import nearest
from hebm_lib.reproduction.studies import anomaly


@pytest.fixture
def small(monkeypatch):
    """Three short epochs on the embedded digits, of which the last two count."""
    parts = {"train": load_dataset("digits", "train"), "test": load_dataset("digits", "test").subset(slice(0, 250))}
    monkeypatch.setattr(anomaly, "load_split", lambda config, split: parts[split])
    monkeypatch.setattr(anomaly, "anomaly_config", lambda kind, label: tiny_experiment(epochs=3))
    monkeypatch.setattr(anomaly, "LAST", 2)
    monkeypatch.setattr(anomaly, "IMAGES", 300)
    monkeypatch.setattr(anomaly, "MOST", 250)


def test_a_digit_is_left_out_and_looked_for(small, tmp_path):
    result = anomaly.train_without("joint-ebm", 7, tmp_path)
    assert 290 <= result["images"] <= 300 and result["epochs"] == 3
    for name, test in result["tests"].items():
        mean, sd = test["auprc"]
        assert test["worst"] <= mean <= 1 and sd is not None and test["epochs"] == 2 == len(test["by_epoch"]), name
    assert result["tests"]["standard"]["prevalence"] < result["tests"]["pooled"]["prevalence"]
    assert result["terms"].keys() == result["tests"].keys() and "bounds" not in result
    for name, terms in result["terms"].items():
        assert {"-log p(x, z)", "SSE", "-f(z)", "without f(z)", "-ELBO", "Bernoulli"} <= terms.keys()
        assert terms["-log p(x, z)"] == result["tests"][name]["by_epoch"][-1]
    assert json.loads(json.dumps(result)) == result


@pytest.mark.parametrize("kind", ["meg", "bigan"])
def test_a_model_without_a_likelihood_is_asked_by_its_own_score(kind, small, tmp_path, monkeypatch):
    model = load_experiment(f"mnist-{kind}").model
    narrow = replace(model.generator, top_hidden=(16,), base_width=8, plain_widths=(4, 4))
    model = replace(model, image_size=8, latent_dims=(3,), generator=narrow)
    monkeypatch.setattr(anomaly, "anomaly_config", lambda kind, label: tiny_experiment(epochs=2, model=model))
    result = anomaly.train_without(kind, 7, tmp_path)
    assert "bounds" not in result
    for name, terms in result["terms"].items():
        assert terms == {"own score": result["tests"][name]["by_epoch"][-1]}


def test_hvae_is_asked_by_its_bound_as_well(small, tmp_path, monkeypatch):
    hvae = replace(load_experiment("mnist-hvae").model, latent_dims=(2 * 4**2, 4, 4), image_size=8)
    monkeypatch.setattr(anomaly, "anomaly_config", lambda kind, label: tiny_experiment(epochs=1, model=hvae))
    result = anomaly.train_without("hvae", 7, tmp_path)
    for name, bound in result["bounds"].items():
        assert bound["worst"] <= bound["auprc"][0] <= 1 and bound["prevalence"] == result["tests"][name]["prevalence"]
        assert "LLR>1" in result["terms"][name] and "-f(z)" not in result["terms"][name]


def test_without_a_model(small, monkeypatch):
    monkeypatch.setattr(anomaly, "IMAGES", 1000)
    found = anomaly.look_without_model(0)
    pooled, leaking = (found["terms"][name]["nearest image"] for name in ("pooled", "leaking"))
    assert found["tests"]["pooled"]["prevalence"] + 0.1 < pooled < leaking, "a memory profits from the leak"
    assert found["tests"]["pooled"]["auprc"] == pooled


def test_nearest_image_by_hand(digits):
    data, train = digits.subset(slice(0, 7)), digits.subset(slice(5, 60))
    gaps = (data.images[:, None].double() - train.images[None].double()) / 255
    expected = gaps.square().flatten(2).sum(2).sqrt().min(1).values
    torch.testing.assert_close(nearest(data, train, batch=3), expected.float(), atol=2e-3, rtol=0)
    assert expected[5:].max() == 0


def test_thinning_keeps_the_leak():
    """About 80 % of the leaking test set's familiar images were trained on, however much is thinned."""
    number = torch.arange(7000)
    images = torch.stack([number // 256, number % 256], 1).to(torch.uint8).view(-1, 1, 1, 2)
    whole = ImageDataset(images, number % 10)
    parts = whole.subset(slice(0, 6000)), whole.subset(slice(6000, 7000))
    held_out_class = anomaly.hold_out_thinned(*parts, 3, 0)
    assert len(held_out_class.train) == 5040, "nothing to thin"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(anomaly, "IMAGES", 1000)
        patch.setattr(anomaly, "MOST", 300)
        thin = anomaly.hold_out_thinned(*parts, 3, 0)
    assert 980 <= len(thin.train) <= 1000 and all(len(data) <= 300 for data in thin.tests.values())
    seen = {tuple(pair) for pair in thin.train.images.flatten(1).tolist()}
    share = {}
    for name, data in thin.tests.items():
        familiar = data.images[~thin.anomalous[name]].flatten(1).tolist()
        share[name] = sum(tuple(pair) in seen for pair in familiar) / len(familiar)
    assert share["standard"] == share["pooled"] == 0 and 0.7 < share["leaking"] < 0.9


def test_an_interrupted_run_ends_as_the_undisturbed_one(small, tmp_path, monkeypatch):
    whole = anomaly.train_without("joint-ebm", 7, tmp_path / "whole")
    real = anomaly.look_for

    def power_cut(*arguments, **settings):
        monkeypatch.setattr(anomaly, "look_for", cut)
        return real(*arguments, **settings)

    def cut(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(anomaly, "look_for", power_cut)
    with pytest.raises(KeyboardInterrupt):
        anomaly.train_without("joint-ebm", 7, tmp_path / "cut")
    monkeypatch.setattr(anomaly, "look_for", real)
    again = anomaly.train_without("joint-ebm", 7, tmp_path / "cut")
    assert {**again, "seconds": 0} == {**whole, "seconds": 0}


@pytest.mark.parametrize("kind", anomaly.KINDS)
def test_every_model_of_the_table_has_the_same_budget(kind):
    config, base = anomaly.anomaly_config(kind, 4), load_experiment("mnist-capped")
    assert (config.training.epochs, config.training.batch_size) == (10 if kind in ("lebm", "meg") else 20, 100)
    assert config.training.seed == base.training.seed and config.model.sigma == base.model.sigma
    assert replace(config.data) == base.data and "anomaly" in config.name
    same = load_experiment("mnist-capped" if kind == "joint-ebm" else f"mnist-{kind}")
    assert config.training.kl_warmup_epochs * anomaly.IMAGES == same.training.kl_warmup_epochs * 60_000
    assert config.model.baseline.free_bits_epochs * anomaly.IMAGES == same.model.baseline.free_bits_epochs * 60_000


def test_area_at_another_prevalence_is_that_of_repeated_images():
    """Three copies of every positive make the share that the weights make; the share as it is changes nothing."""
    positive = torch.arange(300) < 60
    score = torch.randn(300) + positive
    copies = torch.cat([score, score[positive], score[positive]]), torch.cat([positive, torch.ones(120).bool()])
    assert auprc_at(score, positive, 180 / 420) == pytest.approx(detection(*copies).auprc, abs=1e-6)
    assert auprc_at(score, positive, 0.2) == pytest.approx(detection(score, positive).auprc, abs=1e-6)
