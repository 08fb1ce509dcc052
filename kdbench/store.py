"""The store: artefacts of stages, found by content key, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from filelock import FileLock
from platformdirs import user_cache_path

from kdbench.errors import MeasureError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

STORE_HINT = "point --store or KDBENCH_STORE elsewhere"
_MANIFEST = "artefact.json"
_SCRATCH = "tmp"
_PROCESS = re.compile("[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Artefact:
    """What a stage left in the store: its files with their hashes, the spec it ran with, the keys of its inputs."""

    kind: str
    key: str
    folder: Path
    spec: Mapping[str, Any]
    inputs: Mapping[str, str]
    files: Mapping[str, str]

    def path(self, name: str) -> Path:
        """Where the file called ``name`` lies."""
        return self.folder / name

    def json(self, name: str) -> Any:
        """The JSON file called ``name``, parsed."""
        return json.loads(self.path(name).read_text(encoding="utf-8"))


def default_store() -> Path:
    """The store's folder: ``KDBENCH_STORE``, else the user's cache folder."""
    named = os.environ.get("KDBENCH_STORE")
    return Path(named) if named else user_cache_path("kdbench") / "store"


def named(store: Path) -> Callable[[], None]:
    """Name the store in this process's environment, for all that is kept beside it; a function that takes it back."""
    before = os.environ.get("KDBENCH_STORE")
    os.environ["KDBENCH_STORE"] = str(store.absolute())

    def take_back() -> None:
        if before is None:
            os.environ.pop("KDBENCH_STORE", None)
        else:
            os.environ["KDBENCH_STORE"] = before

    return take_back


def file_sha256(path: Path) -> str:
    """The sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_key(table: Mapping[str, Any]) -> str:
    """The sha256 of a JSON-able table, independent of the order of its keys."""
    text = json.dumps(table, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


class Store:
    """A folder of artefacts, ``KIND/KK/KEY/``; safe for several processes, and for one that is killed at any time."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self, kind: str, key: str) -> Artefact | None:
        """The artefact of a key; None if there is none or if a file's hash no longer matches (it is then removed)."""
        there, found = self._folder(kind, key).exists(), self.whole(kind, key)
        if there and found is None:
            shutil.rmtree(self._folder(kind, key), ignore_errors=True)
        return found

    def whole(self, kind: str, key: str) -> Artefact | None:
        """The artefact of a key, every file of it being as it was written; None, and nothing is done, if it is not."""
        folder = self._folder(kind, key)
        try:
            manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
            artefact = Artefact(kind, key, folder, manifest["spec"], manifest["inputs"], manifest["files"])
            if all(file_sha256(folder / name) == digest for name, digest in artefact.files.items()):
                return artefact
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, AttributeError):
            pass
        return None

    def adopt(self, artefact: Artefact, spec: Mapping[str, Any]) -> Artefact:
        """An artefact of another store in this one too, known by ``spec`` from now on.

        Raises:
            MeasureError: the store cannot be written.
        """
        with self.locked(artefact.kind, artefact.key):
            if (known := self.get(artefact.kind, artefact.key)) is not None:
                return replace(known, spec=spec)
            with self.making(artefact.kind, artefact.key, spec, artefact.inputs) as out, _writing(self.root):
                for name in artefact.files:
                    shutil.copyfile(artefact.path(name), out / name)
        found = self.get(artefact.kind, artefact.key)
        assert found is not None, "what was just written is there"
        return found

    @contextmanager
    def locked(self, kind: str, key: str) -> Iterator[None]:
        """Hold the key, so that two processes do not make the same artefact twice."""
        path = self._folder(kind, key).with_suffix(".lock")
        with _writing(self.root):
            path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path):
            yield

    @contextmanager
    def making(self, kind: str, key: str, spec: Mapping[str, Any], inputs: Mapping[str, str]) -> Iterator[Path]:
        """A scratch folder whose files become the artefact when the block ends well, and vanish when it does not.

        Raises:
            MeasureError: the store cannot be written (no space, no permission).
        """
        with _writing(self.root):
            (self.root / _SCRATCH).mkdir(parents=True, exist_ok=True)
            self.sweep()
            scratch = Path(tempfile.mkdtemp(dir=self.root / _SCRATCH, prefix=f"{kind}-{_here()}-{os.getpid()}-"))
        try:
            yield scratch
            with _writing(self.root):
                files = {path.name: file_sha256(path) for path in sorted(scratch.iterdir())}
                manifest = {"kind": kind, "spec": spec, "inputs": inputs, "files": files}
                (scratch / _MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True), encoding="utf-8")
                folder = self._folder(kind, key)
                folder.parent.mkdir(parents=True, exist_ok=True)
                shutil.rmtree(folder, ignore_errors=True)
                scratch.rename(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def find(self, kind: str, file: str, sha256: str) -> Artefact | None:
        """The artefact of a kind whose file called ``file`` has this hash, whatever made it; None if there is none."""
        for manifest in sorted((self.root / kind).glob(f"*/*/{_MANIFEST}")):
            try:
                if sha256 not in manifest.read_text(encoding="utf-8"):
                    continue  # to hash every file of a large store takes minutes
            except (OSError, ValueError):
                continue
            artefact = self.get(kind, manifest.parent.name)
            if artefact is not None and artefact.files.get(file) == sha256:
                return artefact
        return None

    def sweep(self) -> None:
        """Remove what processes that were killed left half-made: those of this machine, whose processes can be seen."""
        for scratch in (self.root / _SCRATCH).glob(f"*-{_here()}-*-*"):
            process = scratch.name.split("-")[-2]
            if _PROCESS.fullmatch(process) and not psutil.pid_exists(int(process)):
                shutil.rmtree(scratch, ignore_errors=True)

    def _folder(self, kind: str, key: str) -> Path:
        return self.root / kind / key[:2] / key


@cache
def _here() -> str:
    """What tells this machine, or this container of it, from others that share the store."""
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        space = ""
    return hashlib.sha256(f"{platform.node()} {space}".encode()).hexdigest()[:8]


@contextmanager
def _writing(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MeasureError(f"cannot write the store {root}: {error.strerror or error}; {STORE_HINT}") from None
