"""Page 20: reconstructions and samples of several systems side by side, from the pictures that their runs left."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

__all__ = ["draw_systems"]

ROWS = 3
"""Of a picture by `hebm_lib.reproduction.studies.natural_images.write_examples`: images, reconstructions, samples."""


def draw_systems(pictures: dict[str, Path]) -> Figure:
    """Real test images above; below, a line per system: the same images reconstructed, and samples.

    Args:
        pictures: name of a system → the picture of its run, all of one image set.

    Raises:
        ValueError: for pictures of different sizes, or none.
    """
    loaded = {name: np.asarray(Image.open(path).convert("RGB")) for name, path in pictures.items()}
    shapes = {picture.shape for picture in loaded.values()}
    if len(shapes) != 1:
        raise ValueError(f"one size for all pictures, got {sorted(shapes)}")
    strips = {name: np.array_split(picture[1:], ROWS) for name, picture in loaded.items()}
    lines = {"real": [next(iter(strips.values()))[0], None]} | {name: parts[1:] for name, parts in strips.items()}
    fig, axes = plt.subplots(len(lines), 2, figsize=(7.6, 0.5 * len(lines) + 0.4), squeeze=False)
    for (name, parts), pair in zip(lines.items(), axes, strict=True):
        for ax, part in zip(pair, parts, strict=True):
            if part is not None:
                ax.imshow(part)
            ax.axis("off")
        pair[0].text(-0.02, 0.5, name, transform=pair[0].transAxes, ha="right", va="center", fontsize=9)
    axes[0, 0].set_title("test images, and below their reconstructions", fontsize=10)
    axes[1, 1].set_title("samples", fontsize=10)
    return fig
