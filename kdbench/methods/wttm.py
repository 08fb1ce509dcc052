"""Weighted transformed teacher matching."""

from torch import Tensor
from torch.nn import functional

from kdbench.methods.method import Method, Step
from kdbench.methods.option import Weight
from kdbench.methods.ttm import Exponent, mismatch


class WTTM(Method):
    """TTM with more weight where the teacher is unsure (Zheng and Yang 2024).

    L = c CE(z_s, y) + b mean(u KL(q_t || softmax(z_s))), in nats, the mean over the batch, of the logits z_s and z_t
    [B, K]; q_t = p_t^g / u, p_t = softmax(z_t). An item's weight u = sum_k p_t,k^g [B] is 1 where the teacher is
    certain and K^(1 - g) where it knows nothing.

    Zheng and Yang 2024 ("Knowledge Distillation Based on Transformed Teacher Matching"), section 4. Defaults c = 1,
    g = 0.2, b = 4 are their one example of it on CIFAR-100, for vgg13 and vgg8 and beside CRD; they pick g and b by
    hand for each pair. Without CRD it is their code's loss all the same.
    """

    def __init__(self, gamma: Exponent = 0.2, beta: Weight = 4.0, label: Weight = 1.0) -> None:
        """``gamma``: g; ``beta``, ``label``: b and c."""
        self.gamma = gamma
        self.beta = beta
        self.label = label

    def losses(self, step: Step) -> dict[str, Tensor]:
        """``label`` and ``match``, with their weights."""
        student, teacher = step.student.logits, step.teacher.logits
        match = (power_sum(teacher, self.gamma) * mismatch(student, teacher, self.gamma)).mean()
        return {"label": self.label * step.label_loss(), "match": self.beta * match}


def power_sum(logits: Tensor, gamma: float) -> Tensor:
    """The sum of p^g over the classes, p = softmax(z), of each item [B] of logits [B, K]."""
    return (gamma * functional.log_softmax(logits, dim=1)).exp().sum(dim=1)
