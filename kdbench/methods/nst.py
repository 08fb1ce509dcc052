"""Neuron selectivity transfer."""

from collections.abc import Sequence

import torch
from torch import Tensor

from kdbench.methods.direction import directions
from kdbench.methods.feature import levelled, paired
from kdbench.methods.method import Method, Shapes, Step
from kdbench.methods.option import Weight


class NST(Method):
    """Where single channels are active, as a distribution over channels (Huang and Wang 2017).

    L = CE(z_s, y) + b sum_l MMD^2, the mean over items, the sum over pairs of stages. A channel's map, flattened and
    divided by its L2 norm, is a sample u [H W]; of an item, the C_s samples of the student and C_t of the teacher have
    the squared maximum mean discrepancy mean k(u_s, u_s') + mean k(u_t, u_t') - 2 mean k(u_s, u_t), each a mean over
    all pairs of channels, with the kernel k(u, v) = (u . v)^2. The numbers of channels need not agree; of unequal
    resolutions the larger features are averaged down first.

    Huang and Wang 2017 ("Like What You Like: Knowledge Distill via Neuron Selectivity Transfer"), section 4, with the
    polynomial kernel of degree 2 (offset 0), in the form of the literature's comparisons (Tian et al. 2020): b = 50,
    all stages between the stem and the pooled features. The teacher's own mean is a constant, kept so that the term is
    0 for a student that agrees. A channel that is dead for an item is a zero sample, without gradient. Networks of
    unequal depth: see ``kdbench.methods.feature.paired``.
    """

    def __init__(self, beta: Weight = 50.0) -> None:
        """``beta``: b, the weight of the sum."""
        self.beta = beta
        self.pairs: list[tuple[str, str]] = []

    def taps(self, student: Shapes, teacher: Shapes) -> tuple[Sequence[str], Sequence[str]]:
        """Every stage with maps but the stem."""
        self.pairs = paired(student, teacher)
        return [ours for ours, _ in self.pairs], [theirs for _, theirs in self.pairs]

    def losses(self, step: Step) -> dict[str, Tensor]:
        """``label`` and ``selectivity``, with their weights."""
        terms = []
        for ours, theirs in self.pairs:
            student, teacher = levelled(step.student.features[ours], step.teacher.features[theirs])
            terms.append(discrepancy(student, teacher))
        return {"label": step.label_loss(), "selectivity": self.beta * torch.stack(terms).sum()}


def discrepancy(student: Tensor, teacher: Tensor) -> Tensor:
    """The squared discrepancy, a scalar, the mean over items, of maps [B, C_s, H, W] and [B, C_t, H, W]."""
    ours, theirs = directions(student.flatten(2)), directions(teacher.flatten(2))
    return _kernel(ours, ours) + _kernel(theirs, theirs) - 2 * _kernel(ours, theirs)


def _kernel(these: Tensor, those: Tensor) -> Tensor:
    """The kernel's mean over items and pairs of samples, of [B, M, D] and [B, N, D]."""
    return (these @ those.mT).square().mean()
