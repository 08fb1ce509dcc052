"""The manifest of a bundle: what lies in it, and what a lab is asked to do with that."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from kdbench.errors import UsageError
from kdbench.records import Fact, Sha256
from kdbench.spec import Protocol  # noqa: TC001 - pydantic reads it

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T", bound=BaseModel)

MANIFEST_FILE = "manifest.json"

MOST_BYTES = 200_000_000
"""The largest JSON or log that is read."""


class Tensor(Fact):
    """An input or output of a program: type and shape of one execute()."""

    dtype: str
    shape: tuple[int, ...]


class Feed(Fact):
    """Items to feed, in their order: ``npy`` is an array [items, *shape]; ``bin`` its bytes, little-endian, C order.

    The first ``item_bytes`` of ``bin`` are the first item, and so on.
    """

    npy: str
    bin: str
    dtype: str
    shape: tuple[int, ...]
    items: int
    item_bytes: int


class Expected(Fact):
    """What a program should say of the first item of the feed ``input``: the raw values of its first output.

    ``of``: what said so; no value should be off by more than ``tolerance``.
    """

    input: str
    file: str
    of: str
    tolerance: float


class Entry(Fact):
    """A program: its file, which cases it is the program of, what it takes, gives and needs.

    ``timing``: the feed to time it with, empty where it need not be timed; ``testing``: the feed whose outputs to bring
    back, empty where none are wanted. Programs of one ``structure`` run alike, so that one of them is timed for all.
    """

    file: str
    sha256: Sha256
    size_bytes: int
    structure: str
    cases: tuple[str, ...]
    target: str
    method: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    backends: tuple[str, ...]
    operators: tuple[str, ...]
    timing: str = ""
    testing: str = ""
    expected: Expected | None = None

    @property
    def stem(self) -> str:
        """The file's name without folder and suffix."""
        return self.file.rpartition("/")[2].removesuffix(".pte")


class Manifest(Fact):
    """``manifest.json``. ``cases``: all whose structure or program is here; ``partial``: the run has others.

    ``reference``: the program to time beside the others in every process, the ruler of ``latency_ref``. ``files``: the
    sha256 of everything else that lies in the bundle.
    """

    format: Literal[1] = 1
    kdbench: str
    executorch: str
    run: str
    suite: str
    version: int
    partial: bool
    cases: tuple[str, ...]
    protocol: Protocol
    programs: tuple[Entry, ...]
    reference: Entry
    feeds: dict[str, Feed]
    files: dict[str, Sha256]


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the bundle in ``folder``.

    Raises:
        UsageError: there is none, or it is not one.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise UsageError(f"{folder} is no bundle: it has no {MANIFEST_FILE}; kdbench bundle RUN --to DIR makes one")
    return checked(Manifest, parsed(text_of(path), path), path, "a bundle's manifest")


def text_of(path: Path) -> str:
    """What is in a text file of at most ``MOST_BYTES``.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UsageError(f"{path} has more than {MOST_BYTES / 1e6:g} MB")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text") from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None


def parsed(text: str, path: Path) -> Any:
    """The JSON in ``text``, in which no number is NaN or infinite.

    Raises:
        UsageError: it is not JSON.
    """
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON: {error}") from None


def checked(model: type[T], table: Any, path: Path, what: str) -> T:
    """``table`` as a ``model``; ``what`` says in the error what it was to be.

    Raises:
        UsageError: it is not one; where, and what is wrong there.
    """
    try:
        return model.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        told = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{path} is not {what}: {f'{place}: ' if place else ''}{told}") from None


def plain_stem(text: str) -> str:
    """A file's stem as tools spell it that keep letters, digits and underscores alone."""
    return re.sub(r"[^0-9A-Za-z]+", "_", text).strip("_").lower()


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")
