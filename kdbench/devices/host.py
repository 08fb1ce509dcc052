"""The host: this machine, where every job runs in a fresh process of the native runner."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kdbench.devices.page_cache import drop
from kdbench.devices.process import finish
from kdbench.devices.runner.build import (
    executorch_folder,
    executorch_in,
    executorch_version,
    find_compiler,
    openvino_library,
    runner,
)
from kdbench.devices.wire import read_result, write_job
from kdbench.errors import MeasureError, UsageError

if TYPE_CHECKING:
    from kdbench.devices.job import Job, Result

RUNNERS = ("native", "python")
"""What can run a job here. ``KDBENCH_RUNNER`` chooses; else native, and python where there is no C++ compiler."""

_QUIET = {"LC_ALL": "C", "PATH": "/usr/bin:/bin"}
"""The whole environment of a native runner: what a user has set must not decide figures."""

_HUGE = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""By which malloc asks Linux for huge pages, from glibc 2.35 on; others have no such name and leave it."""


def host(name: str = "host") -> Host:
    """The machine itself: the native runner, or without a compiler the Python runtime in its own process.

    A compiler that ``$CXX`` names and that does not exist is an error when a job runs, not a reason to do without.

    Raises:
        UsageError: ``KDBENCH_RUNNER`` names no runner, or the name has more than the host's.
    """
    if name != "host":
        raise UsageError(f"device {name!r}: this machine is called host, and nothing follows")
    wanted = os.environ.get("KDBENCH_RUNNER") or ("native" if os.environ.get("CXX") or find_compiler() else "python")
    if wanted not in RUNNERS:
        raise UsageError(f"KDBENCH_RUNNER={wanted!r}: expected native or python")
    return Host(name, "native" if wanted == "native" else "python")


def host_with(folder: Path) -> Host:
    """The machine itself, where programs run by the executorch in ``folder``, a virtual environment or site-packages.

    Raises:
        UsageError: there is none, or no compiler to build a runner for it.
    """
    here = host()
    if here.kind != "native":
        raise UsageError(f"{folder}: only the native runner runs by another executorch; install g++ or clang++")
    package = executorch_in(folder)
    executorch_version(package)
    return Host(here.name, "native", package)


@dataclass(frozen=True, slots=True)
class Host:
    """The machine itself. ``kind`` is the runner: figures of the two are never compared with each other.

    ``other`` is the executorch package that runs programs, None the installed one.
    """

    name: str
    kind: Literal["native", "python"]
    other: Path | None = None

    @property
    def runtime(self) -> str:
        """The runner's kind, the executorch version and the instruction set."""
        return f"{self.kind} executorch-{executorch_version(self.other)} {platform.machine()}"

    def run(self, job: Job) -> Result:
        """Run the job in a fresh process; see ``Device.run``.

        Raises:
            StageError: as for ``Device.run``.
            MeasureError: no runner can be built or started, or its folder cannot be written.
            UsageError: the job contradicts itself.
        """
        command, environment = self._command()
        environment |= _HUGE if job.huge else {}
        try:
            with tempfile.TemporaryDirectory(prefix="kdbench-job-") as scratch:
                folder = Path(scratch)
                write_job(job, folder, _core() if job.pin and job.threads == 1 else -1)
                for path in {program.path: None for program in job.programs if job.cold}:
                    drop(path)
                finish([*command, str(folder)], environment, job.timeout_s, folder)
                return read_result(job, folder, self.runtime)
        except OSError as error:
            where = f" {error.filename}" if error.filename else ""
            raise MeasureError(f"cannot run a job on {self.name}:{where}: {error.strerror or error}") from None

    def package(self) -> Path:
        """The executorch package that runs programs.

        Raises:
            MeasureError: none is installed, or one without libraries.
        """
        return self.other or executorch_folder()

    def _command(self) -> tuple[list[str], dict[str, str]]:
        if self.kind == "native":
            library = openvino_library()
            return [str(runner(self.other))], _QUIET | ({"OPENVINO_LIB_PATH": str(library)} if library else {})
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("COV_", "OMP_", "PYTEST"))
        }
        return [sys.executable, "-m", "kdbench.devices.python_runner"], environment


def _core() -> int:
    """The last core that this process may use, -1 where the system does not say: the first one serves interrupts."""
    return max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else -1
