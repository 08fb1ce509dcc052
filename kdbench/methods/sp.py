"""Similarity-preserving distillation."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

from kdbench.methods.direction import directions
from kdbench.methods.feature import paired
from kdbench.methods.method import Method, Shapes, Step
from kdbench.methods.option import Weight


class SP(Method):
    """Similar items for the teacher are similar for the student (Tung and Mori 2019).

    L = CE(z_s, y) + b ||G_s - G_t||_F^2 / B^2. G [B, B] holds the inner products F F^T of the items' features, each row
    divided by its L2 norm; F [B, C H W] are the features [B, C, H, W] of one stage, flattened. Widths and resolutions
    need not agree, as only B x B matrices are compared.

    Tung and Mori 2019 ("Similarity-Preserving Knowledge Distillation"), equations 1 to 4, with b = 3000 and the last
    stage with maps alone, as in the literature's comparisons (Tian et al. 2020, whose form the authors confirmed). An
    item whose features are all zero has a row of zeros.
    """

    def __init__(self, beta: Weight = 3000.0) -> None:
        """``beta``: b, the weight of the similarities."""
        self.beta = beta
        self.pair = ("", "")

    def taps(self, student: Shapes, teacher: Shapes) -> tuple[Sequence[str], Sequence[str]]:
        """The last stage with maps."""
        self.pair = paired(student, teacher)[-1]
        return [self.pair[0]], [self.pair[1]]

    def losses(self, step: Step) -> dict[str, Tensor]:
        """``label`` and ``similarity``, with their weights."""
        ours, theirs = step.student.features[self.pair[0]], step.teacher.features[self.pair[1]]
        difference = functional.mse_loss(similarities(ours), similarities(theirs))
        return {"label": step.label_loss(), "similarity": self.beta * difference}


def similarities(features: Tensor) -> Tensor:
    """The inner products [B, B] of the items of features [B, ...], each row of L2 norm 1."""
    flat = features.flatten(1)
    return directions(flat @ flat.T)
