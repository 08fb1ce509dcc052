"""The steady state: what the samples of fresh processes say of a program."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kdbench.measures.latency import LEAST_FOR_P99
from kdbench.stats import t_half_width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

KEPT = 2000
"""Samples of one process that a record keeps, spread evenly; its statistics are of all of them."""

NOISY = 0.10
"""Process medians that spread further than this share of their median make a figure ``noisy``."""

BETWEEN_SESSIONS = 0.003
"""How far one session's figure lies from another's of the same machine, a standard deviation as a share of it.

Ratios of four programs moved by 0.1 to 0.4 % in 100 sessions over four hours (``benchmarks/uncertainty.py``), and all
processes of a session move together, so that they do not show it.
"""


@dataclass(frozen=True, slots=True)
class Steady:
    """What the samples of a program say: how many there are, each process's median and its ratio to the reference's,
    figures by metric, and doubts.
    """

    samples: int
    medians_ms: tuple[float, ...]
    ratios: tuple[float, ...]
    metrics: dict[str, float | None]
    flags: tuple[str, ...]


def steady(processes: Sequence[NDArray[np.int64]], ruler: Sequence[NDArray[np.int64]], least: int) -> Steady:
    """The steady state of a program, from its samples in ns by process; quantiles are of all of them.

    ``ruler``: the reference program's samples in the same processes, or nothing where it was not timed there.
    ``least``: how many samples of a process are enough.
    """
    medians = np.array([np.median(samples) for samples in processes])
    pooled = np.concatenate(processes)
    p50, p90, p99 = (float(q) / 1e6 for q in np.percentile(pooled, (50, 90, 99), method="linear"))
    flags = []
    if any(len(samples) < least for samples in processes):
        flags.append("few-samples")
    if np.ptp(medians) > NOISY * np.median(medians):
        flags.append("noisy")
    ratios = tuple(float(m / np.median(r)) for m, r in zip(medians, ruler, strict=True)) if ruler else ()
    metrics = {
        "latency_ms": p50,
        "latency_mean_ms": float(pooled.mean()) / 1e6,
        "latency_p90_ms": p90,
        "latency_p99_ms": p99 if len(pooled) >= LEAST_FOR_P99 else None,
        "latency_ref": float(np.median(ratios)) if ratios else None,
    }
    return Steady(len(pooled), tuple(float(median) / 1e6 for median in medians), ratios, metrics, tuple(flags))


def half_width(by_process: Sequence[float]) -> float | None:
    """Half of the 95 % interval of a latency or of its ratio, from what each process says; None below two.

    Two parts add up in quadrature: Student's interval over processes, and what no session sees of itself
    (``BETWEEN_SESSIONS``). JCGM 100:2008, "Guide to the expression of uncertainty in measurement", calls them type A
    (4.2) and type B (4.3), and adds them so (5.1.2).
    """
    seen = t_half_width(by_process)
    return None if seen is None else math.hypot(seen, 1.96 * BETWEEN_SESSIONS * float(np.mean(by_process)))


def thinned(samples: NDArray[np.int64], most: int = KEPT) -> NDArray[np.int32]:
    """At most ``most`` of the samples [n] in their order, spread evenly, in ns; longer ones than 2.1 s read as that."""
    places = (
        np.arange(len(samples)) if len(samples) <= most else np.linspace(0, len(samples) - 1, most).round().astype(int)
    )
    kept: NDArray[np.int32] = np.minimum(samples[places], np.iinfo(np.int32).max).astype(np.int32)
    return kept
