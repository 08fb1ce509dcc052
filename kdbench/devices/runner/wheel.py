"""ExecuTorch's libraries for 64-bit Arm: out of the Linux wheel, pinned by its hash, fetched once."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from kdbench.devices.runner.build import cache_folder, kept
from kdbench.errors import MeasureError, UsageError
from kdbench.store import file_sha256

WHEELS = {
    "1.5.1": (
        "executorch-1.5.1-cp311-cp311-manylinux_2_28_aarch64.whl",
        "8ee02348a3ea80ddf770822911ebf78da616b73afce0fbaaa79f23311c88c66a",
    ),
}
"""By executorch's version: the wheel's name and sha256. A runner needs no Python, so one Python's wheel serves all."""

VARIABLE = "KDBENCH_AARCH64_WHEEL"
"""Names the wheel, or the folder it lies in, where there is no network."""

_PARTS = ("executorch/include/", "executorch/lib/")
_SECONDS = 600


def arm_package(version: str) -> Path:
    """The executorch package for 64-bit Arm Linux, its headers and libraries: from the cache, else unpacked now.

    Raises:
        UsageError: kdbench knows no wheel of this version.
        MeasureError: it cannot be fetched or written, or is not the pinned file.
    """
    if version not in WHEELS:
        raise UsageError(f"executorch {version} has no known aarch64 wheel; known: {', '.join(WHEELS)}")
    name, digest = WHEELS[version]

    def unpack(place: Path) -> None:
        with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
            wheel = _given(name) or _fetched(version, name, Path(scratch))
            _check(wheel, digest)
            with zipfile.ZipFile(wheel) as archive:
                wanted = [entry for entry in archive.namelist() if entry.startswith(_PARTS)]
                archive.extractall(scratch, wanted)
            (Path(scratch) / "executorch").rename(place)

    return kept(cache_folder() / f"executorch-{version}-aarch64-{digest[:16]}", unpack)


def _given(name: str) -> Path | None:
    """The wheel that ``KDBENCH_AARCH64_WHEEL`` names."""
    told = os.environ.get(VARIABLE)
    if not told:
        return None
    path = Path(told) / name if Path(told).is_dir() else Path(told)
    if not path.is_file():
        raise MeasureError(f"no file {path} ({VARIABLE}); expected {name}")
    return path


def _fetched(version: str, name: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--platform", "manylinux_2_28_aarch64", "--python-version", "311", "--only-binary=:all:"]
    hint = f"fetch {name} elsewhere and point {VARIABLE} at it"
    try:
        done = subprocess.run(
            [*command, "--dest", str(folder), f"executorch=={version}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise MeasureError(f"pip has not fetched {name} after {_SECONDS} s; {hint}") from None
    if done.returncode or not (folder / name).is_file():
        said = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "pip said nothing")
        raise MeasureError(f"pip cannot fetch {name}: {said.strip()[:200]}; {hint}")
    return folder / name


def _check(wheel: Path, digest: str) -> None:
    found = file_sha256(wheel)
    if found != digest:
        raise MeasureError(f"{wheel} is not the wheel kdbench knows: sha256 {found}, expected {digest}")
