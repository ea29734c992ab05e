"""3D Shapes with its six factors: the file ``3dshapes.h5`` as published, and ``shapes3d-render``, which needs no file.

Both are 480,000 images of 64×64 in one grid of factors. Neither comes with a split: ours holds a tenth back for testing,
chosen once for all, and gives that tenth of the rest to train on unless another number is asked for: all images together
are 5.9 GB.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hebm_lib.config.checks import require
from hebm_lib.data.images import ImageDataset, fit_images
from hebm_lib.data.shapes3d_render import FACTORS, SHAPES, factor_values, grid_size, render_shapes

__all__ = ["RENDERED", "SHAPES3D", "find_file", "read_rendered", "read_shapes3d"]

RENDERED, SHAPES3D = "shapes3d-render", "3dshapes"
FILE = "3dshapes.h5"
MD5 = "099a2078d58cec4daad0702c55d06868"
"""Of the published file, 267,573,662 bytes."""
TEST_SHARE = 10
"""One image of so many is kept for testing; as many are there to train on by default."""
SPLIT_SEED = 0
SLAB = 4800
"""Images that are drawn, or unpacked from the file, at a time."""


def chosen_images(n: int, split: str, labels: Callable[[Tensor], Tensor], classes, subsample: int | None) -> Tensor:
    """Numbers of the images of a split, ascending: a tenth of the grid for testing; of the others so many as asked for.

    Args:
        n: images in the grid.
        labels: gives their labels by their numbers.
        classes: keep only these labels; None keeps all.
        subsample: so many, drawn from those by a fixed seed; None takes as many as the test split has.
    """
    order = torch.randperm(n, generator=torch.Generator().manual_seed(SPLIT_SEED))
    held_back = max(n // TEST_SHARE, 1)
    part = order[:held_back] if split == "test" else order[held_back:]
    if classes is not None:
        part = part[torch.isin(labels(part), torch.as_tensor(list(classes)))]
        require(
            len(part) > 0, f"the {split} split has no images of class {list(classes)}: a shape is 0 … {len(SHAPES) - 1}"
        )
    if subsample is None:
        subsample = min(held_back, len(part))
    require(
        subsample <= len(part),
        f"subsample is {subsample:,}, but the {split} split has {len(part):,} images{' of these classes' if classes else ''}",
    )
    return part[:subsample].sort().values


def dataset_of(name: str, pieces: list[Tensor], factors: Tensor, sizes: Sequence[int], indices: Tensor) -> ImageDataset:
    """Images with the factors that made them; the label is the shape."""
    return ImageDataset(
        torch.cat(pieces),
        factors[:, list(FACTORS).index("shape")].contiguous(),
        name,
        extra={"factors": factors.numpy(), "grid_index": indices.numpy()},
        about={
            "factor_names": np.array(list(FACTORS)),
            "factor_sizes": np.array(sizes),
            "label_names": np.array(SHAPES),
        },
    )


def read_rendered(
    split: str, *, classes: Sequence[int] | None = None, subsample: int | None = None, fitted: tuple = (None, "pad", 0)
) -> ImageDataset:
    """Images of ``shapes3d-render``, drawn here and now; ``fitted`` are `fit_images`' size, fit and crop.

    Example:
        >>> data = read_rendered("train", subsample=10)
        >>> data.images.shape, data.extra["factors"].shape, data.about["factor_names"].tolist()[:2]
        (torch.Size([10, 3, 64, 64]), (10, 6), ['floor hue', 'wall hue'])
    """
    shape = list(FACTORS).index("shape")
    indices = chosen_images(grid_size(), split, lambda i: factor_values(i)[:, shape], classes, subsample)
    pieces = [fit_images(render_shapes(some), *fitted) for some in indices.split(SLAB)]
    return dataset_of(RENDERED, pieces, factor_values(indices), list(FACTORS.values()), indices)


def find_file(folders: Sequence[Path]) -> Path | None:
    """``3dshapes.h5`` in the first of the folders that has it, or in a folder ``3dshapes`` there."""
    places = [folder / inside / FILE for folder in folders for inside in (SHAPES3D, "")]
    return next((place for place in places if place.is_file()), None)


def read_shapes3d(
    path: Path,
    split: str,
    *,
    classes: Sequence[int] | None = None,
    subsample: int | None = None,
    fitted: tuple = (None, "pad", 0),
    checksum: str | None = MD5,
) -> ImageDataset:
    """Images of the published file.

    Args:
        path: ``3dshapes.h5``.
        split, classes, subsample, fitted: as of `read_rendered`.
        checksum: MD5 that the file must have; None trusts it.

    Raises:
        ImportError: where h5py is not installed.
        ValueError: if the file is damaged, or is another one.
    """
    try:
        import h5py
    except ImportError as error:
        raise ImportError("3dshapes.h5 is read by h5py: pip install h5py") from error
    if checksum is not None and (found := _md5(path)) != checksum:
        size = os.path.getsize(path)
        raise ValueError(
            f"{path} is damaged or another file: its MD5 is {found} ({size:,} bytes), that of the published one is {checksum} "
            "(267,573,662 bytes); download it again"
        )
    try:
        with h5py.File(path, "r") as file:
            images, values = file["images"], file["labels"][:]
            if (
                images.shape[1:] != (64, 64, 3)
                or images.dtype != np.uint8
                or values.shape != (len(images), len(FACTORS))
            ):
                raise ValueError(f"images {images.dtype} {images.shape}, labels {values.shape}")
            # The file says each factor's value (hues from 0 to 0.9, angles from -30 to 30): its rank is its number.
            ranked = [np.unique(column, return_inverse=True) for column in values.T]
            factors = torch.from_numpy(np.stack([rank for _, rank in ranked], 1).astype(np.int64))
            shape = factors[:, list(FACTORS).index("shape")]
            indices = chosen_images(len(images), split, lambda i: shape[i], classes, subsample)
            pieces = []
            for start in range(0, len(images), SLAB):  # chunks of the file are unpacked whole: one after the other
                inside = indices[(indices >= start) & (indices < start + SLAB)] - start
                if len(inside):
                    slab = torch.from_numpy(images[start : start + SLAB])[inside]
                    pieces.append(fit_images(slab.permute(0, 3, 1, 2).contiguous(), *fitted))
    except (KeyError, OSError, ValueError) as error:
        raise ValueError(f"{path} does not hold 3D Shapes as published ({error})") from error
    return dataset_of(SHAPES3D, pieces, factors[indices], [len(kept) for kept, _ in ranked], indices)


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
