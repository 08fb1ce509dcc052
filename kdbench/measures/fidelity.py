"""Fidelity: how closely the program follows its teacher, and how well its confidence is calibrated."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kdbench.measures.measure import Evidence, Figure

NO_TEACHER = "a teacher's own row has no teacher to follow"
NEVER_WRONG = "the teacher errs on no test item"
UNKNOWN = "the task does not define it"


class Fidelity:
    """Agreement of the *program* with the eager teacher, and calibration; the task defines both.

    Fidelity is not accuracy: a student may be right more often and yet follow its teacher less (Stanton et al. 2021).
    """

    metrics: ClassVar[tuple[str, ...]] = ("agreement", "agreement_teacher_wrong", "kl_teacher", "ece")
    needs: ClassVar[tuple[str, ...]] = ("outputs", "targets")

    def of(self, evidence: Evidence) -> dict[str, Figure]:
        """A figure for each, or the reason: no teacher, a teacher that never errs, a task without such a notion."""
        assert evidence.outputs is not None
        assert evidence.targets is not None
        figures = evidence.task.fidelity(evidence.outputs, evidence.teacher, evidence.targets)
        absent = NEVER_WRONG if evidence.teacher is not None else NO_TEACHER
        return {metric: _figure(figures, metric, absent) for metric in self.metrics}


def _figure(figures: Mapping[str, float | None], metric: str, absent: str) -> Figure:
    value = figures.get(metric, UNKNOWN)
    return absent if value is None else value
