"""Units and σ for Table 3: what a setting changes, what it sees, and what a part says."""

import json
from dataclasses import replace

import pytest
import torch
from shared import tiny_experiment

from hebm_lib import build_model
from hebm_lib.config import PriorConfig
from hebm_lib.data import ImageDataset, load_dataset
from hebm_lib.experiments import load_experiment
from hebm_lib.reproduction.studies import STUDIES, anomaly, anomaly_settings
from hebm_lib.reproduction.studies.anomaly_settings import DIMS, SIGMAS, setting_config


def test_every_digit_of_the_table_with_all_units_and_sigmas():
    parts = list(STUDIES["anomaly-settings"].parts)
    assert len(parts) == len(set(parts)) == 45 and parts[0] == "222/0.4/1"
    assert {int(part[-1]) for part in parts} == set(anomaly.PAPER_LABELS)


@pytest.mark.parametrize("units", DIMS)
@pytest.mark.parametrize("sigma", SIGMAS)
def test_a_setting_is_the_ladder_without_walls_with_other_units_and_sigma(units, sigma):
    config, base = setting_config(units, sigma, 9), load_experiment("levels-2210-map-gaussian")
    model = replace(config.model, latent_dims=base.model.latent_dims, sigma=base.model.sigma)
    assert model == base.model and config.data == base.data
    assert config.training.energy.ladder_epochs == config.training.epochs == anomaly_settings.EPOCHS
    # The joint EBM begins as this ladder: same first weights, same rates, and f = 0 for as long.
    ours = setting_config(units, sigma, 9, energy=True)
    assert ours.model == config.model and ours.training.optimiser == config.training.optimiser
    assert ours.training.energy.ladder_epochs == anomaly_settings.EPOCHS < ours.training.epochs
    assert ours.training.energy.fit_steps and ours.training.seed == config.training.seed


def test_it_sees_four_fifths_of_the_familiar_images_and_another_seed_sees_others(monkeypatch):
    number = torch.arange(7000)
    images = torch.stack([number // 256, number % 256], 1).to(torch.uint8).view(-1, 1, 1, 2)
    whole = ImageDataset(images, number % 10)
    parts = {"train": whole.subset(slice(0, 6000)), "test": whole.subset(slice(6000, 7000))}
    monkeypatch.setattr(anomaly_settings, "load_split", lambda config, split: parts[split])
    monkeypatch.setattr(anomaly_settings, "MOST", 400)
    config = setting_config("222", 0.4, 3)
    other = replace(config, training=replace(config.training, seed=2))
    held, again = (anomaly_settings.left_out_whole(c, 3) for c in (config, other))
    assert len(held.train) == len(again.train) == round(0.8 * 6300) and 3 not in held.train.classes
    assert not torch.equal(held.train.images, again.train.images)
    assert {name: len(test) for name, test in held.tests.items()} == dict.fromkeys(held.tests, 400)
    seen = {tuple(pair) for pair in held.train.images.flatten(1).tolist()}
    for name in ("standard", "pooled"):
        assert not any(tuple(pair) in seen for pair in held.tests[name].images.flatten(1).tolist())


def test_a_part_tells_every_epoch_and_the_terms(tmp_path, monkeypatch):
    parts = {"train": load_dataset("digits", "train"), "test": load_dataset("digits", "test")}
    monkeypatch.setattr(anomaly_settings, "load_split", lambda config, split: parts[split])
    monkeypatch.setattr(anomaly_settings, "ROOT", tmp_path)
    monkeypatch.setattr(anomaly_settings, "EPOCHS", 2)
    small = tiny_experiment(epochs=2)
    small = replace(small, model=replace(small.model, prior=PriorConfig(hidden=())))
    monkeypatch.setattr(
        anomaly_settings, "setting_config", lambda units, sigma, label: replace(small, name=f"tiny-{label}")
    )
    found = anomaly_settings.measure_setting("222/0.4/7")
    assert json.loads(json.dumps(found)) == found and (found["units"], found["sigma"], found["label"]) == (
        "222",
        0.4,
        7,
    )
    assert "precision" not in found, "single"
    monkeypatch.setattr(anomaly_settings, "ROOT", tmp_path / "half")
    assert anomaly_settings.measure_setting("222/0.4/7", precision="bf16-mixed")["precision"] == "bf16-mixed"
    assert found["images"] == round(0.8 * sum(int((d.labels != 7).sum()) for d in parts.values()))
    for name, test in found["tests"].items():
        assert len(test["by_epoch"]) == 2 and found["terms"][name]["-log p(x, z)"] == test["by_epoch"][-1]


def test_a_ladder_of_many_units_can_be_built_and_asked():
    model = build_model(setting_config("161632", 0.1, 9).model).eval()
    assert model.latents.dims == (16, 16, 32) and model.log_joint(
        torch.zeros(2, 1, 28, 28), torch.zeros(2, 64)
    ).shape == (2,)


def test_narrower_pixels_mean_shorter_chain_steps():
    """Posteriors narrow with σ; by the steps that hold on clothes f runs away on digits."""
    steps = {
        base: [load_experiment(base + mark).training.langevin.step_size for mark in ("", "-sigma-02", "-sigma-01")]
        for base in ("fashion", "mnist")
    }
    for row in steps.values():
        assert row == sorted(row, reverse=True) and len(set(row)) == 3
    assert all(digits < clothes for digits, clothes in zip(steps["mnist"][1:], steps["fashion"][1:], strict=True))
    for units in DIMS:
        for sigma, step in zip(SIGMAS[1:], steps["mnist"][1:], strict=True):
            assert setting_config(units, sigma, 9, energy=True).training.langevin.step_size == step
