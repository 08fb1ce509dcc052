"""Multi-level logit distillation."""

import torch
from torch import Tensor

from kdbench.methods.kd import soft_divergence
from kdbench.methods.method import Method, Step
from kdbench.methods.option import Weight

TEMPERATURES = (2.0, 3.0, 4.0, 5.0, 6.0)
"""The temperatures of the authors' code, 4 being its configured one."""


class MLKD(Method):
    """Predictions matched as items, batches and classes, at five temperatures, in a single view (Jin et al. 2023).

    L = c CE(z_s, y) + w sum_T (T^2 KL(P_t || P_s) + |P_t P_t' - P_s P_s'|^2 / B + |P_t' P_t - P_s' P_s|^2 / K), with
    P = softmax(z / T) [B, K] of teacher (t) and student (s), T = 2, 3, 4, 5, 6, ' for the transpose and squared
    Frobenius norms: ``kd`` (the mean over the batch, in nats) says what each item is, ``batch`` [B, B] which items are
    alike, ``classes`` [K, K] which classes go together.

    Jin, Wang and Lin 2023 ("Multi-Level Logit Distillation"), section 3. Three differences from their code. It shows
    each item twice, weakly and strongly augmented, and so costs two forwards of both networks a step; here, as in the
    ablation of Sun et al. 2024 ("Knowledge Distillation with Refined Logits", their code), every method sees the one
    view of the recipe. Its masks of unsure items and classes multiply terms that are already reduced to a number: they
    choose nothing and halve all three (half of the items, and of the classes, lie below the median). So there are no
    masks here and the default w = 0.45 is half of its 0.9; c = 0.1 is its own. And its matrices are not divided by
    their number of entries, which is kept: ``batch`` and ``classes`` grow with the batch.
    """

    def __init__(self, weight: Weight = 0.45, label: Weight = 0.1) -> None:
        """``weight``: w; ``label``: c."""
        self.weight = weight
        self.label = label

    def losses(self, step: Step) -> dict[str, Tensor]:
        """``label``, ``kd``, ``batch`` and ``classes``, with their weights."""
        student, teacher = step.student.logits, step.teacher.logits
        terms = [levels(student, teacher, temperature) for temperature in TEMPERATURES]
        kd, batch, classes = self.weight * torch.stack(terms).sum(dim=0)
        return {"label": self.label * step.label_loss(), "kd": kd, "batch": batch, "classes": classes}


def levels(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """The terms [3] of items, batch and classes at one temperature, of logits [B, K]."""
    items, classes = student.shape
    ours, theirs = (student / temperature).softmax(dim=1), (teacher / temperature).softmax(dim=1)
    return torch.stack(
        [
            temperature**2 * soft_divergence(student, teacher, temperature),
            (theirs @ theirs.T - ours @ ours.T).square().sum() / items,
            (theirs.T @ theirs - ours.T @ ours).square().sum() / classes,
        ]
    )
