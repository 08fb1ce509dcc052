"""Tools that devices other than the host need, and the Debian packages that bring them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from kdbench.errors import MeasureError


@dataclass(frozen=True, slots=True)
class Tool:
    """A command, the Debian package that brings it, and what for."""

    command: str
    package: str
    what: str

    @property
    def here(self) -> bool:
        """Whether the command is on the path."""
        return shutil.which(self.command) is not None


HOST_COMPILER = Tool("c++", "g++", "builds the native runner")
EMULATOR = Tool("qemu-aarch64", "qemu-user", "runs Arm programs on devices qemu:CORE")
CROSS_COMPILER = Tool("aarch64-linux-gnu-g++", "g++-aarch64-linux-gnu", "builds the runner for 64-bit Arm")
SSH = Tool("ssh", "openssh-client", "reaches boards, as devices ssh:HOST")
ADB = Tool("adb", "adb", "reaches Android phones, as devices adb:MODEL")
TOOLS = (HOST_COMPILER, EMULATOR, CROSS_COMPILER, SSH, ADB)


def lacking(*tools: Tool) -> str:
    """What of ``tools`` is not here and how Debian installs it, in one line; empty where nothing lacks."""
    absent = [tool for tool in tools if not tool.here]
    names = " and ".join(tool.command for tool in absent)
    packages = " ".join(tool.package for tool in absent)
    are = "are" if len(absent) > 1 else "is"
    return f"{names} {are} not installed; on Debian: apt-get install {packages}" if absent else ""


def need(*tools: Tool, to: str) -> None:
    """Nothing where all of ``tools`` are here.

    Raises:
        MeasureError: what cannot be done (``to``), what lacks, and the Debian packages that bring it.
    """
    if told := lacking(*tools):
        raise MeasureError(f"cannot {to}: {told}")
