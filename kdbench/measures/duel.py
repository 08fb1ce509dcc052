"""Duels: a base program and a new one run side by side, so that what disturbs one disturbs the other.

A time of another minute or process says little of small changes; two programs in one process, run in turns of a few
milliseconds, say much. A bout is one fresh process: base, new and a second copy of base, loaded in random order, run in
rounds of one block each in random order. What a bout says is the logarithm of new over base, each by the tenth
percentile of its blocks: what else runs here only ever adds time, so that fast blocks are the ones that it left alone.
(Six busy processes on two cores: two copies of a program of 8 ms differ between processes by 0.8 % so, standard
deviation, and by 13 to 45 % by medians.) New is held against both copies of base; what one copy is over the other says
what this machine makes of no change.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kdbench.devices.job import Input, Interleave, Job, Load, Program

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from kdbench.devices.device import Device

FAST = 0.1
"""The share of blocks that are taken to be as fast as the one that stands for a program, or faster."""

BLOCK_NS = 3_000_000
"""How long a program runs before it is another's turn; at least one inference."""

ROUNDS = 15
"""Blocks of each program in a bout; fewer, but at least ``LEAST_ROUNDS``, of what takes longer than a block.

Twice as many say no more: what differs from process to process is where things lie, and that stays.
"""

LEAST_ROUNDS = 5

_BASE, _NEW, _AGAIN = "base", "new", "base again"


@dataclass(frozen=True, slots=True)
class Duellists:
    """Two programs that take the same ``inputs``, one array [items, *shape] an input, for their ``method``."""

    base: Path
    new: Path
    inputs: tuple[NDArray[np.generic], ...]
    method: str = "forward"


@dataclass(frozen=True, slots=True)
class Bout:
    """What one process says: log(new / base), log(base again / base), and what stands for base and new in ns.

    What stands for base is the geometric mean of its two copies.

    ``blocks``: the median of each block in ns, float64 [3, rounds]: base, new, base again.
    """

    moved: float
    still: float
    base_ns: float
    new_ns: float
    blocks: NDArray[np.float64]


def fight(device: Device, duellists: Duellists, seed: int, threads: int = 1) -> Bout:
    """One bout in a fresh process; orders are drawn from ``seed``.

    Raises:
        StageError: a program does not run on the device.
    """
    paths = {_BASE: duellists.base, _NEW: duellists.new, _AGAIN: duellists.base}
    names = list(paths)
    order = random.Random(seed)  # noqa: S311 - an order, no secret
    order.shuffle(names)
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
        threads=threads,
        pin=True,
    )
    samples = device.run(job).samples
    return bout([block_medians(samples[name], BLOCK_NS) for name in (_BASE, _NEW, _AGAIN)])


def bout(blocks: list[NDArray[np.float64]]) -> Bout:
    """What the blocks of base, new and base again say: medians in ns, [rounds] each; a round is a block of each."""
    rounds = min(len(each) for each in blocks)
    table = np.stack([each[:rounds] for each in blocks])
    first, new, again = (float(fast) for fast in np.quantile(table, FAST, axis=1))
    base = math.sqrt(first * again)
    return Bout(math.log(new / base), math.log(again / first), base, new, table)


def block_medians(samples: NDArray[np.int64], block_ns: int) -> NDArray[np.float64]:
    """The median of every block of samples [runs] in ns: a block ends with the run that fills ``block_ns``."""
    filled = np.cumsum(samples)
    medians, start, before = [], 0, 0
    while start < len(samples):
        end = int(np.searchsorted(filled, before + block_ns)) + 1
        medians.append(float(np.median(samples[start:end])))
        start, before = end, int(filled[min(end, len(samples)) - 1])
    return np.array(medians, dtype=np.float64)
