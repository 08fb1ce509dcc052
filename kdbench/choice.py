"""Choices: which student, method and target of a run to ship, under conditions, and what comes next to it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kdbench import stats
from kdbench.catalog import suggestion
from kdbench.errors import UnmetError, UsageError
from kdbench.frame import frame, metric_ids, summary
from kdbench.measures.metric import metric_of
from kdbench.ranking import validation
from kdbench.spec import TEACHER, Budget

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from kdbench.records import Record, Run

NEAR = 0.01
"""Students whose figure is within this share of the best one are held equal in it: the better quality decides."""

RULE = (
    "means over seeds are judged, and the program that ships must meet every condition by itself; its seed is the one "
    "with the best last validation, not the best test; figures within 1 % of the best count as equal, where the better "
    "{quality} decides. Choosing among {candidates} candidates by their test figures flatters the chosen one a little."
)

_CONDITION = re.compile(r"\s*(?P<metric>[A-Za-z][\w]*)\s*(?P<op><=|>=)\s*(?P<limit>[-+0-9.eE]+)\s*")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A method and target that could ship: ``row`` of ``frame.summary``, and the ``record`` of the seed that ships."""

    row: Mapping[str, Any]
    record: Record

    @property
    def name(self) -> str:
        """Its case without the pair's id, such as ``kd/xnnpack-int8/s3/host``."""
        return self.record.case.removeprefix(f"{self.record.pair}/")


@dataclass(frozen=True, slots=True)
class Choice:
    """What to ship and what comes next, the best first.

    ``retained``: the share of the teacher's quality, mean over mean, None without a teacher's row for the target.
    ``gained``: the lead over ``scratch`` in quality over the ``paired`` seeds that both have, None below two.
    ``unrun``: the targets that were left out because their device did not run them, so that no sample ships with them.
    """

    chosen: Candidate
    runners_up: tuple[Candidate, ...]
    candidates: int
    retained: float | None
    gained: stats.Interval | None
    paired: int
    unrun: tuple[str, ...]


def condition(text: str) -> Budget:
    """``METRIC>=NUMBER`` or ``METRIC<=NUMBER`` as a limit, in the metric's own unit (fractions, bytes, ms).

    Raises:
        UsageError: it is neither.
    """
    found = _CONDITION.fullmatch(text)
    try:
        limit = float(found["limit"]) if found else math.nan
    except ValueError:
        limit = math.nan
    if text.rstrip().endswith("%"):
        raise UsageError(f"--where {text!r}: shares are numbers from 0 to 1: 90 % is 0.9")
    if found is None or not math.isfinite(limit):
        raise UsageError(f"--where {text!r}: expected METRIC>=NUMBER or METRIC<=NUMBER, such as accuracy>=0.9")
    return Budget.model_validate({"metric": found["metric"], "op": found["op"], "limit": limit})


def pick(run: Run, conditions: Sequence[Budget], metric: str, *, most: bool = False, pair: str = "") -> Choice:
    """The student of ``run`` that meets every condition with the least ``metric`` (with ``most``, the most of it).

    ``RULE`` says how several seeds are judged. ``pair`` is needed where the run has pairs of several data sets, whose
    quality cannot be compared.

    Raises:
        UsageError: an unknown metric or pair, or conditions that contradict each other.
        UnmetError: no student meets the conditions (with the one that comes nearest), or none has the metric.
    """
    _check(run, conditions, metric)
    cases = _of_pair(run, frame([run]), pair)
    rows = [{str(key): value for key, value in row.items()} for row in summary(cases).to_dict("records")]
    students = [row for row in rows if row["method"] != TEACHER and row["seeds"] and not math.isnan(row[metric])]
    if not students:
        raise UnmetError(f"no student of run {run.id} has a figure for {metric}; kdbench table {run.id} says why")
    every = [Candidate(row, _shipping(run, row)) for row in students]
    candidates = [each for each in every if _ran(each.record)]
    unrun = tuple(dict.fromkeys(each.record.target for each in every if not _ran(each.record)))
    if not candidates:
        raise UnmetError(f"no student of run {run.id} was run on its device, only lowered: {', '.join(unrun)}")
    meeting = [each for each in candidates if all(_margin(each, limit) >= 0 for limit in conditions)]
    if not meeting:
        raise UnmetError(_nearest(run, candidates, conditions))
    best = (max if most else min)(each.row[metric] for each in meeting)
    sign = -1 if most else 1

    def order(each: Candidate) -> tuple[float, ...]:
        value, quality = each.row[metric], metric_of(each.row["quality"])
        cost = each.row[quality.id] * (-1 if quality.better == "higher" else 1)
        good = math.inf if math.isnan(cost) else cost
        near = abs(value - best) <= NEAR * abs(best)
        return (0.0 if near else sign * value - sign * best, good, sign * value)

    chosen, *others = sorted(meeting, key=order)
    scratch, teacher = _like(rows, chosen.row, "scratch"), _like(rows, chosen.row, TEACHER)
    quality = chosen.row["quality"]
    whole = teacher[quality] if teacher else math.nan
    gained, paired = _gained(cases, chosen.row) if scratch and chosen.row["method"] != "scratch" else (None, 0)
    retained = chosen.row[quality] / whole if whole and not math.isnan(whole) else None
    return Choice(chosen, tuple(others), len(candidates), retained, gained, paired, unrun)


def _check(run: Run, conditions: Sequence[Budget], metric: str) -> None:
    known = metric_ids([run])
    for name, where in [*((limit.metric, f"--where {limit}") for limit in conditions), (metric, "what to choose by")]:
        if name not in known:
            raise UsageError(f"{where}: unknown metric {name!r}; {suggestion(name, known)}")
    for one in conditions:
        for other in conditions:
            if one.metric == other.metric and one.op == ">=" and other.op == "<=" and one.limit > other.limit:
                raise UsageError(f"--where {one} and {other} contradict each other: nothing can meet both")


def _of_pair(run: Run, cases: pd.DataFrame, pair: str) -> pd.DataFrame:
    pairs = list(dict.fromkeys(cases["pair"]))
    if pair and pair not in pairs:
        raise UsageError(f"--pair: unknown pair {pair!r} in run {run.id}; {suggestion(pair, pairs)}")
    if not pair and len({name.partition(":")[0] for name in pairs}) > 1:
        raise UsageError(f"run {run.id} has pairs of several data sets, name one by --pair: {', '.join(pairs)}")
    return cases[cases["pair"] == pair] if pair else cases


def _shipping(run: Run, row: Mapping[str, Any]) -> Record:
    """The record of the seed with the best last validation (the lowest seed of equal ones, or where there is none)."""
    place = ("pair", "method", "target", "device")
    records = [
        record for record in run.records if record.status == "ok" and all(getattr(record, k) == row[k] for k in place)
    ]
    quality = metric_of(row["quality"])
    sign = 1 if quality.better == "higher" else -1
    last = {record.seed: validation(run, record) for record in records}

    def worse(record: Record) -> tuple[float, int]:
        known = last[record.seed]
        return (math.inf if known is None else -sign * known, record.seed)

    return min(records, key=worse)


def _ran(record: Record) -> bool:
    """Whether the device ran the program: one that is only lowered is not timed, and ``kdbench export`` refuses it."""
    return record.metrics.get("latency_ms") is not None


def _margin(candidate: Candidate, limit: Budget) -> float:
    """By what share of the limit the worse of mean and program keeps it; negative where it does not."""
    own = candidate.record.metrics.get(limit.metric)
    values: list[float] = [_nan(own), candidate.row[limit.metric]]
    if any(math.isnan(value) for value in values):
        return -math.inf
    sign = 1 if limit.op == ">=" else -1
    return min(float(sign * (value - limit.limit) / (abs(limit.limit) or 1.0)) for value in values)


def _nearest(run: Run, candidates: Sequence[Candidate], conditions: Sequence[Budget]) -> str:
    shortfalls = {each.name: min(_margin(each, limit) for limit in conditions) for each in candidates}
    near = max(candidates, key=lambda each: shortfalls[each.name])
    missed = [limit for limit in conditions if _margin(near, limit) < 0]
    told = "; ".join(_figures(near, limit.metric) for limit in missed)
    asked = " and ".join(str(limit) for limit in conditions)
    large = [limit for limit in missed if limit.op == ">=" and limit.limit > 1]
    shares = [limit.metric for limit in large if metric_of(limit.metric).unit == "fraction"]
    hint = f" ({shares[0]} is a fraction: 90 % is 0.9)" if shares else ""
    return f"no student of run {run.id} meets {asked}{hint}; nearest is {near.name}: {told}"


def _figures(candidate: Candidate, metric: str) -> str:
    mean, own = candidate.row[metric], candidate.record.metrics.get(metric)
    if own is None or math.isnan(mean):
        return f"{metric} has no figure"
    shown = f"{metric} {mean:.6g}"
    return shown if candidate.row["seeds"] == 1 or own == mean else f"{shown} (mean), {own:.6g} (seed that ships)"


def _like(rows: Sequence[Mapping[str, Any]], row: Mapping[str, Any], method: str) -> Mapping[str, Any] | None:
    place = ("pair", "target", "device")
    alike = (other for other in rows if other["method"] == method and all(other[key] == row[key] for key in place))
    return next((other for other in alike if other["seeds"]), None)


def _gained(cases: pd.DataFrame, row: Mapping[str, Any]) -> tuple[stats.Interval | None, int]:
    """The paired lead over ``scratch`` for the same pair, target and device, and over how many seeds."""
    well = cases[cases["status"] == "ok"]
    for key in ("pair", "target", "device"):
        well = well[well[key] == row[key]]
    scores = {
        m: well[well["method"] == m].set_index("seed")[row["quality"]].dropna() for m in (row["method"], "scratch")
    }
    mine, its = scores[row["method"]], scores["scratch"]
    seeds = mine.index.intersection(its.index)
    item = 1 / row["test_items"] if row["quality"] == "accuracy" and row["test_items"] else 0.0
    return stats.paired_t(mine[seeds].to_numpy(), its[seeds].to_numpy(), resolution=item), len(seeds)


def _nan(value: float | None) -> float:
    return math.nan if value is None else value
