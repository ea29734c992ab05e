"""Where a number comes from: commit, device and versions of a run; and how many digits of it are kept."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path

import torch

__all__ = ["ROOT", "provenance", "rounded"]


ROOT = Path(__file__).resolve().parent.parent
"""The checkout."""


def provenance(device: torch.device | str = "cpu") -> dict:
    """Where and with what a run is made: commit, device, library versions. No names of machines or paths.

    Outside a clone ``commit`` and ``uncommitted_changes`` are None: nothing is known of either.

    Args:
        device: what the run computes on, whatever else the machine has.

    Example:
        >>> provenance()["device"].startswith("CPU, ")
        True
    """
    device, changes = torch.device(device), _git("status", "--porcelain", "--untracked-files=no", "--", "hebm_lib")
    names = ("torch", "torchvision", "lightning-fabric", "numpy", "scikit-learn", "safetensors")
    return {
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": None if changes is None else bool(changes),
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"CPU, {torch.get_num_threads()} thread(s)",
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in names},
    }


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def rounded(value):
    """Four significant digits everywhere: more would pretend to be reproducible."""
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
