"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) from their official binary archives: 32x32 RGB."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from kdbench.data.dataset import Dataset, Split, channel_statistics
from kdbench.data.source import DAMAGED, File, Source, damaged
from kdbench.data.splits import held_out
from kdbench.data.stored import Stored
from kdbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_HOST = "https://www.cs.toronto.edu/~kriz/"
_SCALE = 255.0
_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32


@dataclass(frozen=True, slots=True)
class Layout:
    """What lies in an archive: the files of either split, the items in each, the text with a class name a line.

    A record is ``label_bytes`` labels, the last of them the class, and 3072 pixels, channel by channel, row by row.
    """

    name: str
    folder: str
    train: tuple[str, ...]
    test: str
    names: str
    classes: int
    label_bytes: int
    train_items: int
    test_items: int


CIFAR10 = Layout(
    name="cifar10",
    folder="cifar-10-batches-bin",
    train=tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
    test="test_batch.bin",
    names="batches.meta.txt",
    classes=10,
    label_bytes=1,
    train_items=10_000,
    test_items=10_000,
)
CIFAR100 = Layout(
    name="cifar100",
    folder="cifar-100-binary",
    train=("train.bin",),
    test="test.bin",
    names="fine_label_names.txt",
    classes=100,
    label_bytes=2,
    train_items=50_000,
    test_items=10_000,
)


def read(paths: Sequence[Path], layout: Layout) -> Dataset:
    """45,000 train, 5,000 validation and the official 10,000 test items, uint8 [N, 3, 32, 32].

    Raises:
        UsageError: the archive is cut off, or lacks a file, or a file is not of the layout's form.
    """
    path = paths[0]
    members = _members(path, layout)
    labels = tuple(members[layout.names].decode("utf-8", "replace").split())
    if len(labels) != layout.classes:
        raise UsageError(f"{path}: {layout.names} has {len(labels)} class names, expected {layout.classes}")

    def split(names: Sequence[str], items: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        parts = [_records(members[name], layout, items, f"{path}: {name}") for name in names]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    train, validation = held_out(*split(layout.train, layout.train_items))
    test = Split(*split([layout.test], layout.test_items))
    mean, std = channel_statistics(train.inputs, _SCALE)
    return Dataset(layout.name, train, validation, test, labels, _SCALE, mean, std)


def _members(path: Path, layout: Layout) -> dict[str, bytes]:
    """The bytes of the layout's files; nothing is unpacked to disk, other members are passed over."""
    wanted = {f"{layout.folder}/{name}": name for name in (*layout.train, layout.test, layout.names)}
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.name in wanted else None
                if file is not None:
                    found[wanted[member.name]] = file.read()
    except DAMAGED as error:
        raise damaged(path, error) from None
    for whole, name in wanted.items():
        if name not in found:
            raise UsageError(f"{path} lacks {whole}; expected the official binary version")
    return found


def _records(data: bytes, layout: Layout, items: int, where: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    size = layout.label_bytes + _PIXELS
    if len(data) != items * size:
        raise UsageError(f"{where} has {len(data)} bytes, expected {items * size}: {items} records of {size}")
    records = np.frombuffer(data, dtype=np.uint8).reshape(items, size)
    targets = records[:, layout.label_bytes - 1].astype(np.int64)
    if targets.max() >= layout.classes:
        raise UsageError(f"{where} holds the label {targets.max()}, expected 0..{layout.classes - 1}")
    return np.ascontiguousarray(records[:, layout.label_bytes :]).reshape(-1, *_SHAPE), targets


def source(layout: Layout, archive: str, sha256: str) -> Source:
    """Where the archive of a layout comes from."""
    return Source(layout.name, (File(archive, sha256, url=_HOST + archive),))


# The page of the data sets gives md5 sums; these sha256 are of the same files, as several libraries pin them.
cifar10 = Stored(
    source(CIFAR10, "cifar-10-binary.tar.gz", "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),
    partial(read, layout=CIFAR10),
)
"""CIFAR-10: 10 kinds of things, 32x32 RGB, 50,000 / 10,000 items (Krizhevsky 2009)."""

cifar100 = Stored(
    source(CIFAR100, "cifar-100-binary.tar.gz", "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"),
    partial(read, layout=CIFAR100),
)
"""CIFAR-100: 100 kinds of things, 32x32 RGB, 50,000 / 10,000 items, fine labels (Krizhevsky 2009)."""
