"""Results that come back from a lab, as a run: of each program what its own run knows, and what they tell."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kdbench.devices.imported import KIND
from kdbench.errors import UsageError
from kdbench.lab import executor_runner, measured, minibench, xctest
from kdbench.lab.manifest import MANIFEST_FILE, parsed, text_of
from kdbench.lab.returned import Row, rows_of
from kdbench.lab.speeds import placed, speeds_of
from kdbench.machine import commit, libraries
from kdbench.records import Imported, Machine, Provenance, Run
from kdbench.store import content_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from kdbench.lab.manifest import Manifest
    from kdbench.lab.reading import Told
    from kdbench.npz import Items
    from kdbench.store import Store

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,47}")
_RESULTS = (".json", ".log")


def result_files(place: Path) -> tuple[Path, ...]:
    """A file itself, or of a folder every .json and .log that lies in it, but for a manifest.

    Raises:
        UsageError: no such place, or a folder without results.
    """
    if place.is_file():
        return (place,)
    if not place.is_dir():
        raise UsageError(f"no file or folder {place}")
    found = [path for path in sorted(place.iterdir()) if path.suffix in _RESULTS and path.name != MANIFEST_FILE]
    if not found:
        raise UsageError(f"{place} holds no results: no .json but a {MANIFEST_FILE}, and no .log")
    return tuple(found)


def read_results(path: Path) -> Told:
    """What a file of results says, whichever of the known formats it has.

    Raises:
        UsageError: it has none of them, or something in it is wrong.
    """
    text = text_of(path)
    if not text.strip():
        raise UsageError(f"{path} is empty")
    if text.lstrip()[0] in "{[":
        table = parsed(text, path)
        return minibench.read_minibench(table, path) if isinstance(table, list) else measured.read_measured(table, path)
    if xctest.is_log(text):
        return xctest.read_xctest(text, path)
    if executor_runner.is_log(text):
        return executor_runner.read_executor_runner(text, path)
    raise UsageError(
        f"{path} is neither kdbench's measured.json nor minibench's list of metrics, nor a log of XCTest's or "
        "executor_runner's"
    )


def ingest(
    run: Run, manifest: Manifest, told: Sequence[Told], name: str, store: Store, command: Sequence[str]
) -> tuple[Run, dict[str, NDArray[np.int32]], dict[str, Items]]:
    """The results ``told`` of programs of ``run`` as a run on the device ``import:NAME``, its samples and its items.

    Raises:
        UsageError: another run's bundle, a bad name, a program that is not in the bundle, outputs that do not fit.
        MeasureError: what outputs are judged by left the store.
    """
    started = datetime.now(UTC)
    if not _NAME.fullmatch(name):
        raise UsageError(f"--name {name!r}: expected letters, digits and . _ -, such as pixel-8")
    if manifest.run != run.id:
        raise UsageError(f"the bundle is of run {manifest.run}, not of {run.id}")
    names: dict[str, Path] = {}
    for file in told:
        if (twin := names.setdefault(file.sha256, file.path)) is not file.path:
            raise UsageError(f"{twin} and {file.path} are the same results")
    device = f"{KIND}:{name}"
    found = placed(told, manifest)
    speeds, left = speeds_of(found, manifest, device)
    rows = rows_of(run, manifest, found, speeds, device, store)
    now = datetime.now(UTC)
    table = _suite(run, device, name, found_threads(told))
    head, dirty = commit()
    checkpoints = {row.record.checkpoint_sha256 for row in rows}
    taught = {net.teacher_sha256 for net in run.networks if net.checkpoint_sha256 in checkpoints}
    made = Run(
        id=f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}",
        suite=table,
        suite_sha256=content_key(table),
        partial=manifest.partial,
        records=tuple(row.record for row in rows),
        networks=tuple(net for net in run.networks if net.checkpoint_sha256 in checkpoints | taught),
        speeds=tuple(each.timing.speed for each in speeds.values()),
        provenance=Provenance(
            kdbench=libraries()["kdbench"],
            commit=head,
            dirty=dirty,
            libraries=run.provenance.libraries,
            machine=_machine(name, told),
            started=started.isoformat(timespec="seconds"),
            finished=now.isoformat(timespec="seconds"),
            command=tuple(command),
            imported=tuple(_imported(file, run, left if file is told[0] else ()) for file in told),
        ),
    )
    samples = {
        f"{structure}/{device}/{process}": each
        for structure, speed in speeds.items()
        for process, each in enumerate(speed.timing.samples)
    }
    return made, samples, _items(rows)


def found_threads(told: Sequence[Told]) -> int:
    """With how many threads it was measured; 0 where no file tells."""
    return max((reading.threads for file in told for reading in file.readings), default=0)


def _items(rows: Sequence[Row]) -> dict[str, Items]:
    return {row.record.case: row.items for row in rows if row.items is not None}


def _suite(run: Run, device: str, name: str, threads: int) -> dict[str, Any]:
    """The run's suite as one of its own, so that no figure of it meets one of the host's by chance."""
    protocol: Mapping[str, Any] = run.suite.get("protocol", {})
    told = {"threads": threads} if threads else {}
    return {**run.suite, "name": f"{run.name}@{KIND}-{name}", "devices": [device], "protocol": {**protocol, **told}}


def _machine(name: str, told: Sequence[Told]) -> Machine:
    facts = {key: text for file in told for key, text in file.device.items()}
    return Machine(
        slug=f"{KIND}-{name}",
        fingerprint=content_key({"name": name, **facts}),
        system=facts.get("os", ""),
        architecture="",
        cpu=", ".join(facts[key] for key in ("name", "soc") if key in facts),
        cores=0,
        memory_bytes=0,
        simd="",
        python="",
    )


def _imported(file: Told, run: Run, left: Sequence[str]) -> Imported:
    return Imported(
        file=file.path.name,
        sha256=file.sha256,
        reader=file.reader,
        runtime=file.runtime,
        device=dict(file.device),
        run=run.id,
        left=(*file.left, *left),
    )
