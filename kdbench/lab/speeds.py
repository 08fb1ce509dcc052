"""Speeds of what was read: which program a reading is of, and what all readings of a structure come to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from kdbench.errors import UsageError
from kdbench.lab.manifest import plain_stem
from kdbench.measures.latency import absent
from kdbench.measures.speed import Timing
from kdbench.measures.steady import steady, thinned
from kdbench.records import Speed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from kdbench.lab.manifest import Entry, Manifest
    from kdbench.lab.reading import Reading, Told

BY_NAME = "known-by-name"
"""The flag of a speed whose program was known by its file's name, since the tool tells no hash."""

MEAN_ONLY = "{} tells averages, and a median is of samples"
NOT_TOLD = "{} does not tell it"
NO_EMPTY = "the peak of a process without a program was not told, so this one says nothing of the program"
APART = "the reference was not timed in the same processes"


@dataclass(frozen=True, slots=True)
class Placed:
    """A reading of a program of the bundle, from a file; ``by_name``: its hash was not told."""

    reading: Reading
    told: Told
    by_name: bool

    @property
    def process(self) -> tuple[str, int]:
        """What tells its process from all others."""
        return self.told.sha256, self.reading.process


@dataclass(frozen=True, slots=True)
class Measured:
    """The timing of a structure, why it lacks the metrics that it lacks, by metric, and whose format told it."""

    timing: Timing
    reasons: Mapping[str, str]
    reader: str


def placed(told: Sequence[Told], manifest: Manifest) -> dict[str, list[Placed]]:
    """All readings by the sha256 of their program: by the hash that they tell, else by the file's name.

    Raises:
        UsageError: a program that is not in the bundle, or one that two tools measured, with several numbers of
            threads, or no longer than the warm-up.
    """
    entries = (*manifest.programs, manifest.reference)
    known = {entry.sha256 for entry in entries}
    stems = {plain_stem(entry.stem): entry.sha256 for entry in entries}
    found: dict[str, list[Placed]] = {}
    for file in told:
        for reading in file.readings:
            sha256 = reading.program or stems.get(plain_stem(reading.stem), "")
            if sha256 not in known:
                name = f"sha256 {reading.program[:16]}..." if reading.program else f"name {reading.stem!r}"
                raise UsageError(f"{file.path}: no program of the bundle of run {manifest.run} has the {name}")
            warm = _warm(reading, file, manifest.protocol.warmup_runs)
            found.setdefault(sha256, []).append(Placed(warm, file, by_name=not reading.program))
    threads = {each.reading.threads for readings in found.values() for each in readings} - {0}
    if len(threads) > 1:
        counts = " and ".join(map(str, sorted(threads)))
        raise UsageError(f"there are results with {counts} threads: ingest each under its own --name")
    for entry in entries:
        tools = dict.fromkeys(each.told.reader for each in found.get(entry.sha256, ()) if each.reading.timed)
        if len(tools) > 1:
            raise UsageError(f"{' and '.join(tools)} both measured {entry.file}: ingest each under its own --name")
    return found


def _warm(reading: Reading, file: Told, runs: int) -> Reading:
    """A reading without the samples of the warm-up that the bundle asks for, where its tool times that too."""
    if reading.samples is None or not reading.cold:
        return reading
    if len(reading.samples) <= runs:
        raise UsageError(
            f"{file.path}: {reading.stem!r} ran {len(reading.samples)} times in process {reading.process}, and the "
            f"bundle asks for more than the {runs} of its warm-up"
        )
    return replace(reading, samples=reading.samples[runs:])


def speeds_of(
    found: Mapping[str, Sequence[Placed]], manifest: Manifest, device: str
) -> tuple[dict[str, Measured], tuple[str, ...]]:
    """The speed of every structure that was measured, and what of the readings that left without use.

    A structure's speed is that of the program that was to be timed for it, else of the first that was; a second one
    checks it.

    Raises:
        UsageError: a process has two readings of samples of one program.
    """
    measured: dict[str, Measured] = {}
    left: list[str] = []
    ruler = _samples(found.get(manifest.reference.sha256, ()))
    groups: dict[str, list[Entry]] = {}
    for entry in manifest.programs:
        if any(each.reading.timed for each in found.get(entry.sha256, ())):
            groups.setdefault(entry.structure, []).append(entry)
    for structure, entries in groups.items():
        first, *others = sorted(entries, key=lambda entry: not entry.timing)
        check = next((entry for entry in others if _samples(found[entry.sha256])), None)
        left += [f"times of {entry.file}: it runs as {first.file} does" for entry in others if entry is not check]
        of_check = _samples(found[check.sha256]) if check else {}
        measured[structure] = _measured(structure, first, found[first.sha256], ruler, manifest, device)
        mine = _samples(found[first.sha256])
        if check and of_check and mine:
            ratio = float(np.median([np.median(each) for each in of_check.values()])) / float(
                np.median([np.median(each) for each in mine.values()])
            )
            timing = measured[structure].timing
            speed = timing.speed.model_copy(update={"checked_sha256": check.sha256, "checked_ratio": ratio})
            measured[structure] = replace(measured[structure], timing=replace(timing, speed=speed))
    return measured, tuple(left)


def _samples(readings: Sequence[Placed]) -> dict[tuple[str, int], NDArray[np.int64]]:
    """The samples of a program by process."""
    found: dict[tuple[str, int], NDArray[np.int64]] = {}
    for each in readings:
        if each.reading.samples is None:
            continue
        if each.process in found:
            path = each.told.path
            raise UsageError(f"{path}: process {each.reading.process} has samples of one program twice")
        found[each.process] = each.reading.samples
    return found


def _measured(
    structure: str,
    entry: Entry,
    readings: Sequence[Placed],
    ruler: Mapping[tuple[str, int], NDArray[np.int64]],
    manifest: Manifest,
    device: str,
) -> Measured:
    reader, runtime = readings[0].told.reader, readings[0].told.runtime
    samples = _samples(readings)
    failed = next((each.reading.failed for each in readings if each.reading.failed), "")
    flags = list(dict.fromkeys(flag for each in readings for flag in each.reading.flags))
    if any(each.by_name for each in readings):
        flags.append(BY_NAME)
    metrics: dict[str, float | None] = {}
    medians: tuple[float, ...] = ()
    against: tuple[float, ...] = ()
    reasons = absent(sum(map(len, samples.values())))
    if failed:
        samples = {}
    elif samples:
        ruled = [ruler[process] for process in samples] if samples.keys() <= ruler.keys() else []
        figures = steady(list(samples.values()), ruled, manifest.protocol.min_runs)
        metrics, medians, against = dict(figures.metrics), figures.medians_ms, figures.ratios
        flags += figures.flags
        reasons["latency_ref"] = APART if ruler and not ruled else reasons["latency_ref"]
    elif means := [each.reading.mean_ms for each in readings if each.reading.mean_ms is not None]:
        metrics["latency_mean_ms"] = float(np.mean(means))
        reasons |= dict.fromkeys(("latency_ms", "latency_p90_ms", "latency_p99_ms"), MEAN_ONLY.format(reader))
    if not failed:
        metrics |= _once(readings)
        if any(each.reading.peak_rss_bytes for each in readings) and "peak_rss_bytes" not in metrics:
            reasons["peak_rss_bytes"] = NO_EMPTY
    threads = max(each.reading.threads for each in readings)
    speed = Speed(
        structure=structure,
        device=device,
        runtime=f"imported: {runtime}",
        threads=threads,
        program_sha256=entry.sha256,
        samples=sum(map(len, samples.values())),
        process_medians_ms=medians,
        process_ratios=against,
        metrics=metrics,
        flags=tuple(flags),
        status="failed" if failed else "ok",
        reason=failed,
    )
    return Measured(Timing(speed, tuple(thinned(each) for each in samples.values())), reasons, reader)


def _once(readings: Sequence[Placed]) -> dict[str, float | None]:
    """What a process tells once: load and first inference, the median over processes; memory, the least."""
    found: dict[str, float | None] = {}
    for metric in ("load_ms", "first_ms"):
        values = [value for each in readings if (value := getattr(each.reading, metric)) is not None]
        if values:
            found[metric] = float(np.median(values))
    peaks = [
        each.reading.peak_rss_bytes - each.told.empty_rss_bytes
        for each in readings
        if each.reading.peak_rss_bytes and each.told.empty_rss_bytes
    ]
    if peaks:
        found["peak_rss_bytes"] = float(max(min(peaks), 0))
    return found
