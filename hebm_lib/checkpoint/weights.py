"""Weights in safetensors files, and the checkpoints of a run that hold them."""

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from hebm_lib.checkpoint.files import CheckpointError, replacing, saying_why
from hebm_lib.checkpoint.folder import FORMAT, checkpoints_of, latest_checkpoint
from hebm_lib.config import ForeignModel, ModelConfig, from_dict, to_dict
from hebm_lib.model import build_model

__all__ = [
    "load_model",
    "load_run",
    "load_state",
    "load_weights",
    "read_weights",
    "save_checkpoint",
    "save_model",
    "weights_digest",
]


def save_model(
    model: nn.Module, config: ModelConfig | ForeignModel, path: Path, *, half: bool = False, **metadata
) -> None:
    """Write a model as one safetensors file that holds its config in the header.

    Args:
        model: the model.
        config: what `build_model` needs to make one like it; or what there is to say of a model that it cannot make.
        path: where to; an existing file is replaced at the end, in one move.
        half: store the networks in float16. An energy stays in float32: it is small, and its samples would change.
        metadata: more JSON values for the header, such as a run's provenance.

    Raises:
        WriteError: if the disk is full or the folder cannot be written; an older file stays.
    """
    foreign, tensors = isinstance(config, ForeignModel), {}
    for name, tensor in model.state_dict().items():
        energy = name.startswith("prior.") and (foreign or config.prior.hidden)
        halved = half and not energy and tensor.is_floating_point()
        tensors[name] = tensor.detach().cpu().to(torch.float16 if halved else tensor.dtype).contiguous()
    described = {"foreign" if foreign else "config": json.dumps(to_dict(config))}
    header = {"format": FORMAT, **described, "metadata": json.dumps(metadata)}
    with replacing(Path(path)) as temporary:
        save_file(tensors, temporary, metadata=header)


def weights_digest(path: Path) -> str:
    """SHA-256 over names, types, shapes and values of a file of weights; what its header says beside them does not count.

    Raises:
        CheckpointError: if the file is missing or damaged.
    """
    tensors = read_weights(path)
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def load_model(path: Path, device="cpu") -> nn.Module:
    """The model that `save_model` wrote, in evaluation mode, in float32.

    Raises:
        CheckpointError: if the file is missing, cut off, of another kind, does not fit its own config, holds a model that
            the library cannot build, or values that are not finite.
    """
    tensors, header = _read(Path(path))
    if "foreign" in header:
        raise CheckpointError(
            f"{path} holds the weights of {from_dict(ForeignModel, json.loads(header['foreign']))}: the library cannot "
            "build that model. Make it yourself and give it: load_run(RUN, into=model)"
        )
    try:
        config = from_dict(ModelConfig, json.loads(header["config"]))
        with torch.random.fork_rng(devices=[]):  # fresh weights must not move the caller's random state
            model = build_model(config)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} does not say which model it holds, or names another library's ({error})"
        ) from error
    load_weights(model, tensors, path)
    model.config = config
    model.metadata = json.loads(header.get("metadata", "{}"))
    # Convolutions of one thread take a third less with their channels last in memory, as in a training.
    return model.to(device, memory_format=torch.channels_last).eval()


def read_weights(path: Path) -> dict:
    """The tensors of a file that `save_model` wrote."""
    return _read(Path(path))[0]


def load_weights(model: nn.Module, tensors: dict, path: Path) -> None:
    """Put ``tensors`` into the model, all or nothing.

    Raises:
        CheckpointError: if names or shapes differ from the model's, or a value is not finite.
    """
    own = model.state_dict()
    if set(own) != set(tensors) or any(own[k].shape != tensors[k].shape for k in own):
        different = sorted(set(own) ^ set(tensors)) or [k for k in own if own[k].shape != tensors[k].shape]
        raise CheckpointError(
            f"{path} does not fit the model: {', '.join(_shapes(different[:4], own, tensors))} differ"
        )
    broken = [k for k, v in tensors.items() if v.is_floating_point() and not bool(torch.isfinite(v).all())]
    if broken:
        raise CheckpointError(
            f"{path} holds values that are not finite, in {', '.join(broken[:4])}: damaged, or saved by a training that had "
            "diverged. Take an earlier checkpoint, or train again"
        )
    model.load_state_dict({k: v.to(own[k].dtype) for k, v in tensors.items()})


def _shapes(names: list[str], own: dict, tensors: dict) -> list[str]:
    """Names of tensors that differ, with the shapes of those that both sides have."""
    both = own.keys() & tensors.keys()
    return [f"{k} (file {tuple(tensors[k].shape)}, model {tuple(own[k].shape)})" if k in both else k for k in names]


def _read(path: Path) -> tuple[dict, dict]:
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} cannot be read as safetensors ({error}): cut off, or another kind of file"
        ) from error
    if header.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} holds safetensors, but not a model of this library (no {FORMAT!r} in its header)"
        )
    return tensors, header


def save_checkpoint(
    run_dir: Path, step: int, model: nn.Module, config: ModelConfig | ForeignModel, state: dict, keep: int
) -> Path:
    """Write ``checkpoints/step-…`` whole and then remove all but the newest ``keep``.

    Raises:
        WriteError: if the disk is full or the folder cannot be written; older checkpoints stay.
    """
    folder = Path(run_dir) / "checkpoints"
    final = folder / f"step-{step:08d}"
    with saying_why(final, _what_is_safe(run_dir)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".writing-"))
            save_model(model, config, temporary / "model.safetensors", step=step)
            torch.save(state, temporary / "state.pt")
            temporary.chmod(0o755)
            if final.exists():  # written again after a resume: the old one is as good until this moment
                shutil.rmtree(final)
            os.replace(temporary, final)
        finally:  # of this checkpoint, if it failed, and of any that was cut off earlier
            for left_over in folder.glob(".writing-*"):
                shutil.rmtree(left_over, ignore_errors=True)
    for old in checkpoints_of(run_dir)[:-keep]:
        shutil.rmtree(old)
    return final


def _what_is_safe(run_dir: Path) -> str:
    found = checkpoints_of(run_dir)
    if not found:
        return "There was no checkpoint before it."
    return (
        f"The last good checkpoint, {found[-1]}, stays: make room and go on with `python -m hebm_lib resume {run_dir}`."
    )


def load_state(checkpoint: Path) -> dict:
    """Optimisers, random states and step of a checkpoint."""
    try:
        return torch.load(Path(checkpoint) / "state.pt", map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises unpickling, zip and OS errors for damaged files
        raise CheckpointError(
            f"{checkpoint}/state.pt cannot be read ({error}); remove this checkpoint and resume"
        ) from error


def load_run(run_dir: Path, device=None, *, into: nn.Module | None = None) -> nn.Module:
    """The model of a run's newest checkpoint, in evaluation mode.

    Args:
        run_dir: the run's folder.
        device: where the model shall be; None means the CPU, and for ``into`` where that model is.
        into: a model of one's own that takes the weights, and is returned. A run of a model that the library cannot build
            needs it: anything but `build_model`'s.

    Raises:
        CheckpointError: if there is no checkpoint, it is damaged, it does not fit ``into``, or the library cannot build
            the model and ``into`` is missing.

    Example:
        >>> import tempfile, hebm_lib as hl
        >>> model = hl.load_pretrained("digits")
        >>> with tempfile.TemporaryDirectory() as run:
        ...     trainer = hl.Trainer(model, hl.TrainingConfig(epochs=1), run, progress=False)
        ...     _ = trainer.fit(hl.load_dataset("digits", "train").subset(slice(0, 100)))
        ...     again = hl.load_run(run, into=model)
        >>> again.training
        False
    """
    path = latest_checkpoint(run_dir) / "model.safetensors"
    if into is None:
        return load_model(path, "cpu" if device is None else device)
    load_weights(into, read_weights(path), path)
    return (into if device is None else into.to(device)).eval()
