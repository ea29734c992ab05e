"""Weights and runs on disk: safetensors for tensors, JSON for settings, every write atomic.

A run's folder looks like this::

    runs/mnist/
        config.json                     the experiment
        metrics.jsonl                   one line per log interval
        checkpoints/step-00006000/
            model.safetensors           weights, and the model's config in the header: enough to load a model
            state.pt                    optimisers, random states, step: only needed to go on training

A checkpoint is first written into a folder with another name and then renamed, so one that is there is whole.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from importlib import resources
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from hebm_lib.config import ExperimentConfig, ModelConfig, from_dict, to_dict
from hebm_lib.model import build_model

__all__ = [
    "CheckpointError",
    "latest_checkpoint",
    "load_model",
    "load_pretrained",
    "load_run",
    "pretrained_names",
    "read_config",
    "read_weights",
    "replace_bytes",
    "replacing",
    "save_model",
    "weights_digest",
    "write_atomically",
]

FORMAT = "hebm-1"


class CheckpointError(ValueError):
    """A file is not a checkpoint of this library, is cut off, or does not fit the model."""


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old content or the new, never a part."""
    with replacing(path) as temporary:
        temporary.write_text(text)


def replace_bytes(path: Path, content: bytes) -> None:
    """The same for a binary file."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def replacing(path: Path):
    """A temporary path beside ``path`` that takes its place when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def save_model(model: nn.Module, config: ModelConfig, path: Path, *, half: bool = False, **metadata) -> None:
    """Write a model as one safetensors file that holds its config in the header.

    Args:
        model: the model.
        config: what `build_model` needs to make one like it.
        path: where to; an existing file is replaced at the end, in one move.
        half: store the networks in float16. An energy stays in float32: it is small, and its samples would change.
        metadata: more JSON values for the header, such as a run's provenance.
    """
    tensors = {}
    for name, tensor in model.state_dict().items():
        energy = name.startswith("prior.") and config.prior.hidden
        halved = half and not energy and tensor.is_floating_point()
        tensors[name] = tensor.detach().cpu().to(torch.float16 if halved else tensor.dtype).contiguous()
    header = {"format": FORMAT, "config": json.dumps(to_dict(config)), "metadata": json.dumps(metadata)}
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
        CheckpointError: if the file is missing, cut off, of another kind, or does not fit its own config.
    """
    tensors, header = _read(Path(path))
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
    return model.to(device).eval()


def read_weights(path: Path) -> dict:
    """The tensors of a file that `save_model` wrote."""
    return _read(Path(path))[0]


def load_weights(model: nn.Module, tensors: dict, path: Path) -> None:
    """Put ``tensors`` into the model, all or nothing."""
    own = model.state_dict()
    if set(own) != set(tensors) or any(own[k].shape != tensors[k].shape for k in own):
        different = sorted(set(own) ^ set(tensors)) or [k for k in own if own[k].shape != tensors[k].shape]
        raise CheckpointError(f"{path} does not fit the model: {', '.join(different[:4])} differ")
    model.load_state_dict({k: v.to(own[k].dtype) for k, v in tensors.items()})


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


def read_config(run_dir: Path) -> ExperimentConfig:
    """The experiment that a run's folder belongs to."""
    path = Path(run_dir) / "config.json"
    try:
        return from_dict(ExperimentConfig, json.loads(path.read_text()))
    except FileNotFoundError:
        raise CheckpointError(f"{run_dir} is not a run: it has no config.json") from None
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path} is not JSON ({error})") from error


def save_checkpoint(run_dir: Path, step: int, model: nn.Module, config: ModelConfig, state: dict, keep: int) -> Path:
    """Write ``checkpoints/step-…`` whole and then remove all but the newest ``keep``."""
    folder = Path(run_dir) / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"step-{step:08d}"
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".writing-"))
    save_model(model, config, temporary / "model.safetensors", step=step)
    torch.save(state, temporary / "state.pt")
    temporary.chmod(0o755)
    if final.exists():  # written again after a resume: the old one is as good until this moment
        shutil.rmtree(final)
    os.replace(temporary, final)
    for old in sorted(folder.glob("step-*"))[:-keep]:
        shutil.rmtree(old)
    for left_over in folder.glob(".writing-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    return final


def latest_checkpoint(run_dir: Path) -> Path:
    """The newest whole checkpoint of a run; raises `CheckpointError` where there is none."""
    found = sorted((Path(run_dir) / "checkpoints").glob("step-*"))
    if not found:
        raise CheckpointError(f"{run_dir} holds no checkpoint yet")
    return found[-1]


def load_state(checkpoint: Path) -> dict:
    """Optimisers, random states and step of a checkpoint."""
    try:
        return torch.load(Path(checkpoint) / "state.pt", map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises unpickling, zip and OS errors for damaged files
        raise CheckpointError(
            f"{checkpoint}/state.pt cannot be read ({error}); remove this checkpoint and resume"
        ) from error


def load_run(run_dir: Path, device="cpu") -> nn.Module:
    """The model of a run's newest checkpoint, in evaluation mode."""
    return load_model(latest_checkpoint(run_dir) / "model.safetensors", device)


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
    """
    path = pretrained_folder() / f"{name}.safetensors"
    if not path.is_file():
        raise ValueError(f"no weights are published for {name!r}; there are {', '.join(pretrained_names()) or 'none'}")
    return load_model(path, device)
