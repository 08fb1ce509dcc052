"""Correlation congruence."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from kdbench.methods.feature import last
from kdbench.methods.method import Method, Setting, Shapes, Step
from kdbench.methods.option import Weight


class CC(Method):
    """Correlations between the items of a batch, congruent with the teacher's (Peng et al. 2019).

    L = CE(z_s, y) + b mean_i sum_d |r_i,d| |r_i+1,d|, the mean over the B - 1 pairs of neighbours in the batch. The
    residual r = E_s f_s - E_t f_t [B, N] lies between the last stages' features f_s [B, D_s] and f_t [B, D_t] (maps are
    flattened) after a linear embedding of each, with bias; both are trained with the student and dropped.

    Peng et al. 2019 ("Correlation Congruence for Knowledge Distillation"), section 3, in the form of the authors' code
    that the literature's comparisons run (Tian et al. 2020), with b = 0.02 and N = 128. The paper instead compares all
    pairs in a batch, by the squared distance of two kernel matrices [B, B] (bilinear, or a Gaussian's Taylor series),
    and draws batches by class. Nothing holds the teacher's embedding in place: it learns with the student's, there as
    here.
    """

    def __init__(self, beta: Weight = 0.02, width: Annotated[int, Field(ge=1, le=65536)] = 128) -> None:
        """``beta``: b, the weight of the correlations; ``width``: N, of the embeddings."""
        self.beta = beta
        self.width = width
        self.pair = ("", "")

    def taps(self, student: Shapes, teacher: Shapes) -> tuple[Sequence[str], Sequence[str]]:
        """The last stage."""
        self.pair = last(student, "student"), last(teacher, "teacher")
        return [self.pair[0]], [self.pair[1]]

    def prepare(self, setting: Setting) -> nn.Module:
        """The two embeddings."""
        ours, theirs = setting.student_shapes[self.pair[0]], setting.teacher_shapes[self.pair[1]]
        self.embeddings = nn.ModuleDict(
            OrderedDict(
                student=nn.Linear(math.prod(ours), self.width),
                teacher=nn.Linear(math.prod(theirs), self.width),
            ),
        )
        return self.embeddings

    def losses(self, step: Step) -> dict[str, Tensor]:
        """``label`` and ``correlation``, with their weights."""
        ours = self.embeddings["student"](step.student.features[self.pair[0]].flatten(1))
        theirs = self.embeddings["teacher"](step.teacher.features[self.pair[1]].flatten(1))
        residuals = (ours - theirs).abs()
        correlation = (residuals[:-1] * residuals[1:]).sum(dim=1).mean()
        return {"label": step.label_loss(), "correlation": self.beta * correlation}
