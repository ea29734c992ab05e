"""A run's folder: what it says of itself, who is training in it, and how another run takes its place."""

import contextlib
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open

from hebm_lib.checkpoint.files import CheckpointError, read_json, saying_why, write_atomically
from hebm_lib.config import ExperimentConfig, RunConfig, from_dict

__all__ = [
    "FORMAT",
    "checkpoints_of",
    "latest_checkpoint",
    "locked",
    "read_config",
    "read_provenance",
    "read_run",
    "set_aside",
    "write_provenance",
]

FORMAT = "hebm-1"
"""The mark of this library's files of weights and of its runs."""
LOCK, HOLDER = ".lock", ".locked-by.json"
WRITTEN = {
    *("config.json", "provenance.json", "metrics.jsonl", "evaluation.json", "evaluation.md", LOCK, HOLDER),
    *("samples.png", "reconstructions.png", "energy_profile.png", "curves.png"),
}
"""What the library writes into a run's folder, beside checkpoints and ``hierarchy_level_….png``."""


# ---- what a folder says ---------------------------------------------------------------------------------------------


def checkpoints_of(run_dir: Path) -> list[Path]:
    """The whole checkpoints of a run, oldest first. Copies, notes and cut-off ones beside them are none."""
    found = [p for p in (Path(run_dir) / "checkpoints").glob("step-*") if re.fullmatch(r"step-\d{8,}", p.name)]
    return sorted((p for p in found if p.is_dir()), key=lambda p: int(p.name.removeprefix("step-")))


def latest_checkpoint(run_dir: Path) -> Path:
    """The newest whole checkpoint of a run; raises `CheckpointError` where there is none."""
    found = checkpoints_of(run_dir)
    if not found:
        raise CheckpointError(f"{run_dir} holds no checkpoint yet")
    return found[-1]


def read_run(run_dir: Path) -> RunConfig:
    """What a run's folder says of itself.

    Raises:
        CheckpointError: if there is no config.json, or it is not one of this library.
    """
    path = Path(run_dir) / "config.json"
    try:
        return from_dict(RunConfig, read_json(path))
    except FileNotFoundError:
        raise CheckpointError(f"{run_dir} is not a run: it has no config.json") from None
    except CheckpointError:
        raise
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path} does not describe a run of this library: {error}") from error


def read_config(run_dir: Path) -> ExperimentConfig:
    """The experiment that a run's folder belongs to.

    Raises:
        CheckpointError: as `read_run`, and for a run on data that were given in code, or of a model that the library cannot
            build: such a run goes on, and is measured, from code.
    """
    run = read_run(run_dir)
    if run.foreign is not None:
        raise CheckpointError(
            f"{run_dir} is a run of {run.foreign}, which the library cannot build: use it from Python with "
            f'load_run("{run_dir}", into=model), or Trainer(model, TrainingConfig(…)).resume("{run_dir}")'
        )
    if run.experiment is None:
        raise CheckpointError(
            f"{run_dir} was trained on data that were given in code, so a command cannot read them again: use it from Python "
            f'with load_run("{run_dir}")'
        )
    return run.experiment


def read_provenance(run_dir: Path) -> dict:
    """With what a run was made, without the mark of its format; empty for a folder without provenance.json.

    Raises:
        CheckpointError: if provenance.json is damaged.
    """
    path = Path(run_dir) / "provenance.json"
    try:
        values = read_json(path)
    except FileNotFoundError:
        return {}
    except CheckpointError as error:
        raise CheckpointError(f"{error}. It is the run's record of its origin: mend it, or remove the file") from error
    return {name: value for name, value in values.items() if name != "format"}


def write_provenance(run_dir: Path, values: dict) -> None:
    """Write provenance.json, marked as this library's: a folder without the mark is never replaced."""
    text = json.dumps({"format": FORMAT, **values}, indent=2)
    write_atomically(Path(run_dir) / "provenance.json", text + "\n")


# ---- one training at a time -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Hold a run's folder: a second training in it is refused as long as the block runs.

    The system gives the lock back when its process dies, however it dies, so that nothing stale has to be removed.

    Raises:
        FileExistsError: if somebody holds it, with process and machine.
        WriteError: if the folder cannot be written.
    """
    run_dir = Path(run_dir)
    with saying_why(run_dir):
        run_dir.mkdir(parents=True, exist_ok=True)
        lock = FileLock(run_dir / LOCK)
        held = _acquired(lock)
    if not held:
        raise FileExistsError(
            f"{run_dir} is being trained by {_holder(run_dir)}: wait for it, or choose another folder"
        )
    try:
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        write_atomically(run_dir / HOLDER, json.dumps(holder) + "\n")
        yield
    finally:
        for path in (run_dir / HOLDER, run_dir / LOCK):
            with contextlib.suppress(OSError):  # Windows removes no file that is open: a free lock may lie about
                path.unlink(missing_ok=True)
        lock.release()
        with contextlib.suppress(OSError):  # a training that could not begin leaves no empty folder
            run_dir.rmdir()


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True


def _holder(run_dir: Path) -> str:
    try:
        held = read_json(run_dir / HOLDER)
        return f"process {held['pid']} on {held['host']} since {held['since']}"
    except (OSError, KeyError, CheckpointError):  # it is writing its name at this moment
        return "another process"


# ---- one run in the place of another --------------------------------------------------------------------------------


@contextlib.contextmanager
def set_aside(run_dir: Path) -> Iterator[Path | None]:
    """Move an earlier run out of the way for a new one, which the block trains.

    The old run is removed when the block ends well. If it fails before the new run has a checkpoint, the old one comes
    back; if it fails later, both are kept. Only what the library wrote is ever removed: other files in the folder stay.

    Yields:
        Where the old run stands meanwhile; None where there is none.

    Raises:
        FileExistsError: if the folder is not a run of this library, or is being trained; nothing is touched.
    """
    run_dir = Path(run_dir)
    if not run_dir.exists() or (run_dir.is_dir() and not any(run_dir.iterdir())):
        yield None
        return
    if not is_run(run_dir):
        raise FileExistsError(
            f"{run_dir} is not a run of this library, so it is not replaced: move it away, or choose another folder"
        )
    with locked(run_dir):
        pass  # nobody trains in it
    aside = _free_name(run_dir)
    os.replace(run_dir, aside)
    try:
        yield aside
    except BaseException as error:
        if not checkpoints_of(run_dir) and run_dir.is_dir():
            _remove_run(run_dir)
        if run_dir.exists():
            error.add_note(f"The earlier run is kept in {aside}.")
        else:
            os.replace(aside, run_dir)
        raise
    _remove_run(aside)


def is_run(run_dir: Path) -> bool:
    """Did this library write the run in that folder? Its provenance, or every checkpoint's header, must say so."""
    try:
        if read_json(run_dir / "provenance.json").get("format") == FORMAT:
            return True
    except (OSError, CheckpointError):
        pass
    found = checkpoints_of(run_dir)
    try:  # runs of earlier versions have no mark but in their weights
        return bool(found) and all(_mark(path / "model.safetensors") == FORMAT for path in found)
    except (OSError, SafetensorError):
        return False


def _mark(path: Path) -> str | None:
    with safe_open(path, framework="pt") as file:
        return (file.metadata() or {}).get("format")


def _free_name(run_dir: Path) -> Path:
    names = (
        run_dir.with_name(f"{run_dir.name}.replaced{number}") for number in ("", *(f"-{i}" for i in range(2, 1000)))
    )
    return next(name for name in names if not name.exists())


def _remove_run(run_dir: Path) -> None:
    """Remove what the library wrote, and the folder where nothing else is in it."""
    for path in checkpoints_of(run_dir):
        shutil.rmtree(path)
    for path in (run_dir / "checkpoints").glob(".writing-*"):
        shutil.rmtree(path, ignore_errors=True)
    for path in run_dir.iterdir():
        if path.name in WRITTEN or re.fullmatch(r"hierarchy_level_\d+\.png", path.name):
            path.unlink()
    for folder in (run_dir / "checkpoints", run_dir):
        with contextlib.suppress(OSError):  # something of somebody else's is in it
            folder.rmdir()
