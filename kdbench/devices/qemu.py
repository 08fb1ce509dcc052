"""Cores of phones without a phone: the Arm runner under qemu's user mode, whose instructions can be counted exactly."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from kdbench.catalog import suggestion
from kdbench.devices.cores import CORES, LIBRARIES, Core, root
from kdbench.devices.device import COUNTED
from kdbench.devices.process import finish
from kdbench.devices.runner.build import built, find_compiler
from kdbench.devices.runner.cross import arm_libc, arm_libraries, arm_runner, arm_tracer
from kdbench.devices.runner.wheel import WHEELS, arm_package
from kdbench.devices.tools import CROSS_COMPILER, EMULATOR, need
from kdbench.devices.trace import read_trace
from kdbench.devices.wire import RESULT_FILE, pack_job, read_result
from kdbench.errors import MeasureError, StageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from kdbench.devices.job import Job, Result
    from kdbench.devices.trace import Inference

UNTIMED = "qemu emulates the core: it counts what is executed and cannot say how long that lasts there"

_COUNTS = "counts.txt"
_TRACE = "trace.txt"
_PLUGIN = "counter.so"


def qemu(name: str) -> Qemu:
    """A core of a phone, emulated: exact instruction counts, and what the Arm program answers.

    ``name`` is ``qemu:CORE+wheelVERSION``: the core whose kernels run, and executorch's Linux wheel that brings them.

    Raises:
        UsageError: the name is not of that form, or the core or the wheel is not known.
    """
    match = re.fullmatch(r"qemu:(?P<core>[^+]+)\+wheel(?P<version>.+)", name)
    newest = list(WHEELS)[-1]
    if match is None:
        raise UsageError(f"device {name!r}: expected qemu:CORE+wheelVERSION such as qemu:cortex-a76+wheel{newest}")
    if match["core"] not in CORES:
        raise UsageError(f"device {name!r}: unknown core {match['core']!r}; {suggestion(match['core'], list(CORES))}")
    if match["version"] not in WHEELS:
        known = ", ".join(f"wheel{version}" for version in WHEELS)
        raise UsageError(f"device {name!r}: unknown runtime 'wheel{match['version']}'; known: {known}")
    return Qemu(name, CORES[match["core"]], match["version"])


@dataclass(frozen=True, slots=True)
class Qemu:
    """A core under qemu. Jobs run in an empty environment, under names that are the same on every machine."""

    name: str
    core: Core
    version: str

    @property
    def untimed(self) -> str:
        """Why there is no time and no memory of it."""
        return UNTIMED

    @property
    def runtime(self) -> str:
        """The runner's kind, the executorch version, the instruction set, the C library and the emulator.

        Raises:
            MeasureError: a tool is not installed.
        """
        need(EMULATOR, CROSS_COMPILER, to=f"use {self.name}")
        return f"native executorch-{self.version} aarch64 glibc-{arm_libc()} qemu-{_emulator_version()}"

    def run(self, job: Job) -> Result:
        """Run the job in a fresh process; see ``Device.run``. Its times are the emulator's: of no use.

        Raises:
            StageError: as for ``Device.run``.
            MeasureError: a tool lacks, the runner cannot be built, or a folder cannot be written.
            UsageError: the job contradicts itself.
        """
        with self._done(job, arm_runner, RESULT_FILE) as folder:
            return read_result(job, folder, self.runtime)

    def count(self, job: Job) -> tuple[Result, NDArray[np.int64]]:
        """Run the job, and what each execute() of it took, in their order: int64 [executes, ``COUNTED``].

        Raises:
            StageError, MeasureError, UsageError: as for ``run``, and for a job of more than one thread.
        """
        self._check_threads(job)
        with self._done(job, arm_runner, RESULT_FILE, counter()) as folder:
            return read_result(job, folder, self.runtime), read_counts(folder / _COUNTS)

    def trace(self, job: Job) -> list[Inference]:
        """Run the inferences of a job of one program and one ``Interleave`` under ExecuTorch's tracer, in their order.

        Of what the tracer itself executes, only the way to a reading and back is counted: about twenty instructions.

        Raises:
            StageError, MeasureError, UsageError: as for ``count``.
        """
        self._check_threads(job)
        with self._done(job, arm_tracer, _TRACE, counter()) as folder:
            return read_trace(folder / _TRACE, read_counts(folder / _COUNTS))

    def package(self) -> Path:
        """The folder of the wheel whose Arm libraries run here.

        Raises:
            MeasureError: it is not to be had.
        """
        return arm_package(self.version)

    def _check_threads(self, job: Job) -> None:
        if job.threads != 1:
            raise UsageError(f"{self.name}: instructions are counted with 1 thread, not {job.threads}")

    @contextmanager
    def _done(self, job: Job, build: Callable[[str], Path], leaves: str, plugin: Path | None = None) -> Iterator[Path]:
        """The folder of the job after the program that ``build`` gives has run it: with the file ``leaves``, and what
        ``plugin`` wrote.
        """
        need(EMULATOR, CROSS_COMPILER, to=f"use {self.name}")
        program = build(self.version)
        machine = root(self.core, arm_libraries(), arm_package(self.version))
        command = [shutil.which(EMULATOR.command) or "", "-cpu", self.core.cpu, "-L", str(machine)]
        command += ["-E", f"LD_LIBRARY_PATH={LIBRARIES}:/lib"]
        try:
            with tempfile.TemporaryDirectory(prefix="kdbench-job-") as scratch:
                folder = Path(scratch)
                pack_job(job, folder, PurePosixPath())
                (folder / "runner").symlink_to(program)
                if plugin:
                    (folder / _PLUGIN).symlink_to(plugin)
                    command += ["-plugin", f"./{_PLUGIN},out={_COUNTS}"]
                finish([*command, "./runner", "."], {}, job.timeout_s, folder, leaves)
                yield folder
        except OSError as error:
            where = f" {error.filename}" if error.filename else ""
            raise MeasureError(f"cannot run a job on {self.name}:{where}: {error.strerror or error}") from None


def counter() -> Path:
    """The plugin that counts: from the cache, else built now.

    Raises:
        MeasureError: there is no C++ compiler, or it refuses.
    """
    compiler = find_compiler()
    if compiler is None:
        raise MeasureError("no C++ compiler to build the plugin that counts instructions; install g++ or clang++")
    source = Path(__file__).parent / "runner" / "counter.cpp"
    command = [compiler, str(source), "-std=c++17", "-O2", "-shared", "-fPIC", "-fvisibility=hidden"]
    return built(command, [source], "counter")


def read_counts(path: Path) -> NDArray[np.int64]:
    """What the plugin wrote: int64 [executes, ``COUNTED``].

    Raises:
        StageError: there is nothing, or something else.
    """
    try:
        lines = path.read_text(encoding="ascii").splitlines()
        counts = np.array([[int(word) for word in line.split()] for line in lines], dtype=np.int64)
    except (OSError, ValueError, OverflowError):
        raise StageError(f"{EMULATOR.command} left no counts to read; kdbench's plugin is for qemu 7") from None
    if counts.ndim != 2 or counts.shape[1] != len(COUNTED):
        raise StageError(f"{EMULATOR.command} counted no execute(); kdbench's plugin is for qemu 7")
    return counts


@cache
def _emulator_version() -> str:
    try:
        done = subprocess.run([EMULATOR.command, "--version"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise MeasureError(f"{EMULATOR.command} cannot be started: {error.strerror}") from None
    match = re.search(r"version (\d+\.\d+)", done.stdout)
    return match[1] if match else "unknown"
