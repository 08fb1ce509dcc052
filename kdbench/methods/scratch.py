"""Training on labels alone: the control that every distillation method is to beat, and how teachers are trained."""

from typing import ClassVar

from torch import Tensor

from kdbench.methods.method import Method, Step


class Scratch(Method):
    """Labels alone, no teacher: the first control.

    L = CE(z, y), the mean over the batch in nats, of logits z [B, K] and labels y [B] (or probabilities [B, K]).
    """

    needs_teacher: ClassVar[bool] = False

    def losses(self, step: Step) -> dict[str, Tensor]:
        """``label``: the task's loss."""
        return {"label": step.label_loss()}
