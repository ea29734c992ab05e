"""What a run says of itself: the model, the data, and what a resumed run does otherwise than before."""

import torch
from torch import nn

from hebm_lib.config import ExperimentConfig, ForeignModel, ModelConfig, RunConfig, TrainingConfig, to_dict
from hebm_lib.data import ImageDataset
from hebm_lib.model import build_model

__all__ = ["FREE", "changes_between", "describe_run", "is_built_from", "record_dict", "shape_of"]

FREE = {"name", "description", "training.epochs", "training.log_every", "training.checkpoint_every"}
FREE |= {"training.keep_checkpoints"}
"""Settings that a resumed run may change without being told so: they do not touch what is learned in a step."""


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


def record_dict(run: RunConfig, data) -> dict:
    """What config.json holds: an experiment where all is known of it.

    Args:
        run: what `describe_run` gave.
        data: what the run is fitted to. A foreign model's config names data that nobody may ever have seen: they are
            recorded where the images are those of that name.
    """
    if run.experiment is not None:
        return to_dict(run.experiment)
    seen = isinstance(data, ImageDataset) and run.data is not None and data.name == run.data.name
    return to_dict(run) | ({} if seen else {"data": None})


def shape_of(data) -> dict:
    """How many images of which shape a run is fitted to."""
    return {"images": len(data), "shape": list(data.batch(slice(0, 1)).shape[1:])}


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
