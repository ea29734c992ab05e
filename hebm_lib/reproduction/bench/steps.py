"""The whole training step, timed: the authors' way and ours on the same networks and images; and where ours spends it.

Each side has a process of its own. The library changes how its process keeps memory, and that must not help the other.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from hebm_lib.config import ExperimentConfig
from hebm_lib.experiments import load_experiment
from hebm_lib.model import build_model
from hebm_lib.reproduction.bench.authors import AuthorsStep
from hebm_lib.reproduction.bench.timing import Elsewhere, alternate, summary
from hebm_lib.sampling.cpu_speed import keep_freed_memory
from hebm_lib.training import Trainer

__all__ = ["EXPERIMENTS", "KINDS", "time_step"]

EXPERIMENTS = ("digits-capped", "mnist-capped", "svhn-hs")

KINDS = {
    "convolutions": ("convolution", "mkldnn", "cudnn"),
    "matrix products": ("::mm", "::addmm", "::bmm", "gemm", "::linear"),
    "leaky ReLU": ("leaky_relu",),
    "Adam": ("adam", "Optimizer.step"),
}
"""Kinds of work, by words in the names of torch's operators. The rest is element by element, or overhead."""


def time_step(name: str, rounds: int, device: torch.device) -> dict:
    """One experiment's step on random images of its size: seconds, images per second, the share of Langevin.

    The speed of a step does not depend on what the images show.
    """
    config = load_experiment(name)
    batch = config.training.batch_size
    with Elsewhere(authors_side, name, device) as theirs, Elsewhere(our_side, name, device) as ours:
        calls = {
            "authors' way": partial(theirs, "step"),
            "ours": partial(ours, "step"),
            "ours, bf16-mixed": partial(ours, "half"),
            "authors' Langevin": partial(theirs, "langevin"),
            "our Langevin": partial(ours, "langevin"),
        }
        seconds = {label: summary(values) for label, values in alternate(calls, rounds, device).items()}
        profiled = ours("profile")
    steps = ("authors' way", "ours", "ours, bf16-mixed")
    return {
        "experiment": name,
        "batch": batch,
        "image": list(images(config, torch.device("meta")).shape[1:]),
        "parameters": sum(p.numel() for p in build_model(config.model).parameters()),
        "rows": {
            label: seconds[label] | {"images_per_second": round(batch / seconds[label]["seconds"], 1)}
            for label in steps
        },
        "langevin": {"authors' way": seconds["authors' Langevin"], "ours": seconds["our Langevin"]},
        "profile": profiled,
    }


def images(config: ExperimentConfig, device: torch.device) -> torch.Tensor:
    """A batch of noise in the shape of the experiment's images."""
    m = config.model
    shape = (config.training.batch_size, m.image_channels, m.image_size, m.image_size)
    return torch.rand(shape, device=device) * 2 - 1


def authors_side(name: str, device: torch.device) -> dict[str, Callable]:
    """What is timed of the authors' way."""
    config = load_experiment(name)
    x, step = images(config, device), AuthorsStep(config, device)
    return {"step": partial(step, x), "langevin": partial(step.sample, x)}


def our_side(name: str, device: torch.device) -> dict[str, Callable]:
    """What is timed of ours."""
    if device.type == "cpu":
        keep_freed_memory()  # as `Trainer.fit` does while it runs; only its steps are timed here
    config = load_experiment(name)
    x, last_epoch, langevin = images(config, device), float(config.training.epochs), config.training.langevin
    ours, half = trainer(config, device), trainer(config, device, "bf16-mixed")
    sample, noise = ours.model.prior.sample, ours.generator
    step = partial(ours._one_step, x, last_epoch)
    return {
        "step": step,
        "half": partial(half._one_step, x, last_epoch),
        "langevin": partial(sample, len(x), langevin.steps, langevin.step_size, generator=noise),
        "profile": partial(shares, step, ours),
    }


def trainer(config: ExperimentConfig, device: torch.device, precision: str = "32-true") -> Trainer:
    """A trainer in memory that never logs, so that no step waits for the device."""
    from lightning_fabric import Fabric  # here, as in `hebm_lib.training.processes.make_fabric`

    fabric = Fabric(accelerator=device.type, devices=1, precision=precision)
    fabric.launch()
    training = replace(config.training, precision=precision, log_every=1_000_000)
    config = replace(config, training=training)
    made = Trainer(build_model(config.model), config, fabric=fabric, progress=False)
    made.model.train()
    return made


def shares(step: Callable[[], None], ours: Trainer, calls: int = 3) -> dict[str, float]:
    """Shares of a step's time by kind of work, as torch's profiler sees them; they add up to 1."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else the profiler complains where there is no GPU
    sample = ours.model.prior.sample

    def marked(*args, **kwargs):
        with record_function("langevin"):
            return sample(*args, **kwargs)

    ours.model.prior.sample = marked
    on_gpu = ours.fabric.device.type == "cuda"
    try:
        step()
        devices = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
        with profile(activities=devices) as profiler, record_function("step"):
            for _ in range(calls):
                step()
            if on_gpu:
                torch.cuda.synchronize()
    finally:
        del ours.model.prior.sample
    own, whole = (
        ("self_device_time_total", "device_time_total") if on_gpu else ("self_cpu_time_total", "cpu_time_total")
    )
    events = {event.key: event for event in profiler.key_averages()}
    total = getattr(events["step"], whole)
    found = {"Langevin": getattr(events["langevin"], whole) / total}
    for kind, words in KINDS.items():
        ops = [event for key, event in events.items() if any(word in key for word in words)]
        found[kind] = sum(getattr(event, own) for event in ops) / total
    found["rest"] = 1 - sum(found.values())
    return {kind: round(share, 3) for kind, share in found.items()}
