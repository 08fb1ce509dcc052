"""Jobs and results on disk: what a runner reads from its folder, and what it leaves there."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench.devices.job import Interleave, Load, Memory, Pace, Predict, Result, Series
from kdbench.errors import StageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path, PurePath, PurePosixPath

    from numpy.typing import NDArray

    from kdbench.devices.job import Input, Job

JOB_VERSION = 1
JOB_FILE = "job.txt"
RESULT_FILE = "result.json"

STATUS = {
    10: "failed",  # the job is not one
    11: "failed",  # inputs do not fit the method
    12: "failed",  # the program cannot be loaded
    13: "out-of-memory",
    14: "failed",  # execute() refused
    15: "failed",  # results cannot be written
}
"""A runner's own exit codes, each with the status of the cases it stops."""

_STORED_AS = {"bfloat16": "uint16"}
"""Types that numpy lacks, and the type of equal size that holds their bits."""
_NAMED = {held: name for name, held in _STORED_AS.items()}


def write_job(job: Job, folder: Path, cpu: int = -1) -> None:
    """Write ``job.txt`` and the inputs' raw arrays (little endian, C order) into ``folder``; -1 pins to no core.

    Raises:
        UsageError: a path with a tab or a line break, a name given twice, an unknown program or input, no items, arrays
            of unequal length.
        OSError: the folder cannot be written.
    """
    _write(job, folder, cpu, [program.path.resolve() for program in job.programs], folder.resolve())


def pack_job(job: Job, folder: Path, where: PurePosixPath, cpu: int = -1) -> None:
    """``write_job`` for a device that sees ``folder`` as ``where``: with copies of the programs, all named by that.

    Raises:
        UsageError, OSError: as for ``write_job``; also where the job wants its programs cold.
    """
    if job.cold:
        raise UsageError("cold_cache: this device runs fresh copies of the programs; only the host has them cold")
    programs = [where / f"program-{place}.pte" for place in range(len(job.programs))]
    for program, copy in zip(job.programs, programs, strict=True):
        shutil.copyfile(program.path, folder / copy.name)
    _write(job, folder, cpu, programs, where)


def _write(job: Job, folder: Path, cpu: int, paths: Sequence[PurePath], where: PurePath) -> None:
    """Write the job with its programs at ``paths``, ``folder`` being called ``where`` by what reads it."""
    programs = _places([program.name for program in job.programs], "program")
    inputs = _places([entry.name for entry in job.inputs], "input")
    lines: list[tuple[object, ...]] = [
        ("kdbench-job", JOB_VERSION),
        ("threads", job.threads),
        ("cpu", cpu),
        *(("program", program.method, path) for program, path in zip(job.programs, paths, strict=True)),
    ]
    for i, entry in enumerate(job.inputs):
        lines += _input_lines(entry, i, folder, where)
    memories = 0
    for step in job.steps:
        match step:
            case Load(program):
                lines.append(("load", _at(programs, program, "program")))
            case Predict(program, name):
                _once(job, step, "predicts with")
                lines.append(("predict", _at(programs, program, "program"), _at(inputs, name, "input")))
            case Pace(program, name, period, runs, longest):
                _once(job, step, "paces")
                place = _at(programs, program, "program"), _at(inputs, name, "input")
                lines.append(("pace", *place, period, runs, longest))
            case Memory():
                lines.append(("memory", memories))
                memories += 1
            case Interleave():
                timing = (
                    step.warmup_runs,
                    step.warmup_ns,
                    step.min_runs,
                    step.min_ns,
                    step.max_ns,
                    step.block_ns,
                    step.seed % 2**63,
                )
                lines.append(("interleave", *timing, len(step.programs)))
                lines += [
                    ("time", _at(programs, name, "program"), _at(inputs, step.inputs.get(name, ""), "input"))
                    for name in step.programs
                ]
    lines.append(("end", len(lines)))
    text = "".join("\t".join(_field(field) for field in line) + "\n" for line in lines)
    (folder / JOB_FILE).write_text(text, encoding="utf-8", errors="surrogateescape")


def _once(job: Job, step: Predict | Pace, does: str) -> None:
    if sum(isinstance(other, type(step)) and other.program == step.program for other in job.steps) > 1:
        raise UsageError(f"the job {does} program {step.program!r} twice")


def read_result(job: Job, folder: Path, runner: str) -> Result:
    """What the runner left in ``folder``.

    Raises:
        StageError: the results are missing, cut off or of another version.
    """
    try:
        told = json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
        if told["version"] != JOB_VERSION:
            raise StageError(f"the runner wrote results of version {told['version']}, expected {JOB_VERSION}")
        parts = dict(zip((program.name for program in job.programs), told["programs"], strict=True))
        used = {name: part for name, part in parts.items() if part["loaded"]}
        items = _items(job)
        memories = [step.name for step in job.steps if isinstance(step, Memory)]
        resident = {memories[int(i)]: part for i, part in told["resident"].items()}
        return Result(
            runner=runner,
            threads=told["threads"],
            load_program_ns={name: part["load_program_ns"] for name, part in used.items()},
            load_method_ns={name: part["load_method_ns"] for name, part in used.items()},
            first_ns={name: part["first_ns"] for name, part in used.items() if part["first_ns"] >= 0},
            samples={name: _samples(folder, part) for name, part in used.items() if part["runs"]},
            series={name: _series(folder, part) for name, part in used.items() if "series" in part},
            outputs={
                name: tuple(_output(folder, output, items[name]) for output in part["outputs"])
                for name, part in used.items()
                if part["outputs"]
            },
            peak_rss_bytes={name: told["memory"][str(i)] for i, name in enumerate(memories)},
            anonymous_bytes={name: part["anonymous"] for name, part in resident.items()},
            file_bytes={name: part["file"] for name, part in resident.items()},
            pinned=None if told["pinned"] < 0 else told["pinned"],
            blocks=tuple(job.programs[place].name for place in told["blocks"]),
        )
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise StageError(f"the runner's results cannot be read: {type(error).__name__}: {error}") from None


def stored_dtype(name: str) -> np.dtype[Any]:
    """The little-endian numpy type that holds values of the type called ``name``."""
    return np.dtype(_STORED_AS.get(name, name)).newbyteorder("<")


def _input_lines(entry: Input, place: int, folder: Path, where: PurePath) -> list[tuple[object, ...]]:
    items = _length(entry)
    lines: list[tuple[object, ...]] = [("input", items, len(entry.arrays))]
    for i, array in enumerate(entry.arrays):
        name = f"input-{place}-{i}.bin"
        (folder / name).write_bytes(
            np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        )
        item_bytes = array.nbytes // items
        dtype = _NAMED.get(array.dtype.name, array.dtype.name)
        lines.append(("array", dtype, item_bytes, where / name, *array.shape[1:]))
    return lines


def _length(entry: Input) -> int:
    """How many items an input has: one where the method takes none."""
    found = sorted({array.shape[0] if array.ndim else 0 for array in entry.arrays})
    if len(found) > 1:
        raise UsageError(f"input {entry.name!r}: arrays of {found} items, expected one number of items for all")
    if found == [0]:
        raise UsageError(f"input {entry.name!r} has no items")
    return found[0] if found else 1


def _items(job: Job) -> dict[str, int]:
    """How many items each program predicts."""
    lengths = {entry.name: _length(entry) for entry in job.inputs}
    return {step.program: lengths[step.input] for step in job.steps if isinstance(step, Predict)}


def _samples(folder: Path, part: dict[str, Any]) -> NDArray[np.int64]:
    samples = np.fromfile(folder / part["samples"], dtype="<i8")
    if len(samples) != part["runs"]:
        raise StageError(f"the runner's {part['samples']} has {len(samples)} samples, expected {part['runs']}")
    return samples.astype(np.int64)


def _series(folder: Path, part: dict[str, Any]) -> Series:
    pairs = np.fromfile(folder / part["series"], dtype="<i8")
    if len(pairs) != 2 * part["kept"]:
        raise StageError(f"the runner's {part['series']} has {len(pairs)} values, expected {2 * part['kept']}")
    began, taken = pairs.reshape(-1, 2).T.astype(np.int64)
    return Series(part["begun"], began, taken)


def _output(folder: Path, output: dict[str, Any], items: int) -> NDArray[np.generic]:
    """One output of a program: [items, *the shape of one execute()]."""
    values = np.fromfile(folder / output["file"], dtype=stored_dtype(output["dtype"]))
    shape = output["shape"]
    expected = items * int(np.prod(shape))
    if values.size != expected:
        raise StageError(f"the runner's {output['file']} has {values.size} values, expected {expected}")
    return values.reshape(items, *shape)


def _places(names: list[str], what: str) -> dict[str, int]:
    places = {name: i for i, name in enumerate(names)}
    if len(places) < len(names):
        twice = next(name for i, name in enumerate(names) if places[name] != i)
        raise UsageError(f"the job has two {what}s called {twice!r}")
    return places


def _at(places: dict[str, int], name: str, what: str) -> int:
    if name not in places:
        raise UsageError(f"the job has no {what} {name!r}")
    return places[name]


def _field(field: object) -> str:
    text = str(field)
    if any(mark in text for mark in "\t\r\n"):
        raise UsageError(f"{text!r} has a tab or a line break, which a job cannot hold; rename it")
    return text
