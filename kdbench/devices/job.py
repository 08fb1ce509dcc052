"""A job: what a device is asked to run in one fresh process, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

DType = Literal["float32", "int8", "uint8", "int32", "int64", "bool", "float16", "bfloat16", "float64", "int16"]


@dataclass(frozen=True, slots=True)
class Program:
    """A program of the job and the method of it that is run."""

    name: str
    path: Path
    method: str = "forward"


@dataclass(frozen=True, slots=True)
class Input:
    """Items for one program: one array per input of its method, each [items, *the shape of that input].

    Each execute() is fed one item: row ``i`` of every array. A program of batch 1 has rows [1, ...]. An array of uint16
    holds the bits of bfloat16, which numpy lacks; outputs of that type come back alike.
    """

    name: str
    arrays: tuple[NDArray[np.generic], ...]


@dataclass(frozen=True, slots=True)
class Load:
    """Load a program, then its method; both are timed apart. A program is loaded before it is used."""

    program: str


@dataclass(frozen=True, slots=True)
class Interleave:
    """Time execute() of several programs in one process, in blocks of random order.

    First the first inference of each and a warm-up apart. Then rounds: in every round each program that is not done
    runs one block of ``block_ns`` (at least one run), in an order drawn from ``seed``. A program is done after
    ``min_runs`` runs AND ``min_ns`` inside execute(), or after ``max_ns``. ``inputs`` names each program's items, which
    are fed in turn, set before each execute(); execute() alone is timed.
    """

    programs: tuple[str, ...]
    inputs: Mapping[str, str]
    warmup_runs: int
    warmup_ns: int
    min_runs: int
    min_ns: int
    max_ns: int
    block_ns: int
    seed: int


@dataclass(frozen=True, slots=True)
class Pace:
    """Run a program at due times, or back to back where ``period_ns`` is 0, after its first inference apart.

    The k-th inference is due k periods after the first, so that lateness does not add up: it begins then, or at once
    where that is over, and between them the process sleeps. Ends after ``runs``, or with the first inference that ends
    after ``max_ns``. The items of ``input`` are fed in turn, set before each execute(). Once a program and job.
    """

    program: str
    input: str
    period_ns: int
    runs: int
    max_ns: int


@dataclass(frozen=True, slots=True)
class Predict:
    """Run every item once and keep the outputs."""

    program: str
    input: str


@dataclass(frozen=True, slots=True)
class Memory:
    """Read here what is and what at most was resident of the process; ``name`` tells readings apart."""

    name: str


StepOf = Load | Interleave | Pace | Predict | Memory


@dataclass(frozen=True, slots=True)
class Job:
    """What one process does, in order. ``threads`` is set before anything is loaded; ``pin`` keeps it on one core.

    ``cold``: the programs' files are not in the page cache when the process starts. ``huge``: where the host's system
    has them, memory that is allocated lies in huge pages; where small ones lie decides how fast weights are read that
    fit no cache.
    """

    programs: tuple[Program, ...]
    inputs: tuple[Input, ...]
    steps: tuple[StepOf, ...]
    threads: int = 1
    pin: bool = False
    cold: bool = False
    huge: bool = False
    timeout_s: float = 300.0


PROGRAM = "program"
"""What a job calls its only program."""


def alone(
    program: Program,
    inputs: tuple[NDArray[np.generic], ...],
    *steps: StepOf,
    threads: int = 1,
    pin: bool = False,
    timeout_s: float = 300.0,
) -> Job:
    """The job of one program, which is loaded before ``steps``; ``inputs`` are under its name."""
    fed = (Input(program.name, inputs),)
    return Job((program,), fed, (Load(program.name), *steps), threads, pin, timeout_s=timeout_s)


@dataclass(frozen=True, slots=True)
class Series:
    """What a ``Pace`` made: how many ``runs``, and of those that are kept, at most 65,536 and evenly spread, when each
    began (int64 [kept], ns from the start of the first) and what its execute() took (int64 [kept], ns).
    """

    runs: int
    began: NDArray[np.int64]
    taken: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Result:
    """What one process measured. Times in ns.

    ``samples[program]`` int64 [runs]: steady execute() times in the order they were taken.
    ``series[program]``: what its ``Pace`` made.
    ``outputs[program]``: one array per output of the method, each [items, *the shape of one execute()].
    ``blocks``: the program of each timed block, in their order; equal seeds give equal orders.
    ``runner``: what ran the job, as ``Device.runtime`` says it. ``threads``: read back after setting them.
    ``anonymous_bytes``, ``file_bytes``: what was resident of no file and of files when memory was read; empty where the
    system does not tell.
    """

    runner: str
    threads: int
    load_program_ns: Mapping[str, int] = field(default_factory=dict)
    load_method_ns: Mapping[str, int] = field(default_factory=dict)
    first_ns: Mapping[str, int] = field(default_factory=dict)
    samples: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    series: Mapping[str, Series] = field(default_factory=dict)
    outputs: Mapping[str, tuple[NDArray[np.generic], ...]] = field(default_factory=dict)
    peak_rss_bytes: Mapping[str, int] = field(default_factory=dict)
    anonymous_bytes: Mapping[str, int] = field(default_factory=dict)
    file_bytes: Mapping[str, int] = field(default_factory=dict)
    pinned: int | None = None
    blocks: tuple[str, ...] = ()
