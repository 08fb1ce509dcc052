"""Pictures in files of any common format, gathered into a data set."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import psutil

from kdbench.data.dataset import Dataset, Split, SplitName, channel_statistics
from kdbench.data.splits import held_out, mixed
from kdbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_SCALE = 255.0
_GREY = {"1", "L", "LA"}
_PALETTES = {"P", "PA"}
_COLOUR = _PALETTES | {"RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"}


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that is not decoded yet: its class, what errors call it, and its bytes or the file that holds them."""

    label: str
    where: str
    data: bytes | Path


def gathered(name: str, where: str, splits: dict[SplitName, Sequence[Picture]], side: int | None = None) -> Dataset:
    """The data set of these pictures, uint8 [N, C, H, W]; a tenth of ``train`` is held out where none validate.

    C is 1 if all pictures are grey, else 3. All are of one size, or with ``side`` each is scaled (bilinear) so that
    its middle fills a square of that side. Items of a split stand in the order given; training items are mixed.

    Raises:
        UsageError: a class is missing in a split, a picture cannot be decoded or has another size than the first, or
            they do not fit into memory.
    """
    labels = tuple(sorted({picture.label for picture in splits["train"]}))
    for split, pictures in splits.items():
        _check_labels(f"{where}: {split}", labels, {picture.label for picture in pictures})
    arrays = _decoded([picture for pictures in splits.values() for picture in pictures], where, side)
    places = {label: i for i, label in enumerate(labels)}
    parts: dict[SplitName, tuple[NDArray[np.uint8], NDArray[np.int64]]] = {}
    begin = 0
    for split, pictures in splits.items():
        targets = np.array([places[picture.label] for picture in pictures], dtype=np.int64)
        parts[split] = np.ascontiguousarray(arrays[begin : begin + len(pictures)]), targets
        begin += len(pictures)
    inputs, targets = parts["train"]
    if "validation" in parts:
        order = mixed(inputs, targets)
        train, validation = Split(inputs[order], targets[order]), Split(*parts["validation"])
    else:
        train, validation = held_out(inputs, targets)
    if not len(validation):
        raise UsageError(f"{where}: {len(targets)} training pictures are too few to hold out a tenth of them")
    mean, std = channel_statistics(train.inputs, _SCALE)
    return Dataset(name, train, validation, Split(*parts["test"]), labels, _SCALE, mean, std)


def _check_labels(where: str, labels: Sequence[str], found: set[str]) -> None:
    if not labels:
        raise UsageError(f"{where} has no pictures in class folders")
    if missing := set(labels) - found:
        raise UsageError(f"{where} has no pictures of class {min(missing)!r}, which train has")
    if extra := found - set(labels):
        raise UsageError(f"{where} has pictures of class {min(extra)!r}, which train has not")


def _decoded(pictures: Sequence[Picture], where: str, side: int | None) -> NDArray[np.uint8]:
    """All pictures, [N, 1 or 3, H, W]."""
    first = _decode(pictures[0], side)
    shape = (len(pictures), 3, *first.shape[1:])
    wanted, free = int(np.prod(shape)), psutil.virtual_memory().available
    if wanted > free:
        raise UsageError(
            f"{where}: {len(pictures)} pictures of {shape[2]}x{shape[3]} take {wanted / 1e9:.1f} GB of memory, "
            f"{free / 1e9:.1f} GB are free"
        )
    arrays, coloured = np.empty(shape, dtype=np.uint8), False
    for place, picture in enumerate(pictures):
        array = _decode(picture, side)
        if array.shape[1:] != first.shape[1:]:
            raise UsageError(
                f"{picture.where} is {_size(array)}, expected {_size(first)} as {pictures[0].where}; "
                "make all of one size, or name one side for all as in imagefolder:NAME@32"
            )
        coloured |= len(array) == 3
        arrays[place] = array
    return arrays if coloured else arrays[:, :1]


def _decode(picture: Picture, side: int | None) -> NDArray[np.uint8]:
    """One picture, [1, H, W] where it is grey, else [3, H, W]."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(picture.data) if isinstance(picture.data, bytes) else picture.data) as image:
            if image.mode not in _GREY | _COLOUR:
                raise UsageError(f"{picture.where} has pixels of mode {image.mode!r}, expected 8 bits grey or colour")
            opaque = image.convert("RGBA") if image.mode in _PALETTES else image
            plain = opaque.convert("L" if image.mode in _GREY else "RGB")
    except UnidentifiedImageError:
        raise UsageError(f"{picture.where} is no picture in a format that Pillow knows") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise UsageError(f"{picture.where} cannot be decoded: {' '.join(str(error).split())}") from None
    if side is not None and plain.size != (side, side):
        plain = ImageOps.fit(plain, (side, side), Image.Resampling.BILINEAR)
    array = np.asarray(plain, dtype=np.uint8)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def _size(array: NDArray[np.uint8]) -> str:
    return f"{array.shape[2]}x{array.shape[1]}"
