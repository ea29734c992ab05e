"""``make experiments``: skips what is there, goes on where it was interrupted."""

import json
import re

import pytest
import torch
from shared import ROOT, tiny_experiment

from hebm_lib.checkpoint import pretrained_folder
from hebm_lib.experiments import load_experiment
from hebm_lib.reproduction import publishing
from hebm_lib.reproduction import runs as reproduce
from hebm_lib.reproduction.results import result_names
from hebm_lib.training import Trainer


def test_every_run_of_the_book_is_in_the_registry_and_everything_published_is_a_run_of_the_book():
    assert len(set(reproduce.BOOK_RUNS)) == len(reproduce.BOOK_RUNS)
    for name in reproduce.BOOK_RUNS:
        assert load_experiment(name).name == name
    assert set(result_names()) <= set(reproduce.BOOK_RUNS)


def test_weights_are_published_of_what_make_experiments_would_publish_them_of():
    published = {path.stem for path in pretrained_folder().glob("*.safetensors")}
    assert {name for name in reproduce.BOOK_RUNS if "@" not in name and name not in reproduce.NUMBERS_ONLY} == {
        name for name in published if "classifier" not in name
    }


NAMED = re.compile(r"""load_(?:result|seeds|pretrained)\(["']([\w@-]+)["']\)""")


def test_every_run_that_a_page_names_is_a_run_of_the_book():
    """Else `make experiments` would leave a page without its numbers."""
    named = {name for page in ROOT.glob("notebooks/*.ipynb") for name in NAMED.findall(code_of(page))}
    assert {"digits-capped", "mnist-012-capped"} <= named, "the pattern finds what pages read"
    assert named <= set(reproduce.BOOK_RUNS)


def code_of(page) -> str:
    cells = json.loads(page.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def test_what_is_missing_comes_in_the_book_s_order(monkeypatch):
    monkeypatch.setattr(reproduce, "BOOK_RUNS", ("digits", "mnist", "mnist-vae", "mnist@2", "mnist@3"))
    monkeypatch.setattr(reproduce, "result_names", lambda: ["mnist", "mnist@3"])
    assert reproduce.missing_runs() == ["digits", "mnist-vae", "mnist@2"]


@pytest.fixture
def two_runs(monkeypatch):
    """Two tiny runs, of which the second is published already; what is published is only written down."""
    published = []
    monkeypatch.setattr(reproduce, "BOOK_RUNS", ("tiny", "there", "tiny@2"))
    monkeypatch.setattr(reproduce, "result_names", lambda: ["there"])
    monkeypatch.setattr(reproduce, "load_experiment", lambda name: tiny_experiment())
    monkeypatch.setattr(publishing, "publish_run", lambda run, weights: published.append((run.name, weights)))
    return published


def test_what_is_published_is_skipped(two_runs, tmp_path):
    said = []
    reproduce.reproduce_runs(tmp_path, said.append)
    assert two_runs == [("tiny", True), ("tiny@2", False)]
    assert said[0] == "1 of 3 runs are published already" and not (tmp_path / "there").exists()


def test_an_interrupted_run_goes_on(two_runs, tmp_path, monkeypatch):
    save = Trainer._save

    def power_cut(self):
        save(self)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_save", power_cut)
        with pytest.raises(KeyboardInterrupt):
            reproduce.reproduce_runs(tmp_path, lambda text: None)
    assert two_runs == []
    steps = []
    step = Trainer._one_step
    monkeypatch.setattr(Trainer, "_one_step", lambda self, *rest: (steps.append(self.step), step(self, *rest)))
    torch.manual_seed(7)
    assert reproduce.train_or_resume("tiny", tmp_path).name == "tiny"
    assert steps[0] == 14 and len(steps) == 14, "the first epoch is not trained again"
