"""Kernels of pages as forks of one process that has imported what pages import: a page starts without importing it again.

Python's own fork server does the work (`multiprocessing`); Jupyter is given a provisioner that asks it for a process in place
of starting an interpreter. Nothing is computed before the fork, so a page finds what it would find in a fresh kernel.
"""

import multiprocessing
import os
import signal
import sys
from importlib.metadata import EntryPoint
from unittest.mock import patch

from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

__all__ = ["ForkedProvisioner", "install"]

IMPORTED = (
    "ipykernel.kernelapp",
    "ipykernel.ipkernel",
    "ipykernel.zmqshell",
    "matplotlib.pyplot",
    "torch",
    "torch._dynamo",
    "lightning_fabric",
    "numba",
    "scipy.stats",
    "sklearn.linear_model",
    "hebm_lib.reproduction.figures",
    "hebm_lib.reproduction.claims",
    "hebm_lib.reproduction.studies",
    "hebm_lib.training",
)
"""What the server imports before it forks: whatever takes long, and is imported by most pages sooner or later."""
INLINE = "module://matplotlib_inline.backend_inline"


def be_kernel(arguments: list[str], env: dict[str, str], cwd: str | None) -> None:
    """In the fork: what `python -m ipykernel_launcher` does."""
    os.setsid()  # a group of its own, which Jupyter signals
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd or ".")
    sys.path[:] = [place for place in sys.path if place not in ("", os.path.dirname(__file__))]
    sink = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(sink, stream)
    from ipykernel.kernelapp import launch_new_instance

    launch_new_instance(argv=arguments)


class Fork:
    """A process of the fork server with the manners of `subprocess.Popen` that Jupyter expects."""

    stdin = stdout = stderr = None

    def __init__(self, process: multiprocessing.Process):
        self.process, self.pid = process, process.pid

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self) -> int | None:
        self.process.join()
        return self.process.exitcode

    def send_signal(self, signum: int) -> None:
        os.kill(self.pid, signum)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class ForkedProvisioner(LocalProvisioner):
    """Starts Python kernels as forks; all else as where they are started anew."""

    async def launch_kernel(self, cmd: list[str], **kwargs):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(IMPORTED))
        arguments = cmd[cmd.index("-f") :]
        env = dict(kwargs.get("env") or os.environ)
        process = context.Process(target=be_kernel, args=(arguments, env, kwargs.get("cwd")), daemon=True)
        with patch.dict(os.environ, MPLBACKEND=INLINE):  # read when matplotlib is imported, in the server
            process.start()
        self.process = Fork(process)
        self.pid = self.pgid = process.pid  # of the group that `be_kernel` makes
        return self.connection_info


def install() -> None:
    """Let Jupyter's kernels of this process be forks from now on; on Linux, elsewhere a fork of torch is not safe."""
    if sys.platform != "linux":
        return
    factory = KernelProvisionerFactory.instance()
    factory.provisioners["forked"] = EntryPoint(
        name="forked", value="forked_kernels:ForkedProvisioner", group=KernelProvisionerFactory.GROUP_NAME
    )
    factory.default_provisioner_name = "forked"
