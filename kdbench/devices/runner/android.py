"""The runner for Android: the same sources, built by the user with the NDK (CMakeLists.txt), since kdbench has none."""

from __future__ import annotations

import os
import re
from pathlib import Path

from kdbench.devices.wire import JOB_VERSION
from kdbench.errors import MeasureError

VARIABLE = "KDBENCH_ANDROID_RUNNER"
"""Names the runner that the user built."""

_HOW = "docs/android.md says how to build it"


def android_runner() -> Path:
    """The runner that ``KDBENCH_ANDROID_RUNNER`` names.

    Raises:
        MeasureError: it names none.
    """
    told = os.environ.get(VARIABLE)
    if not told:
        raise MeasureError(f"there is no runner for Android: point {VARIABLE} at yours; {_HOW}")
    path = Path(told).absolute()
    if not path.is_file():
        raise MeasureError(f"no file {path} ({VARIABLE}), expected the runner for Android; {_HOW}")
    return path


def runner_executorch(said: str) -> str:
    """The version of executorch in a runner, by what ``runner --version`` said: ``1.5.1``.

    Raises:
        MeasureError: it is another program, or of another kdbench.
    """
    match = re.fullmatch(r"kdbench-runner (\d+) executorch-(\S+)", said.strip())
    if match is None:
        raise MeasureError(f"{VARIABLE} is no runner of kdbench's: it says {said.strip()[:80]!r}; {_HOW}")
    if int(match[1]) != JOB_VERSION:
        raise MeasureError(f"{VARIABLE} reads jobs of version {match[1]}, not {JOB_VERSION}: build it anew; {_HOW}")
    return match[2]
