"""Citations: BibTeX of what a run used, from ``kdbench.bib`` by the names of ``citations.toml``.

Each name of the TOML file, by the kind of thing, has a list of keys of the ``.bib`` file, or says in words why there is
nothing to cite.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

from kdbench.catalog import kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kdbench.records import Run
    from kdbench.spec import Suite

Kind = Literal["methods", "models", "datasets", "tools"]

_ENTRY = re.compile(r"^@\w+\{(?P<key>[^\s,]+),\n.*?^\}$", re.MULTILINE | re.DOTALL)
_TOOLS = ("kdbench", "torch", "executorch")


@dataclass(frozen=True, slots=True)
class Used:
    """What to cite: ``what`` used it, and its names by kind, a method's as the catalogue knows it."""

    what: str
    names: dict[Kind, tuple[str, ...]]


def used_by_run(run: Run) -> Used:
    """What the cases of a run used; of a partial run, nothing that it left out."""
    pairs = {record.pair for record in run.records}
    methods = {record.method for record in run.records}
    made = run.provenance
    commit = f" (commit {made.commit[:7]}{', changed' if made.dirty else ''})" if made.commit else ""
    versions = [f"{name} {made.libraries[name]}" for name in _TOOLS[1:] if name in made.libraries]
    what = f"run {run.id} of suite {run.name} v{run.suite['version']}: "
    what += ", ".join([f"kdbench {made.kdbench}{commit}", *versions])
    return Used(what, _names(run.suite, lambda pair: pair in pairs, lambda method: method in methods))


def used_by_suite(suite: Suite) -> Used:
    """What a run of all of a suite would use."""
    names = _names(suite.model_dump(mode="json"), lambda _: True, lambda _: True)
    return Used(f"suite {suite.name} v{suite.version}", names)


def _names(
    suite: Mapping[str, Any], pair_is_used: Callable[[str], bool], method_is_used: Callable[[str], bool]
) -> dict[Kind, tuple[str, ...]]:
    pairs = [pair for pair in suite["pairs"] if pair_is_used(f"{pair['data']}:{pair['name']}")]
    methods = [method for method in suite["methods"] if method_is_used(method["label"])]
    models = [pair[who] for pair in pairs for who in ("teacher", "student")]
    # A method may build a network that one of its options names, as TAKD builds its assistant.
    options = [value for method in methods for value in method["options"].values()]
    models += [value for value in options if isinstance(value, str) and value in _table()["models"]]
    return {
        "methods": tuple(dict.fromkeys(method["use"] for method in methods)),
        "models": tuple(dict.fromkeys(models)),
        "datasets": tuple(dict.fromkeys(pair["data"] for pair in pairs)),
        "tools": _TOOLS,
    }


def bibliography(used: Sequence[Used]) -> str:
    """BibTeX of all that was used: comments that say which key is for what, then every entry once.

    No comment holds an at sign: BibTeX would take it for the beginning of an entry.
    """
    comments, keys = [], []
    for use in used:
        comments.append(use.what)
        for group, names in use.names.items():
            for name in names:
                known = cited(group, name)
                comments.append(f"{_KINDS.get(group) or kind(group)} {name}: {_told(name, known)}")
                keys += known if isinstance(known, list) else []
    lines = [f"% {line}".replace("@", " at ") for line in dict.fromkeys(comments)]
    return "\n\n".join(["\n".join(lines), *(entries()[key] for key in dict.fromkeys(keys))]) + "\n"


_KINDS: dict[Kind, str] = {"tools": "tool"}


def cited(group: Kind, name: str) -> list[str] | str | None:
    """The keys of a name, the reason why there is nothing to cite, or None for a name that is not kdbench's."""
    return _table()[group].get(name)


def _told(name: str, known: list[str] | str | None) -> str:
    if known is None:
        return "no entry, a file of the user's" if ".py:" in name else "no entry, from another package"
    return ", ".join(known) if isinstance(known, list) else f"nothing to cite, {known}"


@cache
def entries() -> dict[str, str]:
    """The BibTeX entries by key, each as it stands in the file."""
    return {entry["key"]: entry[0] for entry in _ENTRY.finditer(_text("kdbench.bib"))}


@cache
def _table() -> dict[Kind, dict[str, list[str] | str]]:
    table: dict[Any, Any] = tomllib.loads(_text("citations.toml"))
    return table


def _text(file: str) -> str:
    return files("kdbench").joinpath("published", file).read_text(encoding="utf-8")
