"""Data sets kept as plain arrays after their first reading, so that later processes decode nothing."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kdbench.data.dataset import Dataset, Split, SplitName
from kdbench.data.source import cache_folder

if TYPE_CHECKING:
    from collections.abc import Callable

_FACTS = "dataset.json"
_SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


def kept(name: str, key: str, make: Callable[[], Dataset]) -> Dataset:
    """The data set kept under ``key``, else the one that ``make`` makes, which is then kept in its place.

    What is read back must have the hash that it was kept with, or it is made anew: a half-written or altered copy
    is never used. One copy a name is kept. Where the cache folder cannot be written, every process reads the files.
    """
    folder = cache_folder() / "decoded" / name.replace(":", "-") / key[:32]
    found = _read(folder)
    if found is not None:
        return found
    print(f"reading {name} for the first time", file=sys.stderr)
    dataset = make()
    with suppress(OSError):
        _write(folder, dataset)
    return dataset


def _read(folder: Path) -> Dataset | None:
    """What lies in ``folder``; None if it is not there or not whole."""
    try:
        facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        splits = {
            split: Split(
                *(np.load(folder / f"{split}-{part}.npy", allow_pickle=False) for part in ("inputs", "targets"))
            )
            for split in _SPLITS
        }
        dataset = Dataset(
            name=facts["name"],
            **splits,
            labels=tuple(facts["labels"]),
            scale=facts["scale"],
            mean=tuple(facts["mean"]),
            std=tuple(facts["std"]),
        )
        return dataset if dataset.sha256 == facts["sha256"] else None
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None


def _write(folder: Path, dataset: Dataset) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent.parent, prefix=f".{os.getpid()}-"))
    try:
        for name in _SPLITS:
            split = dataset.split(name)
            np.save(scratch / f"{name}-inputs.npy", split.inputs, allow_pickle=False)
            np.save(scratch / f"{name}-targets.npy", split.targets, allow_pickle=False)
        facts = {key: getattr(dataset, key) for key in ("name", "labels", "scale", "mean", "std", "sha256")}
        (scratch / _FACTS).write_text(json.dumps(facts, indent=1), encoding="utf-8")
        for old in folder.parent.iterdir():
            shutil.rmtree(old, ignore_errors=True)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
