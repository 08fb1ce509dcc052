"""Transformed teacher matching."""

from typing import Annotated

from pydantic import Field
from torch import Tensor
from torch.nn import functional

from kdbench.methods.method import Method, Step
from kdbench.methods.option import Between, Weight

Exponent = Annotated[float, Field(gt=0, le=1), Between(0.05, 1)]
"""The power that the teacher's probabilities are raised to: 1 leaves them, towards 0 they become uniform."""


class TTM(Method):
    """A temperature for the teacher alone: its power transform, matched as it is (Zheng and Yang 2024).

    L = c CE(z_s, y) + b KL(q_t || softmax(z_s)), q_t = p_t^g / sum_k p_t,k^g, means over the batch in nats, of the
    logits z_s and z_t [B, K] and p_t = softmax(z_t). q_t is softmax(z_t / T) with T = 1 / g. In KD the student's logits
    are divided by T too; without that the loss contains a Renyi entropy of the student's prediction, which keeps it
    from being overconfident, and needs no T^2.

    Zheng and Yang 2024 ("Knowledge Distillation Based on Transformed Teacher Matching"), section 3. Defaults c = 1,
    g = 0.1, b = 45 are their example for vgg13 and vgg8 on CIFAR-100; they pick g and b by hand for each pair.
    """

    def __init__(self, gamma: Exponent = 0.1, beta: Weight = 45.0, label: Weight = 1.0) -> None:
        """``gamma``: g; ``beta``, ``label``: b and c."""
        self.gamma = gamma
        self.beta = beta
        self.label = label

    def losses(self, step: Step) -> dict[str, Tensor]:
        """``label`` and ``match``, with their weights."""
        match = mismatch(step.student.logits, step.teacher.logits, self.gamma)
        return {"label": self.label * step.label_loss(), "match": self.beta * match.mean()}


def mismatch(student: Tensor, teacher: Tensor, gamma: float) -> Tensor:
    """KL(q_t || softmax(z_s)) of each item [B], in nats, of logits [B, K]; q_t is the teacher's power transform."""
    log_q = functional.log_softmax(gamma * teacher, dim=1)
    log_p = functional.log_softmax(student, dim=1)
    return (log_q.exp() * (log_q - log_p)).sum(dim=1)
