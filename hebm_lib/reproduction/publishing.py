"""From a run to the book: weights into ``hebm_lib/pretrained``, numbers with their provenance into ``book/results``."""

import hashlib
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from hebm_lib import checkpoint
from hebm_lib.config import DataConfig, ExperimentConfig, PriorConfig, from_dict, to_dict
from hebm_lib.data import load_split
from hebm_lib.metrics.classifier import fit_classifier, load_classifier, reading_accuracy, save_classifier
from hebm_lib.metrics.summary import READERS, bound_given, measure_model, measure_worth
from hebm_lib.prior import GaussianPrior
from hebm_lib.provenance import provenance
from hebm_lib.reproduction.results import load_result, result_names, results_folder
from hebm_lib.training.phases import phases_of

__all__ = ["add_worth", "publish_classifiers", "publish_run", "thin"]

MAX_WEIGHTS = 3_000_000
"""Bytes of one published file of weights."""


def without_idle_prior(model, config: ExperimentConfig) -> tuple:
    """A model as it is published, and its config: N(0, I) itself where f stayed 0 to the end.

    A twin of a joint EBM carries its chains and the mixture of their jumps, two megabytes with 64 units, and uses neither.
    """
    energy, prior = config.training.energy, config.model.prior
    learned = energy.ladder_epochs < config.training.epochs or energy.fit_steps or energy.end_steps
    if learned or prior.start != "zero":
        return model, config.model
    model.prior = GaussianPrior(model.latents)
    return model, replace(config.model, prior=PriorConfig(hidden=()))


def publish_run(run_dir: Path, *, weights: bool = True) -> Path:
    """Publish a finished run.

    The weights are stored in half precision (the energy in float32), loaded back, and it is this published model that
    is measured. Both files are made beside their places first and moved there at the end, weights before numbers; the
    numbers carry the weights' SHA-256, so an interruption between the two moves shows.

    Args:
        run_dir: a run that has reached its last epoch.
        weights: False publishes the numbers alone (further seeds of an experiment).

    Raises:
        ValueError: if the run is not finished, or its weights are larger than 3 MB.
    """
    run_dir = Path(run_dir)
    config = checkpoint.read_config(run_dir)
    state = checkpoint.load_state(checkpoint.latest_checkpoint(run_dir))
    train, test = load_split(config.data, "train"), load_split(config.data, "test")
    if state["epoch"] < config.training.epochs:
        raise ValueError(
            f"{run_dir} stands at epoch {state['epoch']} of {config.training.epochs}: "
            f"`python -m hebm_lib resume {run_dir}` first"
        )
    per_epoch = len(train) // (config.training.batch_size * len(state["generators"]))
    phases = phases_of(config.training, per_epoch)
    if phases and state["step"] < phases[-1].end:
        raise ValueError(
            f"{run_dir} stands at step {state['step']} of {phases[-1].end}, in the phase of the energy alone: "
            f"`python -m hebm_lib resume {run_dir}` first"
        )
    made = provenance()
    origin = {
        # The run's own record wins: a run may be published from a later commit or another machine.
        **made,
        **checkpoint.read_provenance(run_dir),
        "seed": config.training.seed,
        "seconds": round(state["seconds"], 1),
        "data": {"train": train.digest(), "test": test.digest(), "images": [len(train), len(test)]},
    }
    target = checkpoint.pretrained_folder() / f"{config.name}.safetensors"
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "model.safetensors"
        trained, shape = without_idle_prior(checkpoint.load_run(run_dir), config)
        checkpoint.save_model(trained, shape, small, half=True, name=config.name, origin=origin)
        if weights and small.stat().st_size > MAX_WEIGHTS:
            raise ValueError(
                f"{config.name}: weights of {small.stat().st_size / 1e6:.1f} MB; 3 MB at most are published"
            )
        model = checkpoint.load_model(small)
        metrics = measure_model(model, config, train, test)
        content = small.read_bytes()
        result = {
            "name": config.name,
            "description": config.description,
            "metrics": metrics,
            "parameters": {
                part: sum(p.numel() for p in getattr(model, part).parameters())
                for part in ("generator", "inference", "prior")
            },
            "weights_sha256": hashlib.sha256(content).hexdigest() if weights else None,
            "curves": thin(state["history"]),
            "config": to_dict(config),
            "provenance": origin,
        }
        if weights:
            checkpoint.replace_bytes(target, content)
    path = results_folder() / f"{config.name}.json"
    checkpoint.write_atomically(path, json.dumps(result, indent=1) + "\n")
    return path


def add_worth(names: list[str], *, again: bool = False, say=print) -> None:
    """Measure what `measure_worth` does for models that are published already, and store it with their numbers.

    Only a model whose weights are published can be measured; of further seeds there are numbers alone.

    Args:
        names: published runs; all that have weights if none is named.
        again: measure those that have it, too.
        say: told about each.
    """
    published = [name for name in result_names() if load_result(name)["weights_sha256"]]
    for name in names or published:
        if name not in published:
            raise ValueError(f"{name!r} has no published weights to measure; there are {', '.join(published)}")
        result = load_result(name)
        if "tightening" in result["metrics"] and not again:
            continue
        say(f"{name}: log Z, tighter bound, chains")
        config = from_dict(ExperimentConfig, result["config"])
        worth = measure_worth(checkpoint.load_pretrained(name), config, load_split(config.data, "test"))
        result["metrics"] |= bound_given(result["metrics"]["elbo_plus_log_z"], worth["log_z"]) | worth
        result["worth_provenance"] = provenance()
        path = results_folder() / f"{name}.json"
        checkpoint.write_atomically(path, json.dumps(result, indent=1) + "\n")


def publish_classifiers() -> Path:
    """Train both digit classifiers on MNIST and publish them with what they read on real, fainter and softer digits."""
    config = DataConfig(name="mnist", size=32)
    train, test = load_split(config, "train"), load_split(config, "test")
    read, clock = {}, time.perf_counter()
    for name in READERS.values():
        path = checkpoint.pretrained_folder() / f"{name}.safetensors"
        save_classifier(fit_classifier(train, worn=not name.endswith("-plain")), path)
        read[name] = {k: round(share, 4) for k, share in reading_accuracy(load_classifier(name), test).items()}
    data = {"train": train.digest(), "test": test.digest(), "images": [len(train), len(test)]}
    result = {
        "name": "classifiers",
        "description": "accuracy of the two digit classifiers on MNIST's test images, as they are and worn",
        "accuracy": read,
        "provenance": {**provenance(), "seed": 1, "seconds": round(time.perf_counter() - clock, 1), "data": data},
    }
    path = results_folder() / "classifiers.json"
    checkpoint.write_atomically(path, json.dumps(result, indent=1) + "\n")
    return path


def thin(history: list[dict], rows: int = 120) -> dict[str, list]:
    """At most ``rows`` evenly spaced rows of a run's log, as columns, four significant digits.

    A phase in which a network stands still logs nothing of it: None in that column.
    """
    if not history:
        return {}
    chosen = (
        [history[round(i * (len(history) - 1) / (rows - 1))] for i in range(rows)] if len(history) > rows else history
    )
    names = [name for name in {**chosen[-1], **{k: 0 for row in chosen for k in row}} if name != "images_per_second"]
    return {name: [float(f"{row[name]:.4g}") if name in row else None for row in chosen] for name in names}
