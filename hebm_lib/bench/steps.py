"""The whole training step, timed: the authors' way and ours on the same networks and images; and where ours spends it."""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from lightning_fabric import Fabric
from torch.profiler import ProfilerActivity, profile, record_function

from hebm_lib.bench.authors import AuthorsStep
from hebm_lib.bench.timing import alternate, summary
from hebm_lib.config import ExperimentConfig
from hebm_lib.experiments import load_experiment
from hebm_lib.model import build_model
from hebm_lib.training import Trainer

__all__ = ["EXPERIMENTS", "KINDS", "time_step"]

EXPERIMENTS = ("digits", "mnist", "svhn-hs")

KINDS = {
    "convolutions": ("convolution", "mkldnn", "cudnn"),
    "matrix products": ("::mm", "::addmm", "::bmm", "gemm", "::linear"),
    "leaky ReLU": ("leaky_relu",),
    "Adam": ("adam", "Optimizer.step"),
}
"""Kinds of work, by words in the names of torch's operators. The rest is element by element, or overhead."""


def time_step(name: str, rounds: int, device: torch.device, batch: int | None = None) -> dict:
    """One experiment's step on random images of its size: seconds, images per second, the share of Langevin.

    The speed of a step does not depend on what the images show.
    """
    config = load_experiment(name)
    batch = batch or config.training.batch_size
    shape = (batch, config.model.image_channels, config.model.image_size, config.model.image_size)
    torch.manual_seed(0)
    x = torch.rand(shape, device=device) * 2 - 1
    theirs, ours, half = AuthorsStep(config, device), trainer(config, device), trainer(config, device, "bf16-mixed")
    langevin = config.training.langevin
    chain = (batch, langevin.steps, langevin.step_size)
    last_epoch = float(config.training.epochs)
    calls = {
        "authors' way": partial(theirs, x),
        "ours": partial(ours._one_step, x, last_epoch),
        "ours, bf16-mixed": partial(half._one_step, x, last_epoch),
        "authors' Langevin": partial(theirs.sample, batch, x),
        "our Langevin": partial(ours.model.prior.sample, *chain, generator=ours.generator),
    }
    seconds = {label: summary(values) for label, values in alternate(calls, rounds, device).items()}
    steps = ("authors' way", "ours", "ours, bf16-mixed")
    return {
        "experiment": name,
        "batch": batch,
        "image": list(shape[1:]),
        "parameters": sum(p.numel() for p in ours.model.parameters()),
        "rows": {
            label: seconds[label] | {"images_per_second": round(batch / seconds[label]["seconds"], 1)}
            for label in steps
        },
        "langevin": {"authors' way": seconds["authors' Langevin"], "ours": seconds["our Langevin"]},
        "profile": shares(partial(ours._one_step, x, last_epoch), ours),
    }


def trainer(config: ExperimentConfig, device: torch.device, precision: str = "32-true") -> Trainer:
    """A trainer in memory that never logs, so that no step waits for the device."""
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
