"""The family: what an epoch of every model of MNIST costs, all of them in turn in one run.

``python -m hebm_lib bench --only family`` writes ``book/results/bench-family-<device>.json``, which page 00 reads.

Every model has a process of its own, as in `hebm_lib.reproduction.bench.steps`, and takes several steps at each of
its turns: the first of them finds the caches full of someone else's numbers, as no step of a training does. On one
thread of a CPU a model's time is what its process computed, so that another program on the same core is not counted;
how much of the core the model had is stored beside it.
"""

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import torch

from hebm_lib.config import ExperimentConfig
from hebm_lib.experiments import load_experiment
from hebm_lib.model import BUILDERS, build_model
from hebm_lib.provenance import provenance
from hebm_lib.reproduction.bench.steps import images, trainer
from hebm_lib.reproduction.bench.tables import machine_line, milliseconds
from hebm_lib.reproduction.bench.timing import (
    Elsewhere,
    alternate,
    describe_machine,
    on_threads,
    slug,
    summary,
    wait_for,
)
from hebm_lib.reproduction.results import results_folder
from hebm_lib.reproduction.runs import BOOK_RUNS
from hebm_lib.reproduction.tables import table

__all__ = ["chain_steps", "family", "load_family", "load_steps", "measure_family", "printed_family", "time_family"]

IMAGES = 60_000
"""Training images of MNIST: what an epoch is counted in."""
IN_A_ROW = 5
"""Calls per turn; a time is that of a turn divided by them."""


def family() -> list[str]:
    """Names of the book's runs of every kind of model on all of MNIST's digits, the joint EBM's first.

    The joint EBM is the one with fresh chains, whose every step is Algorithm 1 as printed.
    """
    names = ["mnist-capped" if kind == "joint-ebm" else f"mnist-{kind}" for kind in BUILDERS]
    return [name for name in names if name in BOOK_RUNS]


LEARNED = ("mnist", "mnist-map-k15")
"""Joint EBMs with persistent chains, K = 150 and K = 15, whose joint step is timed in the same run as ``mnist-vlae``'s,
f = 0, and that of ``mnist-capped``, which is Algorithm 1 as printed, K = 60."""


def chain_steps(config: ExperimentConfig) -> dict[str, int]:
    """Langevin steps per batch of each chain that a training step runs: ``prior`` (K), ``posterior`` (K'); none without."""
    steps = {"prior": config.training.langevin.steps} if config.model.prior.hidden else {}
    return steps | ({"posterior": config.model.baseline.posterior.steps} if config.model.kind == "lebm" else {})


def measure_family(device: torch.device, quick: bool = False, threads: int = 1, say=print) -> dict:
    """Every model's training step on one machine, as plain JSON types; ``quick`` takes two models and one round.

    ``learned`` are those of `LEARNED`, where all three networks learn, timed among the others.
    """
    with on_threads(threads):
        result = {"machine": describe_machine(device), "provenance": provenance(device), "quick": quick}
        names = family()[:2] if quick else family()
        say(f"bench of {', '.join(names)} on {result['machine']['device']}, {threads} thread(s)", flush=True)
        result |= {"images": IMAGES, "in_a_row": IN_A_ROW}
        if quick:
            return result | {"models": time_family(names, 1, device)}
        rows = time_family([*names, *LEARNED], 11, device)
        return result | {"models": rows[: len(names)], "learned": rows[len(names) :]}


def time_family(names: list[str], rounds: int, device: torch.device) -> list[dict]:
    """A training step of each named experiment, and the chains that are part of it, on random images of its size.

    An epoch is counted as that many steps on batches of MNIST's 60,000 images. Fetching batches, logging and saving, which
    are alike for all, are not in it. ``share_of_core`` is a step's time by the process's own clock over its time by the
    wall: 1 where nothing else ran.
    """
    configs = {name: load_experiment(name) for name in names}
    computed: dict[tuple[str, str], list[float]] = {
        (name, part): [] for name, config in configs.items() for part in ("step", *chain_steps(config))
    }
    with ExitStack() as stack:
        sides = {name: stack.enter_context(Elsewhere(model_side, name, device)) for name in names}

        def turn(name: str, part: str) -> None:
            computed[name, part].append(sides[name](part)["seconds"])

        passed = alternate({key: partial(turn, *key) for key in computed}, rounds, device)
    # `alternate` counts by the wall, and leaves out each one's first turn.
    times = {key: summary(seconds[1:]) for key, seconds in computed.items()}
    return [model_row(config, times, summary(passed[name, "step"])) for name, config in configs.items()]


def model_row(config: ExperimentConfig, times: dict[tuple[str, str], dict], turn: dict) -> dict:
    """What is stored of one model; ``turn`` is a turn of its steps by the wall."""
    name, batch, step = config.name, config.training.batch_size, times[config.name, "step"]
    return {
        "experiment": name,
        "kind": config.model.kind,
        "batch": batch,
        "parameters": parameters(config),
        "step": step,
        "chains": {part: {"steps": steps} | times[name, part] for part, steps in chain_steps(config).items()},
        "seconds_per_epoch": float(f"{IMAGES // batch * step['seconds']:.4g}"),
        "share_of_core": round(IN_A_ROW * step["seconds"] / turn["seconds"], 3),
    }


def model_side(name: str, device: torch.device) -> dict[str, Callable]:
    """What is timed of one model, in its own process: a whole step, and each of its chains alone."""
    config = load_experiment(name)
    x, ours = images(config, device), trainer(config, device)
    # The last epoch: every level of pro-VLAE takes part, no free bits fall.
    calls = {"step": partial(ours._one_step, x, float(config.training.epochs))}
    model, noise, steps = ours.model, ours.generator, chain_steps(config)
    if "prior" in steps:
        size = config.training.langevin.step_size
        calls["prior"] = partial(model.prior.negatives, len(x), steps["prior"], size, generator=noise)
    if "posterior" in steps:
        z0 = torch.randn(len(x), model.latents.total, device=device)
        calls["posterior"] = partial(model.posterior_chain, x, z0, steps["posterior"], generator=noise)
    return {part: partial(several, call, device) for part, call in calls.items()}


def several(call: Callable[[], object], device: torch.device) -> dict[str, float]:
    """One turn: seconds per call, by this process's own clock where it has one thread of a CPU, else by the wall."""
    clock = time.process_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    for _ in range(IN_A_ROW):
        call()
    wait_for(device)
    return {"seconds": (clock() - start) / IN_A_ROW}


def parameters(config: ExperimentConfig) -> dict[str, int]:
    """Numbers that are learned, per part of the model."""
    with torch.device("meta"):
        model = build_model(config.model)
    return {
        part: sum(p.numel() for p in getattr(model, part).parameters()) for part in ("generator", "inference", "prior")
    }


def printed_family(result: dict) -> str:
    """The machine and a table, for the terminal."""
    rows = []
    learned = result.get("learned", [])
    for row in [*result["models"], *learned]:
        step = row["step"]["seconds"]
        chains = [f"{part} {chain['seconds'] / step:.0%}" for part, chain in row["chains"].items()]
        title = f"{row['experiment']}, persistent chains" if row in learned else row["kind"]
        cells = [title, f"{sum(row['parameters'].values()):,}", milliseconds(step)]
        rows.append([*cells, f"{row['seconds_per_epoch']:.1f}", ", ".join(chains)])
    header = ["model", "parameters", "ms per step", "seconds per epoch", "of it in chains"]
    least = min(row["share_of_core"] for row in result["models"])
    return f"{machine_line(result)} Each had at least {least:.0%} of its core.\n\n{table(header, rows)}"


def load_steps(device: str = "cpu") -> dict[str, float]:
    """Milliseconds of a training step by experiment, learned energies too; raises as `load_family`."""
    stored = _stored(device)
    return {row["experiment"]: 1000 * row["step"]["seconds"] for row in [*stored["models"], *stored.get("learned", [])]}


def load_family(device: str = "cpu") -> dict[str, dict]:
    """What was measured, by kind of model; raises `FileNotFoundError` where that device has not run this bench."""
    return {row["kind"]: row for row in _stored(device)["models"]}


def _stored(device: str) -> dict:
    path = results_folder() / f"{slug({'device': device}, 'family')}.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path.name} is not there yet: `python -m hebm_lib bench --only family` writes it")
    return json.loads(path.read_text())
