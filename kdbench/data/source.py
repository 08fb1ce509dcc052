"""Where the files of a data set come from: the user's folder, the system's, the cache, or their official host."""

from __future__ import annotations

import gzip
import hashlib
import os
import sys
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from platformdirs import user_cache_path

from kdbench.data.download import DownloadError, download
from kdbench.errors import UsageError
from kdbench.store import file_sha256

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

VARIABLE = "KDBENCH_DATA"

DAMAGED = (OSError, EOFError, zlib.error, tarfile.TarError)
"""What reading a file that is cut off or is no archive raises."""


@dataclass(frozen=True, slots=True)
class File:
    """A file of a data set and the sha256 that it must have.

    ``of`` says what the sha256 is of: the ``file`` itself; what a ``gzip`` file holds; or the names and contents of a
    gzipped ``tar``'s files, whatever their order and dates, for packings that people make themselves.
    """

    name: str
    sha256: str
    of: Literal["file", "gzip", "tar"] = "file"
    url: str = ""

    def check(self, path: Path) -> None:
        """See that the file at ``path`` is this one.

        Raises:
            UsageError: it cannot be read, is cut off, or has another checksum.
        """
        try:
            found = {"file": file_sha256, "gzip": _gzip_sha256, "tar": _tar_sha256}[self.of](path)
        except DAMAGED as error:
            raise damaged(path, error) from None
        if found != self.sha256:
            what = {"file": "sha256", "gzip": "sha256 of what it holds", "tar": "sha256 of its files"}[self.of]
            raise UsageError(f"{path}: {what} is {found}, expected {self.sha256}; get the file anew")


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Whether a data set is at hand, where (or why not) and how to get it; no word names a folder of the user's."""

    found: bool
    said: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """The files of a data set and the places to look for them.

    ``system`` is a well-known folder and ``package`` what puts them there; ``otherwise`` says how to get files that
    no host offers as they are.
    """

    name: str
    files: tuple[File, ...]
    system: Path | None = None
    package: str = ""
    otherwise: str = ""

    def where(self) -> Whereabouts:
        """Where the files are, by their names alone: nothing is read, nothing is downloaded."""
        own = data_folder()
        for folder, said in (
            (own and own / self.name, f"in ${VARIABLE}/{self.name}"),
            (self.system, f"in {self.system}"),
            (self._cached, "downloaded before"),
        ):
            if folder is not None and all((folder / file.name).is_file() for file in self.files):
                return Whereabouts(found=True, said=said)
        hosts = dict.fromkeys(urlsplit(file.url).hostname for file in self.files if file.url)
        loads = [f"let the first use download from {host}" for host in hosts]
        return Whereabouts(found=False, said="not here", hint=" or ".join([*loads, self._advice()]))

    def paths(self) -> tuple[Path, ...]:
        """The files, in their order; those that are nowhere to be found are downloaded. Contents are not checked.

        Raises:
            UsageError: a folder lacks a file, or the files are neither here nor to be downloaded.
        """
        own = data_folder()
        for folder in (own and own / self.name, self.system):
            if folder is not None and folder.is_dir():
                return tuple(self._present(folder))
        self._download()
        return tuple(self._cached / file.name for file in self.files)

    @property
    def _cached(self) -> Path:
        return cache_folder() / self.name

    def _present(self, folder: Path) -> Iterator[Path]:
        for file in self.files:
            path = folder / file.name
            if not path.is_file():
                names = ", ".join(known.name for known in self.files)
                raise UsageError(f"{folder} lacks {file.name}; data set {self.name!r} is made of {names}")
            yield path

    def _download(self) -> None:
        for file in self.files:
            path = self._cached / file.name
            if path.is_file():
                continue
            if not file.url:
                raise UsageError(f"data set {self.name!r} is not here: {self._looked()}; {self._advice()}")
            print(f"downloading {file.url}", file=sys.stderr)
            try:
                download(file.url, path, file.check)
            except DownloadError as error:
                tried = f"{self._looked()}; {file.url} cannot be downloaded: {error}"
                raise UsageError(f"data set {self.name!r} is not here: {tried}; {self._advice()}") from None

    def _looked(self) -> str:
        own = data_folder()
        said = [f"{VARIABLE} is not set" if own is None else f"{VARIABLE} ({own}) has no folder {self.name}"]
        said += [f"there is no {self.system}"] if self.system else []
        return "; ".join(said)

    def _advice(self) -> str:
        ways = [f"put {', '.join(file.name for file in self.files)} into ${VARIABLE}/{self.name}"]
        ways += [f"install {self.package}"] if self.package else []
        return " or ".join(ways) + (f" ({self.otherwise})" if self.otherwise else "")


def data_folder() -> Path | None:
    """The folder of the user's data sets, ``KDBENCH_DATA``; None if it is not set.

    Raises:
        UsageError: it is no folder.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        return None
    if not Path(named).is_dir():
        raise UsageError(f"{VARIABLE}: found {named!r}, expected a folder with one sub-folder a data set")
    return Path(named)


def cache_folder() -> Path:
    """Where downloaded and decoded data sets are kept: beside the store."""
    store = os.environ.get("KDBENCH_STORE")
    return Path(store) / "data" if store else user_cache_path("kdbench") / "data"


def damaged(path: Path, error: Exception) -> UsageError:
    """What to say of a file that could not be read to its end."""
    return UsageError(f"{path} cannot be read: {' '.join(str(error).split()) or type(error).__name__}")


def _gzip_sha256(path: Path) -> str:
    with gzip.open(path) as file:
        return _sha256(file)


def _tar_sha256(path: Path) -> str:
    with tarfile.open(path, "r:gz") as archive:
        files = (member for member in archive if member.isfile())
        lines = [f"{_inside(member.name)} {_sha256(archive.extractfile(member))}\n" for member in files]
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def _inside(name: str) -> str:
    return name.removeprefix("./")


def _sha256(file: IO[bytes] | gzip.GzipFile | None) -> str:
    assert file is not None
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()
