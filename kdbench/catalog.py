"""Names to things, lazily: entry points, ``file.py:Name``, and "did you mean"."""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib
import importlib.util
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench.errors import UsageError
from kdbench.sources import file_digest, package_digest, source_of

if TYPE_CHECKING:
    from types import ModuleType

GROUPS = ("tasks", "datasets", "models", "methods", "targets", "devices", "measures")
"""The kinds of thing that have names; each is the entry-point group ``kdbench.KIND``."""

_SINGULAR = {"datasets": "data set"} | {group: group[:-1] for group in GROUPS if group != "datasets"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A named thing that is not imported yet: ``module`` (or ``file``) and the attribute in it."""

    group: str
    name: str
    attribute: str
    module: str = ""
    file: Path | None = None

    def load(self) -> Any:
        """The thing itself; importing it may import torch."""
        module = _module_of_file(self.file) if self.file else importlib.import_module(self.module)
        try:
            return getattr(module, self.attribute)
        except AttributeError:
            where = self.file or self.module
            near = suggestion(self.attribute, [name for name in vars(module) if not name.startswith("_")])
            hint = f"; {near}" if near.startswith("did") else ""
            raise UsageError(f"{where} has no {self.attribute!r} ({kind(self.group)} {self.name!r}){hint}") from None

    def digest(self) -> str:
        """The sha256 of a plug-in's sources: the user's file, or another package, and what it imports that is not
        installed; empty for kdbench's own.

        What kdbench's own things make is told apart by the ``VERSION`` of the stages.
        """
        if self.file:
            return file_digest(self.file)
        return "" if self.module.partition(".")[0] == "kdbench" else package_digest(self.module)

    def summary(self) -> str:
        """The first line of the thing's docstring, read from its source without importing it."""
        path = self.file or source_of(self.module)
        return _first_line(path.read_text(encoding="utf-8"), self.attribute) if path else ""


def kind(group: str) -> str:
    """The singular of a group's name, for messages."""
    return _SINGULAR[group]


@cache
def entries(group: str) -> dict[str, Entry]:
    """Every installed thing of a group by name, sorted.

    Raises:
        UsageError: two packages give one name to different things.
    """
    found: dict[str, Entry] = {}
    for point in entry_points(group=f"kdbench.{group}"):
        entry = Entry(group, point.name, point.attr, point.module)
        if found.setdefault(point.name, entry) != entry:
            known = found[point.name]
            raise UsageError(
                f"two {group} are named {point.name!r}: {known.module}:{known.attribute} and {point.value}; "
                "uninstall one of the packages",
            )
    return dict(sorted(found.items()))


def find(group: str, name: str, where: str = "") -> Entry:
    """The entry called ``name``; ``file.py:Name`` is a thing in a file of the user's.

    ``where`` says in the error where the name was read, such as ``in suites/x.toml [methods]``.

    Raises:
        UsageError: no such name (with the nearest ones) or no such file.
    """
    if ".py:" in name:
        path, attribute = name.rsplit(":", 1)
        file = Path(path)
        if not file.is_file():
            raise UsageError(f"no file {path!r} for {kind(group)} {name!r}{_space(where)}")
        return Entry(group, name, attribute, file=file)
    if name.endswith(".py"):
        raise UsageError(f"{kind(group)} {name!r}{_space(where)} is a file; name what it holds too, as {name}:NAME")
    known = entries(group)
    if name in known:
        return known[name]
    raise UsageError(f"unknown {kind(group)} {name!r}{_space(where)}; {suggestion(name, list(known))}")


def parted(name: str) -> tuple[str, str]:
    """``KIND:WHICH`` as its halves, ``WHICH`` empty where nothing follows; ``file.py:Name`` is one name."""
    kind_of, _, which = name.partition(":")
    return (name, "") if ".py:" in name else (kind_of, which)


def load(group: str, name: str, where: str = "") -> Any:
    """The thing called ``name``, imported."""
    return find(group, name, where).load()


def suggestion(name: str, known: list[str]) -> str:
    """What to say after an unknown name: the nearest known ones, else all of them."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    near = near or [each for each in known if len(name) > 2 and each.startswith(name)][:3]
    if near:
        return "did you mean " + " or ".join(repr(n) for n in near) + "?"
    return "known: " + (", ".join(known) if known else "none")


def _space(where: str) -> str:
    return f" {where}" if where else ""


def _first_line(source: str, attribute: str) -> str:
    """The first docstring line of a class or function, or of the string below an assignment, in ``source``."""
    body = ast.parse(source).body
    for node, following in zip(body, [*body[1:], None], strict=True):
        doc: str | None = None
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == attribute:
            doc = ast.get_docstring(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and attribute in _targets(node):
            value = following.value if isinstance(following, ast.Expr) else None
            doc = value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None
        else:
            continue
        return (doc or "").strip().partition("\n")[0]
    return ""


def _targets(node: ast.Assign | ast.AnnAssign) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _module_of_file(file: Path) -> ModuleType:
    name = "kdbench_file_" + hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:12]
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UsageError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UsageError(f"{file} cannot be imported: {type(error).__name__}: {error}") from error
    return module
