"""Cores of phones as XNNPACK sees them: what chooses its kernels, laid out as a root for qemu's ``-L``."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kdbench.devices.runner.build import cache_folder, kept

if TYPE_CHECKING:
    from pathlib import Path

LIBRARIES = "/kdbench/lib"
"""Where a root shows executorch's libraries, on every machine."""

_V8 = "fp asimd evtstrm aes pmull sha1 sha2 crc32"
_V82 = f"{_V8} atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"


@dataclass(frozen=True, slots=True)
class Core:
    """A core: its part number at Arm, its features as Linux names them, and qemu's nearest CPU.

    XNNPACK reads the part in ``/proc/cpuinfo`` and the features in the auxiliary vector, which follows qemu's CPU. Part
    numbers are those of Arm's technical reference manuals (MIDR_EL1); no CPU here has what its core lacks.
    """

    name: str
    part: int
    features: str
    cpu: str

    @property
    def cpuinfo(self) -> str:
        """``/proc/cpuinfo`` of a machine with this one core."""
        return (
            "processor\t: 0\n"
            "BogoMIPS\t: 38.40\n"
            f"Features\t: {self.features}\n"
            "CPU implementer\t: 0x41\n"
            "CPU architecture: 8\n"
            "CPU variant\t: 0x1\n"
            f"CPU part\t: 0x{self.part:03x}\n"
            "CPU revision\t: 0\n\n"
        )


CORES = {
    core.name: core
    for core in (
        Core("cortex-a53", 0xD03, _V8, "cortex-a53"),
        Core("cortex-a55", 0xD05, _V82, "cortex-a76"),
        Core("cortex-a72", 0xD08, _V8, "cortex-a72"),
        Core("cortex-a76", 0xD0B, _V82, "cortex-a76"),
        Core("cortex-x1", 0xD44, _V82, "cortex-a76"),
    )
}
"""The known cores. qemu 7.2 has no Cortex-A55 and no X1; its A76 has those features of theirs that XNNPACK asks for."""


def root(core: Core, libraries: Path, package: Path) -> Path:
    """The root of a machine with this core, for ``qemu-aarch64 -L``: from the cache, else laid out now.

    ``libraries`` is the folder of the C library, ``package`` the executorch package; both are linked to.

    Raises:
        MeasureError: it cannot be written.
    """
    told = "\0".join([core.cpuinfo, str(libraries), str(package)])
    digest = hashlib.sha256(told.encode()).hexdigest()[:16]

    def lay(place: Path) -> None:
        cpus = place / "sys/devices/system/cpu"
        (cpus / "cpu0/cpufreq").mkdir(parents=True)
        for name in ("possible", "present", "online"):
            (cpus / name).write_text("0\n", encoding="ascii")
        (place / "proc").mkdir()
        (place / "proc/cpuinfo").write_text(core.cpuinfo, encoding="ascii")
        (place / "lib").symlink_to(libraries)
        shown = place / LIBRARIES.lstrip("/")
        shown.parent.mkdir()
        shown.symlink_to(package / "lib")

    return kept(cache_folder() / f"root-{core.name}-{digest}", lay)
