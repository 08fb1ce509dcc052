"""Budgets: the limits that a suite sets to its students, and whether a run keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from kdbench.errors import UsageError
from kdbench.spec import TEACHER, Budget
from kdbench.verdict import Verdict

if TYPE_CHECKING:
    from kdbench.records import Record, Run

_BUDGETS = TypeAdapter(dict[str, tuple[Budget, ...]])


def judged_budgets(run: Run) -> tuple[Verdict, ...]:
    """A verdict for every budget of the run's suite and every student's case.

    It is ``ok``, ``regressed`` (broken; so is a case that failed), or ``incomparable`` where there is no such figure.

    Raises:
        UsageError: the run's suite has budgets that this kdbench cannot read.
    """
    try:
        budgets = _BUDGETS.validate_python(run.suite.get("budgets", {}))
    except ValidationError as error:
        raise UsageError(f"the budgets of run {run.id} cannot be read: {error.errors()[0]['msg']}") from None
    return tuple(
        judged_budget(record, budget)
        for record in run.records
        if record.method != TEACHER
        for budget in budgets.get(record.target, ())
    )


def judged_budget(record: Record, budget: Budget) -> Verdict:
    """Whether a case keeps a limit of its suite."""
    if record.status in ("not-applicable", "skipped"):
        return Verdict(record.case, budget.metric, "ok", None, None, f"budget {budget} does not apply: {ended(record)}")
    if record.status != "ok":
        return Verdict(record.case, budget.metric, "regressed", None, None, f"budget {budget} broken: {ended(record)}")
    value = record.metrics.get(budget.metric)
    if value is None:
        why = record.reasons.get(budget.metric, "the case has no such figure")
        return Verdict(record.case, budget.metric, "incomparable", None, None, f"budget {budget} not judged: {why}")
    if budget.holds(value):
        return Verdict(record.case, budget.metric, "ok", None, value, f"budget {budget} kept")
    return Verdict(record.case, budget.metric, "regressed", None, value, f"budget {budget} broken: {value:g}")


def ended(record: Record) -> str:
    """How a case ended, in words."""
    return record.status + (f": {record.reason}" if record.reason else "")
