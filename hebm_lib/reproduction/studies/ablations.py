"""The ablations (Tables 4 and 5): every entry ``ablation…`` of the registry, trained with three seeds and measured."""

from hebm_lib.checkpoint import load_run
from hebm_lib.data import load_split
from hebm_lib.experiments import EXPERIMENTS, load_experiment
from hebm_lib.experiments.ablations import ablation_experiments
from hebm_lib.metrics.classifier import load_classifier
from hebm_lib.metrics.prior_report import prior_report
from hebm_lib.provenance import ROOT, rounded
from hebm_lib.reproduction.bench.family import time_family
from hebm_lib.reproduction.bench.timing import describe_machine, on_threads
from hebm_lib.reproduction.results import mean_and_spread
from hebm_lib.reproduction.runs import trainer_at
from hebm_lib.reproduction.studies.study import Study
from hebm_lib.training import DivergenceError, make_fabric

__all__ = ["SEEDS", "STUDY", "against", "measure_ablation", "over_seeds", "time_ablations"]

SEEDS = (1, 2, 3)
NAMES = tuple(config.name for config in ablation_experiments(EXPERIMENTS["mnist-capped"]))


def measure_ablation(name: str) -> dict:
    """Train a run, or resume it from ``runs/``, and measure it; plain JSON types.

    Returns:
        What `prior_report` gives, and ``parameters`` of f; ``epochs``, ``images``, ``seconds``. ``diverged`` is None, or
        says at which step the training broke off; the numbers are then those of its last checkpoint.
    """
    config = load_experiment(name)
    train, test = (load_split(config.data, split) for split in ("train", "test"))
    run = ROOT / "runs" / name
    trainer, diverged = trainer_at(config, run), None
    try:
        trainer.fit(train)
    except DivergenceError as error:  # a result like any other: how far it came, and what it was then
        diverged = {"step": trainer.step, "why": str(error).split(". ")[0]}
    return rounded(prior_report(load_run(run), config.training.langevin, train, test, load_classifier())) | {
        "diverged": diverged,
        "parameters": sum(p.numel() for p in trainer.model.prior.parameters()),
        "epochs": config.training.epochs,
        "images": len(train),
        "seconds": round(trainer.seconds, 1),
    }


def time_ablations(rounds: int = 7) -> dict:
    """Milliseconds of a training step, and of the prior's chains in it, of every entry: all in turn, in one run.

    Returns:
        ``models``: entry → ``step_ms`` and, where there is an energy, ``chain_ms``; ``machine``.
    """
    device = make_fabric().device
    with on_threads(1):
        rows = time_family(list(NAMES), rounds, device)
        machine = describe_machine(device)
    models = {}
    for row in rows:
        models[row["experiment"]] = {"step_ms": 1000 * row["step"]["seconds"]}
        if "prior" in row["chains"]:
            models[row["experiment"]]["chain_ms"] = 1000 * row["chains"]["prior"]["seconds"]
    return rounded({"models": models, "machine": machine})


def measure_part(part: str) -> dict:
    """`time_ablations` for the part ``time``, else `measure_ablation`."""
    return time_ablations() if part == "time" else measure_ablation(part)


def seed_values(parts: dict[str, dict], name: str, *keys: str | int) -> dict[str, float]:
    """One number of an ablation by seed; ``keys`` is the way to it, as in ``("distance", "prior")``."""
    values = {}
    for part, found in parts.items():
        if part.split("@")[0] == name:
            for key in keys:
                found = found[key]
            values[part.partition("@")[2] or "1"] = found
    return values


def over_seeds(parts: dict[str, dict], name: str, *keys: str | int) -> tuple[float, float]:
    """Mean and standard deviation over seeds of one number of an ablation.

    Args:
        parts: the study's, as `load_study` returns them.
        name: an entry of the registry, without a seed.
        keys: the way to the number, as in ``("distance", "prior")``.
    """
    return mean_and_spread(list(seed_values(parts, name, *keys).values()))


def against(parts: dict[str, dict], name: str, base: str, *keys: str | int) -> tuple[float, float]:
    """The same of the difference to another ablation with the same seed: the same images in the same order.

    Their first weights are the same only where the priors are alike, since a model's prior is drawn before its ladders.
    """
    ours, theirs = (seed_values(parts, which, *keys) for which in (name, base))
    return mean_and_spread([ours[seed] - theirs[seed] for seed in ours.keys() & theirs.keys()])


STUDY = Study(
    "ablations",
    "K, hidden units, spectral norm, joint or separate f, persistent chains: samples, gap and time, three seeds",
    {name if seed == 1 else f"{name}@{seed}": () for seed in SEEDS for name in NAMES} | {"time": ()},
    measure_part,
)
