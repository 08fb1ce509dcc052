"""Building the native runner: one call of a C++ compiler against the executorch package, cached by content."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from importlib.metadata import distributions, version
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock
from platformdirs import user_cache_path

from kdbench.errors import MeasureError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SOURCES = ("runner.cpp", "feed.h", "job.h", "order.h", "pace.h", "process.h", "results.h", "tensors.h")
"""The runner's files, the one that is compiled first."""

_LIBRARIES = (
    "executorch",
    "executorch_kernels_optimized",
    "executorch_kernels_quantized",
    "executorch_backend_xnnpack",
    "executorch_threadpool",
)
_OPENVINO = "executorch_backend_openvino"
"""Linked where OpenVINO is installed: this is but the door to it."""

_BUILD_SECONDS = 300


def find_compiler() -> str | None:
    """The C++ compiler to use: ``$CXX``, else c++, g++ or clang++ on the path; None if there is none."""
    wanted = os.environ.get("CXX")
    candidates = (wanted,) if wanted else ("c++", "g++", "clang++")
    return next((found for name in candidates if name and (found := shutil.which(name))), None)


def executorch_folder() -> Path:
    """Where the executorch package lies, found without importing it.

    Raises:
        MeasureError: it is not installed, or without the libraries that a runner links (they came with 1.5).
    """
    spec = importlib.util.find_spec("executorch")
    places = list(spec.submodule_search_locations or ()) if spec else []
    for place in places:
        if list((Path(place) / "lib").glob("libexecutorch.*")):
            return Path(place)
    raise MeasureError("the executorch package is not installed or has no lib/ folder; install executorch>=1.5.1")


def executorch_in(folder: Path) -> Path:
    """Where the executorch package lies in ``folder``, a virtual environment or its site-packages.

    Raises:
        UsageError: there is none, or none with the libraries that a runner links.
    """
    for place in (folder, *sorted(folder.glob("lib/python3*/site-packages"))):
        if list((place / "executorch" / "lib").glob("libexecutorch.*")):
            return (place / "executorch").absolute()
    wanted = "expected a virtual environment or its site-packages with executorch>=1.5.1"
    raise UsageError(f"{folder} has no executorch with libraries in it; {wanted}")


def executorch_version(package: Path | None) -> str:
    """The version of an executorch package that ``executorch_in`` found; None stands for the installed one.

    Raises:
        UsageError: what came with it does not say.
    """
    if package is None:
        return version("executorch")
    found = next(iter(distributions(name="executorch", path=[str(package.parent)])), None)
    if found is None:
        raise UsageError(f"{package.parent} does not say which executorch it has: its dist-info is not there")
    return found.version


def openvino_library() -> Path | None:
    """OpenVINO's library, which the runtime loads when it meets a program for it; None where it is not installed."""
    spec = importlib.util.find_spec("openvino")
    places = list(spec.submodule_search_locations or ()) if spec else []
    found = (path for place in places for path in sorted((Path(place) / "libs").glob("libopenvino_c.so*")))
    return next(found, None)


def flags(folder: Path, place: str = "") -> list[str]:
    """What a program that runs ``.pte`` files is compiled and linked with, after its sources.

    ``folder`` is the executorch package; ``place`` is where its libraries lie when the program runs, if not there.
    Kernels and backends register themselves when they are loaded, so the linker must keep libraries that nothing
    refers to.
    """
    include, lib = folder / "include", folder / "lib"
    keep = [] if platform.system() == "Darwin" else ["-Wl,--no-as-needed"]
    return [
        "-std=c++17",
        "-O2",
        "-DC10_USING_CUSTOM_GENERATED_MACROS",
        "-DET_USE_THREADPOOL",
        f"-isystem{include}",
        f"-isystem{include / 'executorch/runtime/core/portable_type/c10'}",
        f"-L{lib}",
        *keep,
        *(f"-l{library}" for library in _LIBRARIES),
        f"-Wl,-rpath,{place or lib}",
    ]


def libraries(folder: Path) -> list[Path]:
    """The shared libraries of Linux that ``flags`` links, in the executorch package ``folder``."""
    return [folder / "lib" / f"lib{library}.so" for library in _LIBRARIES]


def _extras(folder: Path) -> list[str]:
    """What this machine's own runner is linked with besides."""
    door = openvino_library() and list((folder / "lib").glob(f"lib{_OPENVINO}.*"))
    return [f"-l{_OPENVINO}"] if door else []


def runner(package: Path | None = None) -> Path:
    """The built runner: from the cache, else built now. It runs programs by ``package`` (default: the installed one).

    Raises:
        MeasureError: there is no compiler, or it refuses; the last line names what it said and where all of it is.
    """
    return compiled(Path(__file__).parent, SOURCES, "runner", package)


def portable_runner() -> Path:
    """The runner for another machine like this: it looks for ``libraries`` in a folder ``lib`` beside itself.

    Raises:
        MeasureError: as for ``runner``.
    """
    here = Path(__file__).parent
    command = [_compiler(), str(here / SOURCES[0]), *flags(executorch_folder(), "$ORIGIN/lib")]
    return built(command, [here / name for name in SOURCES], "runner-portable", version("executorch"))


def compiled(sources: Path, names: tuple[str, ...], program: str, package: Path | None = None) -> Path:
    """The program built from ``names`` (the first is compiled) in ``sources``, cached by all that decides it.

    It is linked against ``package``, an executorch (default: the installed one).

    Raises:
        MeasureError: as for ``runner``.
    """
    compiler, folder = _compiler(), package or executorch_folder()
    command = [compiler, str(sources / names[0]), *flags(folder), *_extras(folder)]
    return built(command, [sources / name for name in names], program, executorch_version(package))


def built(command: list[str], sources: Sequence[Path], program: str, libraries: str = "") -> Path:
    """What the compiler's ``command`` makes of ``sources``, cached by all that decides it.

    ``libraries`` is the version of what it links.

    Raises:
        MeasureError: the compiler refuses, or the cache cannot be written.
    """
    known = hashlib.sha256("\0".join([_told(command[0]), libraries, *command]).encode())
    for source in sources:
        known.update(hashlib.sha256(source.read_bytes()).digest())
    place = cache_folder() / f"{program}-{known.hexdigest()[:16]}"
    return kept(place, lambda made: _build([*command, "-o", str(made)], place))


def kept(place: Path, make: Callable[[Path], None]) -> Path:
    """``place``, a file or folder. If it is not there yet, ``make`` is given another path, and what it leaves is moved.

    Several processes may ask at once.

    Raises:
        MeasureError: it cannot be written.
    """
    if place.exists():
        return place
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(place.with_name(f"{place.name}.lock")):
            if not place.exists():
                with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
                    made = Path(scratch) / place.name
                    make(made)
                    made.rename(place)
    except OSError as error:
        program = place.name.rpartition("-")[0]
        raise MeasureError(f"cannot build the native {program} in {place.parent}: {error.strerror or error}") from None
    return place


def cache_folder() -> Path:
    """Where built runners are kept: beside the store."""
    store = os.environ.get("KDBENCH_STORE")
    return Path(store) / "runner" if store else user_cache_path("kdbench") / "runner"


def _compiler() -> str:
    compiler = find_compiler()
    if compiler is None:
        wanted = os.environ.get("CXX")
        missing = f"no C++ compiler {wanted!r} (from $CXX)" if wanted else "no C++ compiler"
        raise MeasureError(f"{missing}; install g++ or clang++")
    return compiler


def _build(command: list[str], place: Path) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_BUILD_SECONDS)
    except subprocess.TimeoutExpired:
        raise MeasureError(f"the C++ compiler {command[0]} is not done after {_BUILD_SECONDS} s") from None
    if done.returncode:
        log = place.with_name(f"{place.name}.log")
        log.write_text(done.stdout + done.stderr, encoding="utf-8")
        said = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip()[-200:])
        raise MeasureError(f"the C++ compiler {command[0]} cannot build {place.name}: {said}; see {log}")


@cache
def _told(compiler: str) -> str:
    """What the compiler says of its version.

    Raises:
        MeasureError: it cannot be started.
    """
    try:
        told = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise MeasureError(f"the C++ compiler {compiler} cannot be started: {error.strerror}") from None
    return told.stdout
