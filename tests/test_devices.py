"""Where things are: classifiers read images wherever both are, runs record what they compute on, no generator is reset."""

import json
import subprocess

import numpy as np
import pytest
import torch
from shared import tiny_experiment

from hebm_lib import LatentSpec, Trainer, build_model, load_dataset, provenance
from hebm_lib.__main__ import main
from hebm_lib.metrics.classifier import DigitClassifier, accuracy, device_of, fit_classifier, predict, reading_accuracy
from hebm_lib.metrics.latent_classifier import fit_latent_classifier
from hebm_lib.metrics.long_run import frechet_distance, read_images


@pytest.fixture
def elsewhere():
    """A classifier on a device from which nothing comes back: who asks it has sent the images there."""
    return DigitClassifier(size=8).to("meta").eval()


@pytest.mark.parametrize(
    "read",
    [
        lambda c, data: predict(c, data.batch(slice(0, 5))),
        lambda c, data: read_images(c, data.batch(slice(0, 5))),
        lambda c, data: reading_accuracy(c, data),
    ],
)
def test_images_go_to_the_classifier_and_answers_come_back(read, elsewhere):
    """On the meta device the way there works and the way back cannot: that is what is said."""
    with pytest.raises(NotImplementedError, match="meta"):
        read(elsewhere, load_dataset("digits", "test").subset(slice(0, 10)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_classifier_on_the_gpu_reads_images_from_the_cpu():
    data = load_dataset("digits", "test").subset(slice(0, 50))
    here = DigitClassifier(size=8).eval()
    answers, (features, _) = predict(here, data.batch(slice(None))), read_images(here, data.batch(slice(None)))
    there = here.to("cuda")
    assert device_of(there).type == "cuda" and predict(there, data.batch(slice(None))).device.type == "cpu"
    assert (predict(there, data.batch(slice(None))) == answers).float().mean() > 0.9
    again, _ = read_images(there, data.batch(slice(None)))
    assert frechet_distance(again, features) < 1e-2
    assert 0 <= accuracy(there, data) <= 1


def test_a_run_records_the_device_that_it_used(monkeypatch, tmp_path):
    """A machine with a GPU, a run on its CPU."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "some GPU")
    config = tiny_experiment(epochs=1)
    trainer = Trainer(build_model(config.model), config, tmp_path / "run", progress=False)
    asked = {"step": 0, "history": [], "device": trainer.fabric.device}
    with monkeypatch.context() as machine:
        machine.setattr(torch.cuda, "is_available", lambda: True)
        (tmp_path / "run").mkdir()
        trainer.record.open(tmp_path / "run", load_dataset("digits", "train"), **asked)
    assert json.loads((tmp_path / "run" / "provenance.json").read_text())["device"].startswith("CPU")
    assert provenance.provenance("cuda")["device"] == "some GPU"


def test_outside_a_clone_nothing_is_known_of_changes(monkeypatch):
    def no_git(*arguments, **options):
        raise subprocess.CalledProcessError(128, "git")

    monkeypatch.setattr(subprocess, "run", no_git)
    found = provenance.provenance()
    assert found["commit"] is None and found["uncommitted_changes"] is None


def test_evaluate_takes_a_device(tmp_path, capsys):
    config = tiny_experiment(epochs=1)
    torch.manual_seed(1)
    Trainer(build_model(config.model), config, tmp_path / "run", progress=False).fit(load_dataset("digits", "train"))
    assert main(["evaluate", str(tmp_path / "run"), "--device", "cpu"]) == 0
    assert main(["evaluate", str(tmp_path / "run"), "--device", "toaster"]) == 2
    assert "--device toaster" in capsys.readouterr().err
    if not torch.cuda.is_available():
        assert main(["evaluate", str(tmp_path / "run"), "--device", "cuda"]) == 2
        assert "no CUDA device" in capsys.readouterr().err


def test_fitting_a_classifier_leaves_the_global_noise_alone():
    data, state = load_dataset("digits", "train").subset(slice(0, 256)), torch.get_rng_state()
    one, other = (fit_classifier(data, epochs=1, progress=False) for _ in range(2))
    fit_latent_classifier(
        torch.randn(100, 3, generator=torch.Generator().manual_seed(1)), torch.arange(100) % 2, epochs=1
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("seeding", ["fit_classifier", "fit_latent_classifier"])
def test_no_gpu_generator_is_seeded(seeding, monkeypatch):
    seeded = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    if seeding == "fit_classifier":
        fit_classifier(load_dataset("digits", "train").subset(slice(0, 256)), epochs=1, progress=False)
    else:
        fit_latent_classifier(torch.randn(100, 3), torch.arange(100) % 2, epochs=1)
    assert not seeded


def test_a_level_may_be_any_whole_number():
    spec, z = LatentSpec((1, 2)), torch.zeros(2, 3)
    for level in (2, np.int64(2), torch.tensor(2).item(), (np.int64(2),)):
        assert spec.redraw(z, level, torch.ones(2, 3)).tolist() == [[0, 1, 1]] * 2
    assert spec.traverse(z, np.int64(1), np.int64(0), torch.ones(1)).shape == (2, 1, 3)
