"""Probabilistic knowledge transfer."""

from collections.abc import Sequence

from torch import Tensor

from kdbench.methods.direction import directions
from kdbench.methods.feature import last
from kdbench.methods.method import Method, Shapes, Step
from kdbench.methods.option import Weight

EPSILON = 1e-7
"""Added to probabilities inside the logarithm, as in the authors' code."""


class PKT(Method):
    """Each item's neighbours as a distribution, the teacher's matched by KL (Passalis and Tefas 2018).

    L = CE(z_s, y) + b mean_ij(p_ij (log(p_ij + e) - log(q_ij + e))), the mean over all B^2 pairs and e = 1e-7. Row i of
    p (teacher) and q (student) [B, B] is (cos(f_i, f_j) + 1) / 2 divided by its sum over j, for the last stage's
    features f [B, D], flattened where they are maps. Widths need not agree.

    Passalis and Tefas 2018 ("Learning Deep Representations with Probabilistic Knowledge Transfer"), section 3, with
    cosines as the kernel of both sides, in the form of their code: j = i counts, and the mean is over pairs, which is
    1 / B of a mean over rows; hence b = 30000 (the setting of the literature's comparisons, Tian et al. 2020). A zero
    vector is at cosine 0 to all, itself among them, without gradient.
    """

    def __init__(self, beta: Weight = 30000.0) -> None:
        """``beta``: b, the weight of the divergence."""
        self.beta = beta
        self.pair = ("", "")

    def taps(self, student: Shapes, teacher: Shapes) -> tuple[Sequence[str], Sequence[str]]:
        """The last stage."""
        self.pair = last(student, "student"), last(teacher, "teacher")
        return [self.pair[0]], [self.pair[1]]

    def losses(self, step: Step) -> dict[str, Tensor]:
        """``label`` and ``neighbours``, with their weights."""
        q = neighbours(step.student.features[self.pair[0]])
        p = neighbours(step.teacher.features[self.pair[1]])
        divergence = (p * ((p + EPSILON).log() - (q + EPSILON).log())).mean()
        return {"label": step.label_loss(), "neighbours": self.beta * divergence}


def neighbours(features: Tensor) -> Tensor:
    """How near the items of features [B, ...] are to each other: rows [B, B] that sum to 1."""
    unit = directions(features.flatten(1))
    # Rounding can take the cosine of opposite vectors below -1.
    near = ((unit @ unit.T + 1) / 2).clamp_min(0)
    return near / near.sum(dim=1, keepdim=True)
