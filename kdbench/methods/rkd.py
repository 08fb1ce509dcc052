"""Relational knowledge distillation."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

from kdbench.methods.direction import TINY, directions, lengths
from kdbench.methods.feature import last
from kdbench.methods.method import Method, Shapes, Step
from kdbench.methods.option import Weight


class RKD(Method):
    """Distances between items and angles among three of them, as in the teacher (Park et al. 2019).

    L = CE(z_s, y) + d mean_ij h(D_s - D_t) + a mean_ijk h(A_s - A_t), with Huber's h(x) = x^2 / 2 for |x| < 1, else
    |x| - 1/2. Of the last stage's features f [B, D], flattened where they are maps:

    D_ij = |f_i - f_j|, divided by the mean over all pairs of different items, [B, B];
    A_ijk = cos of the angle at f_i between f_j and f_k, [B, B, B].

    Both are free of scale, and of the width of f. Park, Kim, Lu and Cho 2019 ("Relational Knowledge Distillation"),
    section 3.2, with d = 25 and a = 50 on the pooled features, as in the literature's comparisons (Tian et al. 2020).
    The means are over all places, as in the authors' code: those of an item with itself, where both sides agree, count
    too. Differences are taken item by item instead of from inner products, which lose near neighbours in
    fp32; items at the same place have neither a direction nor a gradient here, where those codes divide by 1e-12.
    """

    def __init__(self, distance: Weight = 25.0, angle: Weight = 50.0) -> None:
        """``distance`` and ``angle``: the weights d and a."""
        self.distance = distance
        self.angle = angle
        self.pair = ("", "")

    def taps(self, student: Shapes, teacher: Shapes) -> tuple[Sequence[str], Sequence[str]]:
        """The last stage."""
        self.pair = last(student, "student"), last(teacher, "teacher")
        return [self.pair[0]], [self.pair[1]]

    def losses(self, step: Step) -> dict[str, Tensor]:
        """``label``, ``distance`` and ``angle``, with their weights."""
        our_distances, our_angles = relations(step.student.features[self.pair[0]])
        their_distances, their_angles = relations(step.teacher.features[self.pair[1]])
        return {
            "label": step.label_loss(),
            "distance": self.distance * functional.smooth_l1_loss(our_distances, their_distances),
            "angle": self.angle * functional.smooth_l1_loss(our_angles, their_angles),
        }


def relations(features: Tensor) -> tuple[Tensor, Tensor]:
    """Relative distances [B, B] and cosines of angles [B, B, B], the first index the vertex, of features [B, ...]."""
    flat = features.flatten(1)
    differences = flat[None] - flat[:, None]
    distances = lengths(differences)
    mean = distances.sum() / (len(flat) * (len(flat) - 1))
    rays = directions(differences)
    return distances / mean.clamp_min(TINY), rays @ rays.mT
