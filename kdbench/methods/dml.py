"""Deep mutual learning."""

from typing import ClassVar

from torch import Tensor, nn

from kdbench.methods.kd import soft_divergence
from kdbench.methods.method import Method, Setting, Step
from kdbench.methods.option import Weight


class DML(Method):
    """A peer instead of a teacher: two students learn from the labels and from each other (Zhang et al. 2018).

    L = CE(z_1, y) + w KL(p_2 || p_1) + CE(z_2, y) + w KL(p_1 || p_2), of the logits z_1 of the student and z_2 of its
    peer [B, K] and p = softmax(z), all means over the batch in nats; in each KL the first network counts as given. The
    peer has the student's architecture and weights of its own. The student ships, whichever of the two turned out
    better.

    Zhang, Xiang, Hospedales and Lu 2018 ("Deep Mutual Learning"), section 2.1, with their w = 1 and no temperature.
    They update the networks in turn, each from the other's newest predictions (algorithm 1); here both learn in the
    same step from the same predictions, as is common since: fewer forwards, and which comes first cannot matter. No
    teacher is run, so the row does not depend on one; the peer's passes are in the training cost.
    """

    needs_teacher: ClassVar[bool] = False

    def __init__(self, weight: Weight = 1.0) -> None:
        """``weight``: w, what the peer says against the labels."""
        self.weight = weight

    def prepare(self, setting: Setting) -> nn.Module:
        """The peer."""
        self.peer = setting.new_student()
        return self.peer

    def losses(self, step: Step) -> dict[str, Tensor]:
        """``label`` and ``match`` of the student, ``peer_label`` and ``peer_match`` of its peer."""
        ours, theirs = step.student.logits, self.peer(step.batch.inputs).float()
        return {
            "label": step.label_loss(),
            "match": self.weight * soft_divergence(ours, theirs.detach(), 1.0),
            "peer_label": step.task.loss(theirs, step.batch.targets),
            "peer_match": self.weight * soft_divergence(theirs, ours.detach(), 1.0),
        }
