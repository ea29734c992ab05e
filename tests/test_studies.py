"""Studies: what is stored is skipped, what is interrupted goes on, new weights are measured again."""

import json
import math
from dataclasses import replace

import matplotlib.pyplot as plt
import pytest
import torch
from safetensors.torch import save_file
from shared import Here, tiny_experiment, tiny_model

from hebm_lib import build_model
from hebm_lib.__main__ import main
from hebm_lib.config import PriorConfig
from hebm_lib.experiments import load_experiment
from hebm_lib.metrics.attack import latent_attack
from hebm_lib.metrics.classifier import DigitClassifier
from hebm_lib.reproduction import studies
from hebm_lib.reproduction.bench import family as bench_family
from hebm_lib.reproduction.results import result_names
from hebm_lib.reproduction.studies import STUDIES, ablations
from hebm_lib.reproduction.studies import latent_attack as attack_study
from hebm_lib.reproduction.studies import study as room
from hebm_lib.reproduction.studies.study import Study, load_study, open_parts, run_study, stored_study
from hebm_lib.training import DivergenceError, Trainer


@pytest.fixture
def book(tmp_path, monkeypatch):
    """An empty book and an empty folder of weights."""
    for name in ("results", "weights"):
        (tmp_path / name).mkdir()
    (tmp_path / "book" / "images").mkdir(parents=True)
    monkeypatch.setattr(room, "results_folder", lambda: tmp_path / "results")
    monkeypatch.setattr(room, "pretrained_folder", lambda: tmp_path / "weights")
    monkeypatch.setattr(room, "ROOT", tmp_path)
    return tmp_path


@pytest.fixture
def measured():
    return []


@pytest.fixture
def study(measured):
    def measure(part):
        measured.append(part)
        return {"value": len(measured)}

    return Study("tiny", "a tiny study", {"alone": (), "one": ("a",), "both": ("a", "b")}, measure)


def publish(book, name, value=1.0, **metadata):
    header = {"format": "hebm-1", "config": "{}", "metadata": json.dumps(metadata)}
    save_file({"w": torch.tensor([value])}, book / "weights" / f"{name}.safetensors", metadata=header)


def test_a_part_waits_for_its_models_and_what_is_stored_is_skipped(book, study, measured):
    said = []
    publish(book, "a")
    run_study(study, say=said.append)
    assert measured == ["alone", "one"] and load_study("tiny") == {"alone": {"value": 1}, "one": {"value": 2}}
    assert said[0] == "tiny: both waits for b" and said[-1] == "tiny: 2 of 3 parts are stored"
    publish(book, "b")
    run_study(study, say=said.append)
    run_study(study, say=said.append)
    assert measured == ["alone", "one", "both"] and list(load_study("tiny")) == ["alone", "one", "both"]


def test_new_weights_are_measured_again(book, study, measured):
    publish(book, "a")
    publish(book, "b")
    run_study(study, say=lambda text: None)
    publish(book, "b", note="the same weights with another header")
    assert open_parts(study) == ([], {})
    publish(book, "b", 2.0)
    assert open_parts(study) == (["both"], {})
    run_study(study, say=lambda text: None)
    assert measured == ["alone", "one", "both", "both"]
    run_study(study, again=True, say=lambda text: None)
    assert measured[4:] == ["alone", "one", "both"]


def test_an_interrupted_study_keeps_what_it_has(book, study, measured):
    publish(book, "a")
    publish(book, "b")

    def power_cut(part):
        if part == "both":
            raise KeyboardInterrupt
        return study.measure(part)

    with pytest.raises(KeyboardInterrupt):
        run_study(Study(study.name, study.description, study.parts, power_cut), say=lambda text: None)
    assert list(load_study("tiny")) == ["alone", "one"]
    run_study(study, say=lambda text: None)
    assert measured == ["alone", "one", "both"]


def test_a_part_that_diverges_takes_no_other_with_it(book, study, measured):
    (first, *rest), said = study.parts, []

    def measure(part):
        if part == first:
            raise DivergenceError("training diverged at step 8")
        return study.measure(part)

    alone = Study(study.name, study.description, {part: () for part in study.parts}, measure)
    with pytest.raises(DivergenceError, match=f"training diverged in {first}; the other parts are stored"):
        run_study(alone, say=said.append)
    assert set(load_study(study.name)) == set(rest)
    assert any("training diverged at step 8" in line for line in said)
    assert open_parts(alone)[0] == [first], "it is tried again the next time"


def test_provenance_stands_beside_every_part(book, study):
    publish(book, "a")
    run_study(study, say=lambda text: None)
    stored = stored_study("tiny")
    assert (stored["name"], stored["description"]) == ("tiny", "a tiny study")
    assert stored["provenance"].keys() == {"alone", "one"}
    assert stored["provenance"]["one"].keys() >= {"commit", "device", "versions", "seconds", "weights"}
    assert len(stored["provenance"]["one"]["weights"]["a"]) == 64 and stored["provenance"]["alone"]["weights"] == {}
    assert str(book) not in json.dumps(stored)


def test_the_picture_is_drawn_from_what_is_stored(book, study):
    seen = []

    def draw(parts):
        seen.append(parts)
        return plt.figure(figsize=(1, 1))

    drawn = Study("tiny", "", {"alone": ()}, study.measure, draw)
    picture = book / "book" / "images" / "tiny.png"
    for _ in range(2):
        run_study(drawn, say=lambda text: None)
        assert seen == [{"alone": {"value": 1}}] and picture.stat().st_size > 100, "drawn once"
    picture.unlink()
    run_study(drawn, say=lambda text: None)
    assert len(seen) == 2 and picture.is_file(), "and again where it is missing"
    assert not plt.get_fignums()


def test_nothing_stored_says_what_to_do(book):
    with pytest.raises(ValueError, match="python -m hebm_lib study nothing"):
        load_study("nothing")


def test_the_command(book, study, measured, monkeypatch, capsys):
    monkeypatch.setattr(studies, "STUDIES", {"tiny": study})
    assert main(["study", "tiny"]) == 0 and main(["study"]) == 0
    assert measured == ["alone"] and "tiny: one waits for a" in capsys.readouterr().out
    assert main(["study", "--again"]) == 0 and measured == ["alone", "alone"]
    assert main(["study", "huge"]) == 2
    assert capsys.readouterr().err.strip() == "error: there is no study 'huge'; there are tiny"


def test_a_precision_reaches_the_trainings_and_nothing_else(book, monkeypatch):
    asked = {}

    def train(part, *, precision):
        asked[part] = precision
        return {}

    read = Study("read", "", {"r": ()}, lambda part: asked.setdefault(part, "none") and {})
    monkeypatch.setattr(studies, "STUDIES", {"tiny": Study("tiny", "", {"t": ()}, train, trains=True), "read": read})
    assert main(["study", "--precision", "bf16-mixed"]) == 0 and asked == {"t": "bf16-mixed", "r": "none"}


# ---- the book's own -------------------------------------------------------------------------------------------------


def test_every_study_names_itself_and_is_no_run():
    for name, study in studies.STUDIES.items():
        assert study.name == name and study.description and study.parts
        assert f"study-{name}" not in result_names()


@pytest.mark.parametrize("name", studies.STUDIES)
def test_stored_numbers_belong_to_the_published_weights(name):
    stored, study = stored_study(name), studies.STUDIES[name]
    assert stored["parts"].keys() <= study.parts.keys() and stored["parts"].keys() == stored["provenance"].keys()
    stale = set(open_parts(study)[0]) & stored["parts"].keys()
    assert not stale, f"python -m hebm_lib study {name}"


def test_pairs_are_of_two_classes_and_nobody_is_in_two(digits):
    first, second = attack_study.draw_pairs(digits, 40)
    assert len(first) == len(second) == 40 == len(set(first.tolist()))
    assert not set(first.tolist()) & set(second.tolist())
    assert (digits.labels[first] != digits.labels[second]).all()
    assert torch.equal(first, attack_study.draw_pairs(digits, 40)[0])


def test_an_attack_on_a_level_in_numbers(digits):
    """A model that only ever reads its top level: attacks on the bottom change nothing that anyone sees."""
    model = build_model(tiny_model()).eval()
    reader = DigitClassifier(size=8).eval()
    decode = model.decode
    model.decode = lambda z: decode(torch.cat([0 * z[:, :2], z[:, 2:]], 1))
    first, second = attack_study.draw_pairs(digits, 6)
    x, target = digits.batch(first), digits.batch(second)
    found = {}
    for level in (1, 2):
        attack = latent_attack(model, x, target, level, budgets=(0.3,), steps=30)
        found[level] = attack_study.measure_attack(model, reader, x, target, digits.labels[second], attack.images[0])
    assert found[1].keys() == {"way", "changed", "hit", "seen", "noise"}
    assert found[2]["way"] > found[1]["way"]
    untouched = attack_study.measure_attack(model, reader, x, target, digits.labels[second], x)
    assert untouched["way"] == untouched["changed"] == untouched["seen"] == untouched["noise"] == 0


def test_all_levels_are_attacked_within_all_budgets(monkeypatch, digits):
    monkeypatch.setattr(attack_study, "load_classifier", lambda: DigitClassifier(size=8).eval())
    monkeypatch.setattr(attack_study, "load_split", lambda data, split: digits)
    monkeypatch.setattr(attack_study, "PAIRS", 12)
    monkeypatch.setattr(attack_study, "STEPS", 10)
    found = attack_study.measure_latent_attack("digits")
    assert json.loads(json.dumps(found)) == found and found["levels"].keys() == {"1", "2"} and found["pairs"] == 12
    for level in found["levels"].values():
        left = [at["divergence"] for at in level["budgets"].values()]
        assert level["start"] >= max(left) and left[2] < level["start"], "d = 0 is among the iterates"
        assert level["budgets"].keys() == {"0.1", "0.3", "0.5"} and all(
            at["longer"] > 0 for at in level["budgets"].values()
        )


# ---- the ablations --------------------------------------------------------------------------------------------------


def test_an_ablation_is_trained_and_measured(monkeypatch, tmp_path, digits):
    """A tiny entry in the place of the registry's; measured again, the finished run is not trained again."""
    config = tiny_experiment(model=tiny_model(prior=PriorConfig(hidden=(8, 8), chains=20)))
    monkeypatch.setattr(ablations, "load_experiment", lambda name: config)
    monkeypatch.setattr(ablations, "load_split", lambda data, split: digits.subset(slice(0, 400)))
    monkeypatch.setattr(ablations, "load_classifier", lambda: DigitClassifier(size=8).eval())
    monkeypatch.setattr(ablations, "ROOT", tmp_path)
    torch.manual_seed(7)
    found = ablations.measure_ablation("tiny@2")
    assert found["parameters"] == 5 * 8 + 8 + 8 * 8 + 8 + 8 + 1 and found["images"] == 400
    assert found["distance"]["persistent"] > 0 and json.loads(json.dumps(found)) == found
    torch.manual_seed(7)
    again = ablations.measure_ablation("tiny@2")
    assert again["seconds"] == found["seconds"] and again["mse"] == found["mse"]
    assert (tmp_path / "runs" / "tiny@2" / "metrics.jsonl").is_file()


def test_a_training_that_diverges_is_a_result(monkeypatch, tmp_path, digits):
    """The second epoch's energy is beyond a bound that the first one's was not: what is measured is the first's end."""
    config = tiny_experiment(log_every=1)
    monkeypatch.setattr(ablations, "load_experiment", lambda name: config)
    monkeypatch.setattr(ablations, "load_split", lambda data, split: digits.subset(slice(0, 400)))
    monkeypatch.setattr(ablations, "load_classifier", lambda: DigitClassifier(size=8).eval())
    monkeypatch.setattr(ablations, "ROOT", tmp_path)
    real = Trainer._check

    def check(self, row):
        real(self, row | ({"f_prior": 1e9} if self.step == 6 else {}))

    monkeypatch.setattr(Trainer, "_check", check)
    found = ablations.measure_ablation("tiny")
    assert found["diverged"]["step"] == 6 and "f_prior" in found["diverged"]["why"] and found["mse"] > 0


def test_every_ablation_has_three_seeds_and_one_change():
    parts = STUDIES["ablations"].parts
    assert len(parts) == 40 and all(models == () for models in parts.values())
    base = load_experiment("ablation")
    for name in parts.keys() - {"time"}:
        config = load_experiment(name)
        if "free-slow" in name:  # the one that needs a second change to be trained to its end
            slow = config.training.optimiser
            assert slow.lr_alpha == pytest.approx(base.training.optimiser.lr_alpha / 10)
            config = replace(config, training=replace(config.training, optimiser=base.training.optimiser))
        changed = [
            part
            for part, ours, theirs in (
                ("prior", config.model.prior, base.model.prior),
                ("langevin", config.training.langevin, base.training.langevin),
            )
            if ours != theirs
        ]
        assert len(changed) == (0 if name.startswith("ablation@") or name == "ablation" else 1), name
        same = replace(config.model, prior=base.model.prior), replace(config.training, langevin=base.training.langevin)
        assert same[0] == base.model and replace(same[1], seed=1) == base.training


def test_over_seeds():
    parts = {"a": {"x": {"y": 1.0}}, "a@2": {"x": {"y": 3.0}}, "ab": {"x": {"y": 9.0}}}
    assert ablations.over_seeds(parts, "a", "x", "y") == (2.0, pytest.approx(2**0.5))
    mean, sd = ablations.over_seeds(parts, "ab", "x", "y")
    assert mean == 9.0 and math.isnan(sd) and all(map(math.isnan, ablations.over_seeds(parts, "c", "x", "y")))


def test_seeds_are_paired():
    parts = {"a": {"x": 5.0}, "a@2": {"x": 7.0}, "b@2": {"x": 4.0}, "b": {"x": 1.0}, "b@3": {"x": 99.0}}
    assert ablations.against(parts, "a", "b", "x") == (3.5, pytest.approx(0.5**0.5))


def test_ablations_are_timed_in_one_run(monkeypatch):
    """Two of the registry's entries, one round: a step, and for the one with an energy its chains."""
    monkeypatch.setattr(ablations, "NAMES", ("ablation-h0", "ablation-k15"))
    monkeypatch.setattr(bench_family, "IN_A_ROW", 1)
    monkeypatch.setattr(bench_family, "Elsewhere", Here)
    models = ablations.time_ablations(rounds=2)["models"]
    assert models.keys() == {"ablation-h0", "ablation-k15"} and "chain_ms" not in models["ablation-h0"]
    assert 0 < models["ablation-k15"]["chain_ms"] < models["ablation-k15"]["step_ms"]
