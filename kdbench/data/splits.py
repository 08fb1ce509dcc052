"""Splits that follow from the items' bytes alone: neither a library's order nor its random numbers show in them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from kdbench.data.dataset import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

VALIDATION = (5,)
"""The tenth of the training items that is held out for validation."""


def mixed(inputs: NDArray[np.uint8], targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """The order [N] that sorts items by the sha256 of their bytes; equal items stand by their labels."""
    flat = np.ascontiguousarray(inputs).reshape(len(inputs), -1)
    keys = [(hashlib.sha256(item.data).digest(), target) for item, target in zip(flat, targets.tolist(), strict=True)]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)


def tenths(targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which tenth 0..9 each item belongs to, [N]: dealt out class by class, so that classes are divided alike.

    A tenth holds a tenth of every class to within one item, and exactly where tens divide the classes.
    """
    tenth = np.empty(len(targets), dtype=np.int64)
    tenth[np.argsort(targets, kind="stable")] = np.arange(len(targets)) % 10
    return tenth


def held_out(inputs: NDArray[np.uint8], targets: NDArray[np.int64]) -> tuple[Split, Split]:
    """Training and validation items: all items mixed, a tenth of every class held out."""
    order = mixed(inputs, targets)
    inputs, targets = inputs[order], targets[order]
    validation = np.isin(tenths(targets), VALIDATION)
    return Split(inputs[~validation], targets[~validation]), Split(inputs[validation], targets[validation])
