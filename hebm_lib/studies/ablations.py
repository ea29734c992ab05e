"""The ablations (Tables 4 and 5): every entry ``ablation…`` of the registry, trained with three seeds and measured."""

import statistics

from hebm_lib.checkpoint import load_run
from hebm_lib.config import ExperimentConfig
from hebm_lib.data import load_split
from hebm_lib.experiments import EXPERIMENTS, load_experiment
from hebm_lib.experiments_ablations import ablation_experiments
from hebm_lib.metrics.classifier import load_classifier
from hebm_lib.metrics.prior_report import prior_report
from hebm_lib.reproduce import trainer_at
from hebm_lib.results import ROOT, rounded
from hebm_lib.studies.study import Study

__all__ = ["SEEDS", "STUDY", "measure_ablation"]

SEEDS = (1, 2, 3)
NAMES = tuple(config.name for config in ablation_experiments(EXPERIMENTS["mnist"]))


def measure_ablation(name: str) -> dict:
    """Train a run, or resume it from ``runs/``, and measure it; plain JSON types.

    Returns:
        What `prior_report` gives, and ``step_ms``, the median time of a training step; ``parameters`` of f; ``epochs``,
        ``images``, ``seconds``.
    """
    config = load_experiment(name)
    train, test = (load_split(config.data, split) for split in ("train", "test"))
    run = ROOT / "runs" / name
    trainer = trainer_at(config, run).fit(train)
    return rounded(prior_report(load_run(run), config.training.langevin, train, test, load_classifier())) | {
        "step_ms": round(step_milliseconds(trainer.history, config), 2),
        "parameters": sum(p.numel() for p in trainer.model.prior.parameters()),
        "epochs": config.training.epochs,
        "images": len(train),
        "seconds": round(trainer.seconds, 1),
    }


def step_milliseconds(history: list[dict], config: ExperimentConfig) -> float:
    """Median time of a training step, from a run's log."""
    return 1000 * config.training.batch_size / statistics.median(row["images_per_second"] for row in history)


STUDY = Study(
    "ablations",
    "K, hidden units, spectral norm, joint or separate f, persistent chains: samples, gap and time, three seeds",
    {name if seed == 1 else f"{name}@{seed}": () for seed in SEEDS for name in NAMES},
    measure_ablation,
)
