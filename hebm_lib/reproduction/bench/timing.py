"""Clock, machine and fits: what every part of the bench needs."""

import gc
import math
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from importlib import metadata

import torch

__all__ = ["Elsewhere", "alternate", "describe_machine", "exponent", "on_threads", "slug", "summary", "wait_for"]


@contextmanager
def on_threads(threads: int) -> Iterator[None]:
    """Torch on that many threads of the CPU; given back at the end."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def alternate(
    contenders: dict[Hashable, Callable[[], object]], rounds: int, device: torch.device
) -> dict[Hashable, list[float]]:
    """Seconds per call of each contender, ``rounds`` of each, one after another in turn.

    A machine's speed drifts with its load and temperature; in turn, the drift falls on all contenders alike. One call
    of each comes first and is not counted: compilers, caches and graphs get ready in it.
    """
    for call in contenders.values():
        call()
    seconds = {name: [] for name in contenders}
    collecting = gc.isenabled()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, call in contenders.items():
                wait_for(device)
                start = time.perf_counter()
                call()
                wait_for(device)
                seconds[name].append(time.perf_counter() - start)
    finally:
        if collecting:
            gc.enable()
    return seconds


class Elsewhere:
    """Contenders in a process of their own, with the memory, the settings and the caches of no one else.

    Args:
        make: a function of a module, called there as ``make(name, device)``; returns calls by name.

    ``elsewhere("step")`` runs one and returns what it returns (sent through a pipe, so nothing large), when the device
    is done with it.
    """

    def __init__(self, make: Callable[..., dict[str, Callable]], name: str, device: torch.device):
        context = multiprocessing.get_context("spawn")
        self.pipe, end = context.Pipe()
        arguments = (end, make, name, device, torch.get_num_threads())
        self.process = context.Process(target=_serve, args=arguments, daemon=True)
        self.process.start()
        end.close()

    def __call__(self, call: str):
        self.pipe.send(call)
        answer = self.pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def __enter__(self) -> "Elsewhere":
        return self

    def __exit__(self, *_) -> None:
        self.pipe.close()
        self.process.join(30)
        self.process.kill()


def _serve(pipe, make, name: str, device: torch.device, threads: int) -> None:
    """The other process: make the contenders, then run what is asked for until nobody asks any more."""
    torch.set_num_threads(threads)
    calls: dict[str, Callable] = {}
    while True:
        try:
            asked = pipe.recv()
        except EOFError:
            return
        try:
            calls = calls or make(name, device)
            answer = calls[asked]()
            wait_for(device)
            pipe.send(answer if isinstance(answer, dict) else None)
        except Exception as error:  # whatever it is, the other side should say it
            pipe.send(error)


def wait_for(device: torch.device) -> None:
    """Return when a device is done with all that it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def summary(seconds: list[float]) -> dict:
    """Median and quartiles, four significant digits."""
    low, middle, high = statistics.quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else [seconds[0]] * 3
    return {
        "seconds": _short(middle),
        "quartiles": [_short(low), _short(high)],
        "rounds": len(seconds),
    }


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def exponent(xs: list[float], seconds: list[float]) -> float:
    """``p`` of the least-squares fit ``seconds ∝ x^p`` on logarithmic scales."""
    a, b = [math.log(x) for x in xs], [math.log(s) for s in seconds]
    return round(statistics.linear_regression(a, b).slope, 3)


def describe_machine(device: torch.device) -> dict:
    """What a timing depends on; no name of the machine and no path."""
    described = {
        "device": "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {name: _version(name) for name in ("numba", "triton", "torchebm")},
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        described |= {
            "memory_gib": round(properties.total_memory / 2**30, 1),
            "compute_capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
        }
    return described


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def slug(machine: dict, part: str = "") -> str:
    """The name of a machine's result: ``bench-cpu``, ``bench-nvidia-h100-80gb-hbm3``; of a part, ``bench-family-cpu``."""
    words = "".join(c if c.isalnum() else " " for c in f"{part} {machine['device'].lower()}").split()
    return "bench-" + "-".join(words)
