"""Python as a fork of the process that kernels are forks of: a program that a test stops or kills starts without imports.

What it finds is what `python FILE` or `python -m MODULE` finds, but for modules that are imported already. Where a fork of
torch is not safe, off Linux, an interpreter is started anew.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

from forked_kernels import IMPORTED, INLINE, Fork
from shared import PYTHON, subprocess_env

__all__ = ["Program", "start_python"]


def be_python(arguments: list[str], env: dict[str, str], said: tuple[str, str]) -> None:
    """In the fork: what the interpreter does with its command line."""
    os.environ.clear()
    os.environ.update(env)
    sys.path[:0] = env["PYTHONPATH"].split(os.pathsep)
    for stream, path in enumerate(said, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    sys.stdout, sys.stderr = (os.fdopen(stream, "w", buffering=1) for stream in (1, 2))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    import torch

    torch.set_num_threads(1)
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")


class Program(Fork):
    """The fork with what it said."""

    def __init__(self, process: multiprocessing.Process, said: tuple[str, str]):
        super().__init__(process)
        self.said = said

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def wait(self, timeout: float | None = None) -> int | None:
        self.process.join(timeout)
        return self.poll()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; what it printed, and its errors."""
        self.wait(timeout)
        return tuple(Path(path).read_text(encoding="utf-8") for path in self.said)


def start_python(arguments: list[str], folder: Path) -> Program | subprocess.Popen:
    """Start ``python ARGUMENTS`` with the environment of `subprocess_env`; what it says is kept in files of ``folder``."""
    if sys.platform != "linux":
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([PYTHON, *arguments], env=subprocess_env(), **pipes)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED))
    said = tuple(str(folder / f"{name}.txt") for name in ("said", "errors"))
    process = context.Process(target=be_python, args=(arguments, subprocess_env(), said), daemon=True)
    with patch.dict(os.environ, MPLBACKEND=INLINE):  # the server is one with that of the kernels
        process.start()
    return Program(process, said)
