"""A board, or any Linux machine, that is reached by OpenSSH: the same runner and jobs as on the host."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from kdbench.devices.errand import GOODS, errand
from kdbench.devices.runner.parcel import RUNNER, parcel
from kdbench.devices.ssh_visit import SshVisit
from kdbench.devices.visit import visited
from kdbench.errors import UsageError
from kdbench.machine import named_in, slug

if TYPE_CHECKING:
    from kdbench.devices.job import Job, Result

_WORD = r"[A-Za-z0-9_][\w.-]*"
_NEEDS = "it needs a 64-bit Linux with the GNU C library and a folder from which programs may be run"


def ssh(name: str) -> Ssh:
    """A board reached by OpenSSH, timed by the native runner: an alias of ~/.ssh/config or [USER@]HOST after ``ssh:``.

    Raises:
        UsageError: the name is not of that form.
    """
    match = re.fullmatch(rf"ssh:((?:{_WORD}@)?{_WORD})", name)
    if match is None:
        raise UsageError(f"device {name!r}: expected ssh:HOST or ssh:USER@HOST, such as ssh:board")
    return Ssh(name, match[1])


@dataclass(frozen=True, slots=True)
class Ssh:
    """A machine reached by ssh. Its connection lasts as long as this process, or until ``visit.leave``."""

    name: str
    host: str

    @property
    def runtime(self) -> str:
        """The runner's kind, the executorch version, the instruction set and the processor: others may round otherwise.

        Raises:
            StageError: it cannot be reached.
        """
        board = _board(self.host)
        return f"native executorch-{version('executorch')} {board.architecture} {slug(board.cpu)}"

    def facts(self) -> dict[str, str | int]:
        """What decides its figures: processor, cores, memory, kernel, governor; ``fingerprint`` is of the first three.

        Raises:
            StageError: it cannot be reached.
        """
        board = _board(self.host)
        same = (board.system, board.architecture, board.cpu, board.cores, board.memory_bytes >> 30)
        return {
            "slug": slug(board.cpu, board.system, board.architecture),
            "fingerprint": hashlib.sha256(repr(same).encode()).hexdigest(),
            "system": board.system,
            "architecture": board.architecture,
            "cpu": board.cpu,
            "cores": board.cores,
            "memory_bytes": board.memory_bytes,
            "kernel": board.kernel,
            "governor": board.governor,
        }

    def revealed(self) -> str:
        """Why the name cannot stand in a record: it has a user, a domain or an address. Empty where it can."""
        if not {"@", "."} & set(self.host):
            return ""
        alias = "give it a name in ~/.ssh/config (Host board) and use ssh:board"
        return f"device {self.name!r}: records hold no user and no address; {alias}"

    def run(self, job: Job) -> Result:
        """Run the job in a fresh process there; see ``Device.run``.

        Raises:
            StageError: as for ``Device.run``, and where it cannot be reached, has no room or no such commands.
            MeasureError: no runner for it can be built, or a folder here cannot be written.
            UsageError: the job contradicts itself.
        """
        board = _board(self.host)
        return errand(
            job,
            [f"../{GOODS / RUNNER}"],
            lambda: _supplied(self.host, board),
            name=self.name,
            runtime=self.runtime,
            core=board.core if job.pin and job.threads == 1 else -1,
            needs=_NEEDS,
        )


@dataclass(frozen=True, slots=True)
class _Board:
    """What is known of a machine. ``core`` is the last one that a job may use."""

    system: str
    architecture: str
    kernel: str
    cpu: str
    cores: int
    memory_bytes: int
    governor: str
    core: int


@cache
def _board(host: str) -> _Board:
    visit = _visit(host)
    cpuinfo = visit.read("/proc/cpuinfo")
    board = visit.read("/proc/device-tree/model").strip("\0\n ")
    memory = re.search(r"^MemTotal:\s*(\d+) kB", visit.read("/proc/meminfo"), re.MULTILINE)
    allowed = re.search(r"^Cpus_allowed_list:.*?(\d+)$", visit.read("/proc/self/status"), re.MULTILINE)
    governors = visit.read("/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor").split()
    return _Board(
        system=visit.system,
        architecture=visit.architecture,
        kernel=visit.kernel,
        cpu=board or named_in(cpuinfo) or visit.architecture,
        cores=len(re.findall(r"^processor\s*:", cpuinfo, re.MULTILINE)) or 1,
        memory_bytes=int(memory[1]) * 1024 if memory else 0,
        governor=", ".join(sorted(set(governors))) or "not said",
        core=int(allowed[1]) if allowed else -1,
    )


def _visit(host: str) -> SshVisit:
    return visited(f"ssh:{host}", lambda: SshVisit(host))


def _supplied(host: str, board: _Board) -> SshVisit:
    """The visit to a host, with the parcel there."""
    goods = parcel(board.system, board.architecture)
    visit = _visit(host)
    if not visit.supplied:
        visit.put({str(GOODS / name): path for name, path in goods.items()})
        visit.supplied = True
    return visit
