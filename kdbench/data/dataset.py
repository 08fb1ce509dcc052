"""Data sets in memory: three splits of one array each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SplitName = Literal["train", "validation", "test"]

_STEP = 4096
"""Items counted at a time, so that little memory is needed."""


@dataclass(frozen=True, slots=True)
class Split:
    """Items and labels: ``inputs`` uint8 [N, C, H, W], ``targets`` int64 [N].

    Raises:
        ValueError: an array has another type or form, or the two differ in length.
    """

    inputs: NDArray[np.uint8]
    targets: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.inputs.dtype != np.uint8 or self.inputs.ndim != 4:
            raise ValueError(f"inputs are uint8 [N, C, H, W], not {self.inputs.dtype} {self.inputs.shape}")
        if self.targets.dtype != np.int64 or self.targets.shape != self.inputs.shape[:1]:
            raise ValueError(f"targets are int64 [{len(self.inputs)}], not {self.targets.dtype} {self.targets.shape}")

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class Dataset:
    """Train, validation and test items with what a program's user must know of them.

    Normalisation is ``(value / scale - mean) / std`` a channel; it stays outside the program.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    labels: tuple[str, ...]
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def split(self, name: SplitName) -> Split:
        """The split called ``name``."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[name]

    @property
    def shape(self) -> tuple[int, ...]:
        """One item's shape, [C, H, W]."""
        return tuple(self.train.inputs.shape[1:])

    @cached_property
    def sha256(self) -> str:
        """The hash of every item, label and normalisation constant: what a stage's key says of its data."""
        digest = hashlib.sha256(repr((self.labels, self.scale, self.mean, self.std)).encode())
        for split in (self.train, self.validation, self.test):
            digest.update(repr((split.inputs.shape, str(split.inputs.dtype))).encode())
            digest.update(np.ascontiguousarray(split.inputs).data)
            digest.update(split.targets.astype("<i8").data)
        return digest.hexdigest()


def channel_statistics(inputs: NDArray[np.uint8], scale: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and population standard deviation of ``inputs / scale`` a channel, for uint8 [N, C, H, W].

    They come from exact integer counts of the values and are rounded to six digits, so that no library's order of
    summation shows in the hash of a data set.
    """
    channels = inputs.shape[1]
    counts = np.zeros((channels, 256), dtype=np.int64)
    for begin in range(0, len(inputs), _STEP):
        for channel, values in enumerate(inputs[begin : begin + _STEP].swapaxes(0, 1)):
            counts[channel] += np.bincount(values.ravel(), minlength=256)
    values = np.arange(256)
    count = inputs.size // channels
    mean, std = [], []
    for total, squares in zip((counts @ values).tolist(), (counts @ values**2).tolist(), strict=True):
        mean.append(round(total / count / scale, 6))
        std.append(round(((count * squares - total**2) / count**2 / scale**2) ** 0.5, 6))
    return tuple(mean), tuple(std)
