"""Arrays on disk: .npz files whose bytes depend on nothing but the arrays, and per-item results as small as they go."""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kdbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_EPOCH = (1980, 1, 1, 0, 0, 0)
_PREDICTIONS = "/predictions"
_CORRECT = "/correct"


@dataclass(frozen=True, slots=True)
class Items:
    """What a program said of the test set: ``predictions`` integers [N, ...], ``correct`` bool [N]."""

    predictions: NDArray[np.integer]
    correct: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if not np.issubdtype(self.predictions.dtype, np.integer) or self.correct.dtype != np.bool_:
            raise ValueError(f"items are integers and bools, not {self.predictions.dtype} and {self.correct.dtype}")
        if self.correct.shape != self.predictions.shape[:1]:
            raise ValueError(f"{self.predictions.shape[:1]} predictions, but {self.correct.shape} correctness bits")


def smallest(values: NDArray[np.integer]) -> NDArray[np.integer]:
    """The same integers in the smallest type that holds them, unsigned where none is negative."""
    if values.size == 0:
        return values.astype(np.uint8)
    low, high = int(values.min()), int(values.max())
    types = (np.uint8, np.uint16, np.uint32) if low >= 0 else (np.int8, np.int16, np.int32)
    fitting = (t for t in types if np.iinfo(t).min <= low and high <= np.iinfo(t).max)
    return values.astype(next(fitting, np.int64))


def write_arrays(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Write ``arrays`` for ``numpy.load``; equal arrays give equal bytes, whatever their order or the clock."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(arrays):
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(arrays[name]), version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # else the zip says on which system it was written
            archive.writestr(entry, buffer.getvalue(), compresslevel=9)


def read_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    """The arrays of a .npz by name; nothing is unpickled.

    Raises:
        UsageError: no such file, or not arrays.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:  # numpy leaves a bad file open
            return {name: archive[name] for name in archive.files}
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, KeyError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(f"{path} is not a file of arrays: {error}") from None


def packed_items(items: Mapping[str, Items]) -> dict[str, NDArray[np.generic]]:
    """Each case's items as the two arrays of ``items.npz``: smallest integers, and eight correctness bits a byte."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for case, item in items.items():
        arrays[case + _PREDICTIONS] = smallest(item.predictions)
        arrays[case + _CORRECT] = np.packbits(item.correct)
    return arrays


def unpacked_items(arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, Items]:
    """The inverse of ``packed_items``, by case.

    Raises:
        UsageError: an array without its partner, or of another type.
    """
    items = {}
    for name in arrays:
        if not name.endswith(_PREDICTIONS):
            continue
        case = name.removesuffix(_PREDICTIONS)
        predictions = arrays[name]
        bits = arrays.get(case + _CORRECT)
        if bits is None or bits.dtype != np.uint8 or not np.issubdtype(predictions.dtype, np.integer):
            raise UsageError(f"items of {case} are damaged: no integers with correctness bits")
        correct = np.unpackbits(bits.astype(np.uint8), count=len(predictions)).astype(np.bool_)
        items[case] = Items(predictions.astype(predictions.dtype), correct)
    return items
