"""What a run says of itself: the model, the data, and what a resumed run does otherwise than before."""

import json
import signal
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from hebm_lib import checkpoint
from hebm_lib.config import ExperimentConfig, ForeignModel, ModelConfig, RunConfig, TrainingConfig, from_dict, to_dict
from hebm_lib.data import ImageDataset
from hebm_lib.model import build_model
from hebm_lib.provenance import provenance
from hebm_lib.training.batches import Batches

__all__ = [
    "FREE",
    "RunRecord",
    "changes_between",
    "describe_run",
    "how_to_go_on",
    "is_built_from",
    "last_good",
]

FREE = {"name", "description", "training.epochs", "training.log_every", "training.checkpoint_every"}
FREE |= {"training.keep_checkpoints"}
"""Settings that a resumed run may change without being told so: they do not touch what is learned in a step."""


class RunRecord:
    """What a trainer's run says of itself, and how that differs from the run it goes on from.

    Args:
        model: what is trained.
        config: how.
        run_dir: the run's folder, which names a run that has no experiment.

    Attributes:
        config: all that is known of the run.
        changes: settings that differ from those of the run that is resumed: dotted name → before and now.
        written: what config.json holds.

    Raises:
        ValueError: if there are KL weights, but not one for each level of the model.
    """

    def __init__(self, model: nn.Module, config: TrainingConfig | ExperimentConfig, run_dir: Path | None):
        self.named = isinstance(config, ExperimentConfig)
        self.config = describe_run(model, config, _run_name(run_dir))
        self.changes: dict[str, list] = {}
        self.may_change, self.written = False, {}
        weights, levels = self.config.training.kl_weights, len(self.model.latent_dims)
        if len(weights) not in (0, levels):
            raise ValueError(
                f"training.kl_weights needs one value per level of the model ({levels}), got {len(weights)}"
            )

    @property
    def name(self) -> str:
        """The run's name."""
        return self.config.name

    @property
    def model(self) -> ModelConfig | ForeignModel:
        """What is known of the model."""
        return self.config.model or self.config.foreign

    def open(
        self, run_dir: Path, train: Batches, step: int, history: list[dict], *, device: torch.device | str = "cpu"
    ) -> None:
        """Write provenance, config and log into a run's folder, before its next step.

        Raises:
            FileExistsError: if the folder holds checkpoints and the trainer stands at its first step.
            ValueError: if the images are not those of the run that goes on, and nobody allowed that.
        """
        if step == 0 and checkpoint.checkpoints_of(run_dir):
            raise FileExistsError(
                f"{run_dir} holds checkpoints of an earlier run: resume it (`python -m hebm_lib resume {run_dir}`), or "
                "choose another folder"
            )
        origin = checkpoint.read_provenance(run_dir) or provenance(device)
        images = {"images": len(train), "shape": list(train.batch(slice(0, 1)).shape[1:])}
        before = origin.setdefault("data", images)
        if step and before != images:
            self.changes |= changes_between({"data": before}, {"data": images})
            self.refuse_changes(run_dir)
            origin["data"] = images
        if self.changes:
            origin["changes"] = [*origin.get("changes", []), {"step": step, "settings": self.changes}]
        checkpoint.write_provenance(run_dir, origin)
        self.written = self._as_dict(train)
        checkpoint.write_atomically(run_dir / "config.json", json.dumps(self.written, indent=2) + "\n")
        # Lines after the checkpoint belong to steps that are about to be taken again.
        lines = "".join(json.dumps(row) + "\n" for row in history)
        checkpoint.write_atomically(run_dir / "metrics.jsonl", lines)

    def _as_dict(self, train: Batches) -> dict:
        """An experiment where all is known of the run. A foreign model's config names data that nobody may ever have seen:
        they are recorded where the images are those of that name."""
        if self.config.experiment is not None:
            return to_dict(self.config.experiment)
        data = self.config.data
        seen = isinstance(train, ImageDataset) and data is not None and train.name == data.name
        return to_dict(self.config if seen else replace(self.config, data=None))

    def compare(self, run_dir: Path, state: dict, allow_changes: bool) -> None:
        """Note what differs from the settings of a checkpoint's state; `ValueError` where that is not allowed."""
        if not self.named:
            self.config = replace(self.config, name=_run_name(run_dir))
        if "config" in state:
            old = from_dict(RunConfig, json.loads(state["config"]))
        else:  # a checkpoint of an earlier version
            old = checkpoint.read_run(run_dir)
        new = self.config
        if old.data is None or new.data is None:  # data given in code: `open` compares the images themselves
            old, new = replace(old, data=None), replace(new, data=None)
        self.may_change, self.changes = allow_changes, changes_between(to_dict(old), to_dict(new))
        self.refuse_changes(run_dir)

    def refuse_changes(self, run_dir: Path) -> None:
        """Raise `ValueError` where a resumed run would go on as another one and nobody said that it may."""
        # Along a cosine α's rate at a step depends on the last epoch: more epochs would change the run behind it too.
        free = FREE - ({"training.epochs"} if self.config.training.energy.schedule == "cosine" else set())
        hard = {name: pair for name, pair in self.changes.items() if name not in free}
        if hard and not self.may_change:
            listed = ", ".join(f"{name} {old!r} → {new!r}" for name, (old, new) in sorted(hard.items()))
            raise ValueError(
                f"{run_dir} was trained with other settings: {listed}. Take those of its config.json; or allow the change "
                "with resume(run_dir, allow_changes=True), on the command line --allow-changes: it is recorded"
            )


def _run_name(run_dir) -> str:
    return (Path(run_dir).resolve().name if run_dir is not None else "") or "custom"


def last_good(run_dir: Path | None) -> str:
    """Which checkpoint is safe, in words."""
    if run_dir is None:
        return "This run kept no checkpoints."
    found = checkpoint.checkpoints_of(run_dir)
    return f"The last good checkpoint is {found[-1]}; it stays." if found else "There was no checkpoint yet."


def how_to_go_on(run_dir: Path | None, step: int, signum: int) -> str:
    """What was saved of a run that a signal stopped, and how to resume it."""
    said = f"stopped by {'Ctrl-C' if signum == signal.SIGINT else signal.Signals(signum).name} at step {step}."
    if run_dir is None:
        return f"{said} This run kept no checkpoints."
    found = checkpoint.checkpoints_of(run_dir)
    if not found:
        return f"{said} There was no checkpoint yet: start it again."
    return f"{said} Saved in {found[-1]}; go on with `python -m hebm_lib resume {run_dir}`."


def describe_run(model: nn.Module, config: TrainingConfig | ExperimentConfig, name: str = "custom") -> RunConfig:
    """What is known of a run before it has seen its data.

    Args:
        model: the model.
        config: the experiment, or the training alone; then the model's own config counts where `build_model` gave it one.
        name: of a run that has no experiment.

    A model that is not what its config builds is recorded as foreign, whatever the config says.
    """
    if isinstance(config, ExperimentConfig):
        name, description, data, known = config.name, config.description, config.data, config.model
        training = config.training
    else:
        description, data, known, training = "", None, vars(model).get("config"), config
    if isinstance(known, ModelConfig) and is_built_from(model, known):
        return RunConfig(name=name, training=training, description=description, data=data, model=known)
    return RunConfig(name=name, training=training, description=description, data=data, foreign=describe_foreign(model))


def describe_foreign(model: nn.Module) -> ForeignModel:
    """Class, module and levels of a model that the library cannot build."""
    kind, latents = type(model), getattr(model, "latents", None)
    parts = tuple(f"{type(part).__module__}.{type(part).__name__}" for part in model.children())
    return ForeignModel(
        class_name=kind.__name__,
        module=kind.__module__,
        latent_dims=() if latents is None else tuple(latents.dims),
        parts=parts,
    )


def is_built_from(model: nn.Module, config: ModelConfig) -> bool:
    """Would `build_model` make the like of ``model``: the same classes, and weights of the same names and shapes?"""

    def form(of: nn.Module):
        classes = [type(of), *map(type, of.children())]
        return classes, {name: tensor.shape for name, tensor in of.state_dict().items()}

    with torch.random.fork_rng(devices=[]):  # fresh weights must not move the caller's random state
        return form(build_model(config)) == form(model)


def changes_between(old: dict, new: dict) -> dict[str, list]:
    """Settings that differ between two records, by their dotted names: ``{"training.epochs": [10, 20]}``.

    Example:
        >>> changes_between({"training": {"epochs": 1, "seed": 1}}, {"training": {"epochs": 2, "seed": 1}})
        {'training.epochs': [1, 2]}
    """
    one, two = _flat(old), _flat(new)
    return {name: [one.get(name), two.get(name)] for name in one | two if one.get(name) != two.get(name)}


def _flat(values: dict, before: str = "") -> dict:
    flat = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{before}{name}.")
        else:
            flat[before + name] = list(value) if isinstance(value, tuple) else value
    return flat
