"""The doctor: what this machine can build, run and measure, and what is noisy about it."""

from __future__ import annotations

import platform
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import numpy as np

from kdbench.catalog import entries, load
from kdbench.conduct import conduct
from kdbench.devices.cores import CORES
from kdbench.devices.runner.android import android_runner
from kdbench.devices.runner.build import find_compiler, runner
from kdbench.devices.tools import ADB, CROSS_COMPILER, EMULATOR, SSH, lacking
from kdbench.errors import KdbenchError, MeasureError
from kdbench.finding import Finding
from kdbench.lowering.quiet import quiet
from kdbench.noise import cpu_times, spread, stolen_share, surroundings, verdict
from kdbench.session import REFERENCE
from kdbench.store import Artefact, Store
from kdbench.suite_file import read_suite, suite_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kdbench.conduct import Outcome
    from kdbench.data.dataset import Dataset
    from kdbench.data.source import Whereabouts
    from kdbench.devices.device import Device
    from kdbench.lowering.target import Target
    from kdbench.spec import Suite

KNOWN_GOOD = {"torch": "2.13.0", "executorch": "1.5.1", "torchao": "0.18.0"}
"""The versions that were seen working together, on Python ``KNOWN_PYTHON``; constraints.txt pins the rest."""

KNOWN_PYTHON = "3.11"

SUITE = "digits"
"""The suite that a healthy machine must be able to run."""

_ROOM = 2 * 10**9
_WRONG = (KdbenchError, ImportError, OSError)
"""What a check may meet on a machine that lacks something; anything else is a defect of ours."""


def examine(store: Path, results: Path) -> Iterator[Finding]:
    """Every finding, topic by topic, as soon as it is known.

    The reference program is put into the store if it is not there yet, for the A/A test at the end.
    """
    # Read first: what follows is itself a load.
    around = surroundings()
    suite = read_suite(suite_path(SUITE))
    with ThreadPoolExecutor(1) as pool:
        # Lowered in a process of its own, while this one imports and compiles.
        reference = pool.submit(_reference, Store(store))
        yield from _versions()
        yield from _runners()
        yield _backends()
        yield from _targets(suite)
        yield _cores()
        yield _boards()
        yield _phones()
        yield from _datasets(suite)
        yield folder("store", store, "--store or KDBENCH_STORE")
        yield folder("results", results, "--results or KDBENCH_RESULTS")
        yield from around
        try:
            outcome = reference.result()
        except _WRONG as error:
            yield _unknown(error)
            return
    yield _aa(outcome)


def ready(findings: list[Finding]) -> bool:
    """Whether nothing is missing that ``kdbench run digits`` needs."""
    return not any(finding.needed and finding.state == "missing" for finding in findings)


def folder(name: str, path: Path, how: str) -> Finding:
    """Whether a folder that may not exist yet can be written, what lies in it and how much room there is."""
    whole = path.absolute()
    nearest = next(parent for parent in (whole, *whole.parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
        free = shutil.disk_usage(nearest).free
    except OSError as error:
        said = f"{path} cannot be written: {error.strerror or error}"
        return Finding("folders", name, "missing", said, f"point {how} elsewhere", needed=True)
    size = sum(file.lstat().st_size for file in path.rglob("*") if file.is_file()) if path.is_dir() else 0
    said = f"{path}: {size / 1e6:,.1f} MB in it" if path.is_dir() else f"{path}: not there yet"
    said += f", {free / 1e9:,.1f} GB free"
    if free < _ROOM:
        return Finding("folders", name, "warn", said, f"make room, or point {how} elsewhere", needed=True)
    return Finding("folders", name, "ok", said, needed=True)


def _versions() -> Iterator[Finding]:
    python = platform.python_version()
    known = python.startswith(f"{KNOWN_PYTHON}.")
    hint = "" if known else f"kdbench is tested on Python {KNOWN_PYTHON}"
    yield Finding("software", "python", "ok" if known else "warn", python, hint, needed=True)
    for name, good in KNOWN_GOOD.items():
        yield library(name, good)


def library(name: str, good: str) -> Finding:
    """Whether a library is installed, in the version ``good`` of the known-good set."""
    try:
        found = version(name)
    except PackageNotFoundError:
        return Finding("software", name, "missing", "not installed", f"pip install {name}=={good}", needed=True)
    if found.partition("+")[0] == good:
        return Finding("software", name, "ok", f"{found}, of the known-good set", needed=True)
    hint = "pip install -c constraints.txt -e . gives the known-good set; others may lower to other programs"
    return Finding("software", name, "warn", f"{found}; {good} is known to be good", hint, needed=True)


def _runners() -> Iterator[Finding]:
    compiler = find_compiler()
    if compiler is None:
        hint = "install g++ or clang++, or set CXX; the Python runtime measures instead, with figures of its own kind"
        yield Finding("software", "compiler", "warn", "no C++ compiler", hint)
        return
    yield Finding("software", "compiler", "ok", compiler)
    start = time.time()
    try:
        fresh = runner().stat().st_mtime >= start - 1
    except _WRONG as error:
        hint = "KDBENCH_RUNNER=python measures without it, with figures of their own kind"
        yield Finding("software", "runner", "missing", _line(error), hint, needed=True)
        return
    said = f"native, built in {time.time() - start:.1f} s" if fresh else "native, built before"
    yield Finding("software", "runner", "ok", said, needed=True)


def _backends() -> Finding:
    """The backends that ExecuTorch's own runtime can hand a program to."""
    try:
        with quiet():
            from executorch.runtime import Runtime

            names = Runtime.get().backend_registry.registered_backend_names
    except _WRONG as error:
        hint = "pip install -c constraints.txt -e ."
        return Finding("software", "runtime", "missing", _line(error), hint, needed=True)
    said = f"Python runtime; backends {', '.join(sorted(names))}"
    if "XnnpackBackend" not in names:
        return Finding("software", "runtime", "missing", said, "this executorch was built without XNNPACK", needed=True)
    return Finding("software", "runtime", "ok", said, needed=True)


def _targets(suite: Suite) -> Iterator[Finding]:
    for name, entry in entries("targets").items():
        needed = name in suite.targets
        try:
            target: Target = entry.load()
            why, unrun = target.missing(), target.missing_on("host")
        except _WRONG as error:
            why, unrun = _line(error), ""
        if why:
            yield Finding("targets", name, "missing", f"cannot be lowered to: {why}", needed=needed)
        else:
            told = entry.summary().rstrip(".") + (f"; lowered here, not run: {unrun}" if unrun else "")
            yield Finding("targets", name, "ok", told, needed=needed)


def _cores() -> Finding:
    """Whether programs can be counted on cores of phones."""
    if lacks := lacking(EMULATOR, CROSS_COMPILER):
        return Finding("devices", "qemu", "missing", lacks, "kdbench doctor --install-hints")
    return Finding("devices", "qemu", "ok", f"instructions of {', '.join(CORES)} can be counted")


def _boards() -> Finding:
    """Whether boards can be reached; which ones there are is ssh's configuration to say."""
    if lacks := lacking(SSH):
        return Finding("devices", "ssh", "missing", lacks, "kdbench doctor --install-hints")
    arm = " and aarch64" if CROSS_COMPILER.here else ""
    return Finding("devices", "ssh", "ok", f"boards can be reached, with runners for {platform.machine()}{arm} Linux")


def _phones() -> Finding:
    """Whether phones can be reached; which ones are attached is adb's to say, whose server is not started for that."""
    if lacks := lacking(ADB):
        return Finding("devices", "adb", "missing", lacks, "kdbench doctor --install-hints")
    try:
        runner = android_runner()
    except MeasureError as error:
        return Finding("devices", "adb", "missing", _line(error), "kdbench has no libraries for Android")
    return Finding("devices", "adb", "ok", f"adb and a runner, {runner.name}, are here")


def _datasets(suite: Suite) -> Iterator[Finding]:
    """What data sets are here: those in files are looked for but not read, so nothing is downloaded."""
    for name, entry in entries("datasets").items():
        needed = name in {pair.data for pair in suite.pairs}
        try:
            found = entry.load()
            if hasattr(found, "where"):
                where: Whereabouts = found.where()
                yield Finding("data sets", name, "ok" if where.found else "missing", where.said, where.hint, needed)
                continue
            data: Dataset = found()
        except _WRONG as error:
            hint = "KDBENCH_DATA names where data lie"
            yield Finding("data sets", name, "missing", _line(error), hint, needed=needed)
            continue
        said = f"{len(data.train)} train, {len(data.validation)} validation, {len(data.test)} test items"
        yield Finding("data sets", name, "ok", said, needed=needed)


def _reference(store: Store) -> Outcome:
    return conduct([REFERENCE], store, 1, lambda _event: None)[REFERENCE.id]


def _aa(reference: Outcome) -> Finding:
    try:
        if not isinstance(reference, Artefact):
            raise MeasureError(f"the reference program cannot be made: {reference.reason}")
        items = np.load(reference.path("input.npy"), allow_pickle=False)[None]
        device: Device = load("devices", "host")("host")
        before = cpu_times()
        found = spread(device, reference.path("program.pte"), (items,))
        return verdict(found, stolen_share(before, cpu_times()))
    except _WRONG as error:
        return _unknown(error)


def _unknown(error: Exception) -> Finding:
    return Finding("noise", "A/A", "missing", _line(error), "without it nothing is known of the noise", needed=True)


def _line(error: Exception) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__
