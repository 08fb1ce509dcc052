"""Choices: which student, method and target to ship under limits, at the least cost.

A candidate is a pair, method, target and device: its limits are kept by the mean over seeds and by the program that
would ship, which is that of the seed that validated best; the test set chooses no seed.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kdbench.catalog import suggestion
from kdbench.errors import UsageError
from kdbench.measures.metric import METRICS, metric_of
from kdbench.ranking import rankings, validation
from kdbench.spec import TEACHER, Budget

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kdbench.ranking import Lead
    from kdbench.records import Record, Run

_LIMIT = re.compile(r"\s*([a-z0-9_]+)\s*(<=|>=)\s*([-+0-9.eE]+)\s*")


@dataclass(frozen=True, slots=True)
class Candidate:
    """What may ship: the case of the seed that validated best, and figures over all ``seeds`` of its row.

    ``means``: by metric id, None where a seed has no such figure; ``missed``: the limits that are not kept, in words;
    ``short``: by how much, as a share of each limit, added up.
    """

    record: Record
    seeds: int
    failed: int
    means: Mapping[str, float | None]
    missed: tuple[str, ...]
    short: float


@dataclass(frozen=True, slots=True)
class Choice:
    """The candidates that keep all limits, the best first; ``others`` do not, the nearest first.

    ``teacher``: the teacher's record for the first candidate's pair, target and device; ``lead``: what its method leads
    ``scratch`` by; each None where there is none.
    """

    run: str
    objective: str
    kept: tuple[Candidate, ...]
    others: tuple[Candidate, ...]
    teacher: Record | None
    lead: Lead | None


def limit(text: str, option: str = "--where") -> Budget:
    """The limit that is meant by ``accuracy>=0.9``: in the metric's own unit. Raises UsageError."""
    match = _LIMIT.fullmatch(text)
    try:
        value = float(match[3]) if match else math.nan
    except ValueError:
        value = math.nan
    if match is None or not math.isfinite(value):
        raise UsageError(f"{option} {text!r}: expected METRIC>=NUMBER or METRIC<=NUMBER such as accuracy>=0.9")
    return Budget.model_validate({"metric": known_metric(match[1], option), "op": match[2], "limit": value})


def known_metric(name: str, option: str) -> str:
    """``name``, if there is such a metric. Raises UsageError."""
    if name not in METRICS:
        raise UsageError(f"{option}: unknown metric {name!r}; {suggestion(name, list(METRICS))}")
    return name


def choose(run: Run, limits: Sequence[Budget], objective: str) -> Choice:
    """What to ship of a run: the candidates that keep ``limits``, by the metric ``objective`` in its better direction.

    Of equals the one with the better quality comes first. A candidate with a failed seed, or without a figure for the
    objective or a limit, is kept out.

    Raises:
        UsageError: limits that no figure can keep together, or a run without students.
    """
    _check_together(limits)
    rows: dict[tuple[str, ...], list[Record]] = {}
    for record in run.records:
        if record.method != TEACHER:
            rows.setdefault((record.pair, record.method, record.target, record.device), []).append(record)
    if not rows:
        raise UsageError(f"run {run.id} holds no students, so there is nothing to choose from")
    candidates = [_candidate(run, records, limits, objective) for records in rows.values()]
    kept = sorted((one for one in candidates if not one.missed), key=lambda one: _order(one, objective))
    others = sorted((one for one in candidates if one.missed), key=lambda one: (len(one.missed), one.short))
    first = kept[0].record if kept else None
    return Choice(
        run=run.id,
        objective=objective,
        kept=tuple(kept),
        others=tuple(others),
        teacher=_teacher(run, first) if first else None,
        lead=_lead(run, first) if first else None,
    )


def _check_together(limits: Sequence[Budget]) -> None:
    for least in (one for one in limits if one.op == ">="):
        for most in (one for one in limits if one.op == "<=" and one.metric == least.metric):
            if least.limit > most.limit:
                raise UsageError(f"--where: nothing keeps both {least} and {most}")


def _candidate(run: Run, records: Sequence[Record], limits: Sequence[Budget], objective: str) -> Candidate:
    well = [record for record in records if record.status == "ok"]
    ships = max(well or records, key=lambda record: _rank(validation(run, record), record.seed))
    wanted = dict.fromkeys((objective, ships.quality, *(one.metric for one in limits), *METRICS))
    means = {metric: _mean(well, metric) for metric in wanted}
    missed = [
        f"s{record.seed} {record.status}: {record.reason}"
        for record in records
        if record.status != "ok" and record.reason
    ]
    short = float(len(missed))
    for one in limits:
        for what, value in (
            ("", means[one.metric]),
            (f" of s{ships.seed}, which would ship", ships.metrics.get(one.metric)),
        ):
            if value is None:
                why = ships.reasons.get(one.metric, "there is no such figure")
                missed.append(f"{one}: {why}")
                short += 1
            elif not one.holds(value):
                missed.append(f"{one}: it is {shown(one.metric, value)}{what}")
                short += abs(value - one.limit) / (abs(one.limit) or 1)
            else:
                continue
            break
    if means[objective] is None:
        missed.append(f"{objective}: {ships.reasons.get(objective, 'there is no such figure')}")
    return Candidate(ships, len(well), len(records) - len(well), means, tuple(missed), short)


def _rank(validated: float | None, seed: int) -> tuple[float, int]:
    """By validation; the lowest seed of those that are equal, or where nothing was validated."""
    return (-math.inf if validated is None else validated, -seed)


def _mean(records: Sequence[Record], metric: str) -> float | None:
    values = [record.metrics.get(metric) for record in records]
    there = [value for value in values if value is not None]
    return math.fsum(there) / len(there) if there and len(there) == len(values) else None


def _order(one: Candidate, objective: str) -> tuple[float, float, str]:
    return (
        _cost(objective, one.means[objective]),
        _cost(one.record.quality, one.means[one.record.quality]),
        one.record.case,
    )


def _cost(metric: str, value: float | None) -> float:
    """Less is better."""
    if value is None:
        return math.inf
    return value if metric_of(metric).better == "lower" else -value


def _teacher(run: Run, record: Record) -> Record | None:
    place = (record.pair, record.target, record.device)
    alike = (one for one in run.records if one.method == TEACHER and (one.pair, one.target, one.device) == place)
    return next((one for one in alike if one.status == "ok"), None)


def _lead(run: Run, record: Record) -> Lead | None:
    for ranking in rankings([run]):
        if (ranking.pair, ranking.target, ranking.device) == (record.pair, record.target, record.device):
            (standing,) = [one for one in ranking.standings if one.method == record.method]
            return standing.leads.get("scratch")
    return None


def shown(metric: str, value: float | None) -> str:
    """A figure as tables show it, with its unit."""
    if value is None:
        return "-"
    declared = metric_of(metric)
    return f"{value * declared.scale:,.{declared.digits}f} {declared.shown_unit}".strip()
