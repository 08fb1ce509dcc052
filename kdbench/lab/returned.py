"""Rows of what a lab returned: each case of a bundle as a record on the lab's device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench.cases import again
from kdbench.catalog import entries, load
from kdbench.errors import MeasureError, UsageError
from kdbench.lab.speeds import NOT_TOLD
from kdbench.measures.fidelity import NO_TEACHER
from kdbench.measures.measure import Evidence
from kdbench.measures.quality import inferiority
from kdbench.remains import eager_of, outputs_of, program_of
from kdbench.rows import about_outputs, differences, items_of
from kdbench.spec import TEACHER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from kdbench.lab.manifest import Entry, Manifest
    from kdbench.lab.speeds import Measured, Placed
    from kdbench.measures.measure import Figure, Measure
    from kdbench.npz import Items
    from kdbench.records import Record, Run, Status
    from kdbench.store import Store

_OF_PROGRAM = ("test_items", "quality", "parity", "method_sha256")
"""The details of a record that belong to network and program, wherever they run."""

NOTHING = "no result came back for it"
NOT_TIMED = "no times came back"
NO_OUTPUTS = "no outputs came back"
NO_TEACHER_ROW = "the run has no row of its teacher to follow"


@dataclass(frozen=True, slots=True)
class Row:
    """A case on the lab's device, and what its program said of each test item, where outputs came back."""

    record: Record
    items: Items | None


def rows_of(
    run: Run,
    manifest: Manifest,
    found: Mapping[str, Sequence[Placed]],
    speeds: Mapping[str, Measured],
    device: str,
    store: Store,
) -> tuple[Row, ...]:
    """Every case of the bundle as a row.

    What belongs to network and program is the run's; speed and memory are the structure's ``speeds``; quality follows
    from the outputs that came back, as kdbench computes it, and from nothing else.

    Raises:
        UsageError: outputs that nobody asked for or that do not fit; a case that the run does not have.
        MeasureError: what they are judged by left the store.
    """
    records = {record.case: record for record in run.records}
    programs = {entry.sha256: entry for entry in manifest.programs}
    rows = []
    for case in manifest.cases:
        if case not in records:
            raise UsageError(f"run {run.id} has no case {case} of the bundle")
        record = records[case]
        readings = found.get(record.program_sha256, ())
        outputs = _outputs(programs[record.program_sha256], manifest, readings) if readings else None
        rows.append(_row(run, record, readings, outputs, speeds.get(record.structure), device, store))
    return tuple(rows)


def _outputs(entry: Entry, manifest: Manifest, readings: Sequence[Placed]) -> NDArray[np.float32] | None:
    """What a program said of the test items, float32 [N, K]; None where nothing came back."""
    paths = [each.reading.outputs for each in readings if each.reading.outputs is not None]
    if not paths:
        return None
    if not entry.testing:
        raise UsageError(f"{paths[0]}: outputs of {entry.file}, which the bundle did not ask for (bundle --outputs)")
    if len(paths) > 1:
        raise UsageError(f"{paths[1]}: outputs of {entry.file} are there twice")
    items, shape = manifest.feeds[entry.testing].items, entry.outputs[0].shape
    values = _values(paths[0])
    if values.dtype != np.float32 or values.size != items * int(np.prod(shape)):
        raise UsageError(
            f"{paths[0]} has {values.size} values of {values.dtype}, expected {items} outputs of float32 {list(shape)}"
        )
    return values.reshape(items, -1)


def _values(path: Path) -> NDArray[Any]:
    try:
        if path.suffix == ".npy":
            return np.ascontiguousarray(np.load(path, allow_pickle=False))
        return np.fromfile(path, dtype="<f4").astype(np.float32)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, EOFError) as error:
        raise UsageError(f"{path} is not a .npy array: {error}") from None


def _row(
    run: Run,
    record: Record,
    readings: Sequence[Placed],
    outputs: NDArray[np.float32] | None,
    speed: Measured | None,
    device: str,
    store: Store,
) -> Row:
    bad = 0 if outputs is None else int((~np.isfinite(outputs)).sum())
    known = None if outputs is None or bad else _evidence(run, record, outputs, store)
    unjudged = f"{bad} of the values that came back are no finite numbers" if bad else NO_OUTPUTS
    figures: dict[str, Figure] = {}
    for point in entries("measures").values():
        measure: Measure = point.load()()
        if "outputs" in measure.needs:
            missing = known.missing(measure.needs) if known else unjudged
            figures |= dict.fromkeys(measure.metrics, missing) if missing or not known else measure.of(known)
        elif "speed" in measure.needs:
            figures |= _speed_figures(speed, measure.metrics)
        else:
            kept = (metric for metric in measure.metrics if metric in record.metrics)
            figures |= {metric: _kept(record, metric) for metric in kept}
    if record.method != TEACHER and known and known.teacher is None:
        figures = {metric: NO_TEACHER_ROW if figure == NO_TEACHER else figure for metric, figure in figures.items()}
    status, reason = _status(speed, outputs, unjudged if bad else "")
    details: dict[str, Any] = {name: record.details[name] for name in _OF_PROGRAM if name in record.details}
    notes = [note for note in record.notes if not about_outputs(note)]
    items = None
    if known and outputs is not None:
        items = items_of(known.task, known)
        notes += [f"{record.target}: {worse}"] if (worse := inferiority(known)) else []
        details |= _beside(run, record, outputs, store)
    made = record.model_copy(
        update={
            "case": f"{record.case.rpartition('/')[0]}/{device}",
            "device": device,
            "status": status,
            "reason": reason,
            "metrics": {metric: None if isinstance(figure, str) else figure for metric, figure in figures.items()},
            "reasons": {metric: figure for metric, figure in figures.items() if isinstance(figure, str)},
            "details": {**details, **({"notes": notes} if notes else {}), "imported": _origin(record, readings)},
            "flags": speed.timing.speed.flags if speed else (),
        }
    )
    return Row(made, items)


def _kept(record: Record, metric: str) -> Figure:
    value = record.metrics[metric]
    return record.reasons.get(metric, "the run does not say why") if value is None else value


def _speed_figures(speed: Measured | None, metrics: tuple[str, ...]) -> dict[str, Figure]:
    """The metrics of a structure's speed; where one is missing, why."""
    if speed is None:
        return dict.fromkeys(metrics, NOT_TIMED)
    told = speed.timing.speed
    figures: dict[str, Figure] = {}
    for metric in metrics:
        value = told.metrics.get(metric)
        why = told.reason or speed.reasons.get(metric) or NOT_TOLD.format(speed.reader)
        figures[metric] = why if value is None else value
    return figures


def _status(speed: Measured | None, outputs: NDArray[np.float32] | None, bad: str) -> tuple[Status, str]:
    if bad:
        return "failed", bad
    if speed is not None and speed.timing.speed.status != "ok":
        return speed.timing.speed.status, speed.timing.speed.reason
    return ("skipped", NOTHING) if speed is None and outputs is None else ("ok", "")


def _evidence(run: Run, record: Record, outputs: NDArray[np.float32], store: Store) -> Evidence:
    """What outputs are judged by: the network's own on the same items, its teacher's, and the right answers."""
    program = program_of(run, record, store)
    known = eager_of(record.checkpoint_sha256, program, store)
    if known is None:
        raise MeasureError(
            f"what the network of {record.case} says of the test set is not in the store {store.root}; "
            f"{again(run, record)}"
        )
    network, eager = known
    teacher = None
    if record.method != TEACHER and (sha256 := _teacher(run, record)):
        taught = eager_of(sha256, program, store)
        if taught is None:
            raise MeasureError(
                f"what the teacher of {record.case} says of the test set is not in the store {store.root}; "
                f"{again(run, record)}"
            )
        teacher = np.load(taught[1].path("outputs.npy"), allow_pickle=False)
    return Evidence(
        task=load("tasks", program.spec["task"])(),
        network=network.json("network.json"),
        program=program.json("program.json"),
        targets=np.load(eager.path("targets.npy"), allow_pickle=False),
        eager=np.load(eager.path("outputs.npy"), allow_pickle=False),
        outputs=outputs,
        teacher=teacher,
        speed=None,
        kd_seconds=None,
    )


def _teacher(run: Run, record: Record) -> str:
    """The checkpoint of a student's teacher; empty where the run does not tell it."""
    rows = (other for other in run.records if (other.pair, other.method) == (record.pair, TEACHER))
    known = (other.checkpoint_sha256 for other in rows if other.checkpoint_sha256)
    nets = (net.teacher_sha256 for net in run.networks if net.checkpoint_sha256 == record.checkpoint_sha256)
    return next(known, "") or next(nets, "")


def _beside(run: Run, record: Record, outputs: NDArray[np.float32], store: Store) -> dict[str, Any]:
    """How far the outputs are from those that the same program gave in its run, where the store has these."""
    stored = outputs_of(program_of(run, record, store), run, record, store)
    if stored is None:
        return {}
    others = np.load(stored.path("outputs.npy"), allow_pickle=False)
    return {f"beside_{record.device}": differences(outputs, others)}


def _origin(record: Record, readings: Sequence[Placed]) -> dict[str, Any]:
    """Which case this was, by what its program was known, and what else the tool told of it."""
    origin: dict[str, Any] = {"case": record.case}
    named = dict.fromkeys(each.reading.stem for each in readings if each.by_name)
    if named:
        origin["known_by"] = f"the name {', '.join(named)}: its tool tells no hash"
    elif readings:
        origin["known_by"] = "sha256"
    told = [dict(each.reading.details) for each in readings if each.reading.details]
    return origin | ({"told": told} if told else {})
