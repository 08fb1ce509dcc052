"""``measured.json``: results in kdbench's own format, for any runner that can tell its samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from kdbench.errors import UsageError
from kdbench.lab.manifest import checked
from kdbench.lab.reading import Reading, Told
from kdbench.records import Fact, Sha256
from kdbench.store import file_sha256

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

MEASURED_FILE = "measured.json"
READER = "kdbench's measured.json"

Milliseconds = Annotated[float, Field(gt=0)]
Bytes = Annotated[int, Field(gt=0)]
Text = Annotated[str, Field(max_length=200)]


class Measurement(Fact):
    """What one process said of one program, by its ``program_sha256`` or else by the name of its ``file``.

    Programs that ran in one process have its number. ``outputs`` names a .npy or raw little-endian .bin beside this
    file: the program's first output for every item, in their order. ``failed`` says why there is nothing else.
    """

    program_sha256: Sha256 = ""
    file: Text = ""
    threads: Annotated[int, Field(ge=1, le=1024)]
    process: Annotated[int, Field(ge=0)] = 0
    samples_ns: Annotated[tuple[Annotated[int, Field(gt=0, lt=2**62)], ...], Field(min_length=1)] | None = None
    samples_ms: Annotated[tuple[Milliseconds, ...], Field(min_length=1)] | None = None
    first_ms: Milliseconds | None = None
    load_ms: Milliseconds | None = None
    peak_rss_bytes: Bytes | None = None
    outputs: Text = ""
    failed: Text = ""

    @model_validator(mode="after")
    def _says_something_once(self) -> Self:
        if not (self.program_sha256 or self.file):
            raise ValueError("a measurement names its program: program_sha256, or file")
        if self.samples_ns and self.samples_ms:
            raise ValueError("a measurement has samples_ns or samples_ms, not both")
        told = (self.samples_ns, self.samples_ms, self.first_ms, self.load_ms, self.peak_rss_bytes, self.outputs)
        if any(told) == bool(self.failed):
            raise ValueError("a measurement has figures or outputs, or it says why it failed")
        return self


class DeviceFacts(Fact):
    """What was measured on; ``name`` is the model, and no serial number."""

    name: Annotated[Text, Field(min_length=1)]
    soc: Text = ""
    os: Text = ""
    build: Text = ""


class Measured(Fact):
    """``measured.json``. ``runtime``: what ran the programs, with executorch's version and the instruction set.

    ``empty_rss_bytes``: the peak resident memory of the same process without a program, without which a peak with one
    says nothing of the program.
    """

    format: Literal[1]
    device: DeviceFacts
    runtime: Annotated[Text, Field(min_length=1)]
    empty_rss_bytes: Bytes | None = None
    measurements: Annotated[tuple[Measurement, ...], Field(min_length=1)]


def read_measured(table: Any, path: Path) -> Told:
    """The readings of a ``measured.json`` that was parsed.

    Raises:
        UsageError: it is not one; where, and what is wrong there.
    """
    measured = checked(Measured, table, path, "measured.json")
    return Told(
        path=path,
        sha256=file_sha256(path),
        reader=READER,
        runtime=measured.runtime,
        device={name: text for name, text in measured.device.model_dump().items() if text},
        readings=tuple(_reading(each, path) for each in measured.measurements),
        empty_rss_bytes=measured.empty_rss_bytes,
    )


def _reading(measurement: Measurement, path: Path) -> Reading:
    return Reading(
        program=measurement.program_sha256,
        stem="" if measurement.program_sha256 else measurement.file.rpartition("/")[2].removesuffix(".pte"),
        threads=measurement.threads,
        process=measurement.process,
        samples=_samples(measurement, path),
        first_ms=measurement.first_ms,
        load_ms=measurement.load_ms,
        peak_rss_bytes=measurement.peak_rss_bytes,
        outputs=_beside(path, measurement.outputs) if measurement.outputs else None,
        failed=measurement.failed,
    )


def _samples(measurement: Measurement, path: Path) -> np.ndarray[Any, np.dtype[np.int64]] | None:
    if measurement.samples_ns:
        return np.array(measurement.samples_ns, dtype=np.int64)
    if measurement.samples_ms:
        if max(measurement.samples_ms) > 1e9:
            raise UsageError(f"{path} is not measured.json: a sample of {max(measurement.samples_ms):g} ms")
        return np.maximum(np.rint(np.array(measurement.samples_ms) * 1e6), 1).astype(np.int64)
    return None


def _beside(path: Path, name: str) -> Path:
    """The file called ``name`` beside ``path`` or below; a name from a file must not lead elsewhere."""
    folder = path.absolute().parent.resolve()
    found = (folder / name).resolve()
    if not found.is_relative_to(folder):
        raise UsageError(f"{path}: outputs {name!r} do not lie beside it")
    return found
