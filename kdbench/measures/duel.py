"""Duels: a base program and a new one run side by side, so that what disturbs one disturbs the other.

A time of another minute or process says little of small changes; two programs in one process, run in turns of a
millisecond, say much. A bout is one fresh process: base, new and a second copy of base, loaded in random order, run in
rounds of one block each in random order, a block standing for itself by the lower quartile of its runs. New is held
against both copies of base; what one copy is over the other says what this machine makes of no change.

A bout is read twice, as logarithms of new over base. By rounds: the median of what each round says, since a machine
whose speed changes from second to second (another guest on its core) was as fast for all blocks of a round. By the
tenth percentile of each program's blocks: what takes the processor away for a while (more work than cores) only adds
time to the blocks it meets, which fast ones are not. Which reading is the steadier one, the copies of base say over all
bouts.
(Copies of programs of 6 us to 15 ms, twenty processes each on two cores among such guests: 0.9 % apart by rounds, 1.7 %
by fast blocks, standard deviations; with six busy processes, a program of 0.4 ms: 3.9 % and 1.4 %.)
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
    """``moved``: log(new / base), base being the geometric mean of its copies; ``still``: log(base again / base)."""

    moved: float
    still: float


@dataclass(frozen=True, slots=True)
class Bout:
    """What one process says, read by rounds and by fast blocks, and what stands for base and new in ns (fast blocks).

    ``blocks``: the lower quartile of each block in ns, float64 [3, rounds]: base, new, base again.
    """

    by_rounds: Reading
    by_fast: Reading
    base_ns: float
    new_ns: float
    blocks: NDArray[np.float64]


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
        return bout(list(_blocks(self.device, paths, duellists, seed, self.protocol).values()))


@dataclass(frozen=True, slots=True)
class Apart:
    """Two devices that one process cannot hold, such as two runtimes: a bout is a fresh process of each program.

    What a process differs by from another is then in every bout, and in what the copies of base say, so that intervals
    are as wide as that makes them; what differs between two runtimes' files by where they lie is not (``APART``).
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
            name: _blocks(sides[name][0], {name: sides[name][1]}, duellists, seed, self.protocol)[name]
            for name in _shuffled(list(sides), seed)
        }
        return bout([found[name] for name in sides])


def _shuffled(names: list[str], seed: int) -> list[str]:
    order = random.Random(seed)  # noqa: S311 - an order, no secret
    return order.sample(names, len(names))


def _blocks(
    device: Device, paths: Mapping[str, Path], duellists: Duellists, seed: int, protocol: spec.Protocol
) -> dict[str, NDArray[np.float64]]:
    """What stands for each block of each program in ns, by its name in ``paths``, all run in one fresh process."""
    names = _shuffled(list(paths), seed)
    step = Interleave(
        programs=tuple(names),
        inputs=dict.fromkeys(names, "items"),
        warmup_runs=1,
        warmup_ns=10_000_000,
        min_runs=LEAST_ROUNDS,
        min_ns=ROUNDS * BLOCK_NS,
        max_ns=60_000_000_000,
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
    return {name: block_quartiles(samples[name], BLOCK_NS) for name in paths}


def bout(blocks: list[NDArray[np.float64]]) -> Bout:
    """What the blocks of base, new and base again say, in ns, [rounds] each; a round is a block of each."""
    rounds = min(len(each) for each in blocks)
    table = np.stack([each[:rounds] for each in blocks])
    first, new, again = np.log(table)
    by_rounds = Reading(float(np.median(new - (first + again) / 2)), float(np.median(again - first)))
    first, new, again = np.log(np.quantile(table, FAST, axis=1))
    by_fast = Reading(float(new - (first + again) / 2), float(again - first))
    return Bout(by_rounds, by_fast, math.exp((first + again) / 2), math.exp(new), table)


def block_quartiles(samples: NDArray[np.int64], block_ns: int) -> NDArray[np.float64]:
    """The lower quartile of every block of samples [runs] in ns: a block ends with the run that fills ``block_ns``."""
    filled = np.cumsum(samples)
    quartiles, start, before = [], 0, 0
    while start < len(samples):
        end = int(np.searchsorted(filled, before + block_ns)) + 1
        quartiles.append(float(np.quantile(samples[start:end], 0.25)))
        start, before = end, int(filled[min(end, len(samples)) - 1])
    return np.array(quartiles, dtype=np.float64)
