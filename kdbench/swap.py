"""Swaps: one program file in the place of another, judged without any run: exact facts, speed and peak memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench.allowance import EFFECT
from kdbench.devices.device import Counter
from kdbench.errors import UsageError
from kdbench.gate import fact
from kdbench.likeness import ONE_RUNTIME, served
from kdbench.lowering.contents import read_contents
from kdbench.rematch import duel, fought, opened, unjudged
from kdbench.spec import Protocol
from kdbench.verdict import Comparison, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from kdbench.devices.device import Device
    from kdbench.lowering.contents import Contents
    from kdbench.verdict import Word

_FACTS = ("size_bytes", "download_bytes", "weight_bytes", "arena_bytes")

UNSEEN = "quality and parameters are not judged: two files do not say them, two runs of a suite do"
"""What the comparison of two files leaves out."""

UNREAD = "MACs are not judged: the bytes of {} do not say them"


def swap(
    base: Path,
    new: Path,
    allowances: Mapping[str, float] | None = None,
    *,
    device: str = "host",
    effect: float | None = EFFECT,
    runtime: Device | None = None,
    tell: Callable[[float, str], None] = lambda _done, _text: None,
) -> Comparison:
    """What changes where the program ``new`` takes the place of ``base``; of each the first method is looked at.

    ``allowances`` as for ``gate.compare``. Programs of one structure run alike; others run side by side on ``device``,
    with one thread, unless ``effect`` is None. Where ``runtime`` runs base, all do.

    Raises:
        UsageError: no such file or device, no program, or a device that cannot time.
    """
    before, after = read_contents(base), read_contents(new)
    where = opened(device, runtime)
    if isinstance(where, Counter):
        raise UsageError(f"device {device!r}: {where.untimed}; kdbench measure counts")
    verdicts = [*_facts(new.name, before, after, allowances or {})]
    notes = [UNSEEN]
    if unread := [name for name, of in ((str(base), before), (str(new), after)) if of.macs is None]:
        notes.append(UNREAD.format(" and ".join(unread)))
    if before.structure == after.structure and runtime is None:
        notes.insert(0, f"speed and memory need no judging: the two have one structure, {ONE_RUNTIME}")
    elif effect is None:
        notes.insert(0, "speed and memory are not judged")
    else:
        try:
            duels = {new.name: duel(base, new)}
        except UsageError as error:
            rematch = unjudged(error)
        else:
            rematch = fought(where, duels, protocol=Protocol(), effect=effect, runtime=runtime, tell=tell)[new.name]
            notes.insert(0, f"the programs were run on {device}, {served(runtime)}")
        verdicts += rematch.verdicts(new.name)
    return Comparison(new.name, str(base), str(new), tuple(verdicts), notes=tuple(notes))


def _facts(case: str, before: Contents, after: Contents, allowances: Mapping[str, float]) -> Iterable[Verdict]:
    pairs = {name: (float(getattr(before.facts, name)), float(getattr(after.facts, name))) for name in _FACTS}
    shares = _delegated(before), _delegated(after)
    for name, (was, now) in {
        **pairs,
        "delegated": shares,
        "quantized_share": (before.facts.quantized_share, after.facts.quantized_share),
    }.items():
        if was is not None and now is not None:
            yield fact(case, name, was, now, allowances.get(name, 0.0))
        elif was is not None or now is not None:
            side = "base's" if was is None else "new"
            why = f"the bytes of the {side} program do not say it"
            yield Verdict(case, name, "incomparable", was, now, why)
    if before.macs is not None and after.macs is not None:
        yield fact(case, "macs", before.macs, after.macs, allowances.get("macs", 0.0))
    yield _operators(case, before.facts.operators, after.facts.operators)


def _delegated(of: Contents) -> float | None:
    """The share of operators inside delegates, None where only the backend can read them."""
    counts = [sum(known.values()) if known is not None else None for known in of.delegated.values()]
    if None in counts:
        return None
    inside, outside = sum(count for count in counts if count), sum(of.facts.operators.values())
    return inside / (inside + outside) if inside + outside else 0.0


def _operators(case: str, before: Mapping[str, int], after: Mapping[str, int]) -> Verdict:
    """How many operators run outside delegates, and which are new and gone."""
    was, now = sum(before.values()), sum(after.values())
    word: Word = "regressed" if now > was else "improved" if now < was else "ok"
    moved = [
        f"{after.get(name, 0) - before.get(name, 0):+d} {name}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name, 0) != after.get(name, 0)
    ]
    reason = f"outside delegates {was} -> {now}: {', '.join(moved)}" if moved else "unchanged"
    return Verdict(case, "operators", word, was, now, reason)
