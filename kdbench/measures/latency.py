"""Latency: how long a program takes to load, for its first inference and for later ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from kdbench.devices.device import COUNTED

if TYPE_CHECKING:
    from kdbench.measures.measure import Evidence, Figure
    from kdbench.records import Speed


PACED = ("latency_paced_ms", "latency_paced_p90_ms", "latency_paced_ref", "paced_slowdown", "paced_late")
"""What ``kdbench.measures.paced`` says."""

SUSTAINED = ("latency_sustained_ms", "sustained_slowdown")
"""What ``kdbench.measures.sustained`` says."""

LEAST_FOR_P99 = 1000
"""A 99th percentile of fewer samples rests on fewer than ten of them."""


class Latency:
    """Time: of execute() in steady state, at a pace and sustained, of loading, packing and the first inference.

    ``PACED`` and ``SUSTAINED`` are there where the protocol asks for them.
    """

    metrics: ClassVar[tuple[str, ...]] = (
        "latency_ms",
        "latency_mean_ms",
        "latency_p90_ms",
        "latency_p99_ms",
        "latency_ref",
        *PACED,
        *SUSTAINED,
        "load_program_ms",
        "load_method_ms",
        "load_ms",
        "first_ms",
    )
    needs: ClassVar[tuple[str, ...]] = ("speed",)

    def of(self, evidence: Evidence) -> dict[str, Figure]:
        """The figures of the program's structure."""
        assert evidence.speed is not None
        return of_speed(evidence, latencies(evidence.speed))


def latencies(speed: Speed) -> tuple[str, ...]:
    """The metrics of ``Latency`` that a speed should have: what nobody asked for is not among them."""
    return tuple(name for name in Latency.metrics if name in speed.metrics or name not in (*PACED, *SUSTAINED))


def of_speed(evidence: Evidence, metrics: tuple[str, ...]) -> dict[str, Figure]:
    """The metrics of the evidence's speed; where one is missing, why."""
    speed = evidence.speed
    assert speed is not None
    why = absent(speed.samples)
    figures: dict[str, Figure] = {}
    for metric in metrics:
        value = speed.metrics.get(metric)
        figures[metric] = (speed.reasons.get(metric) or speed.reason or why[metric]) if value is None else value
    return figures


def absent(samples: int) -> dict[str, str]:
    """Why a speed that rests on so many samples may lack a metric, by metric."""
    return {
        "latency_p99_ms": f"needs {LEAST_FOR_P99:,} samples, there are {samples:,}",
        "latency_ref": "no reference was timed",
        **dict.fromkeys(
            ("rss_anon_bytes", "rss_file_bytes"), "this system does not tell memory of files from other memory"
        ),
        "energy_mj": "not asked for: --energy, or energy of a suite's [protocol]: rapl or meter",
        "runtime_bytes": "which libraries run programs there is not known",
        **dict.fromkeys(COUNTED, "not counted here; devices qemu:CORE count"),
    }
