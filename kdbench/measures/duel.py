"""Duels: a base program and a new one run side by side, so that what disturbs one disturbs the other.

A time of another minute or process says little of small changes; two programs in one process, run in turns of a
millisecond, say much. A bout is one fresh process: base, new and a second copy of base, loaded in random order, run in
rounds of one block each in random order, a block standing for itself by the lower quartile of its runs. New is held
against both copies of base; what one copy is over the other says what this machine makes of no change.

A bout is read twice, as logarithms of new over base. By rounds: medians over rounds of what new is over each copy in
the same round, since a machine whose speed changes from second to second (another guest on its core) was as fast for
all blocks of most rounds. Each copy by itself: unchanged programs are then as often over as under it, however skewed
their times are, as they are not against the mean of two. By the tenth percentile of each program's blocks: what takes
the processor away for a while (more work than cores) only adds time to the blocks that it meets, and fast ones are
those that it did not meet. Which reading is the steadier one, the copies of base say over all bouts. (Copies of
programs of 6 us to 15 ms, twenty processes each on two cores among such guests, one thread and two, beside a busy
process and without: 0.8 % apart by rounds, 2.0 % by fast blocks, geometric means of standard deviations; with six busy
processes, a program of 0.4 ms: 11 % and 1.4 %.)
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

from kdbench.devices.job import Input, Interleave, Job, Load, Program
from kdbench.store import file_sha256

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from kdbench import spec
    from kdbench.devices.device import Device

FAST = 0.1
"""The share of blocks that are taken to be as fast as the one that stands for a program, or faster."""

BLOCK_NS = 1_000_000
"""How long a program runs before it is another's turn; at least one inference."""

ROUNDS = 45
"""Blocks of each program in a bout; fewer, but at least ``LEAST_ROUNDS``, of what takes longer than a block."""

LEAST_ROUNDS = 9
"""A median of fewer rounds is much less sure; of programs so slow that they take long, see ``ENOUGH_NS``."""

ENOUGH_NS = 500_000_000
"""A program that has run for so long in a bout runs no more, however few its rounds."""

LARGE = 2**23
"""Bytes of a program from which on what is allocated, packed weights above all, lies in huge pages: which small ones a
copy has got decides how fast weights are read that fit no cache. (Copies of a program of 50 MB, on one thread of a calm
machine, were 3.2 % apart instead of 7.1 %, standard deviations.)"""

APART = 0.02
"""The least change that counts between two runtimes, as a share.

Where a library lies decides a little of how fast it is, most so in programs of a few us, and no repetition shows it.
"""

_BASE, _NEW, _AGAIN = "base", "new", "base again"


@dataclass(frozen=True, slots=True)
class Duellists:
    """Two programs that take the same ``inputs``, one array [items, *shape] an input, for their ``method``."""

    base: Path
    new: Path
    inputs: tuple[NDArray[np.generic], ...]
    method: str = "forward"


@dataclass(frozen=True, slots=True)
class Reading:
    """``moved``: log(new / base), base being the geometric mean of its copies; ``still``: log(base again / base).

    ``base_ns``, ``new_ns``: what stands for base and new.
    """

    moved: float
    still: float
    base_ns: float
    new_ns: float


@dataclass(frozen=True, slots=True)
class Bout:
    """What one process says, or three that stand for it, read by rounds and by fast blocks."""

    by_rounds: Reading
    by_fast: Reading


class Ground(Protocol):
    """Where bouts are fought."""

    @property
    def unit(self) -> str:
        """What intervals are over."""

    @property
    def told(self) -> str:
        """How the programs were run, in words."""

    @property
    def least(self) -> float:
        """The least change that can count here, as a share."""

    def alike(self, duellists: Duellists) -> bool:
        """Whether nothing can differ, so that nothing need be run."""

    def fight(self, duellists: Duellists, seed: int) -> Bout:
        """One bout; orders are drawn from ``seed``.

        Raises:
            StageError: a program does not run.
        """


@dataclass(frozen=True, slots=True)
class Together:
    """A device on which a bout is one fresh process, so that what disturbs one program disturbs the other.

    ``protocol``: how many threads a process has, and how long it may take.
    """

    device: Device
    protocol: spec.Protocol
    unit: ClassVar[str] = "processes"
    least: ClassVar[float] = 0.0
    told: ClassVar[str] = "side by side"

    def alike(self, duellists: Duellists) -> bool:
        """Whether both are the same file."""
        return file_sha256(duellists.base) == file_sha256(duellists.new)

    def fight(self, duellists: Duellists, seed: int) -> Bout:
        """One bout in a fresh process."""
        paths = {_BASE: duellists.base, _NEW: duellists.new, _AGAIN: duellists.base}
        return bout(list(_samples(self.device, paths, duellists, seed, self.protocol).values()))


@dataclass(frozen=True, slots=True)
class Apart:
    """Two devices that one process cannot hold, such as two runtimes: a bout is a fresh process of each program.

    What a process differs by from another is then in every bout, and in what the copies of base say, so that intervals
    are as wide as that makes them; what differs between two runtimes' files by where they lie is not (``APART``).
    Blocks of a round did not run together there, so that fast blocks are mostly the steadier reading.
    """

    base: Device
    new: Device
    protocol: spec.Protocol
    unit: ClassVar[str] = "rounds of three processes"
    least: ClassVar[float] = APART

    @property
    def told(self) -> str:
        """Which runtime ran which side."""
        return f"in turns, base on {self.base.runtime}, new on {self.new.runtime}"

    def alike(self, duellists: Duellists) -> bool:  # noqa: ARG002 - another runtime may run the same file otherwise
        """Never."""
        return False

    def fight(self, duellists: Duellists, seed: int) -> Bout:
        """One bout in three fresh processes."""
        sides = {
            _BASE: (self.base, duellists.base),
            _NEW: (self.new, duellists.new),
            _AGAIN: (self.base, duellists.base),
        }
        found = {
            name: _samples(sides[name][0], {name: sides[name][1]}, duellists, seed, self.protocol)[name]
            for name in _shuffled(list(sides), seed)
        }
        return bout([found[name] for name in sides])


def _shuffled(names: list[str], seed: int) -> list[str]:
    order = random.Random(seed)  # noqa: S311 - an order, no secret
    return order.sample(names, len(names))


def _samples(
    device: Device, paths: Mapping[str, Path], duellists: Duellists, seed: int, protocol: spec.Protocol
) -> dict[str, NDArray[np.int64]]:
    """What each run of each program took in ns, by its name in ``paths``, all run in one fresh process."""
    names = _shuffled(list(paths), seed)
    step = Interleave(
        programs=tuple(names),
        inputs=dict.fromkeys(names, "items"),
        warmup_runs=1,
        warmup_ns=10_000_000,
        min_runs=LEAST_ROUNDS,
        min_ns=ROUNDS * BLOCK_NS,
        max_ns=ENOUGH_NS,
        block_ns=BLOCK_NS,
        seed=seed,
    )
    job = Job(
        programs=tuple(Program(name, path, duellists.method) for name, path in paths.items()),
        inputs=(Input("items", duellists.inputs),),
        steps=(*(Load(name) for name in names), step),
        threads=protocol.threads,
        pin=True,
        huge=max(path.stat().st_size for path in (duellists.base, duellists.new)) >= LARGE,
        timeout_s=protocol.timeout_seconds,
    )
    samples = device.run(job).samples
    return {name: samples[name] for name in paths}


def bout(samples: list[NDArray[np.int64]]) -> Bout:
    """What the runs of base, new and base again in ns, [runs] each, say; a round is a block of each."""
    told = [in_blocks(each, BLOCK_NS) for each in samples]
    # A block's first runs find caches that others have filled, so as many runs stand for each program's.
    runs = min(int(np.median([len(block) for block in blocks])) for blocks in told)
    rounds = min(len(blocks) for blocks in told)
    table = np.log([[np.quantile(block[:runs], 0.25) for block in blocks[:rounds]] for blocks in told])
    first, new, again = table
    over = float(np.median(new - first) + np.median(new - again)) / 2
    by_rounds = _reading(over, float(np.median(again - first)), *np.median(table, axis=1))
    first, new, again = np.quantile(table, FAST, axis=1)
    return Bout(by_rounds, _reading(float(new - (first + again) / 2), float(again - first), first, new, again))


def _reading(moved: float, still: float, first: float, new: float, again: float) -> Reading:
    return Reading(moved, still, math.exp((first + again) / 2), math.exp(new))


def in_blocks(samples: NDArray[np.int64], block_ns: int) -> list[NDArray[np.int64]]:
    """Samples [runs] in ns, block by block: a block ends with the run that fills ``block_ns``."""
    filled = np.cumsum(samples)
    blocks, start, before = [], 0, 0
    while start < len(samples):
        end = int(np.searchsorted(filled, before + block_ns)) + 1
        blocks.append(samples[start:end])
        start, before = end, int(filled[min(end, len(samples)) - 1])
    return blocks
