"""A parcel: the files that another machine needs to run jobs, whatever it has installed."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import TYPE_CHECKING

from kdbench.devices.runner.build import executorch_folder, libraries, portable_runner
from kdbench.devices.runner.cross import arm_runner
from kdbench.devices.runner.wheel import arm_package
from kdbench.errors import MeasureError

if TYPE_CHECKING:
    from pathlib import Path

RUNNER = "runner"
"""What is started, in the folder that a parcel is put into."""

_ARM = ("Linux", "aarch64")


def parcel(system: str, architecture: str) -> dict[str, Path]:
    """The runner for a machine of this kind and the libraries beside it, by their names there.

    Raises:
        MeasureError: there is no runner for such machines, or it cannot be built here.
        UsageError: kdbench knows no wheel of this executorch for 64-bit Arm.
    """
    if (system, architecture) == (platform.system(), platform.machine()):
        program, package = portable_runner(), executorch_folder()
    elif (system, architecture) == _ARM:
        program, package = arm_runner(version("executorch")), arm_package(version("executorch"))
    else:
        here = f"{platform.system()} {platform.machine()}"
        known = " and ".join(dict.fromkeys((here, " ".join(_ARM))))
        raise MeasureError(f"there is no runner for {system} {architecture}; from here there are some for {known}")
    return {RUNNER: program} | {f"lib/{path.name}": path for path in libraries(package)}
