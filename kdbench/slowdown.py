"""Slow-downs: whether new programs are slower than those they replace, from duels fought until it is clear.

The unit is the fresh process, of which a bout is one: what differs between processes (where things lie in memory) is
then inside the interval. All duels of a comparison are fought bout by bout, and looked at together after each one from
the third on. A program is called slower if a one-sided t test over its bouts, Holm-corrected for all that are judged
together, says so, by at least the least effect. Looking often finds more by chance, so each look has a level of its own
by which all of them hold ``LEVEL`` (``LOOK``; simulated). What is called slower is looked at a second time, in as many
fresh processes or more (``_again``), tested at ``LEVEL`` among all that are: only what is slower there too is
``regressed``, so that however the first look came about, unchanged programs are called so in at most one of a hundred
comparisons on a device.

A program is ``ok`` if its interval ends below the effect that was asked for. Undecided duels go on, and so do those in
which no change at all may reach that effect, as long as more processes may help, be it only to keep them from being
``noisy``; what stays undecided is ``inconclusive``, or ``noisy`` where no change at all reaches ``NOISY``. A program
that does not run is ``incomparable``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import special

from kdbench import stats
from kdbench.allowance import EFFECT
from kdbench.errors import StageError
from kdbench.measures.duel import LEAST_ROUNDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kdbench.measures.duel import Bout, Duellists, Ground

LEVEL = 0.01
"""How often programs of which none became slower may hold one that is called so."""

LOOK = LEVEL / 3
"""The level of each look, by which all of them together keep within ``LEVEL`` where old and new scatter alike."""

FIRST, BOUTS, MOST = 3, 5, 15
"""Processes of a duel before the first look, before it is given up and in a second look at least, and at most."""

NOISY = 0.02
"""What no change at all may reach (``floor``) before nothing can be said."""

BRIEF_NS = 150_000_000
"""How long the least rounds of each program may take in a process that is fought only against being ``noisy``."""

Said = Literal["ok", "regressed", "improved", "inconclusive", "noisy", "incomparable"]


@dataclass(frozen=True, slots=True)
class Slowdown:
    """What the bouts of a duel say. Shares: 0.01 is one per cent slower.

    ``share``, ``low``, ``high``: the change and its 95 % interval; ``p``: that new is slower, and ``p_faster``, each
    one-sided and for this duel alone; ``asked``: the least change that was asked for; ``effect``: the least that counts
    here, never below the 99th percentile of no change (``floor``; ``least``: after ``MOST`` processes like these).
    """

    bouts: int
    base_ns: float
    new_ns: float
    share: float
    low: float
    high: float
    p: float
    p_faster: float
    floor: float
    least: float
    asked: float
    effect: float


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict on a program's speed, why, and what it rests on (None where the files are the same)."""

    verdict: Said
    reason: str
    slowdown: Slowdown | None


def slowdown_of(bouts: Sequence[Bout], effect: float = EFFECT) -> Slowdown:
    """What at least two bouts say together: means of log ratios, Student's t over processes.

    They are read in the way by which the two copies of base differ less. That is no choice among answers: what the
    copies differ by says nothing of whether new is over or under both.
    """
    readings = ([one.by_rounds for one in bouts], [one.by_fast for one in bouts])
    steadier = min(readings, key=lambda read: sum(one.still**2 for one in read))
    moved = np.array([one.moved for one in steadier])
    still = np.array([one.still for one in steadier])
    n = len(bouts)
    zero = np.zeros(n)
    interval = stats.paired_t(moved, zero)
    assert interval is not None  # two bouts at least
    # Copies of one program differ by nothing but noise, so that their mean is known, and the squares have n degrees.
    # New is held against the mean of both, which varies by three quarters of what one copy does against the other.
    error = math.sqrt(0.75 * float(np.mean(still**2)))
    # The reading whose copies differ less is one of two: half of the level each.
    floor, least = (_reached(error, of) for of in (n, max(n, MOST)))
    return Slowdown(
        bouts=n,
        base_ns=float(np.median([one.base_ns for one in steadier])),
        new_ns=float(np.median([one.new_ns for one in steadier])),
        share=math.expm1(interval.estimate),
        low=math.expm1(interval.low),
        high=math.expm1(interval.high),
        p=stats.paired_t_below(zero, moved),
        p_faster=stats.paired_t_below(moved, zero),
        floor=floor,
        least=least,
        asked=effect,
        effect=max(effect, floor),
    )


def _reached(error: float, processes: int) -> float:
    """What no change at all hardly ever reaches in so many, as a share, where a process's error is this one."""
    return math.expm1(float(special.stdtrit(processes, 0.995)) * error / math.sqrt(processes))


def _again(one: Slowdown) -> int:
    """The processes of a second look: as many as the first and five at least, and more where twice what no change would
    reach in them is more than what was seen. It is settled before the second look begins, so that this is one test.
    """
    error = math.log1p(one.floor) * math.sqrt(one.bouts) / float(special.stdtrit(one.bouts, 0.995))
    enough = (of for of in range(max(one.bouts, BOUTS), MOST) if 2 * _reached(error, of) <= one.share)
    return next(enough, MOST)


def judge(
    ground: Ground,
    duels: Mapping[str, Duellists],
    *,
    effect: float = EFFECT,
    seed: int = 0,
    tell: Callable[[float, str], None] = lambda _done, _text: None,
) -> dict[str, Judged]:
    """The verdict on the speed of every new program, by name; files that are alike there are not run."""
    judged = {name: Judged("ok", "the same file", None) for name, one in duels.items() if ground.alike(one)}
    bouts: dict[str, list[Bout]] = {name: [] for name in duels if name not in judged}
    effect = max(effect, ground.least)

    def more(names: Sequence[str], of: dict[str, list[Bout]], place: int, what: str, first: int = 0) -> None:
        for name in names:
            tell(place / MOST, f"{what}, process {place + 1}: {name}")
            try:
                of[name].append(ground.fight(duels[name], seed * 1000 + first + place))
            except StageError as error:
                del of[name]
                judged[name] = Judged("incomparable", f"speed not judged: {error.reason}", None)

    found: dict[str, Slowdown] = {}
    said: dict[str, Said] = {}
    again: dict[str, list[Bout]] = {}
    going = list(bouts)
    for place in range(MOST):
        more(going, bouts, place, "duel")
        going = [name for name in going if name in bouts]
        if place + 1 < FIRST:
            continue
        found = {name: found[name] for name in found if name in bouts}
        found |= {name: slowdown_of(bouts[name], effect) for name in going}
        said = verdicts(found, LOOK)
        again |= {name: [] for name, word in said.items() if word == "regressed"}  # and stays so, whatever others do
        going = [name for name in going if name not in again and _open(said[name], found[name])]
        if not going:
            break
    for place in range(MOST):
        more([name for name in again if place < _again(found[name])], again, place, "second look", MOST)
    looks = {name: slowdown_of(fought, effect) for name, fought in again.items()}
    confirmed = verdicts(looks, LEVEL)
    for name, slowdown in found.items():
        if name not in judged:
            judged[name] = _judged(said[name], slowdown, looks.get(name), confirmed.get(name), ground)
    return {name: judged[name] for name in duels}


def _judged(word: Said, slowdown: Slowdown, look: Slowdown | None, seen: Said | None, ground: Ground) -> Judged:
    """The verdict, after a second look that saw something, where there was one."""
    second = ""
    if look is not None:
        word = "regressed" if seen == "regressed" else "inconclusive"
        second = f"; a second look in {look.bouts} fresh {ground.unit}: {look.share:+.2%} "
        second += f"({look.low:+.2%} to {look.high:+.2%})"
        second += "" if seen == "regressed" else ", which does not show it"
    if word == "inconclusive" and slowdown.floor > max(NOISY, slowdown.asked):
        word = "noisy"
    return Judged(word, _reason(slowdown, ground) + second, slowdown)


def verdicts(found: Mapping[str, Slowdown], level: float = LEVEL) -> dict[str, Said]:
    """What one look says of each, all of them being judged together."""
    names = list(found)
    if not names:
        return {}
    slower = dict(zip(names, stats.holm([found[name].p for name in names]).tolist(), strict=True))
    faster = dict(zip(names, stats.holm([found[name].p_faster for name in names]).tolist(), strict=True))
    return {name: _said(found[name], slower[name] <= level, faster[name] <= level) for name in names}


def _said(one: Slowdown, slower: bool, faster: bool) -> Said:
    if slower and one.share >= one.effect:
        return "regressed"
    if faster and one.share <= -one.effect:
        return "improved"
    return "ok" if one.high <= one.asked else "inconclusive"


def _open(word: Said, one: Slowdown) -> bool:
    """Whether more processes may say more: whether a change that counts hides in the noise, and would come out.

    What would be ``noisy`` now and not after ``MOST`` processes goes on too, where they take no longer than they must.
    """
    brief = max(one.base_ns, one.new_ns) * LEAST_ROUNDS <= BRIEF_NS
    if word == "inconclusive" and brief and one.floor > max(NOISY, one.asked) >= one.least:
        return True
    if word == "improved" or max(one.high, -one.low, one.floor) <= one.asked:
        return False
    return one.bouts < BOUTS or one.least <= (one.asked if word == "ok" else max(one.asked, abs(one.share)))


def _reason(one: Slowdown, ground: Ground) -> str:
    moved = f"{one.base_ns / 1e3:.4g} us -> {one.new_ns / 1e3:.4g} us, {one.share:+.2%}"
    interval = f"95 % interval {one.low:+.2%} to {one.high:+.2%} over {one.bouts} {ground.unit}"
    return f"{moved} {ground.told} ({interval}; {one.effect:.2%} counts, no change at all reaches {one.floor:.2%})"
