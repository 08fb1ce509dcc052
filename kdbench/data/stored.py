"""Data sets made of files: found, checked, read once a process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.data.kept import kept
from kdbench.data.source import Source, damaged
from kdbench.store import content_key, file_sha256

if TYPE_CHECKING:
    from kdbench.data.dataset import Dataset
    from kdbench.data.source import Whereabouts

Read = Callable[[Sequence[Path]], "Dataset"]
"""From the source's files, in their order and found to be the right ones, to the data set."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A data set as it is registered: called, it gives the data set.

    Whoever changes what ``read`` makes of the same files raises ``version``; ``libraries`` are those whose version
    decides it too.
    """

    source: Source
    read: Read
    version: int = 1
    libraries: tuple[str, ...] = ()

    def __call__(self) -> Dataset:
        """The data set; its arrays are shared within a process and not to be written to.

        Raises:
            UsageError: a file is missing, cut off, of another checksum or form, or cannot be downloaded.
        """
        return _opened(self, self.source.paths())

    def where(self) -> Whereabouts:
        """Where its files are, or how to get them."""
        return self.source.where()


@cache
def _opened(stored: Stored, paths: tuple[Path, ...]) -> Dataset:
    hashes = []
    for path in paths:
        try:
            hashes.append(file_sha256(path))
        except OSError as error:
            raise damaged(path, error) from None
    source = stored.source
    key = content_key({
        "files": hashes,
        "expected": [file.sha256 for file in source.files],
        "version": stored.version,
        "libraries": {name: version(name) for name in stored.libraries},
    })  # fmt: skip

    def make() -> Dataset:
        for file, path in zip(source.files, paths, strict=True):
            file.check(path)
        return stored.read(paths)

    return kept(source.name, key, make)
