"""Uneven training: what a table says of students that took more steps than most, or whose method ran other networks."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from kdbench.frame import TRAINED_OUT
from kdbench.measures.metric import metric_of
from kdbench.spec import TEACHER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WORTH_TELLING = 0.02
"""Forwards of other networks for each of the student's, and of the teacher beyond one, from which on a table tells."""

_PASSES = ("student_forwards", "teacher_forwards", "own_forwards", "backwards")


def mark_uneven(rows: Sequence[dict[str, Any]]) -> None:
    """``uneven`` of a row: how much longer than most of its pair a student learnt and what that brought, what peers
    or assistants did besides, and what the teacher did beyond a forward for each of the student's; else empty.
    """
    steps: dict[tuple[Any, ...], Counter[float]] = {}
    for row in rows:
        taken = row.get("student_steps", math.nan)
        if row["method"] != TEACHER and not math.isnan(taken):
            steps.setdefault(_pair(row), Counter())[taken] += 1
    for row in rows:
        taken, counts = row.get("student_steps", math.nan), steps.get(_pair(row))
        row["uneven"] = _besides(row)
        if row["method"] != TEACHER and counts and not math.isnan(taken):
            # Of equally frequent numbers the smallest: the recipe's own, since methods may only add to it.
            usual = min(counts, key=lambda number: (-counts[number], number))
            if taken != usual:
                longer = taken / usual
                told = f"{row['method']}: its student took {longer:.3g} times the steps of most{_gained(row, longer)}"
                row["uneven"] = "; ".join(filter(None, (told, row["uneven"])))


def _besides(row: Mapping[str, Any]) -> str:
    """What networks of the method's own did for each item that the student saw, and what the teacher did beyond one."""
    seen, taught, own, backwards = (row.get(id_, math.nan) for id_ in _PASSES)
    if not seen > 0:
        return ""
    parts = []
    if own / seen >= WORTH_TELLING:
        parts.append(
            f"networks of its own took {own / seen:.2g} forwards and {max(backwards / seen - 1, 0):.2g} backwards"
        )
    if taught / seen >= 1 + WORTH_TELLING:
        parts.append(f"its teacher took {taught / seen:.3g} forwards")
    return f"{row['method']}: {' and '.join(parts)} for each of its student's" if parts else ""


def _pair(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[key] for key in ("run", "suite", "pair"))


def _gained(row: Mapping[str, Any], longer: float) -> str:
    """What longer training on labels brought, and where that tells it, whether the students are trained out."""
    gain, half = row["longer_gain"], row["longer_gain_ci"]
    if math.isnan(gain):
        return ""
    metric = metric_of(row["quality"])
    unit = "pt" if metric.shown_unit == "%" else metric.shown_unit
    spread = "" if math.isnan(half) else f" ±{half * metric.scale:.2f}"
    told = f" and gained {gain * metric.scale:+.2f}{spread} {unit} on scratch"
    limit = f"{TRAINED_OUT * metric.scale:g} {unit}"
    if (gain if metric.better == "higher" else -gain) < TRAINED_OUT:
        return f"{told} (less than {limit}: trained out)" if longer >= 2 else told
    return f"{told} ({limit} or more: trained too briefly to compare methods)" if longer <= 2 else told
