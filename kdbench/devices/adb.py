"""An Android phone that is reached by adb: the same jobs as on the host, by a runner that the user built for it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING

from kdbench.devices.clusters import Cluster, cores_for, described, mask, read_clusters
from kdbench.devices.errand import GOODS, errand
from kdbench.devices.job import Interleave, Pace
from kdbench.devices.phone import ANY, Phone, attached, phone_called
from kdbench.devices.runner.android import android_runner, runner_executorch
from kdbench.devices.runner.parcel import RUNNER
from kdbench.devices.visit import visited
from kdbench.errors import StageError, UsageError
from kdbench.machine import named_in, slug
from kdbench.store import file_sha256

if TYPE_CHECKING:
    from kdbench.devices.job import Job, Result

_NEEDS = "it needs 64-bit Android, and KDBENCH_ANDROID_RUNNER one that was built for it (docs/android.md)"
_PROPERTIES = (
    "ro.product.model",
    "ro.build.version.release",
    "ro.build.id",
    "ro.soc.manufacturer",
    "ro.soc.model",
    "ro.board.platform",
)
_CLUSTER = "f=$(cat $p/cpuinfo_max_freq) && c=$(cat $p/related_cpus) && echo $f $c"
_PART = "--"
_ASK = f"; echo {_PART}; ".join(
    (
        "; ".join(f"getprop {name}" for name in _PROPERTIES),
        f"cd /sys/devices/system/cpu; for p in cpufreq/policy*; do {_CLUSTER}; done 2>/dev/null",
        "cat online 2>/dev/null",
        "cat cpufreq/policy*/scaling_governor 2>/dev/null",
        "cat /proc/meminfo 2>/dev/null",
        "cat /proc/cpuinfo 2>/dev/null; :",
    )
)
"""What is asked of a phone, in parts: its properties, a line; its clusters; cores; governors; memory; processor."""


def adb(name: str) -> Adb:
    """An Android phone reached by adb, timed by a runner that you build: its model, as in ``adb:Pixel_8``, or phone.

    Raises:
        UsageError: the name is not of that form.
    """
    match = re.fullmatch(r"adb:([A-Za-z0-9_][\w.:-]*)", name)
    if match is None:
        raise UsageError(f"device {name!r}: expected adb:MODEL as adb devices -l shows it, or adb:{ANY}")
    return Adb(name, match[1])


@dataclass(frozen=True, slots=True)
class Adb:
    """A phone on adb. A visit to it lasts as long as this process, or until ``visit.leave``.

    ``wanted`` is a model, a serial, or ``phone`` for the only one that is attached.
    """

    name: str
    wanted: str

    @property
    def runtime(self) -> str:
        """The runner's kind, its executorch, the instruction set, the system and the processor.

        Raises:
            StageError: it cannot be reached.
            MeasureError: adb is not installed, or there is no runner for Android.
        """
        phone = _handset(self.name, self.wanted)
        return f"native executorch-{phone.executorch} {phone.architecture} android {slug(phone.cpu)}"

    def facts(self) -> dict[str, str | int]:
        """What decides its figures; ``fingerprint`` is of the processor, its cores, the memory and the model.

        Raises:
            StageError, MeasureError: as for ``runtime``.
        """
        phone = _handset(self.name, self.wanted)
        cores = sum(len(cluster.cores) for cluster in phone.clusters)
        same = ("Android", phone.architecture, phone.cpu, cores, phone.memory_bytes >> 30, phone.model)
        return {
            "slug": slug(phone.cpu, "android", phone.architecture),
            "fingerprint": hashlib.sha256(repr(same).encode()).hexdigest(),
            "system": "Android",
            "architecture": phone.architecture,
            "cpu": phone.cpu,
            "cores": cores,
            "memory_bytes": phone.memory_bytes,
            "kernel": phone.kernel,
            "governor": phone.governor,
            "model": phone.model,
            "android": phone.android,
            "clusters": described(phone.clusters),
            "runner_sha256": phone.runner_sha256,
        }

    def condition(self) -> dict[str, str | float | None]:
        """Battery and heat now, whether its clocks are fixed, and how long this process has waited for it to cool.

        Raises:
            StageError, MeasureError: as for ``runtime``.
        """
        phone = _visit(self.name, self.wanted)
        return {
            **asdict(phone.condition()),
            "fixed_performance": "on" if phone.fixed else "off",
            "cooled_s": round(phone.cooled_s, 1),
        }

    def revealed(self) -> str:
        """Why the name cannot stand in a record: it is a serial or an address. Empty where it can.

        Raises:
            StageError, MeasureError: adb is not installed or does not answer.
        """
        known = {each.serial: each.model for each in attached()}
        if not {".", ":"} & set(self.wanted) and self.wanted not in known:
            return ""
        model = known.get(self.wanted) or ANY
        return f"device {self.name!r}: records hold no serial and no address of a phone; use adb:{model}"

    def run(self, job: Job) -> Result:
        """Run the job in a fresh process there, once the phone is cool; see ``Device.run``.

        Raises:
            StageError: as for ``Device.run``, and where it cannot be reached, stays hot, has no room or no such core.
            MeasureError: adb is not installed, there is no runner for Android, or a folder here cannot be written.
            UsageError: the job contradicts itself.
        """
        phone = _handset(self.name, self.wanted)
        cores = cores_for(phone.clusters, job.threads) if job.pin else ()
        core = cores[0] if len(cores) == job.threads == 1 else -1

        def ready() -> Phone:
            visit = _supplied(self.name, self.wanted)
            if any(isinstance(step, Interleave) for step in job.steps):
                visit.fix()
            if any(isinstance(step, Pace) for step in job.steps):
                visit.free()
            visit.cool()
            return visit

        result = errand(
            job,
            [*(["taskset", mask(cores)] if cores and core < 0 else []), f"../{GOODS / RUNNER}"],
            ready,
            name=self.name,
            runtime=self.runtime,
            core=core,
            needs=_NEEDS,
        )
        if core >= 0 and result.pinned != core:
            raise StageError(f"{self.name} does not let the runner keep to core {core}; wake it and keep its screen on")
        return result


@dataclass(frozen=True, slots=True)
class _Handset:
    """What is known of a phone and of the runner that is on it."""

    model: str
    android: str
    architecture: str
    kernel: str
    cpu: str
    clusters: tuple[Cluster, ...]
    memory_bytes: int
    governor: str
    executorch: str
    runner_sha256: str


@cache
def _handset(name: str, wanted: str) -> _Handset:
    visit = _supplied(name, wanted)
    start = f'env -i {visit.environment} "$0/{GOODS / RUNNER}" --version'
    executorch = runner_executorch(visit.told("start the runner", start).decode(errors="replace"))
    told = visit.told("say what it is", _ASK).decode(errors="replace")
    properties, policies, online, governors, memory, cpuinfo = told.split(f"{_PART}\n")
    model, release, build, maker, soc, board = properties.split("\n")[: len(_PROPERTIES)]
    total = re.search(r"^MemTotal:\s*(\d+) kB", memory, re.MULTILINE)
    return _Handset(
        model=model,
        android=f"{release} ({build})" if build else release,
        architecture=visit.architecture,
        kernel=visit.kernel,
        cpu=f"{maker} {soc}".strip() or board or named_in(cpuinfo) or visit.architecture,
        clusters=read_clusters(policies, online),
        memory_bytes=int(total[1]) * 1024 if total else 0,
        governor=", ".join(sorted(set(governors.split()))) or "not said",
        executorch=executorch,
        runner_sha256=file_sha256(android_runner()),
    )


def _visit(name: str, wanted: str) -> Phone:
    return visited(name, lambda: Phone(name, phone_called(wanted).serial))


def _supplied(name: str, wanted: str) -> Phone:
    """The visit to a phone, with the runner there."""
    runner = android_runner()
    visit = _visit(name, wanted)
    if not visit.supplied:
        visit.put({str(GOODS / RUNNER): runner})
        visit.told("start the runner", f'chmod 755 "$0/{GOODS / RUNNER}"')
        visit.supplied = True
    return visit
