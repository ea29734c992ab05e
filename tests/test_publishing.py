"""From a run to the book: what is published is whole, and says where it came from."""

import hashlib
import json
import shutil
from dataclasses import replace

import pytest
import torch
from shared import tiny_experiment, tiny_model

from hebm_lib import Trainer, build_model, checkpoint, load_dataset
from hebm_lib.checkpoint import CheckpointError, load_model, pretrained_folder
from hebm_lib.config import EnergyConfig, PriorConfig
from hebm_lib.prior import GaussianPrior, JointEBMPrior
from hebm_lib.reproduction import publishing, results
from hebm_lib.reproduction.publishing import publish_run, thin


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = tiny_experiment(epochs=2)
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    torch.manual_seed(1)
    Trainer(build_model(config.model), config, folder, progress=False).fit(load_dataset("digits", "train"))
    return folder


@pytest.fixture
def book(monkeypatch, tmp_path):
    """Published files go to this test's own folders; measuring takes no time."""
    weights, numbers = tmp_path / "pretrained", tmp_path / "results"
    weights.mkdir(), numbers.mkdir()
    monkeypatch.setattr(checkpoint, "pretrained_folder", lambda: weights)
    monkeypatch.setattr(publishing, "results_folder", lambda: numbers)
    monkeypatch.setattr(publishing, "measure_model", lambda model, *rest: {"mse": 0.25, "training": model.training})
    return weights / "tiny.safetensors", numbers / "tiny.json"


def test_a_finished_run_is_published_with_its_provenance(run, book):
    weights, numbers = book
    assert publish_run(run) == numbers
    result = json.loads(numbers.read_text())
    assert result["name"] == "tiny" and result["metrics"] == {"mse": 0.25, "training": False}
    assert result["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert result["config"] == json.loads((run / "config.json").read_text())
    origin = result["provenance"]
    assert origin["seed"] == 1 and origin["seconds"] > 0
    assert torch.__version__.startswith(origin["versions"]["torch"])
    assert origin["device"] and origin["python"] and "commit" in origin
    assert origin["data"]["train"] == load_dataset("digits", "train").digest()
    assert origin["data"]["images"] == [1437, 360]
    assert result["curves"]["step"] == [5, 10, 15, 20, 25, 28]
    model = load_model(weights)
    assert model.metadata["origin"]["seed"] == 1
    assert sum(p.numel() for p in model.generator.parameters()) == result["parameters"]["generator"]


def test_a_ladder_whose_f_stayed_0_is_published_with_the_gaussian_itself(book, tmp_path):
    """Its chains and jumps, which it never used, stay behind; its bound is the same. Where f was learned all is kept."""
    prior = PriorConfig(spectral_norm=False, start="zero", chains=20, jumps=2, restart=0.1)
    images, sizes = load_dataset("digits", "train"), {}
    for fit_steps in (0, 3):
        energy = EnergyConfig(ladder_epochs=1, fit_steps=fit_steps)
        config = tiny_experiment(model=replace(tiny_model(), prior=prior), epochs=1, energy=energy)
        folder = tmp_path / f"{fit_steps}"
        torch.manual_seed(1)
        Trainer(build_model(config.model), config, folder, progress=False).fit(images)
        publish_run(folder)
        model, before = load_model(book[0]), checkpoint.load_run(folder)
        assert isinstance(model.prior, GaussianPrior if not fit_steps else JointEBMPrior)
        sizes[fit_steps] = book[0].stat().st_size
        if not fit_steps:
            x = images.batch(slice(0, 50))
            bounds = [
                other.elbo(x, generator=torch.Generator().manual_seed(1)).elbo_plus_log_z.mean()
                for other in (model, before)
            ]
            assert abs(bounds[0] - bounds[1]) < 0.05, "half precision moves it so far"
    assert sizes[0] < sizes[3]


def test_numbers_alone(run, book):
    weights, numbers = book
    publish_run(run, weights=False)
    assert not weights.exists()
    assert json.loads(numbers.read_text())["weights_sha256"] is None


def test_provenance_names_no_place_of_this_machine(run, book):
    publish_run(run)
    text = book[1].read_text()
    assert str(run.parent) not in text and "/home/" not in text and "/work/" not in text


def test_an_unfinished_run_is_refused(tmp_path, run, book):
    config = json.loads((run / "config.json").read_text())
    config["training"]["epochs"] = 5
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "checkpoints").symlink_to(run / "checkpoints")
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="stands at epoch 2 of 5: .*resume"):
        publish_run(copy)
    assert not book[0].exists() and not book[1].exists()


def test_a_run_without_its_last_phase_is_refused(tmp_path, book):
    """All epochs are done, but α alone is still to come."""
    config = tiny_experiment(epochs=1, energy=EnergyConfig(end_steps=4), checkpoint_every=2)
    folder = tmp_path / "phased"
    torch.manual_seed(1)
    Trainer(build_model(config.model), config, folder, progress=False).fit(load_dataset("digits", "train"))
    last = sorted((folder / "checkpoints").iterdir())[-1]
    assert last.name.endswith("18")
    shutil.rmtree(last)
    with pytest.raises(ValueError, match="step 16 of 18, .*alone: .*resume"):
        publish_run(folder)


def test_worth_is_added_to_what_is_published(run, book, monkeypatch):
    weights, numbers = book
    monkeypatch.setattr(results, "results_folder", lambda: numbers.parent)
    publish_run(run)
    result = json.loads(numbers.read_text())
    result["metrics"]["elbo_plus_log_z"] = -50.0
    numbers.write_text(json.dumps(result))
    publishing.add_worth(["tiny"], say=lambda _: None)
    found = json.loads(numbers.read_text())
    metrics = found["metrics"]
    assert metrics["mse"] == 0.25 and metrics["elbo"] == -50.0 - metrics["log_z"]["estimate"]
    assert metrics["health"]["steps"][1] == 5 and "commit" in found["worth_provenance"]
    monkeypatch.setattr(publishing, "measure_worth", None)  # nothing is measured twice
    publishing.add_worth([], say=lambda _: None)
    with pytest.raises(ValueError, match="no published weights"):
        publishing.add_worth(["nothing"])


def test_what_is_no_run_is_refused(tmp_path, book):
    with pytest.raises(CheckpointError, match="is not a run"):
        publish_run(tmp_path)


def test_weights_beyond_the_limit_are_refused_unless_numbers_alone(run, book, monkeypatch):
    monkeypatch.setattr(publishing, "MAX_WEIGHTS", 1000)
    with pytest.raises(ValueError, match="3 MB at most"):
        publish_run(run)
    assert not book[0].exists() and not book[1].exists()
    publish_run(run, weights=False)


@pytest.mark.parametrize("moment", ["measure_model", "replace_bytes", "write_atomically"])
def test_an_interrupted_publish_leaves_whole_files(run, book, monkeypatch, moment):
    """Before the first move both old files stay; between the two moves the checksum shows it."""
    weights, numbers = book
    publish_run(run)
    old_weights, old_numbers = b"the weights of an earlier run", '{"weights_sha256": "of the earlier run"}'
    weights.write_bytes(old_weights), numbers.write_text(old_numbers)

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    owner = publishing if moment == "measure_model" else checkpoint
    with monkeypatch.context() as patch:
        patch.setattr(owner, moment, interrupted)
        with pytest.raises(KeyboardInterrupt):
            publish_run(run)
    assert numbers.read_text() == old_numbers
    if moment == "write_atomically":
        load_model(weights)
        assert json.loads(numbers.read_text())["weights_sha256"] != hashlib.sha256(weights.read_bytes()).hexdigest()
    else:
        assert weights.read_bytes() == old_weights
    assert sorted(p.name for folder in (weights.parent, numbers.parent) for p in folder.iterdir()) == [
        "tiny.json",
        "tiny.safetensors",
    ]
    publish_run(run)
    assert json.loads(numbers.read_text())["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()


def test_curves_are_thinned_evenly_and_keep_both_ends():
    history = [{"step": i, "sse": i / 3, "images_per_second": 1.0} for i in range(1, 1001)]
    curves = thin(history, rows=10)
    assert curves["step"] == [1, 112, 223, 334, 445, 556, 667, 778, 889, 1000]
    assert curves["sse"][-1] == 333.3 and "images_per_second" not in curves
    assert thin(history[:4], rows=10)["step"] == [1, 2, 3, 4]
    assert thin([]) == {}


# ---- what stands in the book ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", results.result_names())
def test_published_numbers_belong_to_the_published_weights(name):
    result = results.load_result(name)
    assert result["name"] == name
    if result.get("weights_sha256"):
        content = (pretrained_folder() / f"{name}.safetensors").read_bytes()
        assert hashlib.sha256(content).hexdigest() == result["weights_sha256"]


@pytest.mark.parametrize("name", results.result_names())
def test_published_numbers_say_where_they_came_from(name):
    origin = results.load_result(name)["provenance"]
    assert origin.keys() >= {"commit", "device", "versions", "seed", "seconds", "data"}


def test_published_weights_stay_small():
    sizes = [path.stat().st_size for path in pretrained_folder().glob("*.safetensors")]
    assert all(size <= 3_000_000 for size in sizes) and sum(sizes) <= 64_000_000


def test_an_unknown_result_lists_what_there_is():
    with pytest.raises(ValueError, match="no result is published for 'nothing'; there are"):
        results.load_result("nothing")
