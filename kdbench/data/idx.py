"""The idx format of the MNIST family: a big-endian head, then bytes."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import numpy as np

from kdbench.data.source import DAMAGED, damaged
from kdbench.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def read_idx(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The uint8 array of a gzipped idx file, of this ``shape``.

    The head is two zero bytes, the type (8: unsigned byte), the number of axes, and each axis as a 32-bit number
    (LeCun, Cortes and Burges, "The MNIST database").

    Raises:
        UsageError: the file is cut off, of another type or of another shape.
    """
    try:
        with gzip.open(path) as file:
            data = file.read()
    except DAMAGED as error:
        raise damaged(path, error) from None
    axes = len(shape)
    magic = bytes((0, 0, 8, axes))
    if data[:4] != magic:
        raise UsageError(f"{path} begins with {data[:4].hex() or 'nothing'}, expected {magic.hex()}: idx, {axes} axes")
    head = 4 + 4 * axes
    found = tuple(int(n) for n in np.frombuffer(data[4:head].ljust(4 * axes, b"\0"), dtype=">u4"))
    if found != shape:
        raise UsageError(f"{path} is of shape {list(found)}, expected {list(shape)}")
    if len(data) - head != np.prod(shape):
        raise UsageError(f"{path} holds {len(data) - head} values, expected {np.prod(shape)} of shape {list(shape)}")
    return np.frombuffer(data, dtype=np.uint8, offset=head).reshape(shape).copy()
