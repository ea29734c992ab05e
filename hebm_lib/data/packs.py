"""Image packs: the folder ``<name>/{train,test}.npz`` in which the library reads and writes a data set, without pickle.

Either plain pixels (``images`` uint8 ``(n, H, W)`` or ``(n, H, W, C)``), or PNG, JPEG and WebP files one after another
(``data`` uint8, ``offsets`` int64 ``(n + 1,)``). ``labels`` int64 ``(n,)`` may be absent, or -1 for some images. Further
arrays may stand beside them.
"""

import io
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from hebm_lib.data.images import ImageDataset, fit_images

__all__ = ["decode_image", "read_pack", "write_pack"]

FORMATS = ("PNG", "JPEG", "WEBP")
"""What Pillow is allowed to read: it knows some formats that run programs."""
OWN = {"images", "data", "offsets", "labels"}


def read_pack(path: Path, *, size: int | None = None, fit: str = "pad", crop: int = 0) -> ImageDataset:
    """One file of a pack.

    Args:
        path: the ``.npz`` file.
        size, fit, crop: as of `fit_images`.

    Raises:
        ValueError: if the file is no pack, is damaged, holds images of several sizes without a ``size``, or images that do
            not fit into one.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except Exception as error:  # a cut zip, a pickle, another file: numpy raises half a dozen types
        raise _unreadable(path, error) from error
    if "images" in arrays:
        images = _pixels(path, arrays["images"])
    elif {"data", "offsets"} <= arrays.keys():
        images = _encoded(path, arrays["data"], arrays["offsets"], size, fit, crop)
    else:
        raise _unreadable(path, f"it holds {sorted(arrays)}, expected images, or data and offsets")
    labels = _labels(path, arrays.get("labels"), len(images))
    beside = {key: values for key, values in arrays.items() if key not in OWN}
    extra = {key: values for key, values in beside.items() if _one_per_image(key, beside, len(images))}
    about = {key: values for key, values in beside.items() if key not in extra}
    return ImageDataset(fit_images(images, size, fit, crop), labels, path.parent.name, extra=extra, about=about)


def _unreadable(path: Path, why) -> ValueError:
    return ValueError(f"{path} is not an image pack that can be read ({why}); copy or make it again")


def _pixels(path: Path, images: np.ndarray) -> Tensor:
    grey, colour = images.ndim == 3, images.ndim == 4 and images.shape[3] in (1, 3)
    if images.dtype != np.uint8 or not (grey or colour):
        raise _unreadable(
            path,
            f"its images are {images.dtype} {images.shape}, expected uint8 (n, H, W), (n, H, W, 1) or (n, H, W, 3)",
        )
    tensor = torch.from_numpy(images)
    return tensor[:, None] if grey else tensor.permute(0, 3, 1, 2).contiguous()


def _encoded(path: Path, data: np.ndarray, offsets: np.ndarray, size: int | None, fit: str, crop: int) -> Tensor:
    """Files decoded one by one and brought to size at once, so that memory holds small images."""
    stream, parts = data.tobytes(), []
    for i, (start, end) in enumerate(zip(offsets, offsets[1:], strict=False)):
        try:
            image = decode_image(stream[start:end])
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise _unreadable(path, f"image {i}: {error}") from error
        parts.append(fit_images(image[None], size, fit, crop))
    return join_images(parts, size) if parts else torch.zeros(0, 1, size or 1, size or 1, dtype=torch.uint8)


def join_images(parts: list[Tensor], size: int | None) -> Tensor:
    """Images ``(n, C, H, W)`` of one size together; grey ones become colour where some are.

    Raises:
        ValueError: where they differ in size.
    """
    sizes = {tuple(part.shape[-2:]) for part in parts}
    if len(sizes) > 1:
        some = ", ".join(f"{height}×{width}" for height, width in sorted(sizes)[:4]) + (" …" if len(sizes) > 4 else "")
        raise ValueError(
            f"the images are of {len(sizes)} sizes ({some}): give one side for all of them, such as size=32 "
            "(for the command pack: --size 32)"
        )
    channels = max(part.shape[1] for part in parts)
    return torch.cat([part if part.shape[1] == channels else part.expand(-1, channels, -1, -1) for part in parts])


def _labels(path: Path, labels: np.ndarray | None, n: int) -> Tensor:
    if labels is None:
        return torch.full((n,), -1)
    if labels.shape != (n,) or labels.dtype.kind not in "iub":
        raise _unreadable(path, f"its labels are {labels.dtype} {labels.shape}, expected {n} whole numbers")
    return torch.from_numpy(labels.astype(np.int64)).clamp_min(-1)


def _one_per_image(key: str, arrays: dict[str, np.ndarray], n: int) -> bool:
    """Has an array an entry per image? ``attribute_names`` names the columns of ``attributes``, however many those are."""
    values = arrays[key]
    if values.shape[:1] != (n,):
        return False
    named = arrays.get(key.removesuffix("_names") + "s") if key.endswith("_names") else None
    if key == "label_names" or (named is not None and named.ndim == 2 and named.shape[1] == n):
        return False
    return True


def decode_image(content: bytes | Path) -> Tensor:
    """A PNG, JPEG or WebP file as ``(C, H, W)`` uint8, C = 1 for grey images and 3 for others.

    The image is turned as its EXIF tag says, 16 bits become 8, a palette its colours, and what is transparent lies on
    black.

    Args:
        content: the file's bytes, or its path.

    Raises:
        OSError: if it is no such file, or is cut off.

    Example:
        >>> file = io.BytesIO()
        >>> Image.new("RGBA", (3, 2), (255, 0, 0, 51)).save(file, "PNG")
        >>> decode_image(file.getvalue())[:, 0, 0].tolist()
        [51, 0, 0]
    """
    with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content, formats=FORMATS) as image:
        image.load()
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith(("I", "F")):  # 16-bit grey: 65,535 is white
            pixels = np.asarray(image).astype(np.float64) / 257
            return torch.from_numpy(np.rint(pixels).clip(0, 255).astype(np.uint8))[None]
        if image.has_transparency_data:
            grey = image.mode in ("L", "LA", "La", "1")
            layer = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", layer.size, (0, 0, 0, 255)), layer)
            image = image.convert("L" if grey else "RGB")
        elif image.mode not in ("L", "RGB"):
            image = image.convert("L" if image.mode == "1" else "RGB")
        pixels = np.array(image)
    return (
        torch.from_numpy(pixels)[None] if pixels.ndim == 2 else torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
    )


def write_pack(path: Path, data: ImageDataset) -> Path:
    """Write a set as plain pixels with its labels, where it has any, and its further arrays; whole or not at all.

    Args:
        path: ``<root>/<name>/train.npz`` or ``test.npz``; folders are made, an older file is replaced.
        data: grey or colour images.

    Example:
        >>> with tempfile.TemporaryDirectory() as root:
        ...     data = ImageDataset(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 1]))
        ...     again = read_pack(write_pack(Path(root) / "mine" / "train.npz", data))
        >>> again.name, again.digest() == data.digest()
        ('mine', True)
    """
    pixels = data.images.cpu().permute(0, 2, 3, 1).numpy()
    arrays = {"images": pixels[..., 0] if pixels.shape[-1] == 1 else pixels}
    if data.classes:
        arrays["labels"] = data.labels.cpu().numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, **arrays, **data.extra, **data.about)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return path
