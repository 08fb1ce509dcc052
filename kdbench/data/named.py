"""Data sets by the names that suites give them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench.catalog import load, parted
from kdbench.errors import StageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kdbench.data.dataset import Dataset


def dataset_named(name: str) -> Dataset:
    """The data set called ``name``: ``NAME``, ``KIND:WHICH`` where a kind has many, or ``file.py:NAME``.

    Raises:
        UsageError: no such data set, it is not to be had, or something is wrong with its files.
    """
    entry, which = parted(name)
    found = load("datasets", entry)
    expected = getattr(found, "detail", "")
    if which and not expected:
        raise UsageError(f"data set {name!r}: {entry!r} is one data set; nothing stands after a colon")
    if expected and not which:
        raise UsageError(f"data set {name!r}: after a colon, expected {expected}")
    dataset: Dataset = found(which) if which else found()
    return dataset


def planned(data: Mapping[str, str]) -> Dataset:
    """The data set that a stage's spec names, ``data`` {name, sha256}.

    Raises:
        StageError: it is no longer the one that the key was made for.
        UsageError: see ``dataset_named``.
    """
    dataset = dataset_named(data["name"])
    if dataset.sha256 != data["sha256"]:
        raise StageError(f"data set {dataset.name!r} is not the one that the run was planned with; run it again")
    return dataset
