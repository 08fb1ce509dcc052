"""What reports say: the summary, who leads whom, the front, learning curves, earlier runs, and how to make each row."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench import stats
from kdbench.cases import again
from kdbench.errors import UsageError
from kdbench.frame import frame
from kdbench.likeness import apart
from kdbench.measures.metric import metric_of
from kdbench.ranking import LEVEL, MIN_SEEDS
from kdbench.records import read_run
from kdbench.results import stored
from kdbench.spec import TEACHER
from kdbench.tables import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from kdbench.records import Run

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Lead:
    """How far a row's method is ahead of a column's: shown, in words for a hover, and whether that is significant."""

    text: str
    told: str
    clear: bool = False


@dataclass(frozen=True, slots=True)
class Matrix:
    """The leads of each method over each other one, on one target; ``leads[i][j]`` is of ``methods[i]``."""

    target: str
    methods: tuple[str, ...]
    leads: tuple[tuple[Lead, ...], ...]


@dataclass(frozen=True, slots=True)
class Past:
    """A run of the same suite, version and machine: means over its students' programs that ended well.

    ``figures``: by metric, in its own unit, NaN where there is none; ``shown`` are the same as texts.
    """

    run: str
    started: str
    commit: str
    ok: int
    failed: int
    figures: Mapping[str, float]

    @property
    def shown(self) -> tuple[str, ...]:
        """Its figures as texts with their units."""
        return tuple(_shown(value, metric) for metric, value in self.figures.items())


def summary_line(rows: Sequence[Row]) -> str:
    """The sentence that says what came out for one pair on one device."""
    students = [
        row for row in rows if row["method"] != TEACHER and row["seeds"] and not math.isnan(row[row["quality"]])
    ]
    if not students:
        return "No student has a figure for its quality; the table says why."
    quality = metric_of(str(students[0]["quality"]))
    best = (max if quality.better == "higher" else min)(students, key=lambda row: row[quality.id])
    teacher = next((r for r in rows if r["method"] == TEACHER and r["target"] == best["target"] and r["seeds"]), None)
    half = best[f"{quality.id}_ci"]
    spread = "" if math.isnan(half) else f" ±{_shown(half, quality.id, unit=False)}"
    figure = f"{_shown(best[quality.id], quality.id)}{spread}"
    line = f"{best['method']} on {best['target']} has the best mean {quality.title}: {figure}"
    if teacher and teacher[quality.id]:
        line += f", {best[quality.id] / teacher[quality.id]:.1%} of the teacher's"
    size = best["size_bytes_ratio"]
    line += "" if math.isnan(size) else f", in {size:.1%} of the teacher's bytes"
    marked = [f"{row['method']} on {row['target']}" for row in students if row["best"]]
    clear = "clearly ahead of every other method on its target: " + ", ".join(marked)
    none = "no method is clearly ahead of every other one on its target"
    return plain(f"{line}; {clear if marked else none}.")


def matrices(cases: pd.DataFrame) -> tuple[Matrix, ...]:
    """For each target of one pair's cases: every method's paired lead over every other one.

    The test of ``kdbench rank``, from ``ranking.MIN_SEEDS`` seeds on that both have, its p-values adjusted by Holm's
    method for all pairs of methods of the target.
    """
    students = cases[(cases["method"] != TEACHER) & (cases["status"] == "ok")]
    return tuple(
        _matrix(str(target), group) for target, group in students.groupby("target", sort=False) if len(group) > 1
    )


def _matrix(target: str, cases: pd.DataFrame) -> Matrix:
    quality = metric_of(str(cases["quality"].iloc[0]))
    scores = {str(m): g.set_index("seed")[quality.id].dropna() for m, g in cases.groupby("method", sort=False)}
    methods = tuple(scores)
    items = int(cases["test_items"].max())
    resolution = 1 / items if items and quality.id == "accuracy" else 0.0
    found: dict[tuple[str, str], tuple[stats.Interval, int]] = {}
    p: dict[tuple[str, str], float] = {}
    for place, one in enumerate(methods):
        for other in methods[place + 1 :]:
            seeds = scores[one].index.intersection(scores[other].index)
            mine, theirs = scores[one][seeds].to_numpy(), scores[other][seeds].to_numpy()
            lead = stats.paired_t(mine, theirs, resolution=resolution)
            if lead is not None:
                found[one, other] = (lead, len(seeds))
            if len(seeds) >= MIN_SEEDS:
                p[one, other] = stats.paired_t_p(mine, theirs, resolution)
    adjusted = dict(zip(p, stats.holm(list(p.values())).tolist(), strict=True)) if p else {}

    def told(one: str, other: str) -> Lead:
        if one == other:
            return Lead("", "itself")
        key, sign = ((one, other), 1) if (one, other) in found else ((other, one), -1)
        if key not in found:
            return Lead("-", "fewer than two seeds in common")
        lead, n = found[key]
        half, shown = (lead.high - lead.low) / 2, adjusted.get(key)
        tested = f"not tested below {MIN_SEEDS}" if shown is None else f"p {shown:.2g} (Holm)"
        text = f"{sign * lead.estimate * quality.scale:+.2f}"
        words = f"{one} over {other}: {text} ±{half * quality.scale:.2f} over {n} paired seeds, {tested}"
        return Lead(text, plain(words), clear=shown is not None and shown <= LEVEL)

    return Matrix(target, methods, tuple(tuple(told(one, other) for other in methods) for one in methods))


def unbeaten(rows: Sequence[Row], axis: str) -> list[Row]:
    """The Pareto front: the rows that none beats in quality and ``axis``, the smallest cost first."""
    quality = metric_of(str(rows[0]["quality"]))
    points = [[row[quality.id], row[axis]] for row in rows]
    beaten = stats.dominated(points, (quality.better, "lower"))
    return sorted((row for row, bad in zip(rows, beaten, strict=True) if not bad), key=lambda row: float(row[axis]))


def in_view(values: Sequence[float], better: stats.Better) -> tuple[float, float]:
    """The range that shows all values but those behind the worse quartile by over three times the quartiles' distance.

    J. W. Tukey, "Exploratory Data Analysis" (1977), calls these "far out".
    """
    first, last = np.quantile(values, [0.25, 0.75])
    low, high = min(values), max(values)
    if better == "higher":
        low = min(value for value in values if value >= first - 3 * (last - first))
    else:
        high = max(value for value in values if value <= last + 3 * (last - first))
    room = 0.15 * (high - low) or 1.0
    return low - room, high + room


def in_reach(values: Sequence[float], better: stats.Better) -> list[float]:
    """The values that are ``in_view``, and those no further from that range than it is wide: what paper shows."""
    low, high = in_view(values, better)
    return [value for value in values if low - (high - low) <= value <= high + (high - low)]


def learning(run: Run, rows: Sequence[Row]) -> dict[str, dict[int, list[float]]]:
    """By method of the rows and by epoch, how its students validated, one a seed; none without curves."""
    places = {(row["pair"], row["device"]) for row in rows}
    name = f"validation_{rows[0]['quality']}"
    networks = {network.checkpoint_sha256: network for network in run.networks}
    found: dict[str, dict[int, list[float]]] = {}
    for method in dict.fromkeys(str(row["method"]) for row in rows):
        checkpoints = dict.fromkeys(
            record.checkpoint_sha256
            for record in run.records
            if record.method == method and (record.pair, record.device) in places and record.checkpoint_sha256
        )
        learnt: dict[int, list[float]] = {}
        for checkpoint in checkpoints:
            for curve in networks[checkpoint].curves if checkpoint in networks else ():
                epochs = curve.epochs or tuple(range(1, len(curve.values) + 1))
                if curve.name == name:
                    for epoch, value in zip(epochs, curve.values, strict=True):
                        learnt.setdefault(epoch, []).append(value)
        if learnt:
            found[method] = dict(sorted(learnt.items()))
    return found


def history(run: Run, results: Path) -> tuple[Past, ...]:
    """The whole stored runs of the same suite, version, protocol and machine, and this one, the oldest first.

    The machine is the same where its fingerprint is: many share a processor's name.
    """
    found = {run.id: run}
    for place in stored(results):
        if (place.machine, place.suite) == (run.provenance.machine.slug, run.name) and place.id not in found:
            try:
                other = read_run(place.folder)
            except UsageError:
                continue  # `kdbench results list` shows it as unreadable
            same = other.provenance.machine.fingerprint == run.provenance.machine.fingerprint
            if same and not other.partial and not apart(other.suite, run.suite):
                found[place.id] = other
    return tuple(_past(found[name]) for name in sorted(found))


def _past(run: Run) -> Past:
    cases = frame([run])
    well = cases[(cases["status"] == "ok") & (cases["method"] != TEACHER)]
    quality = str(cases["quality"].iloc[0]) if len(cases) else "accuracy"
    figures = {name: float(well[name].mean()) for name in (quality, "size_bytes", "latency_ms")}
    ok = int((cases["status"] == "ok").sum())
    commit = run.provenance.commit[:10] + (" (changed)" if run.provenance.dirty else "")
    return Past(run.id, run.provenance.started, commit, ok, len(cases) - ok, figures)


def commands(run: Run) -> tuple[tuple[str, str, str], ...]:
    """Each case, how it ended, and the command that makes it again."""
    told = ((record, again(run, record).removeprefix("make it again with: ")) for record in run.records)
    return tuple((record.case, record.status, words) for record, words in told)


def _shown(value: float, metric: str, *, unit: bool = True) -> str:
    declared = metric_of(metric)
    if math.isnan(value):
        return "-"
    return f"{value * declared.scale:.{declared.digits}f}" + (f" {declared.shown_unit}" if unit else "")


def rows_of(summary: pd.DataFrame) -> list[Row]:
    """The rows of a summary as tables with names."""
    return [{str(key): value for key, value in row.items()} for row in summary.to_dict("records")]


def groups_of(rows: Sequence[Row]) -> Mapping[tuple[str, str], list[Row]]:
    """The rows by pair and device, in their order."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["pair"], row["device"]), []).append(row)
    return groups
