"""Label smoothing: the control for what soft targets alone, without a teacher's knowledge, give a student."""

from typing import ClassVar

from torch import Tensor

from kdbench.methods.method import Method, Step
from kdbench.methods.option import Share


class LabelSmoothing(Method):
    """Smoothed labels, no teacher: the control for soft targets as such.

    L = CE(z, (1 - e) y + e / K), the mean over the batch in nats, of logits z [B, K] and labels y as probabilities
    [B, K]. Szegedy et al. 2016 ("Rethinking the Inception Architecture"), section 7, with their e = 0.1. Yuan et al.
    2020 ("Revisiting Knowledge Distillation via Label Smoothing Regularization"), section 4, relate it to distillation.
    """

    needs_teacher: ClassVar[bool] = False

    def __init__(self, epsilon: Share = 0.1) -> None:
        """``epsilon``: the share of the target that is spread over all K classes."""
        self.epsilon = epsilon

    def losses(self, step: Step) -> dict[str, Tensor]:
        """``label``: the task's loss against smoothed labels."""
        return {"label": step.label_loss(smoothing=self.epsilon)}
