"""The flow of the solution procedure."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from kdbench.errors import UsageError
from kdbench.methods.feature import MAP, levelled, paired
from kdbench.methods.method import Method, Phase, Shapes, Step
from kdbench.methods.option import Weight

INITIALISATION = 30 / 240
"""The reference first phase, 30 epochs beside 240, as a share of the student's epochs."""


class FSP(Method):
    """How features flow from one stage to the next, learnt first and alone; then the labels (Yim et al. 2017).

    L = b sum_l mean((G_s^l - G_t^l)^2) in the first phase, L = CE(z_s, y) in the second; the mean is over items and
    entries, the sum over neighbouring stages. G^l [B, C, C'] = mean over positions of f_c f'_c', for the features
    f [B, C, H, W] of a stage and f' [B, C', H', W'] of the next, the larger of the two averaged down first. Teacher and
    student may differ in resolution, which G does not know.

    Yim, Joo, Bae and Kim 2017 ("A Gift from Knowledge Distillation"), equations 1 and 2, in the form of the
    literature's comparisons (Tian et al. 2020 and their code): all stages with maps, the stem first; average instead
    of maximum pooling; every pair with weight 1. Their -b 50 multiplies a term that is zero, as neither phase uses it,
    so b = 1 here is what they ran.

    What differs: their 30 epochs of initialisation come on top of 240. The student learns in them, and every student
    gets as many epochs here, so they are 30 of the 240; the recipe's schedule runs over each phase, where theirs keeps
    the first rate. In them the student's batch norms work on the batch, as in any training; in their code they stand
    still. The classifier learns in the second phase alone, in both.

    G needs the same widths on both sides. Other pairs are refused, as the literature's tables leave them empty: an
    adapter between would learn a flow that is not the student's. Networks of unequal depth: see
    ``kdbench.methods.feature.paired``.
    """

    def __init__(
        self,
        beta: Weight = 1.0,
        initialisation: Annotated[float, Field(gt=0, lt=1)] = INITIALISATION,
    ) -> None:
        """``beta``: b, the weight of the flow; ``initialisation``: the first phase as a share of the training."""
        self.beta = beta
        self.initialisation = initialisation
        self.pairs: list[tuple[str, str]] = []

    def taps(self, student: Shapes, teacher: Shapes) -> tuple[Sequence[str], Sequence[str]]:
        """Every stage with maps.

        Raises:
            UsageError: a network has less than two of them, or a pair has unequal widths.
        """
        deeper = paired(student, teacher)
        self.pairs = [(_stem(student, deeper[0][0], "student"), _stem(teacher, deeper[0][1], "teacher")), *deeper]
        for ours, theirs in self.pairs:
            width, expected = student[ours][0], teacher[theirs][0]
            if width != expected:
                raise UsageError(
                    f"fsp needs equal widths: stage {ours!r} of the student has {width} channels, stage {theirs!r} of "
                    f"the teacher {expected}; choose a student of the teacher's widths or another method",
                )
        return [ours for ours, _ in self.pairs], [theirs for _, theirs in self.pairs]

    def phases(self) -> Sequence[Phase]:
        """The flow, then the labels; the student learns in both."""
        return Phase("initialisation", share=self.initialisation), Phase("labels", share=1 - self.initialisation)

    def losses(self, step: Step) -> dict[str, Tensor]:
        """``flow`` with its weight in the first phase, ``label`` in the second."""
        if step.phase == "labels":
            return {"label": step.label_loss()}
        ours = flows([step.student.features[name] for name, _ in self.pairs])
        theirs = flows([step.teacher.features[name] for _, name in self.pairs])
        terms = [functional.mse_loss(*pair) for pair in zip(ours, theirs, strict=True)]
        return {"flow": self.beta * torch.stack(terms).sum()}


def flows(stages: Sequence[Tensor]) -> list[Tensor]:
    """The flow [B, C, C'] from each stage [B, C, H, W] to the next [B, C', H', W']: one less than there are stages."""
    flows = []
    for lower, upper in pairwise(stages):
        first, second = levelled(lower, upper)
        flows.append(first.flatten(2) @ second.flatten(2).mT / (first.shape[2] * first.shape[3]))
    return flows


def _stem(shapes: Shapes, deeper: str, whose: str) -> str:
    """The first stage with maps, which is another than the stage ``deeper``."""
    stem = next(name for name, shape in shapes.items() if len(shape) == MAP)
    if stem == deeper:
        raise UsageError(f"the {whose} has one stage with maps [C, H, W], and fsp needs two or more")
    return stem
