"""Training: what learning cost, on the machine where the network was trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kdbench.measures.measure import Evidence, Figure

NO_KD = "no kd of the same pair and seed to relate it to"
NO_TEACHER = "a teacher's own training is not a student's: nothing to relate it to"
NOT_COUNTED = "this network was trained before kdbench counted this"
NO_PEAK = "this system does not tell the peak of one training from that of its process"

BESIDE = "trained beside {} others that listened to the same teacher, whose memory cannot be told apart"


PASSES = ("student_steps", "student_forwards", "teacher_forwards", "own_forwards", "backwards")


class Training:
    """Seconds, rate and memory of the training that gave this network, its time relative to plain ``kd``; its passes.

    Figures of a training found in the store are those of the day it ran: they rest on one run, not on repeats, and on
    whatever else the machine did. ``train_s`` is the student's training alone, its teacher's forwards included, also
    where it shared them with other students.

    The ``PASSES`` are counted, not timed: the same on every machine, but for a teacher's forwards, which are fewer
    where its outputs are kept.
    """

    metrics: ClassVar[tuple[str, ...]] = (
        "train_s",
        "train_samples_per_s",
        "train_peak_bytes",
        "train_cost",
        *PASSES,
    )
    needs: ClassVar[tuple[str, ...]] = ("network",)

    def of(self, evidence: Evidence) -> dict[str, Figure]:
        """The figures, as ``network.json`` has them, or the reason."""
        network = evidence.network
        return {
            "train_s": float(network["seconds"]),
            "train_samples_per_s": float(network["samples_per_s"]),
            "train_peak_bytes": _peak(network),
            "train_cost": _cost(evidence),
            **{name: float(network[name]) if name in network else NOT_COUNTED for name in PASSES},
        }


def _peak(network: Mapping[str, Any]) -> Figure:
    if beside := network["beside"]:
        return BESIDE.format(beside)
    return float(network["peak_bytes"]) if network["peak_exact"] else NO_PEAK


def _cost(evidence: Evidence) -> Figure:
    if evidence.teacher is None:
        return NO_TEACHER
    if not evidence.kd_seconds:
        return NO_KD
    return float(evidence.network["seconds"]) / evidence.kd_seconds
