"""Rematches: the programs of two runs or baselines whose structure changed, run side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench.catalog import load
from kdbench.errors import KdbenchError
from kdbench.likeness import moved_structures
from kdbench.slowdown import EFFECT, Judged, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kdbench.measures.duel import Duellists
    from kdbench.side import Side
    from kdbench.store import Store

Moved = tuple[str, str, str]
"""A structure of the base, the one that took its place, and the device."""


def rematches(
    before: Side,
    after: Side,
    store: Store,
    *,
    effect: float = EFFECT,
    tell: Callable[[float, str], None] = lambda _done, _text: None,
) -> Mapping[Moved, Judged]:
    """The verdict on the speed of every structure of ``after`` that took another's place, all judged together.

    Both run under the executorch that is installed. Where a program is lost, takes other inputs than the base's or does
    not run, it is ``incomparable``, with the reason.
    """
    judged: dict[Moved, Judged] = {}
    names: dict[Moved, str] = {}
    duels: dict[Moved, Duellists] = {}
    for moved, (_, record) in moved_structures(before.run, after.run).items():
        names[moved] = record.case
        try:
            duels[moved] = _duel(before, after, moved, store)
        except KdbenchError as error:
            judged[moved] = Judged("incomparable", f"speed not judged: {error}", None)
    threads = int(after.run.suite.get("protocol", {}).get("threads", 1))
    for device in dict.fromkeys(moved[2] for moved in duels):
        here = {names[moved]: duel for moved, duel in duels.items() if moved[2] == device}
        try:
            where = load("devices", device.partition(":")[0])(device)
        except KdbenchError as error:
            unjudged = Judged("incomparable", f"speed not judged: {error}", None)
            judged |= {moved: unjudged for moved in duels if moved[2] == device}
            continue
        found = judge(where, here, effect=effect, threads=threads, tell=tell)
        judged |= {moved: found[names[moved]] for moved in duels if moved[2] == device}
    return judged


def _duel(before: Side, after: Side, moved: Moved, store: Store) -> Duellists:
    from kdbench.errors import UsageError
    from kdbench.figures import made_inputs
    from kdbench.lowering.program import read_program
    from kdbench.measures.duel import Duellists

    base, new = before.program(moved[0], store), after.program(moved[1], store)
    facts, other = read_program(base, ""), read_program(new, "")
    if (facts.method, facts.inputs) != (other.method, other.inputs):
        raise UsageError("it takes other inputs than the base's program")
    return Duellists(base, new, made_inputs(facts), facts.method)
