"""The runner for 64-bit Arm Linux: the same sources, cross-compiled against the libraries of the Arm wheel."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

from kdbench.devices.runner.build import SOURCES, built, flags
from kdbench.devices.runner.wheel import arm_package
from kdbench.devices.tools import CROSS_COMPILER, need
from kdbench.errors import MeasureError

TRACER = ("tracer.cpp", "feed.h", "job.h", "pace.h", "process.h", "results.h", "tensors.h")
"""The tracer's files, the one that is compiled first."""


def arm_runner(version: str) -> Path:
    """The runner for 64-bit Arm Linux with executorch's ``version``: from the cache, else built now.

    It looks for the libraries of ``arm_package(version) / "lib"`` in a folder ``lib`` beside itself.

    Raises:
        MeasureError: there is no cross compiler, it refuses, or the wheel is not to be had.
        UsageError: kdbench knows no wheel of this version.
    """
    return _arm_program(SOURCES, "runner-aarch64", version)


def arm_tracer(version: str) -> Path:
    """The tracer (``tracer.cpp``), a program of its own so that the runner's instructions stay what they are.

    Raises:
        MeasureError, UsageError: as for ``arm_runner``.
    """
    return _arm_program(TRACER, "tracer-aarch64", version)


def arm_libraries() -> Path:
    """The folder with the C and C++ libraries for 64-bit Arm, as the cross compiler links them.

    Raises:
        MeasureError: there is no cross compiler, or it came without them.
    """
    loader = Path(_asked("-print-file-name=ld-linux-aarch64.so.1"))
    if not loader.is_absolute():
        raise MeasureError(
            f"{CROSS_COMPILER.command} has no C library; on Debian: apt-get install libc6-dev-arm64-cross"
        )
    return loader.resolve().parent


def arm_libc() -> str:
    """The version of that C library, such as ``2.36``: its own functions are part of what is counted.

    Raises:
        MeasureError: as for ``arm_libraries``.
    """
    macros = _asked("-dM", "-E", "-x", "c++", "-include", "features.h", "/dev/null")
    found = [re.search(rf"__GLIBC{part}__ (\d+)$", macros, re.MULTILINE) for part in ("", "_MINOR")]
    return ".".join(match[1] for match in found if match)


def _arm_program(sources: tuple[str, ...], program: str, version: str) -> Path:
    """What the cross compiler makes of ``sources``, the first of which is compiled."""
    compiler, package = _compiler(), arm_package(version)
    here = Path(__file__).parent
    command = [compiler, str(here / sources[0]), *flags(package, "$ORIGIN/lib")]
    return built(command, [here / name for name in sources], program, version)


def _compiler() -> str:
    need(CROSS_COMPILER, to="build the runner for 64-bit Arm")
    return shutil.which(CROSS_COMPILER.command) or ""


@cache
def _asked(*words: str) -> str:
    """What the cross compiler answers."""
    try:
        done = subprocess.run([_compiler(), *words], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise MeasureError(f"the C++ compiler {CROSS_COMPILER.command} does not answer: {error}") from None
    return done.stdout.strip()
