"""Image data sets as tensors: named ones, image packs, and folders of images of one's own.

A named set comes from one of four sources, asked in this order: image packs under the folder that the variable HEBM_DATA
names, the digits that come embedded in scikit-learn, 3D Shapes (its published file, or our stand-in, drawn on demand), and
torchvision, which downloads MNIST, Fashion-MNIST, SVHN, CIFAR-10 and CelebA and checks them. Images are kept as uint8, the
whole set in one tensor that can stand on the device, and become float32 in [-1, 1] when read. ``python -m hebm_lib pack``
makes a pack of a folder of images.
"""

from hebm_lib.data.downloads import CELEBA_BOX, TORCHVISION, cache_root
from hebm_lib.data.folders import Packed, pack_folder
from hebm_lib.data.images import ImageDataset, fit_images, pad_black
from hebm_lib.data.packs import write_pack
from hebm_lib.data.shapes3d_render import FACTORS, SHAPES, factor_values, grid_index, grid_size, render_shapes
from hebm_lib.data.sources import (
    MissingDataError,
    MissingSplitError,
    available_datasets,
    black_or_white,
    fetch,
    load_dataset,
    load_split,
    pack_root,
)

__all__ = [
    "CELEBA_BOX",
    "FACTORS",
    "SHAPES",
    "TORCHVISION",
    "ImageDataset",
    "MissingDataError",
    "MissingSplitError",
    "Packed",
    "available_datasets",
    "black_or_white",
    "cache_root",
    "factor_values",
    "fetch",
    "fit_images",
    "grid_index",
    "grid_size",
    "load_dataset",
    "load_split",
    "pack_folder",
    "pack_root",
    "pad_black",
    "render_shapes",
    "write_pack",
]
