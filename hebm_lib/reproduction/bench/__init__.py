"""The bench: prior sampling and training steps, ours beside others', in one run on one machine.

``python -m hebm_lib bench`` writes ``book/results/bench-<device>.json``, the tables of ``book/speed.md`` and its figures.
With ``--only family`` it times every model of MNIST instead, for page 00: ``book/results/bench-family-<device>.json``.
"""

import json

import torch

from hebm_lib.checkpoint import write_atomically
from hebm_lib.provenance import provenance
from hebm_lib.reproduction.bench.family import load_family, load_steps, measure_family, printed_family
from hebm_lib.reproduction.bench.sampling import SETTINGS, best_rate, time_sampling, time_scaling
from hebm_lib.reproduction.bench.steps import EXPERIMENTS, time_step
from hebm_lib.reproduction.bench.tables import printed, write_page
from hebm_lib.reproduction.bench.timing import describe_machine, on_threads, slug
from hebm_lib.reproduction.results import results_folder

__all__ = ["bench", "load_family", "load_steps", "measure", "measure_family", "write_page"]


def bench(
    *, quick: bool = False, device: str | None = None, threads: int = 1, draw: bool = False, only: str | None = None
) -> None:
    """Measure, print, store and draw.

    Args:
        quick: seconds instead of minutes: one small size of everything, printed and not stored.
        device: ``cpu`` or ``cuda``; None takes a GPU where there is one.
        threads: torch's threads on the CPU, for all contenders alike.
        draw: measure nothing, write the page and its figures from what is stored.
        only: ``family`` times the models of MNIST and nothing else, for a result and a page of their own.

    Raises:
        ValueError: for ``draw`` with ``only``: page 00 is drawn when it is run.
    """
    if draw and only:
        raise ValueError(f"--draw writes the page on speed, which --only {only} is not part of")
    if not draw:
        where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        run, show = (measure_family, printed_family) if only else (measure, printed)
        result = run(where, quick, threads)
        print(show(result))
        if quick:
            return
        path = results_folder() / f"{slug(result['machine'], only or '')}.json"
        write_atomically(path, json.dumps(result, indent=1) + "\n")
        print(f"\nstored as book/results/{path.name}")
    if not only:
        write_page()


def measure(device: torch.device, quick: bool = False, threads: int = 1, say=print) -> dict:
    """Everything that is timed on one machine, as plain JSON types."""
    batches = {100: 3} if quick else {100: 31, 1_000: 11, 10_000: 3}
    with on_threads(threads):
        result = {"machine": describe_machine(device), "provenance": provenance(device), "quick": quick}
        say(f"bench on {result['machine']['device']}, {threads} thread(s)", flush=True)
        result["matmul_flops_per_second"] = float(f"{best_rate(3 if quick else 15, device):.4g}")
        result["sampling"] = []
        for setting in SETTINGS:
            for batch, rounds in batches.items():
                say(f"  sampling {setting.name}, batch {batch}", flush=True)
                result["sampling"].append(time_sampling(setting, batch, rounds, device))
        result["steps"] = []
        for name in EXPERIMENTS[:1] if quick else EXPERIMENTS:
            say(f"  a training step of {name}", flush=True)
            result["steps"].append(time_step(name, 2 if quick else 11, device))
        say("  scaling", flush=True)
        result["scaling"] = time_scaling(5, device, quick)
        return result
