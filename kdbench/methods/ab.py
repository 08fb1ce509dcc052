"""Activation boundaries."""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from kdbench.methods.feature import connectors, levelled, paired
from kdbench.methods.method import Method, Phase, Setting, Shapes, Step
from kdbench.methods.option import Weight
from kdbench.models.network import PRE

_FIRST = 30 / 270
"""The reference first phase: 30 epochs, before 240 with the labels."""

_SCALE = 3e-3
"""The reference factor of the sum over stages."""


class AB(Method):
    """Which neurons are active: the teacher's signs before the ReLU, then labels alone (Heo et al. 2019a).

    First L = 0.003 b sum_l 2^(l - n) mean_i sum(A(r_l(f_s^l), f_t^l)), the inner sum over channels and positions, the
    mean over items, over stages l = 1 ... n, of the features before each stage's last ReLU, f_s [B, C_s, H_s, W_s] and
    f_t [B, C_t, H_t, W_t]. The connector r is a 1x1 convolution to C_t channels with batch norm, dropped afterwards.
    With a margin m a neuron of the student pays where it is not clearly on the teacher's side of zero:

    A(s, t) = (s + m)^2 where t <= 0 and s > -m; (s - m)^2 where t > 0 and s < m; else 0.

    Then L = CE(z_s, y). Heo, Lee, Yun and Choi 2019 ("Knowledge Transfer via Distillation of Activation Boundaries
    Formed by Hidden Neurons"), equations 3 and 5; m = 1, b = 1, the weights a stage and the factor 0.003 as in the code
    of Tian et al. 2020. There the first phase has 30 epochs on top of 240; here 30 / 270 of the student's own epochs,
    so that it takes as many steps as under every method. Where the resolutions differ the larger features are averaged
    down, the teacher's before the sign is taken. Depths: ``kdbench.methods.feature.paired``.
    """

    def __init__(
        self,
        beta: Weight = 1.0,
        margin: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0,
        first: Annotated[float, Field(gt=0, lt=1)] = _FIRST,
    ) -> None:
        """``beta``: b; ``margin``: m; ``first``: the first phase's share of the training."""
        self.beta = beta
        self.margin = margin
        self.first = first
        self.pairs: list[tuple[str, str]] = []

    def taps(self, student: Shapes, teacher: Shapes) -> tuple[Sequence[str], Sequence[str]]:
        """Every stage with maps but the stem, before its last activation."""
        self.pairs = paired(student, teacher)
        return [ours + PRE for ours, _ in self.pairs], [theirs + PRE for _, theirs in self.pairs]

    def prepare(self, setting: Setting) -> nn.Module:
        """A connector a stage."""
        self.connectors = connectors(self.pairs, setting.student_shapes, setting.teacher_shapes)
        return self.connectors

    def phases(self) -> Sequence[Phase]:
        """The boundaries, then the labels."""
        return Phase("boundaries", self.first), Phase("labels", 1 - self.first, teacher=False)

    def losses(self, step: Step) -> dict[str, Tensor]:
        """``boundary``, with its weight; then ``label``."""
        if step.phase == "labels":
            return {"label": step.label_loss()}
        terms = []
        for level, (ours, theirs) in enumerate(self.pairs, start=1):
            features = self.connectors[level - 1](step.student.features[ours + PRE])
            student, teacher = levelled(features, step.teacher.features[theirs + PRE])
            terms.append(2.0 ** (level - len(self.pairs)) * crossed(student, teacher, self.margin))
        return {"boundary": _SCALE * self.beta * torch.stack(terms).sum()}


def crossed(student: Tensor, teacher: Tensor, margin: float) -> Tensor:
    """The sum of A over channels and positions of features [B, C, H, W]: a scalar, the mean over items."""
    short = torch.where(teacher > 0, margin - student, student + margin).relu()
    return short.square().sum() / len(student)
