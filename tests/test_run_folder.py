"""A run's folder: one training at a time, what damages it, what may change, and how another run takes its place."""

import json
import shutil
import subprocess
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, safe_open, save_file
from shared import PYTHON, subprocess_env, tiny_experiment, tiny_model

from hebm_lib import Trainer, build_model, load_dataset, load_run
from hebm_lib.__main__ import main
from hebm_lib.checkpoint import (
    CheckpointError,
    WriteError,
    checkpoints_of,
    latest_checkpoint,
    locked,
    read_config,
    read_provenance,
    read_run,
    save_model,
    set_aside,
    write_atomically,
)
from hebm_lib.config import EnergyConfig, OptimiserConfig, to_dict

CONFIG = tiny_experiment(epochs=1)


def trained(run, config=CONFIG, data=None):
    torch.manual_seed(1)
    data = load_dataset("digits", "train") if data is None else data
    return Trainer(build_model(config.model), config, run, progress=False).fit(data)


def resumed(run, config=CONFIG, **options) -> Trainer:
    return Trainer(build_model(config.model), config, progress=False).resume(run, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("runs") / "run").run_dir


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def names(folder) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


# ---- one training at a time -----------------------------------------------------------------------------------------

HOLD = """
import sys, time
from hebm_lib.checkpoint import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_training_is_told_who_holds_the_run_and_a_dead_one_holds_nothing(run):
    holder = subprocess.Popen([PYTHON, "-c", HOLD, str(run)], env=subprocess_env(), stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        log = (run / "metrics.jsonl").read_text()
        more = tiny_experiment(epochs=2)
        with pytest.raises(FileExistsError, match=rf"is being trained by process {holder.pid} on .* since "):
            resumed(run, more).fit(load_dataset("digits", "train"))
        with pytest.raises(FileExistsError, match=f"process {holder.pid}"), set_aside(run):
            pass
        assert (run / "metrics.jsonl").read_text() == log
    finally:
        holder.kill()
        holder.wait()
    assert (run / ".lock").exists(), "it died without tidying up"
    assert resumed(run, more).fit(load_dataset("digits", "train")).step == 28
    assert not list(run.glob(".lock*"))


def test_two_trainings_of_one_process_do_not_share_a_folder(run):
    with locked(run), pytest.raises(FileExistsError, match="is being trained"):
        resumed(run).fit(load_dataset("digits", "train"))
    with locked(run):
        pass


# ---- damaged folders ------------------------------------------------------------------------------------------------


def damaged_config(**training) -> bytes:
    values = json.loads(json.dumps(to_dict(CONFIG)))
    values["training"] |= training
    return json.dumps(values).encode()


@pytest.mark.parametrize(
    "content, message",
    [
        (b"[1, 2]", "holds a list, expected an object"),
        (b"3", "holds a int, expected an object"),
        (b"null", "holds a NoneType, expected an object"),
        (b'"run"', "holds a str, expected an object"),
        (b"", "is not JSON"),
        (b'{"name": "\xe9t\xe9"}', "is not text in UTF-8"),
        (b'{"training": null}', "does not describe a run of this library: TrainingConfig: expected an object"),
        (b'{"architectures": ["Bert"]}', "RunConfig has no setting architectures"),
        (b'{"name": "x"}', "does not describe a run of this library"),
        (damaged_config(epochs="ten"), "TrainingConfig.epochs: expected a whole number, got 'ten'"),
        (damaged_config(optimiser=[]), "OptimiserConfig: expected an object"),
        (damaged_config(optimiser={"betas": [0.5, 1]}), "below 1"),
    ],
)
def test_a_config_that_is_none_is_named_by_every_command(run, capsys, content, message):
    (run / "config.json").write_bytes(content)
    for read in (read_run, read_config):
        with pytest.raises(CheckpointError, match=message):
            read(run)
    for command in ("resume", "evaluate", "publish"):
        assert main([command, str(run)]) == 2
        assert message in capsys.readouterr().err


def test_what_lies_beside_the_checkpoints_is_none(run):
    good = latest_checkpoint(run)
    for name in ("step-00000099.bak", "step-notes", "step-00000014 copy"):
        shutil.copytree(good, run / "checkpoints" / name)
    (run / "checkpoints" / "step-00000098").write_text("a file")
    (run / "checkpoints" / "step-99.txt").write_text("notes")
    assert checkpoints_of(run) == [good]
    assert resumed(run, tiny_experiment(epochs=2, keep_checkpoints=1)).fit(load_dataset("digits", "train")).step == 28
    assert [p.name for p in checkpoints_of(run)] == ["step-00000028"]
    assert len(names(run / "checkpoints")) == 6, "and nothing of it is pruned with the old checkpoints"


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe"])
def test_a_broken_provenance_is_said_when_a_run_is_opened(run, content):
    (run / "provenance.json").write_bytes(content)
    with pytest.raises(CheckpointError, match="provenance.json .*record of its origin: mend it, or remove"):
        resumed(run)
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(CheckpointError, match=r"provenance\.json"):
        trained(run)


def test_a_missing_provenance_is_written_again(run):
    (run / "provenance.json").unlink()
    resumed(run).fit(load_dataset("digits", "train"))
    assert read_provenance(run)["data"] == {"images": 1437, "shape": [1, 8, 8]}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(run, capsys, value):
    path = latest_checkpoint(run) / "model.safetensors"
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    tensors["generator.to_map.weight"][0, 0] = value
    save_file(tensors, path, metadata=header)
    for load in (load_run, resumed):
        with pytest.raises(CheckpointError, match=r"not finite, in generator\.to_map\.weight.*earlier checkpoint"):
            load(run)
    assert main(["evaluate", str(run)]) == 2
    assert "not finite" in capsys.readouterr().err and not (run / "evaluation.json").exists()


# ---- disks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("unexpected pos 64 vs 0")])
def test_a_full_disk_is_called_one(run, monkeypatch, error):
    good = latest_checkpoint(run)

    def full(state, path):
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(WriteError) as said:
        resumed(run, tiny_experiment(epochs=2)).fit(load_dataset("digits", "train"))
    text = str(said.value)
    assert "step-00000028 could not be written" in text and str(error) in text and "MB free" in text
    assert f"The last good checkpoint, {good}, stays" in text and f"resume {run}" in text
    assert names(run / "checkpoints") == [good.name]


def test_files_are_flushed_through_a_handle_that_may_write(tmp_path, monkeypatch):
    """Windows refuses to flush a handle that was opened for reading; so does this stand-in."""
    import fcntl
    import os

    flushed = []

    def strict(handle):
        assert fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY, "Bad file descriptor"
        flushed.append(handle)

    monkeypatch.setattr(os, "fsync", strict)
    write_atomically(tmp_path / "a.txt", "σ")
    save_model(build_model(tiny_model()), tiny_model(), tmp_path / "b.safetensors")
    assert len(flushed) == 2 and (tmp_path / "a.txt").read_bytes() == "σ".encode()


# ---- what may change ------------------------------------------------------------------------------------------------


def test_free_settings_change_without_leave_and_are_recorded(run):
    free = tiny_experiment(epochs=2, log_every=7, checkpoint_every=3, keep_checkpoints=1)
    resumed(run, free).fit(load_dataset("digits", "train"))
    (change,) = read_provenance(run)["changes"]
    assert change["step"] == 14
    assert change["settings"] == {
        "training.epochs": [1, 2],
        "training.log_every": [5, 7],
        "training.checkpoint_every": [0, 3],
        "training.keep_checkpoints": [2, 1],
    }


CHANGES = {
    "training.batch_size": tiny_experiment(epochs=1, batch_size=50),
    "training.seed": tiny_experiment(epochs=1, seed=2),
    "training.precision": tiny_experiment(epochs=1, precision="bf16-mixed"),
    "training.optimiser.lr_alpha": tiny_experiment(epochs=1, optimiser=OptimiserConfig(lr_alpha=1e-3)),
    "data.classes": replace(CONFIG, data=replace(CONFIG.data, classes=(0, 1))),
    "data.name": replace(CONFIG, data=replace(CONFIG.data, name="mnist")),
    "model.sigma": tiny_experiment(epochs=1, model=tiny_model(sigma=0.3)),
    "model.prior.lipschitz": tiny_experiment(
        epochs=1, model=tiny_model(prior=replace(tiny_model().prior, lipschitz=3.0))
    ),
}


@pytest.mark.parametrize("setting", CHANGES)
def test_another_setting_needs_leave(run, setting):
    with pytest.raises(ValueError, match=rf"with other settings: .*{setting} .* → .*allow_changes=True"):
        resumed(run, CHANGES[setting])
    allowed = resumed(run, CHANGES[setting], allow_changes=True)
    assert set(allowed.record.changes) == {setting}
    allowed.fit(load_dataset("digits", "train"))
    assert set(read_provenance(run)["changes"][0]["settings"]) == {setting}


def test_more_epochs_need_leave_where_the_rate_depends_on_the_last_one(tmp_path):
    """α's rate falls to zero along a cosine over the epochs: going on would start it anew from the middle."""
    cosine = {"energy": EnergyConfig(schedule="cosine")}
    run = trained(tmp_path / "run", tiny_experiment(epochs=1, **cosine)).run_dir
    with pytest.raises(ValueError, match=r"training.epochs 1 → 2.*allow_changes=True"):
        resumed(run, tiny_experiment(epochs=2, **cosine))
    assert resumed(run, tiny_experiment(epochs=2, **cosine), allow_changes=True).epoch == 1


def test_other_images_need_leave(run):
    few = load_dataset("digits", "train").subset(slice(0, 1000))
    with pytest.raises(ValueError, match="data.images 1437 → 1000"):
        resumed(run, tiny_experiment(epochs=2)).fit(few)
    resumed(run, tiny_experiment(epochs=2), allow_changes=True).fit(few)
    origin = read_provenance(run)
    assert origin["data"]["images"] == 1000 and origin["changes"][0]["settings"]["data.images"] == [1437, 1000]


# ---- one run in the place of another --------------------------------------------------------------------------------


def test_a_run_that_ends_well_takes_the_place(run):
    with set_aside(run) as old:
        assert not run.exists() and latest_checkpoint(old)
        trained(run, tiny_experiment(epochs=1, seed=5))
    assert read_config(run).training.seed == 5 and not old.exists()


def test_one_that_fails_before_its_first_checkpoint_gives_it_back(run):
    before = (run / "config.json").read_text()
    with pytest.raises(RuntimeError, match="no luck"), set_aside(run):
        run.mkdir()
        (run / "config.json").write_text("{}")
        raise RuntimeError("no luck")
    assert (run / "config.json").read_text() == before and latest_checkpoint(run)
    assert names(run.parent) == ["run"]


def test_one_that_fails_later_keeps_both(run):
    with pytest.raises(KeyboardInterrupt) as stop, set_aside(run) as old:
        trained(run, tiny_experiment(epochs=1, seed=5))
        raise KeyboardInterrupt
    assert read_config(run).training.seed == 5 and read_config(old).training.seed == 1
    assert stop.value.__notes__ == [f"The earlier run is kept in {old}."]


def test_runs_of_earlier_versions_are_known_by_their_weights(run):
    """They have no mark in their provenance, and may be replaced all the same; a folder of others may not."""
    origin = json.loads((run / "provenance.json").read_text())
    (run / "provenance.json").write_text(json.dumps({k: v for k, v in origin.items() if k != "format"}))
    with set_aside(run):
        pass
    assert not run.exists()
    run.mkdir()
    for name in ("config.json", "provenance.json", "model.safetensors"):
        (run / name).write_text("{}")
    with pytest.raises(FileExistsError, match="not a run of this library"), set_aside(run):
        pass
    assert len(names(run)) == 3
    shutil.rmtree(run)
    run.write_text("a file of that name")
    with pytest.raises(FileExistsError, match="not a run of this library"), set_aside(run):
        pass
