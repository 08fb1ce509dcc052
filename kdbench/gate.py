"""The gate: two runs compared, like with like."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from kdbench import drop
from kdbench.allowance import MARGIN
from kdbench.budgets import ended, judged_budgets
from kdbench.likeness import ONE_RUNTIME, apart, speed_note, suspects_of
from kdbench.measures.metric import METRICS
from kdbench.verdict import Comparison, Verdict, Word

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from kdbench.drop import Drop
    from kdbench.records import Record, Run
    from kdbench.rematch import Rematch

    Correct = Mapping[str, NDArray[np.bool_]]

_LEARNT = frozenset(
    {
        "accuracy", "accuracy_eager", "accuracy_drop", "flips", "agreement", "agreement_teacher_wrong", "kl_teacher",
        "ece",
    },
)  # fmt: skip
"""Exact facts of what networks and programs say of items."""

_OF_VALUES = frozenset({"download_bytes", "size_bytes", "weight_bytes"})
"""Exact facts that follow from a checkpoint's values too, so that retraining moves them: deflate sees the weights, and
equal constants (int8 scales, zero points) are stored once. Other bytes of another structure are no such accident.
"""

VALUES_MOVE = 0.02
"""By which share of it retraining may make a program of the same structure larger, before that counts as growth.

Over the seeds of all committed runs values alone move a program's size by at most 1.2 % (Ethos-U, which compresses
weights), XNNPACK's by 0.8 %.
"""

FOLLOWED = "moved with what it follows from, not tested"
"""How the reason of a figure ends that a run keeps nothing to test by."""

_ROUNDING = {"kl_teacher": 1e-4, "ece": 1e-4}
"""Relative differences that other processors' instruction sets make in real-valued facts."""


@dataclass(slots=True)
class _Rules:
    """What a comparison goes by, and what it puts off until all cases are seen: quality, and retrained students."""

    allowances: Mapping[str, float]
    right: tuple[Correct, Correct]
    drops: list[tuple[Verdict, Drop]] = field(default_factory=list)
    retrained: dict[tuple[str, str], list[tuple[Record, Record]]] = field(default_factory=dict)


def compare(
    base: Run,
    new: Run,
    allowances: Mapping[str, float] | None = None,
    *,
    right: tuple[Correct, Correct] = ({}, {}),
    margin: float = MARGIN,
    rematched: Mapping[str, Rematch] | None = None,
    by: str = ONE_RUNTIME,
) -> Comparison:
    """What changed from ``base`` to ``new``: exact facts, quality, how cases ended, the budgets of ``new``'s suite.

    An exact fact may grow worse by the share ``allowances[metric]`` of its old value (default 0). Quality is judged
    as ``drop`` says, by ``right``: which items the program of each case had right, before and after. What else follows
    from predictions is judged only where there is an allowance for it: a run keeps no outputs to test it by.
    ``rematched``: what ``rematch.rematches`` says of structures that changed, by case; without it neither speed nor
    peak memory is judged, as the notes say. ``by``: what ran them, in words.
    """
    suspects = suspects_of(base, new)
    if reason := apart(base.suite, new.suite):
        nothing = Verdict("*", "*", "incomparable", None, None, reason)
        return Comparison(new.name, base.id, new.id, (nothing,), suspects)
    old = {record.case: record for record in base.records}
    rules = _Rules(allowances or {}, right)
    verdicts: list[Verdict] = []
    for record in new.records:
        verdicts += _case(old.pop(record.case, None), record, rules)
    for (of_seeds, metric), pairs in rules.retrained.items():
        verdicts += _over_seeds(of_seeds, metric, pairs, rules)
    said = drop.judged([quality for _, quality in rules.drops], margin)
    verdicts += [
        replace(verdict, verdict=word, reason=f"{verdict.reason}{why}")
        for (verdict, _), (word, why) in zip(rules.drops, said, strict=True)
    ]
    for case, rematch in (rematched or {}).items():
        verdicts += rematch.verdicts(case)
    notes = [speed_note(base, new, len(rematched or {}), by)]
    if old and new.partial:
        notes.append(f"the new run is partial: {len(old)} cases of the base were left out")
    elif old:
        verdicts += [
            Verdict(case, "status", "incomparable", None, None, "the new run lacks this case of the base")
            for case in old
        ]
    blame = f" (suspects: {', '.join(suspects)})" if suspects else ""
    told = [
        replace(verdict, reason=verdict.reason + blame) if verdict.verdict == "regressed" else verdict
        for verdict in verdicts
    ]
    return Comparison(new.name, base.id, new.id, (*told, *judged_budgets(new)), suspects, tuple(notes))


def _case(base: Record | None, new: Record, rules: _Rules) -> Iterable[Verdict]:
    if base is None:
        yield Verdict(new.case, "status", "no-baseline", None, None, "the base run has no such case")
    elif base.status != "ok" and new.status != "ok":
        both = base.status == new.status and new.status in ("not-applicable", "skipped")
        reason = f"in both runs {ended(new)}" if base.status == new.status else f"was {ended(base)}; now {ended(new)}"
        yield Verdict(new.case, "status", "ok" if both else "incomparable", None, None, reason)
    elif new.status != "ok":
        yield Verdict(new.case, "status", "regressed", None, None, f"was ok, now {ended(new)}")
    elif base.status != "ok":
        yield Verdict(new.case, "status", "improved", None, None, f"was {ended(base)}; now ok")
    else:
        yield from _facts(base, new, rules)


def _facts(base: Record, new: Record, rules: _Rules) -> Iterable[Verdict]:
    same = base.checkpoint_sha256 == new.checkpoint_sha256
    if new.quality not in METRICS:
        yield _untested(new, base.metrics.get(new.quality), new.metrics.get(new.quality), same=same)
    of_seeds = f"{new.pair}/{new.method}/{new.target}/s*/{new.device}"
    for metric in METRICS.values():
        before, after = base.metrics.get(metric.id), new.metrics.get(metric.id)
        if metric.tier != "exact" or (before is None and after is None):
            continue
        if before is None:
            yield Verdict(new.case, metric.id, "no-baseline", None, after, "the base run has no such figure")
        elif after is None:
            why = new.reasons.get(metric.id, "the new run has no such figure")
            yield Verdict(new.case, metric.id, "incomparable", before, None, why)
        elif not same and metric.id in (_LEARNT | _OF_VALUES if base.structure == new.structure else _LEARNT):
            rules.retrained.setdefault((of_seeds, metric.id), []).append((base, new))
        elif metric.id == new.quality:
            yield from _by_items(new, before, after, rules)
        elif metric.id in _LEARNT:
            yield _followed(new.case, metric.id, before, after, rules)
        else:
            yield fact(new.case, metric.id, before, after, rules.allowances.get(metric.id, 0.0))


def _untested(new: Record, before: float | None, after: float | None, *, same: bool) -> Verdict:
    """What is said of a quality that is a plug-in's: whether it rose or fell, only what did not change can tell."""
    if same and before is not None and before == after:
        return Verdict(new.case, new.quality, "ok", before, after, "unchanged")
    why = "a quality that kdbench does not know, so no test says whether it fell"
    return Verdict(new.case, new.quality, "incomparable", before, after, why)


def fact(case: str, metric: str, before: float, after: float, allowance: float) -> Verdict:
    """The verdict on an exact fact, which may grow worse by the share ``allowance`` of what it was."""
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


def _followed(case: str, metric: str, before: float, after: float, rules: _Rules) -> Verdict:
    """What follows from predictions or weights moves with them: judged where there is an allowance, else shown."""
    verdict = fact(case, metric, before, after, rules.allowances.get(metric, 0.0))
    if verdict.reason == "unchanged" or metric in rules.allowances:
        return verdict
    return replace(verdict, verdict="inconclusive", reason=f"{verdict.reason}: {FOLLOWED}")


def _by_items(new: Record, before: float, after: float, rules: _Rules) -> Iterable[Verdict]:
    """The quality of two programs of one checkpoint, judged on the same items."""
    was, now = (right.get(new.case) for right in rules.right)
    moved = _percent(new.quality, before, after)
    if was is None or now is None:
        fell = (after - before) * (1 if METRICS[new.quality].better == "lower" else -1) > 0
        word: Word = "ok" if before == after else "incomparable" if fell else "inconclusive"
        yield Verdict(new.case, new.quality, word, before, after, f"{moved}: no items are at hand to test it by")
    elif len(was) != len(now):
        why = f"judged on {len(was):,} items before and on {len(now):,} now"
        yield Verdict(new.case, new.quality, "incomparable", before, after, why)
    else:
        of = drop.of_items(int((was & ~now).sum()), int((now & ~was).sum()), len(now))
        rules.drops.append(
            (Verdict(new.case, new.quality, "ok", before, after, f"{moved}: " if of.changed else ""), of)
        )


def _over_seeds(case: str, metric: str, pairs: Sequence[tuple[Record, Record]], rules: _Rules) -> Iterable[Verdict]:
    """Retraining moves a student's figures by itself, so only seeds can tell a change of quality from luck."""
    base, new = ([record.metrics[metric] or 0.0 for record in records] for records in zip(*pairs, strict=True))
    before, after = (math.fsum(values) / len(values) for values in (base, new))
    record = pairs[0][1]
    if metric != record.quality:
        verdict = _followed(case, metric, before, after, rules)
        if metric == "size_bytes" and metric not in rules.allowances and after > (1 + VALUES_MOVE) * before:
            reason = verdict.reason.replace(FOLLOWED, f"other values alone move it by no more than {VALUES_MOVE:.0%}")
            verdict = replace(verdict, verdict="regressed", reason=reason)
        yield verdict
        return
    if len(sizes := {one.test_items for pair in pairs for one in pair}) > 1:
        yield Verdict(
            case, metric, "incomparable", before, after, f"judged on {' and on '.join(map(str, sorted(sizes)))} items"
        )
        return
    sign = 1 if METRICS[metric].better == "higher" else -1
    of = drop.of_seeds(
        [sign * value for value in base],
        [sign * value for value in new],
        1 / record.test_items if record.test_items else 0.0,
    )
    moved = f"{_percent(metric, before, after)}: " if of.changed else ""
    rules.drops.append((Verdict(case, metric, "ok", before, after, moved), of))


def _percent(metric: str, before: float, after: float) -> str:
    declared = METRICS[metric]
    one, other = (f"{value * declared.scale:.{declared.digits}f} {declared.shown_unit}" for value in (before, after))
    return f"{one} -> {other}"
