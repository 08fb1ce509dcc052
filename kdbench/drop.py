"""Drops: whether quality fell, by the items of one checkpoint's programs or by the seeds of retrained students.

Two programs of one checkpoint are judged on the same test items: exact McNemar. Training again moves a student by
itself, so then the unit is the seed: at least ``MIN_SEEDS`` pairs of them, and a paired t test. All tests of a
comparison share ``LEVEL`` (Holm). A drop that is shown, and not shown to stay within the margin, is ``regressed``. One
that is not shown is ``ok`` only where the margin is shown to hold; else the data cannot tell: ``inconclusive``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from kdbench import stats
from kdbench.allowance import MARGIN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LEVEL = 0.01
"""How often a comparison in which no quality fell may say that one did."""

POWER = 0.8
"""How often the smallest drop that is named would have been shown."""

CONFIDENCE = 0.95
"""Of the upper end of a drop that is held against the margin."""

MIN_SEEDS = 3
"""From how many paired seeds on a retrained student's quality is judged."""

Said = Literal["ok", "regressed", "improved", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Drop:
    """How far quality fell from base to new, and what tells that from chance.

    ``fell`` and ``rose`` are one-sided p-values, 1 where nothing was ``tested``; ``high`` is the upper end of the drop;
    ``detectable`` the smallest drop that a test at a level would have shown; ``lacking`` says, for a margin and a
    level, what more data would be wanted.
    """

    told: str
    changed: bool
    tested: bool
    fell: float
    rose: float
    high: float
    detectable: Callable[[float], float]
    lacking: Callable[[float, float], str]


def of_items(lost: int, gained: int, items: int) -> Drop:
    """The drop between two programs of one checkpoint: how many test items are right on one side alone."""
    changed = lost + gained
    return Drop(
        told=f"{lost:,} items lost, {gained:,} gained of {items:,}" if changed else f"all {items:,} items as before",
        changed=changed > 0,
        tested=changed > 0,
        fell=stats.mcnemar(lost, gained),
        rose=stats.mcnemar(gained, lost),
        high=stats.paired_drop_high(lost, gained, items, CONFIDENCE),
        detectable=partial(stats.detectable_drop, changed, items, power=POWER),
        lacking=lambda _margin, _level: "",
    )


def of_seeds(base: Sequence[float], new: Sequence[float], resolution: float = 0.0) -> Drop:
    """The drop of students that were trained again, seed by seed: their quality, more being better.

    ``resolution``: the step in which a quality can differ, one test item for a share.
    """
    n = len(base)
    same, enough = list(base) == list(new), n >= MIN_SEEDS
    interval = stats.paired_t(base, new, 2 * CONFIDENCE - 1, resolution)  # its upper end alone is used
    deviation = stats.paired_deviation(base, new, resolution) if n > 1 else math.inf
    return Drop(
        told=f"retrained, {n} paired seed{'s' * (n != 1)}" + (f" of at least {MIN_SEEDS}" if not enough else ""),
        changed=not same,
        tested=enough and not same,
        fell=stats.paired_t_below(new, base, resolution) if enough else 1.0,
        rose=stats.paired_t_below(base, new, resolution) if enough else 1.0,
        high=interval.high if interval and enough else math.inf,
        detectable=lambda level: stats.detectable_mean(deviation, n, level, POWER) if enough else math.inf,
        lacking=partial(_seeds_lacking, deviation, n),
    )


def judged(drops: Sequence[Drop], margin: float = MARGIN) -> list[tuple[Said, str]]:
    """What is said of each drop of a comparison, and why: a line without the figures themselves."""
    tested = [drop for drop in drops if drop.tested]
    fell = iter(stats.holm([drop.fell for drop in tested]).tolist())
    rose = iter(stats.holm([drop.rose for drop in tested]).tolist())
    level = LEVEL / max(len(tested), 1)  # what Holm asks of the first
    said = []
    for drop in drops:
        p = (next(fell), next(rose)) if drop.tested else (1.0, 1.0)
        said.append(_judged(drop, p, margin, level))
    return said


def _judged(drop: Drop, p: tuple[float, float], margin: float, level: float) -> tuple[Said, str]:
    fell, rose = p
    smallest = drop.detectable(level)
    shown = [f"a drop of {100 * smallest:.2f} would have been shown"] if math.isfinite(smallest) else []
    if not drop.changed:
        return "ok", "; ".join([f"unchanged: {drop.told}", *shown])
    said: Said = "ok" if drop.high <= margin else "inconclusive"
    if fell <= LEVEL and drop.high > margin:
        said = "regressed"
    elif rose <= LEVEL:
        said = "improved"
    parts = [drop.told]
    if drop.tested:
        parts[0] += f", p = {rose if said == 'improved' else fell:.2g}"
        bound = f"at worst {-100 * drop.high:+.2f} points" if drop.high > 0 else "shown not to be lower"
        parts.append(f"{bound}, margin {100 * margin:.2f}")
    parts += shown
    if said == "inconclusive" and (lacking := drop.lacking(margin, level)):
        parts.append(lacking)
    return said, "; ".join(parts)


def _seeds_lacking(deviation: float, n: int, margin: float, level: float) -> str:
    if not math.isfinite(deviation) or not margin:
        return f"at least {MIN_SEEDS} seeds are needed" if n < MIN_SEEDS else ""
    wanted = stats.needed(deviation, margin, level, POWER)
    return f"{max(wanted, MIN_SEEDS)} seeds would show one of the margin" if wanted else "no 1,000 seeds would do"
