"""``python -m hebm_lib``: what it prints, what it writes, how it ends."""

import contextlib
import json
import signal
import subprocess
import time

import pytest
import torch
from forked_python import start_python
from shared import PYTHON, ROOT, subprocess_env

from hebm_lib import checkpoint, load_run
from hebm_lib.__main__ import main
from hebm_lib.checkpoint import latest_checkpoint, load_state, read_config
from hebm_lib.reproduction import commands, publishing

QUICK = ["--training.epochs", "1", "--training.langevin.steps", "3", "--training.log_every", "7"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_list_names_everything(capsys):
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    for name in ("digits", "svhn-hs", "svhn-fid", "mnist", "fashion-mnist"):
        assert name in text


def test_as_a_command():
    done = subprocess.run(
        [PYTHON, "-m", "hebm_lib", "train", "digit"], cwd=ROOT, env=subprocess_env(), capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.strip() == "error: there is no experiment 'digit': did you mean digits?"
    assert done.stdout == ""


def test_a_reader_of_the_output_may_leave_early():
    """`… list | head -1`: no error, and no message at exit."""
    command = f"{PYTHON} -u -m hebm_lib list | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, env=subprocess_env(), capture_output=True, text=True)
    assert (done.returncode, done.stderr, len(done.stdout.splitlines())) == (0, "", 1)


def test_train_resume_evaluate(here, capsys):
    assert main(["train", "digits-capped", *QUICK]) == 0
    run = here / "runs" / "digits-capped"
    config = read_config(run)
    assert config.name == "digits-capped" and config.training.epochs == 1 and config.training.langevin.steps == 3
    assert load_state(latest_checkpoint(run))["step"] == 14
    assert "python -m hebm_lib evaluate" in capsys.readouterr().out

    before = latest_checkpoint(run).stat().st_mtime_ns
    assert main(["train", "digits-capped", *QUICK]) == 2, "a run is not overwritten"
    assert "holds checkpoints of an earlier run" in capsys.readouterr().err
    assert latest_checkpoint(run).stat().st_mtime_ns == before

    (here / "digits-capped").mkdir()
    assert main(["resume", "digits-capped"]) == 0, (
        "a name stands for its folder under runs/, whatever else is called so"
    )
    assert load_state(latest_checkpoint(run))["step"] == 14

    capsys.readouterr()
    assert main(["evaluate", "digits-capped"]) == 0
    table = capsys.readouterr().out
    metrics = json.loads((run / "evaluation.json").read_text())
    assert f"{metrics['mse']:.4g}" in table and "latent classifier" in table
    assert len(metrics["kl"]) == len(metrics["latent_accuracy"]) == 2
    pictures = {path.name for path in run.glob("*.png")}
    assert pictures >= {"samples.png", "reconstructions.png", "hierarchy_level_1.png", "hierarchy_level_2.png"}
    assert pictures >= {"energy_profile.png", "curves.png"}


def test_resuming_an_interrupted_run_from_the_command_line(here, monkeypatch):
    """The config on disk says how long: a run stopped after its first epoch goes on to its second."""
    from hebm_lib.training import Trainer

    settings = ["--training.epochs", "2", *QUICK[2:]]
    save = Trainer._save

    def stop(self):
        save(self)
        if self.step == 14:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_save", stop)
        assert main(["train", "digits-capped", *settings]) == 130
    assert main(["resume", "runs/digits-capped"]) == 0
    assert main(["train", "digits-capped", "--run-dir", "whole", *settings]) == 0
    one, two = (load_run(here / folder).state_dict() for folder in ("runs/digits-capped", "whole"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_overwrite_and_settings_in_both_forms(here):
    assert main(["train", "digits-capped", *QUICK]) == 0
    assert (
        main(["train", "digits-capped", "--overwrite", "--set", "training.epochs=1", "training.langevin.steps=2"]) == 0
    )
    assert read_config(here / "runs" / "digits-capped").training.langevin.steps == 2


def test_a_seed_in_the_name_has_its_own_folder(here):
    assert main(["train", "digits-capped@5", *QUICK]) == 0
    assert read_config(here / "runs" / "digits-capped@5").training.seed == 5


def test_a_pack_is_trained_without_new_code(here, monkeypatch):
    import numpy as np
    from shared import write_pack

    images = np.random.default_rng(0).integers(0, 256, (120, 8, 8), dtype=np.uint8)
    write_pack(here / "packs", "my-own", images)
    monkeypatch.setenv("HEBM_DATA", str(here / "packs"))
    assert main(["train", "digits-capped", *QUICK, "--data.name", "my-own", "--run-dir", "runs/own"]) == 0
    assert load_state(latest_checkpoint(here / "runs" / "own"))["step"] == 1


def test_divergence_has_an_exit_code_of_its_own(here, capsys):
    wild = ["--training.energy_bound", "1e-6", "--training.epochs", "3", *QUICK[2:]]
    assert main(["train", "digits-capped", *wild]) == 3
    assert "diverged at step 7" in capsys.readouterr().err


def test_overwriting_keeps_the_old_run_until_the_new_one_can_start(here, capsys):
    """What is wrong with the request shows first: data that are missing, too few of them, a setting that is refused."""
    assert main(["train", "digits-capped", *QUICK]) == 0
    before = sorted((p.relative_to(here), p.stat().st_mtime_ns) for p in (here / "runs").rglob("*") if p.is_file())
    for wrong in (["--data.name", "nowhere"], ["--training.batch_size", "5000"], ["--training.kl_weights", "1.0"]):
        with contextlib.suppress(SystemExit):
            assert main(["train", "digits-capped", "--overwrite", *QUICK, *wrong]) == 2
        after = sorted((p.relative_to(here), p.stat().st_mtime_ns) for p in (here / "runs").rglob("*") if p.is_file())
        assert after == before, wrong
    assert [p.name for p in (here / "runs").iterdir()] == ["digits-capped"]


def test_overwriting_leaves_what_no_run_wrote(here, capsys):
    """Another model's folder with a config.json is not touched; a note in a run's own folder outlives the run."""
    foreign = here / "runs" / "digits-capped"
    foreign.mkdir(parents=True)
    (foreign / "config.json").write_text('{"architectures": ["BertModel"]}')
    (foreign / "thesis.tex").write_text("three years")
    assert main(["train", "digits-capped", "--overwrite", *QUICK]) == 2
    assert "not a run of this library" in capsys.readouterr().err
    assert sorted(p.name for p in foreign.iterdir()) == ["config.json", "thesis.tex"]

    foreign.rename(here / "runs" / "bert")
    assert main(["train", "digits-capped", *QUICK]) == 0
    (foreign / "thesis.tex").write_text("three years")
    assert main(["train", "digits-capped", "--overwrite", *QUICK]) == 0
    assert "holds files that no run wrote" in capsys.readouterr().out
    kept = here / "runs" / "digits-capped.replaced"
    assert [p.name for p in kept.iterdir()] == ["thesis.tex"] and not (foreign / "thesis.tex").exists()


def test_a_setting_before_the_name_is_no_name(here, capsys):
    assert main(["train", "--training.epochs", "1", *QUICK[2:], "digits-capped"]) == 0
    assert main(["train", "training.epochs=1", "digits-capped", "--overwrite", *QUICK[2:]]) == 0
    assert read_config(here / "runs" / "digits-capped").training.epochs == 1
    assert main(["train", "--training.epochs", "3"]) == 2
    assert "Name the experiment first" in capsys.readouterr().err


def test_a_run_goes_on_with_more_epochs_and_with_other_settings_only_when_told(here, capsys):
    assert main(["train", "digits-capped", *QUICK]) == 0
    run = here / "runs" / "digits-capped"
    assert main(["resume", "digits-capped", "--training.epochs", "2"]) == 0
    assert load_state(latest_checkpoint(run))["step"] == 28
    assert main(["resume", "digits-capped", "--training.epochs", "3", "--training.batch_size", "200"]) == 2
    assert "training.batch_size 100 → 200" in capsys.readouterr().err
    # A config that was edited by hand is a changed one, too.
    config = json.loads((run / "config.json").read_text())
    config["training"] |= {"epochs": 3, "seed": 9}
    (run / "config.json").write_text(json.dumps(config))
    assert main(["resume", "digits-capped"]) == 2
    assert "training.seed 1 → 9" in capsys.readouterr().err
    assert main(["resume", "digits-capped", "--allow-changes"]) == 0
    first, second = json.loads((run / "provenance.json").read_text())["changes"]
    assert first == {"step": 14, "settings": {"training.epochs": [1, 2]}}
    assert second == {"step": 28, "settings": {"training.epochs": [2, 3], "training.seed": [1, 9]}}


def test_a_console_without_greek_letters_prints_what_it_can():
    script = """if True:
        from hebm_lib.__main__ import main
        print([main(["list"]), main(["train", "σ"])])
        main(["train", "digits", "--help"])
    """
    environment = subprocess_env(PYTHONIOENCODING="cp1252")
    done = subprocess.run([PYTHON, "-c", script], env=environment, capture_output=True)
    assert done.returncode == 0 and b"Error" not in done.stderr
    assert b"[0, 2]" in done.stdout and b"--training.epochs" in done.stdout
    assert b"there is no experiment '?'" in done.stderr


@pytest.mark.parametrize("sent, code, said", [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM")])
def test_a_stopped_training_saves_and_says_how_to_go_on(tmp_path, sent, code, said):
    settings = ["--training.epochs", "200", "--training.log_every", "1"]
    command = ["-m", "hebm_lib", "train", "digits-capped", "--run-dir", str(tmp_path / "run"), *settings]
    process = start_python(command, tmp_path)
    deadline, log = time.monotonic() + 120, tmp_path / "run" / "metrics.jsonl"
    while time.monotonic() < deadline and not (log.exists() and log.stat().st_size):
        time.sleep(0.02)
    process.send_signal(sent)
    _, error = process.communicate(timeout=60)
    assert process.returncode == code, error
    assert "Traceback" not in error
    last = latest_checkpoint(tmp_path / "run")
    assert f"stopped by {said} at step {load_state(last)['step']}. Saved in {last}" in error
    assert f"python -m hebm_lib resume {tmp_path / 'run'}" in error
    assert not list((tmp_path / "run").glob(".lock*"))


FULL_DISK = """
import resource, signal, sys
from hebm_lib.__main__ import main

def fill(*_):  # from now on no file grows past 20 kB
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

from hebm_lib.training import Trainer
save = Trainer._save
def save_once(self):
    save(self)
    fill()
Trainer._save = save_once
sys.exit(main(sys.argv[1:]))
"""


def test_a_full_disk_names_folder_and_what_is_safe(tmp_path):
    pytest.importorskip("resource")
    run, script = tmp_path / "run", tmp_path / "full.py"
    script.write_text(FULL_DISK)
    settings = ["--run-dir", str(run), "--training.epochs", "2", *QUICK[2:]]
    done = start_python([str(script), "train", "digits-capped", *settings], tmp_path)
    _, error = done.communicate(timeout=300)
    assert done.returncode == 2, error
    assert "Traceback" not in error
    assert [p.name for p in (run / "checkpoints").iterdir()] == ["step-00000014"], "nothing half written is left"
    assert f"{run / 'checkpoints' / 'step-00000028'}" in error and "could not be written" in error
    assert f"The last good checkpoint, {latest_checkpoint(run)}, stays" in error and "MB free" in error
    assert load_run(run).latents.dims == (2, 8)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["train"], "train what"),
        (["train", "mnits"], "there is no experiment 'mnits'"),
        (["train", "digits-capped", "--data.name", "digitz", "--run-dir", "x"], "did you mean digits"),
        (["train", "digits-capped", "--training.batch_size", "5000", "--run-dir", "x"], "fewer than one batch"),
        (["train", "digits-capped", "--model.sigma", "-1"], "sigma must be positive"),
        (["resume", "nowhere"], "is not a run"),
        (["evaluate", "nowhere"], "is not a run"),
        (["publish", "nowhere"], "is not a run"),
        (["fetch", "svhn-11k"], "not downloaded by torchvision"),
    ],
)
def test_a_wrong_request_ends_with_code_2_and_one_line(here, capsys, arguments, message):
    try:
        code = main(arguments)
    except SystemExit as stop:  # argparse and tyro leave this way
        code = stop.code
    captured = capsys.readouterr()
    assert code == 2
    assert message in captured.err + captured.out
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["trian"],
        ["list", "more"],
        ["train", "digits-capped", "--training.epochz", "1"],
        ["train", "digits-capped", "9"],
    ],
)
def test_a_wrong_command_or_option_ends_with_code_2(here, capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert not (here / "runs").exists()


@pytest.mark.parametrize("arguments", [["--help"], ["train", "digits-capped", "--help"]])
def test_help(capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert ("--training.epochs" in text and "--model.sigma" in text) if "train" in arguments else "publish" in text


def test_publish(here, monkeypatch, capsys):
    assert main(["train", "digits-capped", *QUICK]) == 0
    for folder in ("weights", "numbers"):
        (here / folder).mkdir()
    monkeypatch.setattr(checkpoint, "pretrained_folder", lambda: here / "weights")
    monkeypatch.setattr(publishing, "results_folder", lambda: here / "numbers")
    monkeypatch.setattr(publishing, "measure_model", lambda *a: {"mse": 0.1})
    written = []
    monkeypatch.setattr(commands, "write_scoreboard", lambda: written.append(True))
    assert main(["publish", "digits-capped"]) == 0
    assert (here / "weights" / "digits-capped.safetensors").is_file()
    assert json.loads((here / "numbers" / "digits-capped.json").read_text())["metrics"] == {"mse": 0.1}
    assert written


def test_a_short_try_of_a_run_in_phases_scales_them(here):
    assert main(["train", "digits", "--training.epochs", "2", "training.langevin.steps=2"]) == 0
    training = read_config(here / "runs" / "digits").training
    assert (training.epochs, training.energy.ladder_epochs) == (2, 1)
    assert training.energy.fit_steps == training.energy.end_steps == round(2000 * 2 / 150)
    assert load_state(latest_checkpoint(here / "runs" / "digits"))["step"] == 2 * 14 + 2 * training.energy.fit_steps
    own = ["--training.epochs", "2", "--training.energy.ladder_epochs", "2", "--training.energy.fit_steps", "0"]
    assert main(["train", "digits", "--overwrite", *own, "--training.energy.end_steps=3"]) == 0
    energy = read_config(here / "runs" / "digits").training.energy
    assert (energy.ladder_epochs, energy.fit_steps, energy.end_steps) == (2, 0, 3), "settings of phases win"
