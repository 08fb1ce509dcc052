"""Rematches: programs whose structure changed, run beside those whose place they took, for speed and for memory."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kdbench.allowance import EFFECT
from kdbench.devices.device import Counter, device_named
from kdbench.errors import KdbenchError, UsageError
from kdbench.growth import Growth, growths
from kdbench.likeness import met_structures, moved_structures
from kdbench.measures.duel import Apart, Duellists, Together
from kdbench.slowdown import Judged, judge
from kdbench.spec import protocol_of
from kdbench.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from kdbench.devices.device import Device
    from kdbench.side import Side
    from kdbench.spec import Protocol
    from kdbench.store import Store


@dataclass(frozen=True, slots=True)
class Rematch:
    """What running both programs says."""

    speed: Judged
    memory: Growth

    def verdicts(self, case: str) -> tuple[Verdict, Verdict]:
        """The same, as verdicts on ``latency_ms`` and ``peak_rss_bytes`` of a case."""
        slow, memory = self.speed.slowdown, self.memory
        was, now = (slow.base_ns / 1e6, slow.new_ns / 1e6) if slow else (None, None)
        return (
            Verdict(case, "latency_ms", self.speed.verdict, was, now, self.speed.reason),
            Verdict(case, "peak_rss_bytes", memory.verdict, memory.base_bytes, memory.new_bytes, memory.reason),
        )


def rematches(
    before: Side,
    after: Side,
    store: Store,
    *,
    effect: float = EFFECT,
    runtime: Device | None = None,
    tell: Callable[[float, str], None] = lambda _done, _text: None,
) -> dict[str, Rematch]:
    """What is said of every structure of ``after`` that took another's place, by its first case, all judged together.

    Both run under the executorch that is installed, unless ``runtime`` runs the base's programs: then every structure
    is run. Where a program is lost, takes other inputs than the base's or does not run, it is ``incomparable``, with
    the reason. On devices that count, nothing is run: counts are exact facts.
    """
    rematched: dict[str, Rematch] = {}
    moved = (met_structures if runtime else moved_structures)(before.run, after.run)
    protocol = protocol_of(after.run.suite)
    for device in dict.fromkeys(key[2] for key in moved):
        here = {case: key for key, case in moved.items() if key[2] == device}
        try:
            if isinstance(device_named(device), Counter):
                continue
            where = opened(device, runtime)
        except KdbenchError as error:
            rematched |= dict.fromkeys(here, unjudged(error))
            continue
        duels: dict[str, Duellists] = {}
        for case, key in here.items():
            try:
                duels[case] = duel(before.program(key[0], store), after.program(key[1], store))
            except KdbenchError as error:
                rematched[case] = unjudged(error)
        rematched |= fought(where, duels, effect=effect, protocol=protocol, runtime=runtime, tell=tell)
    return {case: rematched[case] for case in moved.values() if case in rematched}


def opened(device: str, runtime: Device | None) -> Device:
    """The device of this name; ``runtime``, where base runs, must be the same machine.

    Raises:
        UsageError: there is no such device, or it is not where ``runtime`` is.
    """
    where = device_named(device)
    if runtime is not None and runtime.name != where.name:
        raise UsageError(f"the base's own executorch runs programs on {runtime.name}, not on {device}")
    return where


def fought(
    device: Device,
    duels: Mapping[str, Duellists],
    *,
    effect: float = EFFECT,
    protocol: Protocol,
    runtime: Device | None = None,
    tell: Callable[[float, str], None] = lambda _done, _text: None,
) -> dict[str, Rematch]:
    """What is said of every duel on a device, by its name; ``runtime`` is where base runs, if not there too."""
    ground = Apart(runtime, device, protocol) if runtime else Together(device, protocol)
    # Orders of one comparison are not those of the next, else what a place in them does would be a bias of all.
    speeds = judge(ground, duels, effect=effect, seed=secrets.randbelow(2**20), tell=tell)
    memory = growths(runtime or device, device, duels, protocol, tell)
    return {name: Rematch(speeds[name], memory[name]) for name in duels}


def duel(base: Path, new: Path) -> Duellists:
    """Two programs, and items made up for both.

    Raises:
        UsageError: they take different inputs, or such as cannot be made up.
    """
    from kdbench.figures import made_inputs
    from kdbench.lowering.program import read_program

    facts, other = read_program(base, ""), read_program(new, "")
    if (facts.method, facts.inputs) != (other.method, other.inputs):
        raise UsageError("it takes other inputs than the base's program")
    return Duellists(base, new, made_inputs(facts), facts.method)


def unjudged(error: KdbenchError) -> Rematch:
    """What is said where a program cannot be run."""
    speed = Judged("incomparable", f"speed not judged: {error}", None)
    return Rematch(speed, Growth("incomparable", f"memory not judged: {error}"))
