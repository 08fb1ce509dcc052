"""Quality: how right the program is on the whole test set, and what lowering changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from kdbench.measures.measure import Evidence, Figure


MARGIN = 0.02
"""How far a program's accuracy may be below its network's for it to count as not inferior."""


INFERIOR = "its accuracy may be up to"


def inferiority(evidence: Evidence) -> str:
    """What to say of a program whose accuracy is not shown to be within ``MARGIN`` of its network's; else empty.

    By the upper end of the one-sided 95 % interval of the paired drop on the whole test set.
    """
    from kdbench.stats import paired_drop_high

    task, targets = evidence.task, evidence.targets
    if targets is None or evidence.eager is None or evidence.outputs is None or task.quality != "accuracy":
        return ""
    before, after = (task.correct(task.predictions(each), targets) for each in (evidence.eager, evidence.outputs))
    high = paired_drop_high(int((before & ~after).sum()), int((after & ~before).sum()), len(targets))
    if high <= MARGIN:
        return ""
    return f"{INFERIOR} {100 * high:.1f} points below its network's, more than {100 * MARGIN:g}"


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
