"""Weights and runs on disk: safetensors for tensors, JSON for settings, every write atomic.

A run's folder looks like this::

    runs/mnist/
        config.json                     the experiment, or what is known of a run on own data or with an own model
        provenance.json                 with what it was made: commit, versions, device; and every change of its settings
        metrics.jsonl                   one line per log interval
        checkpoints/step-00006000/
            model.safetensors           weights, and the model's config in the header: enough to load a model
            state.pt                    optimisers, random states, step: only needed to go on training

A checkpoint is first written into a folder with another name and then renamed, so one that is there is whole.
"""

from importlib import resources
from pathlib import Path

from torch import nn

from hebm_lib.checkpoint.files import (
    CheckpointError,
    WriteError,
    replace_bytes,
    replacing,
    saying_why,
    write_atomically,
)
from hebm_lib.checkpoint.folder import (
    checkpoints_of,
    latest_checkpoint,
    locked,
    read_config,
    read_provenance,
    read_run,
    set_aside,
    write_provenance,
)
from hebm_lib.checkpoint.weights import (
    load_model,
    load_run,
    load_state,
    load_weights,
    read_weights,
    save_checkpoint,
    save_model,
    weights_digest,
)

__all__ = [
    "CheckpointError",
    "WriteError",
    "checkpoints_of",
    "latest_checkpoint",
    "load_model",
    "load_pretrained",
    "load_run",
    "load_state",
    "load_weights",
    "locked",
    "pretrained_names",
    "read_config",
    "read_provenance",
    "read_run",
    "read_weights",
    "replace_bytes",
    "replacing",
    "save_checkpoint",
    "save_model",
    "saying_why",
    "set_aside",
    "weights_digest",
    "write_atomically",
    "write_provenance",
]


def pretrained_folder() -> Path:
    """Where published weights stand."""
    return Path(str(resources.files("hebm_lib") / "pretrained"))


def pretrained_names() -> list[str]:
    """Names that `load_pretrained` knows."""
    return sorted(p.stem for p in pretrained_folder().glob("*.safetensors"))


def load_pretrained(name: str, device="cpu") -> nn.Module:
    """A published model by its experiment's name, in evaluation mode.

    Raises:
        ValueError: for a name without published weights.

    Example:
        >>> model = load_pretrained("digits")
        >>> model.sample(3).shape
        torch.Size([3, 1, 8, 8])
    """
    path = pretrained_folder() / f"{name}.safetensors"
    if not path.is_file():
        raise ValueError(f"no weights are published for {name!r}; there are {', '.join(pretrained_names()) or 'none'}")
    return load_model(path, device)
