"""Distillation from a stronger teacher: correlations instead of a divergence."""

from torch import Tensor
from torch.linalg import vector_norm

from kdbench.methods.method import Method, Step
from kdbench.methods.option import Temperature, Weight

EPSILON = 1e-8
"""Added to the product of two norms: a constant row correlates with nothing."""


class DIST(Method):
    """Correlation of predictions: of each item's classes and of each class's items (Huang et al. 2022).

    L = c CE(z_s, y) + T^2 (b (1 - mean_i r(p_s[i, :], p_t[i, :])) + g (1 - mean_k r(p_s[:, k], p_t[:, k]))), of the
    predictions p = softmax(z / T) [B, K] of student (s) and teacher (t), with Pearson's correlation r of two rows
    (``inter``, between classes) and of two columns (``intra``, within a class): what a positive affine change of a row,
    or of a column, leaves alone. Without unit.

    Huang, You, Wang, Qian and Xu 2022 ("Knowledge Distillation from A Stronger Teacher"), section 4. Defaults are those
    of their CIFAR-100 configuration: c = 1, T = 4, b = g = 2 (there a factor of 2 on the sum of both terms with weight
    1). T^2 and the epsilon beside the product of the norms are their code's. A batch of two items has columns of two
    numbers, whose correlation is 1 or -1 and has no gradient: use larger ones.
    """

    def __init__(
        self,
        beta: Weight = 2.0,
        gamma: Weight = 2.0,
        temperature: Temperature = 4.0,
        label: Weight = 1.0,
    ) -> None:
        """``beta``, ``gamma``, ``label``: b, g and c; ``temperature``: T."""
        self.beta = beta
        self.gamma = gamma
        self.temperature = temperature
        self.label = label

    def losses(self, step: Step) -> dict[str, Tensor]:
        """``label``, ``inter`` and ``intra``, with their weights."""
        student = (step.student.logits / self.temperature).softmax(dim=1)
        teacher = (step.teacher.logits / self.temperature).softmax(dim=1)
        weight = self.temperature**2
        return {
            "label": self.label * step.label_loss(),
            "inter": self.beta * weight * (1 - correlation(student, teacher).mean()),
            "intra": self.gamma * weight * (1 - correlation(student.T, teacher.T).mean()),
        }


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """Pearson's correlation [M] of the rows of two matrices [M, N]."""
    first = first - first.mean(dim=1, keepdim=True)
    second = second - second.mean(dim=1, keepdim=True)
    norms = vector_norm(first, dim=1) * vector_norm(second, dim=1)
    correlations: Tensor = (first * second).sum(dim=1) / (norms + EPSILON)
    return correlations
