"""The steady state: what the samples of fresh processes say of a program."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from kdbench.measures.latency import LEAST_FOR_P99

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

KEPT = 2000
"""Samples of one process that a record keeps, spread evenly; its statistics are of all of them."""

NOISY = 0.06
"""Process medians whose standard deviation is more than this share of their median make a figure ``noisy``."""

BETWEEN_SESSIONS = {"latency_ref": 0.003, "latency_ms": 0.007}
"""How far one session's figure lies from another's of the same machine, a standard deviation as a share of it.

All processes of a session move together, so that they do not show it. It was found in 100 sessions of four programs
over four hours, half of them beside other work (``benchmarks/results/uncertainty-before.jsonl``): 0.1 to 0.4 % of
ratios, 0.4 to 1 % of times. Other machines are taken to be no better.
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
    if len(medians) > 1 and np.std(medians, ddof=1) > NOISY * np.median(medians):
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


def half_width(metric: str, by_process: Sequence[float]) -> float | None:
    """Half of the 95 % interval of ``latency_ms`` or ``latency_ref``, from what each process says; None below two.

    The standard uncertainty has two parts, added in quadrature: that of the mean over processes, and what no session
    sees of itself (``BETWEEN_SESSIONS``). Student's t has as many degrees of freedom as Welch and Satterthwaite's
    formula gives, the second part having no end of them. JCGM 100:2008, "Guide to the expression of uncertainty in
    measurement", 4.2, 4.3, 5.1.2 and G.4.1.
    """
    n = len(by_process)
    if n < 2:
        return None
    seen = float(np.var(by_process, ddof=1)) / n
    both = seen + (BETWEEN_SESSIONS[metric] * float(np.mean(by_process))) ** 2
    freedom = (n - 1) * (both / seen) ** 2 if seen else math.inf
    return float(special.stdtrit(min(freedom, 1e9), 0.975)) * math.sqrt(both)


def thinned(samples: NDArray[np.int64], most: int = KEPT) -> NDArray[np.int32]:
    """At most ``most`` of the samples [n] in their order, spread evenly, in ns; longer ones than 2.1 s read as that."""
    places = (
        np.arange(len(samples)) if len(samples) <= most else np.linspace(0, len(samples) - 1, most).round().astype(int)
    )
    kept: NDArray[np.int32] = np.minimum(samples[places], np.iinfo(np.int32).max).astype(np.int32)
    return kept
