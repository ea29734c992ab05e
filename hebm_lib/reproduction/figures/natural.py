"""Pages 17 and 20: reconstructions and samples of several runs side by side, from the pictures that these left."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

__all__ = ["draw_chains", "draw_systems"]

ROWS = 3
"""Of a picture by `hebm_lib.reproduction.studies.natural_images.write_examples`: images, reconstructions, samples."""


def strips_of(pictures: dict[str, Path]) -> dict[str, list[np.ndarray]]:
    """Name → test images, reconstructions and samples of its picture, each a strip; `ValueError` for different sizes."""
    loaded = {name: np.asarray(Image.open(path).convert("RGB")) for name, path in pictures.items()}
    shapes = {picture.shape for picture in loaded.values()}
    if len(shapes) != 1:
        raise ValueError(f"one size for all pictures, got {sorted(shapes)}")
    return {name: np.array_split(picture[1:], ROWS) for name, picture in loaded.items()}


def draw_lines(lines: dict[str, tuple[np.ndarray | None, np.ndarray | None]]) -> Figure:
    """Two strips a line, its name on the left; None leaves a place empty."""
    fig, axes = plt.subplots(len(lines), 2, figsize=(7.6, 0.5 * len(lines) + 0.4), squeeze=False)
    for (name, parts), pair in zip(lines.items(), axes, strict=True):
        for ax, part in zip(pair, parts, strict=True):
            if part is not None:
                ax.imshow(part)
            ax.axis("off")
        pair[0].text(-0.02, 0.5, name, transform=pair[0].transAxes, ha="right", va="center", fontsize=9)
    return fig


def draw_systems(pictures: dict[str, Path]) -> Figure:
    """Real test images above; below, a line per system: the same images reconstructed, and samples.

    Args:
        pictures: name of a system → the picture of its run, all of one image set.

    Raises:
        ValueError: for pictures of different sizes, or none.
    """
    strips = strips_of(pictures)
    fig = draw_lines(
        {"real": (next(iter(strips.values()))[0], None)} | {name: tuple(p[1:]) for name, p in strips.items()}
    )
    fig.axes[0].set_title("test images, and below their reconstructions", fontsize=10)
    fig.axes[3].set_title("samples", fontsize=10)
    return fig


def draw_chains(pictures: dict[str, tuple[Path, Path]], *, titles: tuple[str, str]) -> Figure:
    """A line per setting: samples of short chains, and of long ones.

    Args:
        pictures: name of a setting → the pictures of its run with short and with long chains, all of one image set.
        titles: of the two columns.

    Raises:
        ValueError: for pictures of different sizes, or none.
    """
    short, long = (strips_of({name: pair[i] for name, pair in pictures.items()}) for i in (0, 1))
    fig = draw_lines({name: (short[name][-1], long[name][-1]) for name in pictures})
    for ax, title in zip(fig.axes, titles, strict=False):
        ax.set_title(title, fontsize=10)
    return fig
