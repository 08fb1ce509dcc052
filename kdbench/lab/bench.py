"""A lab bench: a bundle measured on this machine with kdbench's own runner, from nothing but its manifest.

``python -m kdbench.lab.bench DIR`` writes ``measured.json`` into the bundle, and ``outputs/`` where they are wanted.
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench.catalog import load
from kdbench.devices.job import PROGRAM, Predict, Program, alone
from kdbench.errors import KdbenchError, MeasureError, StageError
from kdbench.lab.manifest import Entry, Manifest, read_manifest
from kdbench.lab.measured import MEASURED_FILE
from kdbench.machine import cpu_name
from kdbench.measures.memory import with_program, without_program
from kdbench.measures.timing_job import REFERENCE, SpeedProgram, culprits, timing_job
from kdbench.store import file_sha256
from kdbench.whole import whole_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from kdbench.devices.device import Device

_SECONDS = 3600


def measure(folder: Path, tell: Callable[[str], None] = lambda _text: None) -> Path:
    """Measure the bundle in ``folder`` on this machine; the ``measured.json`` that was written there.

    A program that cannot be run, or says otherwise than expected of the sample, is told as failed; the rest go on.

    Raises:
        UsageError: no bundle.
        MeasureError: a file of it is damaged, or nothing can be run or written here.
    """
    manifest = read_manifest(folder)
    for name, sha256 in manifest.files.items():
        if not (folder / name).is_file() or file_sha256(folder / name) != sha256:
            raise MeasureError(f"{folder / name} is lost or damaged: its sha256 is not the manifest's")
    device: Device = load("devices", "host")("host")
    failed: dict[str, StageError] = {}
    _check(folder, manifest, device, failed, tell)
    measurements = [*_times(folder, manifest, device, failed, tell), *_outputs(folder, manifest, device, failed, tell)]
    empty = without_program(device, manifest.protocol).peak
    for entry in manifest.programs:
        if entry.timing and entry.sha256 not in failed:
            tell(f"memory of {entry.file}")
            fed = _fed(folder, manifest, entry)
            peak = with_program(device, fed.path, fed.method, fed.inputs, manifest.protocol).peak
            measurements.append(_said(entry, manifest, process=manifest.protocol.processes, peak_rss_bytes=peak))
    measurements += [
        _said(entry, manifest, failed=f"{failed[entry.sha256].status}: {failed[entry.sha256].reason}"[:200])
        for entry in manifest.programs
        if entry.sha256 in failed
    ]
    table = {
        "format": 1,
        "device": {"name": cpu_name(), "os": f"{platform.system()} {platform.machine()}"},
        "runtime": device.runtime,
        "empty_rss_bytes": empty,
        "measurements": measurements,
    }
    with whole_file(folder / MEASURED_FILE) as scratch:
        scratch.write_text(json.dumps(table, allow_nan=False) + "\n", encoding="utf-8")
    return folder / MEASURED_FILE


def _times(
    folder: Path, manifest: Manifest, device: Device, failed: dict[str, StageError], tell: Callable[[str], None]
) -> list[dict[str, Any]]:
    """The samples of every process, the reference's too."""
    programs = {entry.sha256: _fed(folder, manifest, entry) for entry in manifest.programs if entry.timing}
    reference = _fed(folder, manifest, manifest.reference)
    entries = {entry.sha256: entry for entry in manifest.programs} | {REFERENCE: manifest.reference}
    said: list[dict[str, Any]] = []
    process = 0
    while process < manifest.protocol.processes:
        tell(f"process {process + 1} of {manifest.protocol.processes}")
        healthy = {name: program for name, program in programs.items() if name not in failed}
        if not healthy:
            return []
        try:
            result = device.run(timing_job(healthy, reference, manifest.protocol, process))
        except StageError as error:
            failed |= culprits(device, healthy, reference, manifest.protocol) or dict.fromkeys(healthy, error)
            continue
        for name in (*healthy, REFERENCE):
            samples = result.samples[name]
            load_ns = result.load_program_ns[name] + result.load_method_ns[name]
            figures = {"load_ms": load_ns / 1e6, "first_ms": result.first_ns[name] / 1e6}
            said.append(_said(entries[name], manifest, process=process, samples_ns=samples.tolist(), **figures))
        process += 1
    return [each for each in said if each["program_sha256"] not in failed]


def _outputs(
    folder: Path, manifest: Manifest, device: Device, failed: dict[str, StageError], tell: Callable[[str], None]
) -> list[dict[str, Any]]:
    """What every program that is asked for it says of the test items, as files."""
    said = []
    for entry in manifest.programs:
        if not entry.testing or entry.sha256 in failed:
            continue
        tell(f"outputs of {entry.file}")
        try:
            outputs = _answers(folder, manifest, entry, entry.testing, device)
        except StageError as error:
            failed[entry.sha256] = error
            continue
        path = folder / "outputs" / f"{entry.stem}.bin"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(outputs.astype("<f4").tobytes())
        said.append(_said(entry, manifest, outputs=f"outputs/{path.name}"))
    return said


def _answers(folder: Path, manifest: Manifest, entry: Entry, feed: str, device: Device) -> NDArray[np.generic]:
    """The first output of a program for every item of a feed."""
    items = np.load(folder / manifest.feeds[feed].npy, allow_pickle=False)
    program = Program(PROGRAM, folder / entry.file, entry.method)
    return device.run(alone(program, (items,), Predict(PROGRAM, PROGRAM), timeout_s=_SECONDS)).outputs[PROGRAM][0]


def _check(
    folder: Path, manifest: Manifest, device: Device, failed: dict[str, StageError], tell: Callable[[str], None]
) -> None:
    """See that every program says of the sample what is expected; one that does not has failed."""
    for entry in manifest.programs:
        if entry.expected is None:
            continue
        tell(f"sample of {entry.file}")
        wanted = np.fromfile(folder / entry.expected.file, dtype="<f4")
        try:
            said = _answers(folder, manifest, entry, entry.expected.input, device).reshape(-1)
        except StageError as error:
            failed[entry.sha256] = error
            continue
        off = float(np.abs(said - wanted).max()) if said.shape == wanted.shape else float("nan")
        if not off <= entry.expected.tolerance:  # also where it is NaN
            why = f"off by {off:.3g} on the sample, expected at most {entry.expected.tolerance:g}"
            failed[entry.sha256] = StageError(why, status="parity-failed")


def _fed(folder: Path, manifest: Manifest, entry: Entry) -> SpeedProgram:
    items = np.load(folder / manifest.feeds[entry.timing].npy, allow_pickle=False)
    return SpeedProgram(folder / entry.file, (items,), entry.method)


def _said(entry: Entry, manifest: Manifest, **figures: Any) -> dict[str, Any]:
    return {"program_sha256": entry.sha256, "threads": manifest.protocol.threads, **figures}


def main() -> None:
    """Measure the bundle that the command line names, else the one here."""
    try:
        path = measure(Path(sys.argv[1] if len(sys.argv) > 1 else "."), lambda text: print(text, file=sys.stderr))
    except KdbenchError as error:
        print(f"kdbench: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    print(path)


if __name__ == "__main__":
    main()
