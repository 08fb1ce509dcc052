"""Variants: a suite with what the command line adds to it."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

from kdbench.catalog import load, parted
from kdbench.errors import UsageError
from kdbench.spec import TEACHER, Suite
from kdbench.suite_file import method_spec

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_SEEDS = 1000
"""More are a slip of the hand."""


def varied(
    suite: Suite,
    *,
    methods: Sequence[str] = (),
    options: Sequence[str] = (),
    seeds: str | None = None,
    devices: Sequence[str] = (),
    train_device: str | None = None,
) -> Suite:
    """``suite`` with what a command line says of it; what it does not say stays.

    Raises:
        UsageError: as the functions below.
    """
    suite = with_methods(suite, methods, options)
    suite = with_seeds(suite, seeds) if seeds else suite
    suite = with_devices(suite, devices) if devices else suite
    return with_train_device(suite, train_device) if train_device else suite


def with_methods(suite: Suite, uses: Sequence[str], options: Sequence[str]) -> Suite:
    """``suite`` with more methods: names, or ``FILE.py:CLASS`` (its label is the class's name).

    ``options`` are ``KEY=VALUE`` texts, for all of ``uses``; a value is read as TOML, else as a string.

    Raises:
        UsageError: an unknown method, an option without a method, a label that the suite has already.
    """
    if options and not uses:
        raise UsageError(f"-o {options[0]}: an option needs a --method to belong to")
    table = dict(_option(text) for text in options)
    if "use" in table:
        raise UsageError(f"-o use={table['use']}: name the method with --method")
    methods = list(suite.methods)
    for use in uses:
        label = use.rpartition(":")[2]
        method = method_spec(label, {"use": use, **table}, "of --method")
        taken = {TEACHER, *(known.label for known in methods)}
        if label in taken:
            method = method.model_copy(update={"label": _with_options(label, table, taken)})
        methods.append(method)
    return suite.model_copy(update={"methods": tuple(methods)})


def with_seeds(suite: Suite, text: str) -> Suite:
    """``suite`` with the seeds of ``text``: ``0,1,2`` or ``0-9``, or both.

    Raises:
        UsageError: not of that form, or too many.
    """
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", part)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise UsageError(f"--seeds {text!r}: expected seeds such as 0,1,2 or 0-9")
        if len(seeds) + int(match[2] or match[1]) - int(match[1]) >= MOST_SEEDS:
            raise UsageError(f"--seeds {text!r}: more than {MOST_SEEDS} seeds")
        seeds += range(int(match[1]), int(match[2] or match[1]) + 1)
    return suite.model_copy(update={"seeds": tuple(dict.fromkeys(seeds))})


def with_devices(suite: Suite, names: Sequence[str]) -> Suite:
    """``suite`` on the devices called ``names`` instead of its own.

    Raises:
        UsageError: a device that is not known, or one twice.
    """
    for place, name in enumerate(names):
        load("devices", parted(name)[0], "of --device")(name)
        if name in names[:place]:
            raise UsageError(f"--device {name}: named twice")
    return suite.model_copy(update={"devices": tuple(names)})


def with_train_device(suite: Suite, device: str) -> Suite:
    """``suite`` trained on another kind of device, which decides bits and so belongs to its recipes."""
    recipes = {name: recipe.model_copy(update={"device": device}) for name, recipe in suite.recipes.items()}
    return suite.model_copy(update={"recipes": recipes})


def _option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"-o {text!r}: expected KEY=VALUE such as temperature=2")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def _with_options(label: str, table: dict[str, Any], taken: set[str]) -> str:
    """A label that tells a second variant of a method from the suite's own."""
    settings = "-".join(f"{key}{value}" for key, value in table.items())
    name = re.sub(r"[^A-Za-z0-9._+-]", "", f"{label}-{settings}")[:64].rstrip("-")
    if name in taken or not settings:
        raise UsageError(f"--method {label}: the suite has a method of that name; give it other options with -o")
    return name
