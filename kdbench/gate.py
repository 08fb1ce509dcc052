"""The gate: two runs compared, like with like; one run against its suite's budgets."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pydantic import TypeAdapter, ValidationError

from kdbench import stats
from kdbench.errors import EXIT_NO_VERDICT, EXIT_OK, EXIT_REGRESSED, UsageError, worst
from kdbench.measures.metric import METRICS
from kdbench.spec import TEACHER, Budget

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kdbench.records import Record, Run

Word = Literal["ok", "regressed", "improved", "inconclusive", "no-baseline", "incomparable", "noisy"]

EXIT_CODES: Mapping[Word, int] = {
    "ok": EXIT_OK,
    "improved": EXIT_OK,
    "inconclusive": EXIT_OK,
    "regressed": EXIT_REGRESSED,
    "no-baseline": EXIT_NO_VERDICT,
    "incomparable": EXIT_NO_VERDICT,
    "noisy": EXIT_NO_VERDICT,
}

MIN_SEEDS = 3
"""From how many paired seeds on a retrained student's quality is judged."""

_BUDGETS = TypeAdapter(dict[str, tuple[Budget, ...]])

_LEARNT = frozenset(
    {
        "accuracy", "accuracy_eager", "accuracy_drop", "flips", "agreement", "agreement_teacher_wrong", "kl_teacher",
        "ece", "download_bytes",
    },
)  # fmt: skip
"""Exact facts that follow from a checkpoint's values, so that retraining moves them (deflate sees the weights)."""

_ROUNDING = {"kl_teacher": 1e-4, "ece": 1e-4}
"""Relative differences that other processors' instruction sets make in real-valued facts."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a comparison says of one metric of one case (of all seeds, if ``case`` says ``s*``), and why."""

    case: str
    metric: str
    verdict: Word
    base: float | None
    new: float | None
    reason: str

    def __str__(self) -> str:
        place = " ".join(part for part in (self.case, self.metric) if part != "*")
        return f"{place}: {self.reason}" if place else self.reason


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every verdict on a new run; ``suspects`` changed between the runs; ``notes`` say what was not judged."""

    base: str
    new: str
    verdicts: tuple[Verdict, ...]
    suspects: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """The exit code that the verdicts share."""
        return worst([EXIT_CODES[verdict.verdict] for verdict in self.verdicts])

    def count(self, word: Word) -> int:
        """How many verdicts say ``word``."""
        return sum(verdict.verdict == word for verdict in self.verdicts)


@dataclass(slots=True)
class _Pairs:
    """The same metric of retrained students, seed by seed."""

    base: list[float] = field(default_factory=list)
    new: list[float] = field(default_factory=list)
    items: int = 0


def compare(base: Run, new: Run, allowances: Mapping[str, float] | None = None) -> Comparison:
    """What has changed from ``base`` to ``new``: exact facts, how cases ended, and the budgets of ``new``'s suite.

    A fact of one checkpoint may grow worse by the share ``allowances[metric]`` of its old value (default 0). Where the
    student was retrained to another checkpoint, what follows from its weights is judged over at least ``MIN_SEEDS``
    paired seeds by the 95 % paired t interval, else it is inconclusive. Times and memory are not judged.
    """
    suspects = suspects_of(base, new)
    if apart := _incomparable(base, new):
        return Comparison(base.id, new.id, (Verdict("*", "*", "incomparable", None, None, apart),), suspects)
    old = {record.case: record for record in base.records}
    verdicts: list[Verdict] = []
    retrained: dict[tuple[str, str], _Pairs] = {}
    for record in new.records:
        known = old.pop(record.case, None)
        verdicts += _case(known, record, allowances or {}, retrained)
    verdicts += [_over_seeds(case, metric, pairs) for (case, metric), pairs in retrained.items()]
    notes = ["speed, memory and training times are not judged: they need both programs measured side by side"]
    if old and new.partial:
        notes.append(f"the new run is partial: {len(old)} cases of the base were left out")
    elif old:
        verdicts += [
            Verdict(case, "status", "incomparable", None, None, "the new run lacks this case of the base")
            for case in old
        ]
    blame = f" (suspects: {', '.join(suspects)})" if suspects else ""
    told = [_blamed(verdict, blame) if verdict.verdict == "regressed" else verdict for verdict in verdicts]
    return Comparison(base.id, new.id, (*told, *judged_budgets(new)), suspects, tuple(notes))


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
        return Verdict(
            record.case, budget.metric, "ok", None, None, f"budget {budget} does not apply: {_ended(record)}"
        )
    if record.status != "ok":
        return Verdict(record.case, budget.metric, "regressed", None, None, f"budget {budget} broken: {_ended(record)}")
    value = record.metrics.get(budget.metric)
    if value is None:
        why = record.reasons.get(budget.metric, "the case has no such figure")
        return Verdict(record.case, budget.metric, "incomparable", None, None, f"budget {budget} not judged: {why}")
    if budget.holds(value):
        return Verdict(record.case, budget.metric, "ok", None, value, f"budget {budget} kept")
    return Verdict(record.case, budget.metric, "regressed", None, value, f"budget {budget} broken: {value:g}")


def suspects_of(base: Run, new: Run) -> tuple[str, ...]:
    """What else changed between two runs and may have moved a fact: libraries, recipes, lowering, machine, commit."""
    before, after = base.provenance, new.provenance
    old, now = dict(before.libraries), dict(after.libraries)
    old |= {"kdbench": before.kdbench, "python": before.machine.python}
    now |= {"kdbench": after.kdbench, "python": after.machine.python}
    names = sorted(old.keys() | now.keys())
    moved = [
        f"{name} {old.get(name, 'none')} -> {now.get(name, 'none')}" for name in names if old.get(name) != now.get(name)
    ]
    moved += [f"the suite's {key}" for key in ("recipes", "lowering") if base.suite.get(key) != new.suite.get(key)]
    if before.machine.fingerprint != after.machine.fingerprint:
        moved.append(f"machine {before.machine.slug} -> {after.machine.slug}")
    if before.commit != after.commit:
        moved.append(f"commit {before.commit[:10] or 'none'} -> {after.commit[:10] or 'none'}")
    elif before.dirty or after.dirty:
        moved.append("uncommitted changes")
    return tuple(moved)


def _incomparable(base: Run, new: Run) -> str:
    if base.name != new.name:
        return f"suite {base.name!r} and suite {new.name!r} are different suites"
    one, other = base.suite["version"], new.suite["version"]
    if one != other:
        return f"suite {base.name!r} went from version {one} to {other}: its figures are no longer comparable"
    protocols = base.suite.get("protocol", {}), new.suite.get("protocol", {})
    if protocols[0] != protocols[1]:
        keys = sorted(key for key in protocols[0].keys() | protocols[1].keys() if _differ(*protocols, key))
        return f"the measuring protocols differ in {', '.join(keys)}"
    return ""


def _differ(one: Mapping[str, Any], other: Mapping[str, Any], key: str) -> bool:
    return bool(one.get(key) != other.get(key))


def _ended(record: Record) -> str:
    return record.status + (f": {record.reason}" if record.reason else "")


def _case(
    base: Record | None, new: Record, allowances: Mapping[str, float], retrained: dict[tuple[str, str], _Pairs]
) -> Iterable[Verdict]:
    if base is None:
        yield Verdict(new.case, "status", "no-baseline", None, None, "the base run has no such case")
    elif base.status != "ok" and new.status != "ok":
        both = base.status == new.status and new.status in ("not-applicable", "skipped")
        reason = (
            f"in both runs {_ended(new)}" if base.status == new.status else f"was {_ended(base)}; now {_ended(new)}"
        )
        yield Verdict(new.case, "status", "ok" if both else "incomparable", None, None, reason)
    elif new.status != "ok":
        yield Verdict(new.case, "status", "regressed", None, None, f"was ok, now {_ended(new)}")
    elif base.status != "ok":
        yield Verdict(new.case, "status", "improved", None, None, f"was {_ended(base)}; now ok")
    else:
        yield from _facts(base, new, allowances, retrained)


def _facts(
    base: Record, new: Record, allowances: Mapping[str, float], retrained: dict[tuple[str, str], _Pairs]
) -> Iterable[Verdict]:
    same = base.checkpoint_sha256 == new.checkpoint_sha256
    for metric in METRICS.values():
        before, after = base.metrics.get(metric.id), new.metrics.get(metric.id)
        if metric.tier != "exact" or (before is None and after is None):
            continue
        if before is None:
            yield Verdict(new.case, metric.id, "no-baseline", None, after, "the base run has no such figure")
        elif after is None:
            why = new.reasons.get(metric.id, "the new run has no such figure")
            yield Verdict(new.case, metric.id, "incomparable", before, None, why)
        elif metric.id in _LEARNT and not same:
            of_seeds = f"{new.pair}/{new.method}/{new.target}/s*/{new.device}"
            pairs = retrained.setdefault((of_seeds, metric.id), _Pairs())
            pairs.base.append(before)
            pairs.new.append(after)
            pairs.items = new.test_items
        else:
            yield _fact(new.case, metric.id, before, after, allowances.get(metric.id, 0.0))


def _fact(case: str, metric: str, before: float, after: float, allowance: float) -> Verdict:
    if math.isclose(before, after, rel_tol=_ROUNDING.get(metric, 1e-12), abs_tol=0.0):
        return Verdict(case, metric, "ok", before, after, "unchanged")
    worse = (after - before) * (1 if METRICS[metric].better == "lower" else -1)
    moved = f"{before:.10g} -> {after:.10g}"
    if before:
        moved += f" ({(after - before) / abs(before):+.2%})"
    if worse < 0:
        return Verdict(case, metric, "improved", before, after, moved)
    if worse <= allowance * abs(before):
        return Verdict(case, metric, "ok", before, after, f"{moved}, within the allowance of {allowance:.2%}")
    return Verdict(case, metric, "regressed", before, after, moved)


def _over_seeds(case: str, metric: str, pairs: _Pairs) -> Verdict:
    """Retraining moves a student's figures by itself, so only seeds can tell a change from luck."""
    n = len(pairs.base)
    base, new = _mean(pairs.base), _mean(pairs.new)
    if pairs.base == pairs.new:
        return Verdict(case, metric, "ok", base, new, f"unchanged over {n} retrained seed{'s' * (n > 1)}")
    resolution = (
        1 / pairs.items if pairs.items and metric in ("accuracy", "accuracy_eager", "agreement", "flips") else 0.0
    )
    interval = stats.paired_t(pairs.new, pairs.base, resolution=resolution) if n >= MIN_SEEDS else None
    moved = f"{base:.10g} -> {new:.10g}"
    if interval is None:
        reason = f"{moved}: another checkpoint, and {n} paired seed{'s' * (n > 1)} of at least {MIN_SEEDS}"
        return Verdict(case, metric, "inconclusive", base, new, reason)
    half = interval.high - interval.estimate
    reason = f"{moved}: {interval.estimate:+.4g} ±{half:.4g} over {n} paired seeds (95 % t)"
    if not interval.excludes_zero:
        return Verdict(case, metric, "inconclusive", base, new, reason)
    worse = (interval.estimate > 0) == (METRICS[metric].better == "lower")
    return Verdict(case, metric, "regressed" if worse else "improved", base, new, reason)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _blamed(verdict: Verdict, blame: str) -> Verdict:
    return Verdict(verdict.case, verdict.metric, verdict.verdict, verdict.base, verdict.new, verdict.reason + blame)
