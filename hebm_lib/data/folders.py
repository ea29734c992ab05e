"""A folder of image files as an image pack: what ``python -m hebm_lib pack`` does."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hebm_lib.config.checks import require_name
from hebm_lib.data.images import ImageDataset, fit_images
from hebm_lib.data.packs import decode_image, join_images, write_pack
from hebm_lib.data.shapes3d import RENDERED, SHAPES3D
from hebm_lib.data.sources import EMBEDDED, TORCHVISION, grey_or_colour

__all__ = ["Packed", "pack_folder"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class Packed:
    """What a pack was made of.

    Attributes:
        folder: where it stands.
        train, test: what is in it; ``test`` is None in a pack without one.
        classes: names of the labels 0, 1, …; empty for a flat folder.
        sources: how many images had which size ``(height, width)``.
        skipped: files that were left out, with the reason.
        fitted: in words, how images became squares.
    """

    folder: Path
    train: ImageDataset
    test: ImageDataset | None
    classes: tuple[str, ...]
    sources: dict[tuple[int, int], int]
    skipped: dict[str, str]
    fitted: str

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return self.train.images.shape[-1]

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return self.train.images.shape[1]

    def __str__(self) -> str:
        number = len(self.train) + (0 if self.test is None else len(self.test))
        sizes = Counter(self.sources).most_common(3)
        named = ", ".join(f"{count} of {height}×{width}" for (height, width), count in sizes)
        more = f" and {len(self.sources) - 3} more sizes" if len(self.sources) > 3 else ""
        colour = "grey" if self.channels == 1 else "colour"
        split = f"{len(self.train)} to train"
        split += " and none to test" if self.test is None else f" and {len(self.test)} to test"
        classes = f"{len(self.classes)} classes: {', '.join(self.classes[:10])}" if self.classes else "no labels"
        lines = [
            f"packed {number} images into {self.folder}: {split}; {classes}{' …' if len(self.classes) > 10 else ''}",
            f"found {named}{more} (height×width); {self.fitted}: {self.size}×{self.size}, {colour}",
        ]
        lines += [f"left out {name}: {why}" for name, why in list(self.skipped.items())[:10]]
        if len(self.skipped) > 10:
            lines.append(f"left out {len(self.skipped) - 10} more files")
        return "\n".join(lines)


def pack_folder(
    folder: Path,
    name: str,
    root: Path,
    *,
    size: int | None = None,
    fit: str = "resize",
    crop: int = 0,
    channels: int | None = None,
    test_share: float = 0.1,
    seed: int = 0,
    overwrite: bool = False,
) -> Packed:
    """Make ``<root>/<name>/{train,test}.npz`` of a folder of PNG, JPEG and WebP files.

    Folders in it are classes, labelled in the order of their names, and everything below belongs to them; an image beside
    them has the label -1. If it holds the folders ``train`` and ``test``, or ``train`` alone, these are the split.

    Args:
        folder: the images.
        name: what the data set shall be called.
        root: the folder of packs, such as the one that HEBM_DATA names.
        size, fit, crop: as of `fit_images`; without a size all images must have the same.
        channels: 1 or 3; None makes grey images of a folder in which all are grey, else colour.
        test_share: share of each class that is kept for testing; 0 makes a pack without test images.
        seed: of the choice of test images.
        overwrite: replace a pack of that name.

    Raises:
        FileExistsError: if there is a pack of that name.
        FileNotFoundError: if there is no such folder.
        ValueError: if no file in it can be read, sizes differ, or a setting is impossible.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as here:
        ...     for label in ("cats", "dogs"):
        ...         (Path(here) / "pets" / label).mkdir(parents=True)
        ...         for i in range(10):
        ...             Image.new("L", (8, 6), 20 * i).save(Path(here) / "pets" / label / f"{i}.png")
        ...     packed = pack_folder(Path(here) / "pets", "pets", Path(here) / "packs", size=4)
        >>> len(packed.train), len(packed.test), packed.classes, packed.size
        (18, 2, ('cats', 'dogs'), 4)
    """
    folder, target = Path(folder), Path(root) / name
    _check(folder, name, size, fit, test_share)
    if (target / "train.npz").exists() or (target / "test.npz").exists():
        if not overwrite:
            raise FileExistsError(f"{target} is a data set already: take another name, or replace it with --overwrite")
    given = _given_split(folder)
    images, labels, names, parts, skipped, sources = [], [], [], [], {}, Counter()
    roots = {"train": folder / "train", "test": folder / "test"} if given else {"": folder}
    classes = sorted({p.name for base in roots.values() if base.is_dir() for p in base.iterdir() if _is_class(p)})
    for part, base in roots.items():
        for path in _files(base):
            shown = path.relative_to(folder).as_posix()
            try:
                image = _read(path)
            except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
                skipped[shown] = str(error)
                continue
            inside = path.relative_to(base).parts
            sources[tuple(image.shape[-2:])] += 1
            images.append(_fitted(image, shown, size, fit, crop))
            labels.append(classes.index(inside[0]) if len(inside) > 1 else -1)
            names.append(shown)
            parts.append(part)
    if not images:
        why = "; ".join(f"{name}: {reason}" for name, reason in list(skipped.items())[:3])
        raise ValueError(f"{folder} holds no PNG, JPEG or WebP image that can be read{f' ({why})' if why else ''}")
    about = {"label_names": np.array(classes)} if classes else {}
    everything = ImageDataset(
        grey_or_colour(join_images(images, size), channels),
        torch.tensor(labels),
        name,
        extra={"names": np.array(names)},
        about=about,
    )
    test = torch.tensor([part == "test" for part in parts]) if given else _chosen(labels, test_share, seed)
    if bool(test.all()):
        raise ValueError(f"no image is left to train on: {len(images)} in all, with a test share of {test_share:g}")
    train_set, test_set = everything.subset(~test), everything.subset(test) if bool(test.any()) else None
    write_pack(target / "train.npz", train_set)
    if test_set is None:
        (target / "test.npz").unlink(missing_ok=True)  # of the pack that is replaced
    else:
        write_pack(target / "test.npz", test_set)
    return Packed(target, train_set, test_set, tuple(classes), dict(sources), skipped, _in_words(size, fit, crop))


def _check(folder: Path, name: str, size: int | None, fit: str, test_share: float) -> None:
    require_name("the name of a data set", name)
    if name in (EMBEDDED, RENDERED, SHAPES3D, *TORCHVISION):
        raise ValueError(f"{name!r} is the name of a data set that the library has: take another one")
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    if fit not in ("pad", "resize"):
        raise ValueError(f"fit must be 'pad' or 'resize', got {fit!r}")
    if size is not None and size < 1:
        raise ValueError(f"size must be positive, got {size}")
    if not 0 <= test_share < 1:
        raise ValueError(f"test_share must be at least 0 and less than 1, got {test_share}")


def _given_split(folder: Path) -> bool:
    """Does the folder hold ``train``, alone or with ``test``, and nothing else?"""
    inside = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    return inside in ({"train"}, {"train", "test"})


def _is_class(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".") and next(_files(path), None) is not None


def _files(folder: Path) -> Iterator[Path]:
    """Image files in a folder and below it, in the order of their names; nothing hidden."""
    if not folder.is_dir():
        return
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in SUFFIXES and path.is_file() and not hidden:
            yield path


def _read(path: Path) -> Tensor:
    """One image; several in one file (an animation) would make a set of its own."""
    with Image.open(path) as image:
        frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise ValueError(f"an animation of {frames} frames")
    return decode_image(path)


def _fitted(image: Tensor, shown: str, size: int | None, fit: str, crop: int) -> Tensor:
    try:
        return fit_images(image[None], size, fit, crop)
    except ValueError as error:
        raise ValueError(f"{shown}: {error}") from error


def _chosen(labels: list[int], share: float, seed: int) -> Tensor:
    """Which images test: of every class the same share, rounded, but never all of it."""
    generator, every = torch.Generator().manual_seed(seed), torch.tensor(labels)
    test = torch.zeros(len(every), dtype=torch.bool)
    for label in every.unique():
        rows = (every == label).nonzero().flatten()
        rows = rows[torch.randperm(len(rows), generator=generator)]
        test[rows[: min(round(share * len(rows)), len(rows) - 1)]] = True
    return test


def _in_words(size: int | None, fit: str, crop: int) -> str:
    first = f"the centred {crop}×{crop} pixels of each" if crop else "the largest centred square of each"
    if fit == "pad":
        return f"{first + ' ' if crop else 'each '}with a border of black"
    return f"{first}, {'kept at its size' if size is None else 'resized'}"
