"""Files that are whole or not there: every write goes beside its place first and is moved there at the end."""

import contextlib
import json
import os
import shutil
import tempfile
from pathlib import Path

from safetensors import SafetensorError

__all__ = ["CheckpointError", "WriteError", "read_json", "replace_bytes", "replacing", "saying_why", "write_atomically"]


class CheckpointError(ValueError):
    """A file is not a checkpoint of this library, is cut off, or does not fit the model."""


class WriteError(OSError):
    """Something could not be written: a full disk, a quota, a folder without permission. What was there before stays."""


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old content or the new, never a part.

    Raises:
        WriteError: if the disk is full or the folder cannot be written; the old content stays.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_atomically(Path(folder) / "note.txt", "z_1 is the bottom level")
        ...     (Path(folder) / "note.txt").read_text(encoding="utf-8")
        'z_1 is the bottom level'
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def replace_bytes(path: Path, content: bytes) -> None:
    """The same for a binary file."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def replacing(path: Path):
    """A temporary path beside ``path`` that takes its place when the block ends without an error."""
    temporary = None
    try:
        with saying_why(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            os.close(handle)
            temporary = Path(name)
            yield temporary
            temporary.chmod(0o644)
            with open(temporary, "r+b") as file:  # for writing, too: Windows flushes no file that was opened to be read
                os.fsync(file.fileno())
            os.replace(temporary, path)
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def saying_why(path: Path, safe: str = "What was there before stays."):
    """Turn what a full disk makes of torch and safetensors into one error that names place, cause and what is safe.

    torch says ``RuntimeError: … unexpected pos …`` and safetensors an error of its own where a write was cut short.
    """
    try:
        yield
    except CheckpointError:
        raise
    except (OSError, RuntimeError, SafetensorError) as error:
        # Of blocks inside one another the outermost speaks, of the first cause: a checkpoint, not one file in it.
        cause = error.__cause__ if isinstance(error, WriteError) and error.__cause__ else error
        raise WriteError(f"{path} could not be written ({cause}); {free_space(path)}. {safe}") from cause


def free_space(path: Path) -> str:
    """Room on the disk of ``path``, or of the nearest folder above it that exists, in words."""
    place = next((p for p in (path, *path.absolute().parents) if p.exists()), Path.cwd())
    return f"its disk has {shutil.disk_usage(place).free / 1e6:,.0f} MB free"


def read_json(path: Path) -> dict:
    """The object in a JSON file.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it is not UTF-8, not JSON, or not an object with names and values.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} is not text in UTF-8 ({error}): save it again as UTF-8") from error
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path} is not JSON ({error})") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} holds a {type(values).__name__}, expected an object {{…}} with names and values")
    return values
