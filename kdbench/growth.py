"""Growth: whether a new program takes more memory to run than the one it replaces, by the peaks of fresh processes.

What disturbs a process only ever adds to its peak, so the least of ``PROCESSES`` stands for a program. Processes of the
two sides alternate. A change counts from ``TOLERANCE`` of what base takes on, and never below ``LEAST``: pages and
arenas of the allocator fall otherwise from process to process.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from kdbench.errors import StageError
from kdbench.measures.memory import with_program, without_program

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from kdbench.devices.device import Device
    from kdbench.measures.duel import Duellists
    from kdbench.spec import Protocol

PROCESSES = 5
"""Fresh processes of each side."""

TOLERANCE = 0.02
"""The least change that counts, as a share of what base takes."""

LEAST = 256 * 1024
"""The least change that counts, in bytes."""

APART = "not judged: two runtimes map two sets of files, and how much of each counts hangs on where it lies"
"""Why the peaks of two runtimes are shown and not judged."""

Said = Literal["ok", "regressed", "improved", "inconclusive", "incomparable"]


@dataclass(frozen=True, slots=True)
class Growth:
    """The verdict on a program's peak memory, why, and what both sides add to the runner's (None: not to be had)."""

    verdict: Said
    reason: str
    base_bytes: int | None = None
    new_bytes: int | None = None


def growths(
    base: Device,
    new: Device,
    duels: Mapping[str, Duellists],
    protocol: Protocol,
    tell: Callable[[float, str], None] = lambda _done, _text: None,
) -> dict[str, Growth]:
    """The verdict on the peak memory of every new program, by name; ``base`` and ``new`` are where each side runs.

    Where these are two, peaks are shown and not judged. ``protocol``: how many threads a process has, and how long it
    may take.
    """
    several = protocol.model_copy(update={"memory_processes": PROCESSES})
    try:
        empty = without_program(base, several).peak if duels else 0
        other = empty if new == base or not duels else without_program(new, several).peak
    except StageError as error:
        return dict.fromkeys(duels, _unjudged(error))
    found = {}
    for place, (name, duel) in enumerate(duels.items()):
        tell(place / len(duels), f"memory: {name}")
        try:
            one = growth_of(*_peaks(((base, duel.base, empty), (new, duel.new, other)), duel, protocol))
            found[name] = one if new == base else replace(one, verdict="inconclusive", reason=f"{one.reason}; {APART}")
        except StageError as error:
            found[name] = _unjudged(error)
    return found


def growth_of(base: int, new: int) -> Growth:
    """What is said of two peaks, in bytes on top of a runner that loads nothing."""
    counts = max(TOLERANCE * base, LEAST)
    said: Said = "regressed" if new - base > counts else "improved" if base - new > counts else "ok"
    change = f" ({new / base - 1:+.2%})" if base else ""
    moved = f"{base / 1e6:.2f} MB -> {new / 1e6:.2f} MB{change}"
    return Growth(said, f"{moved}, each the least of {PROCESSES} processes; {counts / 1e6:.2f} MB counts", base, new)


def _peaks(sides: tuple[tuple[Device, Path, int], ...], duel: Duellists, protocol: Protocol) -> tuple[int, int]:
    """The least peak of base and of new: of each the device, the program, and what its runner takes without one."""
    once = protocol.model_copy(update={"memory_processes": 1})
    rounds = [
        [
            max(with_program(device, path, duel.method, duel.inputs, once).peak - empty, 0)
            for device, path, empty in sides
        ]
        for _ in range(PROCESSES)
    ]
    base, new = (min(peaks) for peaks in zip(*rounds, strict=True))
    return base, new


def _unjudged(error: StageError) -> Growth:
    return Growth("incomparable", f"memory not judged: {error.reason}")
