"""Models for the book's explorers, which run in the reader's browser: one safetensors file each, half precision.

The file's header says what to compute, as a list of steps, so that `book/_static/explorers.js` needs to know nothing of a
config and a retrained model needs no change there. Files are made when the book is built (`book/_ext/explorers.py`).
"""

import base64
import html
import json
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from hebm_lib.checkpoint import load_pretrained
from hebm_lib.experiments import load_experiment
from hebm_lib.langevin import langevin_block
from hebm_lib.model import JointEBM
from hebm_lib.networks import LadderGenerator
from hebm_lib.provenance import ROOT

__all__ = ["EXPLORERS", "Html", "draw_still", "export_model", "generator_steps", "show", "write_script"]

EXPLORERS = {"levels": "mnist", "langevin": "mnist-012-2d"}
"""The book's explorers, each with the published model that it moves."""
MOST_BYTES = 4_000_000


def generator_steps(generator: LadderGenerator) -> tuple[list[dict], dict[str, torch.Tensor]]:
    """A ladder as a list of steps, and the tensors that they name.

    Steps: ``top`` starts with the top level's code; ``linear``, ``conv`` (3×3), ``up`` (4×4 transposed, stride 2) and
    ``leaky`` change the feature; ``shape`` folds it to ``(c, h, w)``; ``add`` and ``gain`` let a level join; ``tanh`` ends.

    Raises:
        ValueError: for a ladder with batch norm, gates, local codes, vector entries, or another join than addition.

    Example:
        >>> from hebm_lib import LatentSpec
        >>> from hebm_lib.config import GeneratorConfig
        >>> config = GeneratorConfig(factors=(2,), widths=(8,), entries=("gain",), top_hidden=(16,), base_width=8)
        >>> steps, tensors = generator_steps(LadderGenerator(LatentSpec((2, 3)), 8, 1, config))
        >>> [step["do"] for step in steps][:5], steps[0]["level"]
        (['top', 'linear', 'leaky', 'linear', 'shape'], 2)
    """
    entries = [rung.entry for rung in generator.rungs if rung.entry is not None]
    plain = all(e.code_shape is None and e.gate is None for e in entries) and not len(generator.vector_entries)
    if generator.join != "add" or not plain or any(isinstance(m, nn.BatchNorm2d) for m in generator.modules()):
        raise ValueError(
            "explorers know ladders that join maps by addition or gain, without batch norm, gates or local codes"
        )
    steps: list[dict] = [{"do": "top", "level": generator.latents.levels}]
    tensors: dict[str, torch.Tensor] = {}

    def keep(layer: nn.Module, do: str, **more) -> None:
        name = f"g{len(tensors)}"
        tensors[name] = layer.weight.detach()
        if layer.bias is not None:
            tensors[f"{name}.bias"] = layer.bias.detach()
        steps.append({"do": do, "weight": name, **more})

    def walk(layers) -> None:
        for layer in layers:
            if isinstance(layer, nn.Linear):
                keep(layer, "linear")
            elif isinstance(layer, nn.ConvTranspose2d):
                keep(layer, "up")
            elif isinstance(layer, nn.Conv2d):
                keep(layer, "conv")
            else:
                steps.append({"do": "leaky", "slope": layer.negative_slope})

    walk(generator.top)
    walk([generator.to_map])
    steps.append({"do": "shape", "shape": list(generator.start)})
    for rung, level in zip(reversed(generator.rungs), reversed(generator.rung_levels), strict=True):
        if rung.entry is not None and rung.entry.kind != "gain":
            keep(rung.entry.linear, "add", level=level + 1)
        walk([rung.act])
        if rung.entry is not None and rung.entry.kind == "gain":
            keep(rung.entry.linear, "gain", level=level + 1, range=rung.entry.gain_range)
        walk(rung.climb)
    if not isinstance(generator.out, nn.Identity):
        walk([generator.act, generator.out])
    steps.append({"do": "tanh"})
    return steps, tensors


@torch.no_grad()
def export_model(name: str, path: Path, *, model: JointEBM | None = None) -> int:
    """Write a published model for the browser: the generator in half precision, the energy in single, the steps as a header.

    Args:
        name: of a published run with a ladder and an energy.
        path: where to, a ``.safetensors`` file.
        model: another model than the published one.

    Returns:
        The file's size in bytes.

    Raises:
        ValueError: where the model has no energy, a ladder that `generator_steps` does not know, or more than 4 MB.
    """
    model = load_pretrained(name) if model is None else model
    if not model.prior.has_energy:
        raise ValueError(f"{name} has no energy to move in")
    steps, tensors = generator_steps(model.generator)
    tensors = {key: value.half() for key, value in tensors.items()}
    energy, training = model.prior.plain(torch.float32), load_experiment(name).training
    for i, (weight, bias) in enumerate(zip(energy.weights, energy.biases, strict=True)):
        tensors[f"f{i}"], tensors[f"f{i}.bias"] = weight.float(), bias.float()
    z = model.prior.sample(2000, training.langevin.steps, training.langevin.step_size, generator=_noise())
    for i, part in enumerate(model.latents.split(z)):
        # The two directions in which a level's samples vary most, as columns one standard deviation long.
        _, spread, directions = torch.linalg.svd(part - part.mean(0), full_matrices=False)
        axes = directions[:2].T * spread[:2] / len(z) ** 0.5
        tensors[f"axes{i + 1}"] = axes if part.shape[1] > 2 else torch.eye(part.shape[1])
        tensors[f"centre{i + 1}"] = part.mean(0)
    described = {
        "name": name,
        "levels": list(model.latents.dims),
        "steps": steps,
        "energy": {"layers": len(energy.weights), "slope": energy.slope, "activation": energy.activation},
        "langevin": {"steps": training.langevin.steps, "step_size": training.langevin.step_size},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in tensors.items()}, path, {"explorer": json.dumps(described)})
    path.chmod(0o644)  # a web server reads it as somebody else
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(f"{path.name} has {size:,} bytes; a page may load {MOST_BYTES:,}")
    return size


@torch.no_grad()
def draw_still(name: str, path: Path, *, n: int = 16, extent: float = 4.0) -> None:
    """The Langevin explorer as a picture, for readers without JavaScript: the exact plane of the top level, others at 0.

    Args:
        name: of a published run whose top level has two units.
        path: where to, a ``.png`` file.
        n: chains, run for 300 steps with the run's own step size.
        extent: the plane reaches from minus this to this.
    """
    import matplotlib.pyplot as plt

    model, s = load_pretrained(name), load_experiment(name).training.langevin.step_size
    columns = model.latents.columns(model.latents.levels)
    side = torch.linspace(-extent, extent, 80)
    plane = torch.zeros(side.numel() ** 2, model.latents.total)
    plane[:, columns] = torch.cartesian_prod(side, side)
    density = (model.prior.log_prob_unnormalized(plane)).reshape(len(side), -1).exp().T
    start = torch.zeros(n, model.latents.total)
    start[:, columns] = torch.randn(n, 2, generator=_noise())
    z = langevin_block(model.prior.log_prob_unnormalized, start, columns, 300, s, generator=_noise())
    figure, axis = plt.subplots(figsize=(4.2, 4.2), layout="constrained")
    axis.imshow(density.sqrt().numpy(), cmap="Blues", origin="lower", extent=(-extent, extent) * 2)
    for (across, upward), digit in zip(z[:, columns].tolist(), model.decode(z)[:, 0], strict=True):
        half = extent / 15
        box = (across - half, across + half, upward - half, upward + half)
        axis.imshow(digit.numpy(), cmap="gray", extent=box, zorder=2)
    axis.set(xlim=(-extent, extent), ylim=(-extent, extent))
    axis.axis("off")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def as_data(path: Path) -> str:
    """A model file as an address that holds it."""
    return f"data:application/octet-stream;base64,{base64.b64encode(path.read_bytes()).decode()}"


def write_script(path: Path) -> None:
    """Write a model file once more beside itself, as a script: a page that is opened from a disk may not read other files."""
    name = json.dumps(path.stem)
    script = f"(globalThis.hebmModels ??= {{}})[{name}] = {json.dumps(as_data(path))};\n"
    path.with_suffix(".js").write_text(script, encoding="utf-8")


class Html(str):
    """Text that Jupyter shows as HTML; no import of IPython, which the library does not need."""

    def _repr_html_(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        """Short: a notebook stores it beside the HTML."""
        return "<Html>"


def show(kind: str, name: str | None = None, *, height: int = 640):
    """An explorer for a notebook: the page's own component in a frame, model and all, with no path and no network.

    Args:
        kind: ``levels`` or ``langevin``.
        name: a published model; None takes the book's.
        height: of the frame, pixels.

    Raises:
        ValueError: for another kind.
    """
    if kind not in EXPLORERS:
        raise ValueError(f"there is no explorer {kind!r}: there are {', '.join(EXPLORERS)}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        export_model(name or EXPLORERS[kind], path)
        data = as_data(path)
    script = (ROOT / "book" / "_static" / "explorers.js").read_text(encoding="utf-8")
    page = (
        f'<!doctype html><html lang="en"><title>Explorer</title><body><script>{script}</script>'
        f'<hebm-explorer kind="{kind}" src="{data}"></hebm-explorer></body></html>'
    )
    settings = f'title="Explorer" width="100%" height="{height}" style="border:0"'
    return Html(f'<div><iframe {settings} srcdoc="{html.escape(page)}"></iframe></div>')


def _noise() -> torch.Generator:
    return torch.Generator().manual_seed(0)
