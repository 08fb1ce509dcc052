"""Slow-downs: whether new programs are slower than those they replace, from duels fought until it is clear.

The unit is the fresh process, of which a bout is one: what differs between processes (where things lie in memory) is
then inside the interval. A program is ``regressed`` if a one-sided t test over its bouts, Holm-corrected for all that
are judged together, says that it is slower, by at least the least effect, and a second look in fresh processes says so
again. It is ``ok`` if it is shown to be slower by less than the effect. Undecided duels go on, and so do those in which
two copies of base differ by more than the effect; what stays undecided is ``inconclusive``, or ``noisy`` where two
copies differ by more than ``NOISY``. A program that does not run is ``incomparable``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import special

from kdbench import stats
from kdbench.errors import StageError
from kdbench.measures.duel import fight
from kdbench.store import file_sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kdbench.devices.device import Device
    from kdbench.measures.duel import Bout, Duellists

EFFECT = 0.005
"""The least slow-down that anyone is told of, as a share."""

LEVEL = 0.01
"""How often programs of which none became slower may hold one that is called so, before the second look."""

BOUTS, MOST = 5, 15
"""Processes of a duel at first, and at most."""

NOISY = 0.02
"""A difference between two copies of one program that leaves nothing to be said."""

Said = Literal["ok", "regressed", "improved", "inconclusive", "noisy", "incomparable"]


@dataclass(frozen=True, slots=True)
class Slowdown:
    """What the bouts of a duel say. Shares: 0.01 is one per cent slower.

    ``share``, ``low``, ``high``: the change and its 95 % interval; ``p``: that new is slower, and ``p_faster``, each
    one-sided and for this duel alone; ``effect``: the least change that counts here, never below what the 99th
    percentile of no change at all would be (``floor``).
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
    effect: float


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict on a program's speed, why, and what it rests on (None where the files are the same)."""

    verdict: Said
    reason: str
    slowdown: Slowdown | None


def slowdown_of(bouts: Sequence[Bout], effect: float = EFFECT) -> Slowdown:
    """What at least two bouts say together: means of log ratios, Student's t over processes."""
    moved = np.array([one.moved for one in bouts])
    still = np.array([one.still for one in bouts])
    n = len(bouts)
    zero = np.zeros(n)
    interval = stats.paired_t(moved, zero)
    assert interval is not None  # two bouts at least
    # Copies of one program differ by nothing but noise, so that their mean is known, and the squares have n degrees.
    error = math.sqrt(float(np.mean(still**2)) / n)
    floor = math.expm1(float(special.stdtrit(n, 0.99)) * error)
    return Slowdown(
        bouts=n,
        base_ns=float(np.median([one.base_ns for one in bouts])),
        new_ns=float(np.median([one.new_ns for one in bouts])),
        share=math.expm1(interval.estimate),
        low=math.expm1(interval.low),
        high=math.expm1(interval.high),
        p=stats.paired_t_below(zero, moved),
        p_faster=stats.paired_t_below(moved, zero),
        floor=floor,
        effect=max(effect, floor),
    )


def judge(
    device: Device,
    duels: Mapping[str, Duellists],
    *,
    effect: float = EFFECT,
    threads: int = 1,
    seed: int = 0,
    tell: Callable[[float, str], None] = lambda _done, _text: None,
) -> dict[str, Judged]:
    """The verdict on the speed of every new program, by name; files that are the same are not run."""
    judged = {name: Judged("ok", "the same file", None) for name, one in duels.items() if _same(one)}
    bouts: dict[str, list[Bout]] = {name: [] for name in duels if name not in judged}

    def more(names: Sequence[str], of: dict[str, list[Bout]], start: int, what: str) -> None:
        for place in range(BOUTS):
            for name in [name for name in names if name in of]:
                tell(place / BOUTS, f"{what}, process {start + place + 1}: {name}")
                try:
                    of[name].append(fight(device, duels[name], seed * 1000 + start + place, threads))
                except StageError as error:
                    del of[name]
                    judged[name] = Judged("incomparable", f"speed not judged: {error.reason}", None)

    found: dict[str, Slowdown] = {}
    said: dict[str, Said] = {}
    going = list(bouts)
    for start in range(0, MOST, BOUTS):
        more(going, bouts, start, "duel")
        found = {name: slowdown_of(fought, effect) for name, fought in bouts.items()}
        said = verdicts(found)
        going = [name for name in bouts if said[name] == "inconclusive" or _blurred(said[name], found[name], effect)]
        if not going:
            break
    again: dict[str, list[Bout]] = {name: [] for name, word in said.items() if word == "regressed"}
    more(list(again), again, MOST, "second look")
    for name, slowdown in found.items():
        if name not in judged:
            look = slowdown_of(again[name], effect) if name in again else None
            judged[name] = _judged(said[name], slowdown, look)
    return {name: judged[name] for name in duels}


def _same(duel: Duellists) -> bool:
    return file_sha256(duel.base) == file_sha256(duel.new)


def _judged(word: Said, slowdown: Slowdown, look: Slowdown | None) -> Judged:
    """The verdict, after a second look where there was one."""
    second = ""
    if look is not None:
        agrees = look.p <= LEVEL and look.share >= look.effect
        word = "regressed" if agrees else "inconclusive"
        second = f"; a second look in {look.bouts} fresh processes: {look.share:+.2%}"
        second += "" if agrees else ", which does not show it"
    if word == "inconclusive" and slowdown.floor > NOISY:
        word = "noisy"
    return Judged(word, _reason(slowdown) + second, slowdown)


def verdicts(found: Mapping[str, Slowdown]) -> dict[str, Said]:
    """What is said of each before any second look, all of them being judged together."""
    names = list(found)
    if not names:
        return {}
    slower = dict(zip(names, stats.holm([found[name].p for name in names]).tolist(), strict=True))
    faster = dict(zip(names, stats.holm([found[name].p_faster for name in names]).tolist(), strict=True))
    return {name: _said(found[name], slower[name], faster[name]) for name in names}


def _blurred(word: Said, one: Slowdown, effect: float) -> bool:
    """Whether a change that counts may hide behind what two copies of one program differ by."""
    return word == "ok" and one.floor > effect


def _said(one: Slowdown, slower: float, faster: float) -> Said:
    if slower <= LEVEL and one.share >= one.effect:
        return "regressed"
    if faster <= LEVEL and one.share <= -one.effect:
        return "improved"
    return "ok" if one.high <= one.effect <= NOISY else "inconclusive"


def _reason(one: Slowdown) -> str:
    moved = f"{one.base_ns / 1e3:.4g} us -> {one.new_ns / 1e3:.4g} us, {one.share:+.2%}"
    interval = f"95 % interval {one.low:+.2%} to {one.high:+.2%} over {one.bouts} processes"
    return f"{moved} side by side ({interval}; {one.effect:.2%} counts, two copies of base differ by {one.floor:.2%})"
