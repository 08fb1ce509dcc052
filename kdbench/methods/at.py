"""Attention transfer."""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from kdbench.methods.feature import levelled, paired
from kdbench.methods.method import Method, Shapes, Step
from kdbench.methods.option import Weight


class AT(Method):
    """Attention maps: where each stage is active (Zagoruyko and Komodakis 2017).

    L = CE(z_s, y) + b sum_l mean((Q_s^l - Q_t^l)^2), the mean over items and positions, the sum over pairs of stages. Q
    [B, H W] is the mean over channels of |f|^p of a stage's features f [B, C, H, W], divided by its L2 norm over the
    positions; of unequal resolutions the larger features are averaged down first.

    Zagoruyko and Komodakis 2017 ("Paying More Attention to Attention"), equation 2 and section 3.1, in the form of the
    literature's comparisons (the authors' own code, and Tian et al. 2020): p = 2, a squared distance as a mean instead
    of a norm, b = 1000, over all stages between the stem and the pooled features. Networks of unequal depth: see
    ``kdbench.methods.feature.paired``.
    """

    def __init__(self, beta: Weight = 1000.0, power: Annotated[float, Field(ge=1)] = 2.0) -> None:
        """``beta``: the weight of the sum; ``power``: p."""
        self.beta = beta
        self.power = power
        self.pairs: list[tuple[str, str]] = []

    def taps(self, student: Shapes, teacher: Shapes) -> tuple[Sequence[str], Sequence[str]]:
        """Every stage with maps but the stem."""
        self.pairs = paired(student, teacher)
        return [ours for ours, _ in self.pairs], [theirs for _, theirs in self.pairs]

    def losses(self, step: Step) -> dict[str, Tensor]:
        """``label`` and ``attention``, with their weights."""
        terms = []
        for ours, theirs in self.pairs:
            student, teacher = levelled(step.student.features[ours], step.teacher.features[theirs])
            terms.append(functional.mse_loss(attention(student, self.power), attention(teacher, self.power)))
        return {"label": step.label_loss(), "attention": self.beta * torch.stack(terms).sum()}


def attention(maps: Tensor, power: float) -> Tensor:
    """The attention maps [B, H W] of features [B, C, H, W], each of L2 norm 1."""
    return functional.normalize(maps.abs().pow(power).mean(dim=1).flatten(1), dim=1)
