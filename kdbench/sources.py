"""Sources: the files that a plug-in is made of, found without importing it."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
import sysconfig
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_INSTALLED = frozenset({"site-packages", "dist-packages"})
"""Folders of installed libraries."""

_KNOWN = sys.stdlib_module_names | {"kdbench", "torch", "executorch", "torchao", "numpy", "sklearn"}
"""What no plug-in's digest counts, wherever it lies: runs name these libraries by their versions."""

_STANDARD = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))


def source_of(module: str) -> Path | None:
    """The source file of a module of any package, found without importing that package; None where there is none."""
    root, *parts = module.split(".")
    origin, folders = _found(root, tuple(sys.path))
    if not parts:
        return origin
    for folder in folders:  # several, and no origin, in a namespace package
        path = folder.joinpath(*parts)
        for candidate in (path / "__init__.py", path.with_suffix(".py")):
            if candidate.is_file():
                return candidate
    return None


@cache
def _found(root: str, _path: tuple[str, ...]) -> tuple[Path | None, tuple[Path, ...]]:
    """The source of a package or module, and the folders of what is in it."""
    try:
        spec = importlib.util.find_spec(root)
    except (ImportError, ValueError):  # what ran before may have left a module without a spec
        spec = None
    if spec is None:
        return None, ()
    origin = Path(spec.origin) if spec.origin else None
    folders = tuple(Path(folder) for folder in spec.submodule_search_locations or ())
    return (origin if origin and origin.suffix == ".py" and origin.is_file() else None), folders


def file_digest(file: Path) -> str:
    """The sha256 of a user's file and of the sources outside installed libraries that it imports, in turn."""
    others = _others({file: ""})
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
    above = module.split(".")[: -len(_dotted(source, root.parent))]
    packages = {}
    for path in paths:
        parts = [*above, *_dotted(path, root.parent)]
        packages[path] = ".".join(parts if path.name == "__init__.py" else parts[:-1])
    own = {str(path.relative_to(root.parent)): path for path in paths}
    return _digest({**own, **_others(packages)})


def _dotted(path: Path, above: Path) -> tuple[str, ...]:
    """The parts of a module's name below a folder."""
    parts = path.relative_to(above).with_suffix("").parts
    return parts[:-1] if path.name == "__init__.py" else parts


def _digest(sources: dict[str, Path]) -> str:
    digest = hashlib.sha256()
    for name, path in sources.items():
        digest.update(f"{name}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _others(own: dict[Path, str]) -> dict[str, Path]:
    """The sources that ``own``, each in its package, import in turn, neither among them nor installed: by module."""
    sources, looked, found = set(own), set[str](), dict[str, Path]()
    waiting = list(own.items())
    while waiting:
        path, package = waiting.pop()
        for module in _imported(path, package):
            if module in looked or module.partition(".")[0] in _KNOWN:
                continue
            looked.add(module)
            source = source_of(module)
            if source is not None and source not in sources and _is_local(source):
                sources.add(source)
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
    """Whatever import statements of a source in a package may import: each module and the packages above it."""
    above = package.split(".") if package else []
    for node in _statements(path.read_bytes()):
        if isinstance(node, ast.Import):
            names: Iterable[str] = [alias.name for alias in node.names]
        elif node.level > len(above):
            continue  # Python refuses it
        else:
            near = above[: len(above) - node.level + 1] if node.level else []
            base = ".".join(filter(None, [*near, node.module]))
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))
