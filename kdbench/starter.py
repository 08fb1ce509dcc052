"""Starter files: what a new method begins as, with its own test."""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from typing import TYPE_CHECKING

from kdbench.errors import MeasureError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*([-_][A-Za-z0-9]+)*")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def start_method(name: str, folder: Path) -> tuple[str, Path, Path]:
    """Write the starter file of a method and its test into ``folder``: its class, the file and the test's file.

    ``name`` may be ``my-idea``, ``my_idea`` or ``MyIdea``: the file is ``my_idea.py``, the class ``MyIdea``.

    Raises:
        UsageError: no such name is possible, there is no such folder, or a file of this name is there already.
        MeasureError: the files cannot be written.
    """
    from jinja2 import Environment, StrictUndefined

    module, made = names(name)
    if not folder.is_dir():
        raise UsageError(f"--to {folder}: no such folder")
    places = {folder / f"{module}.py": "method.py.in", folder / f"test_{module}.py": "test_method.py.in"}
    for place in places:
        if place.exists():
            raise UsageError(f"{place} is there already; choose another name or another folder (--to)")
    words = {"module": module, "name": made, "title": module.replace("_", " ").capitalize()}
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701 - Python, not HTML
    for place, template in places.items():
        source = files("kdbench").joinpath("templates", template).read_text(encoding="utf-8")
        try:
            place.write_text(environment.from_string(source).render(words), encoding="utf-8")
        except OSError as error:
            raise MeasureError(f"cannot write {place}: {error.strerror or error}") from None
    method, test = places
    return made, method, test


def names(name: str) -> tuple[str, str]:
    """The module's and the class's name: ``my_idea`` and ``MyIdea`` of ``my-idea``.

    Raises:
        UsageError: nothing that Python can import is called so.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"method name {name!r}: expected letters, digits and hyphens, such as my-idea")
    words = [word for part in re.split("[-_]", name) for word in _HUMP.split(part)]
    module = "_".join(words).lower()
    made = "".join(word[0].upper() + word[1:] for word in words)
    if keyword.iskeyword(module) or made in keyword.kwlist:
        raise UsageError(f"method name {name!r} is a word of Python's own; choose another, such as my-{module}")
    return module, made
