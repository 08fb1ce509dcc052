"""Quality: how right the program is on the whole test set, and what lowering changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from kdbench.measures.measure import Evidence, Figure


class Quality:
    """Accuracy of the program and of the eager network, their difference, and how often they disagree.

    ``accuracy_drop`` is eager minus program: positive where lowering cost accuracy. ``flips`` counts every changed
    prediction, also where both or neither are right. Whatever task the suite has, the ids are those of its quality
    metric; this measure is the one of tasks judged by accuracy.
    """

    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "accuracy_eager", "accuracy_drop", "flips")
    needs: ClassVar[tuple[str, ...]] = ("outputs", "eager", "targets")

    def of(self, evidence: Evidence) -> dict[str, Figure]:
        """The four figures, or for every one the reason: the task is judged by another metric."""
        assert evidence.outputs is not None
        assert evidence.eager is not None
        assert evidence.targets is not None
        task, targets = evidence.task, evidence.targets
        if task.quality != "accuracy":
            return dict.fromkeys(self.metrics, f"the task is judged by {task.quality}, not by accuracy")
        program, eager = task.predictions(evidence.outputs), task.predictions(evidence.eager)
        # Counted in items: a difference of two means would show rounding as a drop.
        right, right_eager = (int(task.correct(p, targets).sum()) for p in (program, eager))
        items = len(targets)
        return {
            "accuracy": right / items,
            "accuracy_eager": right_eager / items,
            "accuracy_drop": (right_eager - right) / items,
            "flips": float((program != eager).mean()),
        }
