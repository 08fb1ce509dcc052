"""Runs as pandas frames: one row a case, and one row over the seeds of a method."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from kdbench import stats
from kdbench.measures.metric import METRICS
from kdbench.measures.steady import half_width
from kdbench.spec import TEACHER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kdbench.records import Record, Run, Speed

CASE_COLUMNS = (
    "run", "suite", "version", "recipe", "machine", "partial",
    "pair", "teacher", "student", "method", "use", "seed", "target", "device", "runtime", "threads",
    "status", "reason", "reasons", "structure", "flags", "notes", "quality", "test_items", "latency_ms_ci",
    "latency_ref_ci", "aa", "cold_cache", "every_ms", "sustained_s", "trained_on",
)  # fmt: skip
"""What ``frame`` says of a case besides its metrics.

``use``: the method that the suite calls ``method``; ``recipe``: the kind of the student's recipe, ``fast`` or
``reference``; ``reasons``: why metrics are empty, by id; ``flags``: joined by commas; ``notes``: what to know of the
program, joined by semicolons; ``quality``: the metric that ranks; ``test_items``: how many it was judged on;
``latency_ms_ci`` (ms) and ``latency_ref_ci``: half of the 95 % interval over the fresh processes that timed the
structure and over sessions (``kdbench.measures.steady.half_width``); ``aa``: the largest difference, as a share,
between two copies of the reference program in one of those processes; ``cold_cache``: programs were loaded from where
they are stored and not from the page cache;
``every_ms``: at which pace programs ran too, and ``sustained_s``: for how long back to back; NaN where they did not;
``trained_on``: the processor that trained the network, where that was not the machine's own CPU.
"""

SUMMARY_COLUMNS = (
    "run", "suite", "version", "recipe", "machine", "partial",
    "pair", "teacher", "student", "method", "target", "device", "runtime", "threads",
    "seeds", "failed", "status", "reason", "reasons", "structure", "shared_speed", "flags", "notes", "quality",
    "test_items", "best", "dominated", "aa", "cold_cache", "every_ms", "sustained_s", "trained_on",
)  # fmt: skip
"""What ``summary`` says of a row besides its metrics.

``seeds``: how many ended well, which the means are over; ``failed``: how many did not; ``status``: ``ok``,
``some-failed`` or that of the first failure; ``structure``: empty if the seeds differ in it; ``shared_speed``: an
earlier row of the pair already shows the figures of this structure.
"""

BY_PROCESS = ("latency_ms", "latency_ref")
"""The metrics whose uncertainty is that between fresh processes and sessions, not seeds."""

RATIOS = ("size_bytes", "download_bytes", "params", "macs", "latency_ms")
"""The metrics that ``summary`` also gives as a share of the teacher's, in the column ``ID_ratio``."""

BEST_RULE = (
    "best: over the seeds that both have (at least 2), the 95 % paired t interval of its lead excludes zero against "
    "every other method of the same pair, target and device"
)
DOMINATED_RULE = (
    "dominated: another row of the pair on this device is at least as good in mean {quality}, latency and size, and "
    "better in one"
)

TRAINED_OUT = 0.005
"""Students are trained out where twice the epochs of ``scratch`` gain less quality than this."""

_ASKED = ("every_ms", "sustained_s")
_GAINS = ("longer_gain", "longer_gain_ci")
_ROW = ["run", "suite", "version", "pair", "method", "target", "device"]


def frame(runs: Sequence[Run]) -> pd.DataFrame:
    """One row a case: ``CASE_COLUMNS``, then every metric by id in its own unit, NaN where there is none."""
    ids = metric_ids(runs)
    rows = [_case(run, record, speeds, ids) for run in runs for speeds in [_speeds(run)] for record in run.records]
    return _typed(pd.DataFrame(rows, columns=[*CASE_COLUMNS, *ids]), ["aa", *_ASKED, *ids])


def metric_ids(runs: Sequence[Run]) -> list[str]:
    """The declared metrics in their order, then those that only the runs know, sorted."""
    records = [record for run in runs for record in run.records]
    met = {metric for record in records for metric in (*record.metrics, record.quality)}
    return [*METRICS, *sorted(met - METRICS.keys())]


def metrics_of(table: pd.DataFrame) -> list[str]:
    """The metric ids among the columns of a ``frame``."""
    return [str(column) for column in table.columns if column not in CASE_COLUMNS]


def summary(cases: pd.DataFrame, *, per_seed: bool = False) -> pd.DataFrame:
    """One row for (run, suite, pair, method, target, device), or with ``per_seed`` for each case; in the cases' order.

    ``SUMMARY_COLUMNS``, then for every metric its mean over the seeds that ended well and, as ``ID_ci``, the half-width
    of Student's 95 % interval of that mean over seeds (NaN with one seed). What is measured once a structure does not
    vary with seeds: its interval is over processes and sessions for ``BY_PROCESS``, and NaN for all else.
    ``accuracy_test_ci``: the half-width of Wilson's 95 % interval for the size of the test set; ``ID_ratio``: the share
    of the teacher's figure for the same target and device.
    ``longer_gain``: what a student trained for longer on labels gained in quality on ``scratch``, the mean of the seeds
    that both have, and ``longer_gain_ci``, half of its paired 95 % t interval.
    ``best`` and ``dominated`` follow ``BEST_RULE`` and ``DOMINATED_RULE``; rows per seed have neither.
    """
    ids = metrics_of(cases)
    keys = [*_ROW, "seed"] if per_seed else _ROW
    groups = [group for _, group in cases.groupby(keys, sort=False)]
    rows = [_over_seeds(group, ids) for group in groups]
    _mark_shared(rows)
    _add_ratios(rows)
    if not per_seed:
        _add_gains(rows, groups)
        _mark_best(rows, groups)
        _mark_dominated(rows)
    measured = [column for metric in ids for column in (metric, f"{metric}_ci")]
    extra = ["accuracy_test_ci", *_GAINS, *(f"{metric}_ratio" for metric in RATIOS)]
    columns = [*SUMMARY_COLUMNS[:14], *(["seed"] if per_seed else []), *SUMMARY_COLUMNS[14:], *measured, *extra]
    return _typed(pd.DataFrame(rows, columns=columns), ["aa", *_ASKED, *measured, *extra])


def _typed(table: pd.DataFrame, numbers: Sequence[str]) -> pd.DataFrame:
    """The table with ``numbers`` as float64, in one piece: pandas lays apart what is converted column by column."""
    return table.astype(dict.fromkeys(numbers, "float64")).copy()


def _speeds(run: Run) -> dict[tuple[str, str], Speed]:
    return {(speed.structure, speed.device): speed for speed in run.speeds}


def _case(run: Run, record: Record, speeds: Mapping[tuple[str, str], Speed], ids: Sequence[str]) -> dict[str, Any]:
    uses = {method["label"]: method["use"] for method in run.suite.get("methods", ())}
    speed = speeds.get((record.structure, record.device)) if record.structure else None
    checkpoint = record.checkpoint_sha256
    return {
        "run": run.id,
        "suite": run.name,
        "version": int(run.suite["version"]),
        "recipe": str(run.suite.get("recipes", {}).get("student", {}).get("kind", "")),
        "machine": record.machine.get("slug", run.provenance.machine.slug),
        "partial": run.partial,
        **{key: getattr(record, key) for key in ("pair", "teacher", "student", "method", "seed", "target", "device")},
        "use": str(uses.get(record.method, record.method)),
        "runtime": speed.runtime if speed else "",
        "threads": speed.threads if speed else 0,
        "status": record.status,
        "reason": record.reason,
        "reasons": dict(record.reasons),
        "structure": record.structure,
        "flags": ",".join(dict.fromkeys((*record.flags, *(speed.flags if speed else ())))),
        "notes": "; ".join(record.notes),
        "quality": record.quality,
        "test_items": record.test_items,
        "latency_ms_ci": _number(half_width("latency_ms", speed.process_medians_ms if speed else ())),
        "latency_ref_ci": _number(half_width("latency_ref", speed.process_ratios if speed else ())),
        "aa": _number(next((each.aa for each in run.sittings if each.device == record.device), None)),
        "cold_cache": bool(run.suite.get("protocol", {}).get("cold_cache", False)),
        **{key: _number(run.suite.get("protocol", {}).get(key)) for key in _ASKED},
        "trained_on": next((net.processor for net in run.networks if net.checkpoint_sha256 == checkpoint), ""),
        **{metric: _number(record.metrics.get(metric)) for metric in ids},
    }


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _over_seeds(group: pd.DataFrame, ids: Sequence[str]) -> dict[str, Any]:
    first = group.iloc[0]
    well = group[group["status"] == "ok"]
    ill = group[group["status"] != "ok"]
    structures = sorted(set(well["structure"]))
    row: dict[str, Any] = {key: first[key] for key in (*SUMMARY_COLUMNS[:14], "quality")}
    row |= {
        "seed": int(first["seed"]),
        "seeds": len(well),
        "failed": len(ill),
        "status": "ok" if ill.empty else str(ill.iloc[0]["status"]) if well.empty else "some-failed",
        "reason": _reason(ill),
        "reasons": _merged(group["reasons"]),
        "structure": structures[0] if len(structures) == 1 else "",
        "shared_speed": False,
        "flags": ",".join(dict.fromkeys(flag for flags in group["flags"] for flag in flags.split(",") if flag)),
        "notes": "; ".join(dict.fromkeys(note for notes in group["notes"] for note in notes.split("; ") if note)),
        "test_items": int(group["test_items"].max()),
        "best": False,
        "dominated": False,
        "aa": _mean(group["aa"]),
        "cold_cache": bool(first["cold_cache"]),
        **{key: float(first[key]) for key in _ASKED},
        "trained_on": first["trained_on"],
        **dict.fromkeys(_GAINS, math.nan),
    }
    for metric in ids:
        row[metric] = _mean(well[metric])
        if metric in BY_PROCESS:
            half = _mean(well[f"{metric}_ci"])
        elif metric in METRICS and METRICS[metric].shared:
            half = math.nan
        else:
            half = _number(stats.t_half_width(well[metric].dropna().to_numpy()))
        row[f"{metric}_ci"] = half
    known = row["test_items"] > 0 and 0 <= row["accuracy"] <= 1
    row["accuracy_test_ci"] = stats.wilson_half_width(row["accuracy"], row["test_items"]) if known else math.nan
    return row


def _mean(values: pd.Series[Any]) -> float:
    present = values.dropna().to_numpy(dtype=np.float64)
    if len(present) == 0:
        return math.nan
    same = bool((present == present[0]).all())  # the mean of equal numbers must be that number to the last bit
    return float(present[0]) if same else float(present.mean())


def _reason(ill: pd.DataFrame) -> str:
    told: dict[str, list[str]] = {}
    for seed, status, reason in zip(ill["seed"], ill["status"], ill["reason"], strict=True):
        told.setdefault(f"{status}: {reason}" if reason else str(status), []).append(f"s{seed}")
    return "; ".join(f"{' '.join(seeds)} {what}" for what, seeds in told.items())


def _merged(tables: pd.Series[Any]) -> dict[str, str]:
    return {metric: reason for table in tables for metric, reason in table.items()}


def _mark_shared(rows: list[dict[str, Any]]) -> None:
    seen: set[tuple[Any, ...]] = set()
    for row in rows:
        structure = (row["run"], row["suite"], row["pair"], row["device"], row["structure"])
        row["shared_speed"] = bool(row["structure"]) and structure in seen
        seen.add(structure)


def _add_ratios(rows: list[dict[str, Any]]) -> None:
    teachers = {_place(row): row for row in rows if row["method"] == TEACHER}
    for row in rows:
        teacher = teachers.get(_place(row), {})
        for metric in RATIOS:
            whole = teacher.get(metric, math.nan)
            row[f"{metric}_ratio"] = row[metric] / whole if whole else math.nan


def _add_gains(rows: list[dict[str, Any]], groups: Sequence[pd.DataFrame]) -> None:
    used = [str(group.iloc[0]["use"]) for group in groups]
    scores = [_scores(row, group) for row, group in zip(rows, groups, strict=True)]
    plain = {_place(row): own for row, use, own in zip(rows, used, scores, strict=True) if use == "scratch"}
    for row, use, own in zip(rows, used, scores, strict=True):
        if use != "longer-scratch" or _place(row) not in plain:
            continue
        base = plain[_place(row)]
        row["longer_gain"] = _mean((own - base).dropna())
        if lead := _lead(row, own, base):
            row["longer_gain_ci"] = lead.high - lead.estimate


def _mark_best(rows: list[dict[str, Any]], groups: Sequence[pd.DataFrame]) -> None:
    """Being best is a union of rejections, so each interval may keep the full 5 % (Berger, Technometrics 24 (1982))."""
    rivals: dict[tuple[Any, ...], list[tuple[dict[str, Any], pd.Series[Any]]]] = {}
    for row, group in zip(rows, groups, strict=True):
        if row["method"] != TEACHER and row["seeds"]:
            rivals.setdefault(_place(row), []).append((row, _scores(row, group)))
    for field in rivals.values():
        for row, scores in field:
            others = [other for rival, other in field if rival is not row]
            row["best"] = bool(others) and all(_leads(row, scores, other) for other in others)


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[key] for key in ("run", "suite", "pair", "target", "device"))


def _scores(row: Mapping[str, Any], group: pd.DataFrame) -> pd.Series[Any]:
    """The quality of the cases that ended well, by seed."""
    scores: pd.Series[Any] = group[group["status"] == "ok"].set_index("seed")[row["quality"]].dropna()
    return scores


def _lead(row: Mapping[str, Any], scores: pd.Series[Any], other: pd.Series[Any]) -> stats.Interval | None:
    seeds = scores.index.intersection(other.index)
    item = 1 / row["test_items"] if row["quality"] == "accuracy" and row["test_items"] else 0.0
    return stats.paired_t(scores[seeds].to_numpy(), other[seeds].to_numpy(), resolution=item)


def _leads(row: Mapping[str, Any], scores: pd.Series[Any], other: pd.Series[Any]) -> bool:
    lead = _lead(row, scores, other)
    if lead is None:
        return False
    return lead.low > 0 if _better(row["quality"]) == "higher" else lead.high < 0


def _mark_dominated(rows: list[dict[str, Any]]) -> None:
    fields: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        fields.setdefault(tuple(row[key] for key in ("run", "suite", "pair", "device")), []).append(row)
    for field in fields.values():
        quality = field[0]["quality"]
        points = [[row[quality], row["latency_ms"], row["size_bytes"]] for row in field]
        for row, beaten in zip(field, stats.dominated(points, (_better(quality), "lower", "lower")), strict=True):
            row["dominated"] = bool(beaten)


def _better(metric: str) -> stats.Better:
    return METRICS[metric].better if metric in METRICS else "higher"
