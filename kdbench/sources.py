"""Sources: the files that a plug-in is made of, found without importing it."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sysconfig
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_INSTALLED = frozenset({"site-packages", "dist-packages"})
"""Folders of installed libraries, which runs name by their versions."""

_STANDARD = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))


def source_of(module: str) -> Path | None:
    """The source file of a module of any package, found without importing that package; None where there is none."""
    root, *parts = module.split(".")
    try:
        spec = importlib.util.find_spec(root)
    except (ImportError, ValueError):  # what ran before may have left a module without a spec
        return None
    if spec is None:
        return None
    if not parts:
        origin = Path(spec.origin) if spec.origin else None
        return origin if origin and origin.suffix == ".py" and origin.is_file() else None
    for folder in spec.submodule_search_locations or ():  # several, and no origin, in a namespace package
        path = Path(folder).joinpath(*parts)
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if candidate.is_file():
                return candidate
    return None


def file_digest(file: Path) -> str:
    """The sha256 of a user's file and of the sources outside installed libraries that it imports, in turn."""
    others = _others({"": file})
    if not others:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    return _digest({"": file, **others})


def package_digest(module: str) -> str:
    """The sha256 of the sources of the package that a module lies in: what it offers may stand in another of its files.

    In a namespace package, which several packages share, it is the folder below that is a package of its own. Sources
    of other packages outside installed libraries that it imports count too. Empty where there is no source.
    """
    source = source_of(module)
    if source is None:
        return ""
    root = source
    while (root.parent / "__init__.py").is_file():
        root = root.parent
    paths = sorted(root.rglob("*.py")) if root.is_dir() else [root]
    own = {str(path.relative_to(root.parent)): path for path in paths}
    return _digest({**own, **_others(own)})


def _digest(sources: dict[str, Path]) -> str:
    digest = hashlib.sha256()
    for name, path in sources.items():
        digest.update(f"{name}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _others(own: dict[str, Path]) -> dict[str, Path]:
    """The sources that ``own`` import, in turn, and that are neither among them nor installed, by module, sorted."""
    known, found = set(own.values()), dict[str, Path]()
    waiting = [(path, "") for path in own.values()]
    while waiting:
        path, package = waiting.pop()
        for module in _imported(path, package):
            source = None if module.partition(".")[0] == "kdbench" else source_of(module)
            if source is not None and source not in known and _is_local(source):
                known.add(source)
                found[module] = source
                waiting.append((source, module if source.name == "__init__.py" else module.rpartition(".")[0]))
    return dict(sorted(found.items()))


def _is_local(source: Path) -> bool:
    path = source.resolve()
    return _INSTALLED.isdisjoint(path.parts) and not any(path.is_relative_to(folder) for folder in _STANDARD)


@cache
def _statements(text: bytes) -> tuple[ast.Import | ast.ImportFrom, ...]:
    try:
        nodes = ast.walk(ast.parse(text))
        return tuple(node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom))
    except (SyntaxError, ValueError):  # whoever loads the thing says so
        return ()


def _imported(path: Path, package: str) -> Iterator[str]:
    """Whatever import statements of a source may import: each module that is named and the packages above it."""
    for node in _statements(path.read_bytes()):
        if isinstance(node, ast.Import):
            names: Iterable[str] = [alias.name for alias in node.names]
        elif node.level and not package:
            continue  # within the package whose sources all count; a file on its own has none above it
        else:
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join(filter(None, [*above, node.module]))
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1) if parts[0])
