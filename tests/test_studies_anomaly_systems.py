"""Table 3's rows on all that the protocol allows: what each is, and that the setting comes from what was measured."""

import json
from dataclasses import replace

import pytest
from shared import tiny_experiment

from hebm_lib import build_model
from hebm_lib.config import PriorConfig
from hebm_lib.data import load_dataset
from hebm_lib.experiments import load_experiment
from hebm_lib.reproduction.studies import STUDIES, anomaly, anomaly_settings, anomaly_systems
from hebm_lib.reproduction.studies.anomaly_settings import DIMS, best_setting
from hebm_lib.reproduction.studies.anomaly_systems import KINDS, SEEDS, SETTLED, system_config

SETTING = ("161632", 0.2)


def test_all_ten_digits_for_the_joint_ebm_and_the_papers_for_the_others_three_times():
    parts = list(STUDIES["anomaly-systems"].parts)
    assert len(parts) == len(set(parts)) == len(SEEDS) * (10 + 4 * len(anomaly.PAPER_LABELS))
    assert sum(part.startswith("joint-ebm/") for part in parts) == 30 and parts[0] == "joint-ebm/1@1"
    assert all(part.endswith("@1") for part in parts[: len(parts) // 3]), "a whole seed before the next"


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_is_built_of_its_own_entry_at_the_same_budget(kind):
    config = system_config(kind, 4, 2, SETTING if kind in SETTLED else None)
    assert config.training.seed == 2 and config.training.epochs == (5 if kind == "lebm" else 10)
    assert config.data.name == "mnist" and config.data.binary == (kind == "hvae") and config.training.batch_size == 100
    assert config.model.kind == ("joint-ebm" if kind == "vlae" else kind)
    if kind in SETTLED:
        assert config.model.sigma == 0.2 and sum(config.model.latent_dims) == sum(DIMS[SETTING[0]])
    model = build_model(config.model)
    assert model.prior.has_energy == (kind in ("joint-ebm", "vlae", "lebm"))


def test_vlae_is_the_joint_ebms_ladder_from_the_same_first_weights():
    ours, twin = (system_config(kind, 4, 3, SETTING) for kind in ("joint-ebm", "vlae"))
    assert ours.model == twin.model and ours.training.optimiser == twin.training.optimiser
    assert twin.training.energy.ladder_epochs == twin.training.epochs == ours.training.epochs
    assert not twin.training.energy.fit_steps and ours.training.energy.ladder_epochs < ours.training.epochs


def test_hvae_is_that_of_clothes_on_digits():
    ours, clothes = system_config("hvae", 4, 1), load_experiment("fashion-hvae-binary")
    assert ours.model == clothes.model and replace(ours.data, name="fashion-mnist") == clothes.data


def test_the_best_setting_needs_all_of_them_and_counts_the_last_epoch():
    parts = {name: {"tests": {"pooled": {"by_epoch": [0.9, 0.3]}}} for name in STUDIES["anomaly-settings"].parts}
    for label in anomaly.PAPER_LABELS:
        parts[f"222/0.1/{label}"] = {"tests": {"pooled": {"by_epoch": [0.1, 0.31]}}}
    assert best_setting(parts) == ("222", 0.1)
    del parts["2210/0.4/9"]
    with pytest.raises(ValueError, match="2210/0.4/9 is not measured yet: python -m hebm_lib study anomaly-settings"):
        best_setting(parts)


def test_a_part_is_measured_with_the_best_setting(tmp_path, monkeypatch):
    digits = {"train": load_dataset("digits", "train"), "test": load_dataset("digits", "test")}
    monkeypatch.setattr(anomaly_settings, "load_split", lambda config, split: digits[split])
    monkeypatch.setattr(anomaly_systems, "ROOT", tmp_path)
    stored = {name: {"tests": {"pooled": {"by_epoch": [0.5]}}} for name in STUDIES["anomaly-settings"].parts}
    stored["2210/0.1/1"] = {"tests": {"pooled": {"by_epoch": [0.6]}}}
    monkeypatch.setattr(anomaly_systems, "stored_study", lambda name: {"anomaly-settings": {"parts": stored}}[name])
    small, asked = tiny_experiment(epochs=2), []
    small = replace(small, model=replace(small.model, prior=PriorConfig(hidden=())))

    def tiny(kind, label, seed, setting):
        asked.append((kind, label, seed, setting))
        return replace(small, name=f"{kind}-{label}-{seed}", training=replace(small.training, seed=seed))

    monkeypatch.setattr(anomaly_systems, "system_config", tiny)
    found = anomaly_systems.measure_system("vlae/7@2")
    assert asked == [("vlae", 7, 2, ("2210", 0.1))] and found["setting"] == ["2210", 0.1]
    assert json.loads(json.dumps(found)) == found and found["label"] == 7 and "bounds" not in found
    assert all(len(test["by_epoch"]) == 1 for test in found["tests"].values()), "the last half of two epochs"
    stored.clear()
    assert anomaly_systems.measure_system("lebm/7@3")["setting"] is None, (
        "a row with units of its own waits for nothing"
    )
