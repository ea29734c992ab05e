"""Table 3's runs, small: 8×8 digits in the place of MNIST, two epochs."""

from dataclasses import replace

import pytest
from conftest import tiny_experiment

from hebm_lib import held_out
from hebm_lib.data import load_dataset
from hebm_lib.experiments import load_experiment


@pytest.fixture
def small(monkeypatch):
    """Three short epochs on the embedded digits, of which the last two count."""
    monkeypatch.setattr(held_out, "load_split", lambda config, split: load_dataset("digits", split))
    monkeypatch.setattr(held_out, "anomaly_config", lambda kind, label: tiny_experiment(epochs=3))
    monkeypatch.setattr(held_out, "LAST", 2)
    monkeypatch.setattr(held_out, "IMAGES", 300)
    monkeypatch.setattr(held_out, "MOST", 250)


def test_a_digit_is_left_out_and_looked_for(small, tmp_path):
    result = held_out.train_without("joint-ebm", 7, tmp_path)
    assert result["images"] == 300 and result["epochs"] == 3
    for name, test in result["tests"].items():
        mean, sd = test["auprc"]
        assert test["worst"] <= mean <= 1 and sd is not None and test["epochs"] == 2, name
    assert result["tests"]["standard"]["prevalence"] < result["tests"]["pooled"]["prevalence"]
    assert {"log p(x, z)", "-SSE", "f(z)", "without f(z)"} <= result["terms"].keys()


def test_an_interrupted_run_ends_as_the_undisturbed_one(small, tmp_path, monkeypatch):
    whole = held_out.train_without("joint-ebm", 7, tmp_path / "whole")
    real = held_out.look_for

    def power_cut(*arguments):
        monkeypatch.setattr(held_out, "look_for", cut)
        return real(*arguments)

    def cut(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(held_out, "look_for", power_cut)
    with pytest.raises(KeyboardInterrupt):
        held_out.train_without("joint-ebm", 7, tmp_path / "cut")
    monkeypatch.setattr(held_out, "look_for", real)
    again = held_out.train_without("joint-ebm", 7, tmp_path / "cut")
    assert {**again, "seconds": 0} == {**whole, "seconds": 0}


@pytest.mark.parametrize("kind", held_out.KINDS)
def test_every_model_of_the_table_has_the_same_budget(kind):
    config, base = held_out.anomaly_config(kind, 4), load_experiment("mnist")
    assert (config.training.epochs, config.training.batch_size) == (20, 100)
    assert config.training.seed == base.training.seed and config.model.sigma == base.model.sigma
    assert replace(config.data) == base.data and "anomaly" in config.name
