"""Variational information distillation."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from kdbench.methods.feature import levelled, paired
from kdbench.methods.method import Method, Setting, Shapes, Step
from kdbench.methods.option import Weight

FLOOR = 1e-5
"""The least variance, as in the authors' code."""


class VID(Method):
    """Information that the student's stages hold of the teacher's, bounded from below (Ahn et al. 2019).

    L = CE(z_s, y) + b sum_l mean(((f_t - m(f_s))^2 / v + log v) / 2), the mean over items, channels and positions, the
    sum over pairs of stages: the negative log-likelihood, without its constant, of the teacher's features f_t
    [B, C_t, H, W] under a Gaussian whose mean m is regressed from the student's f_s [B, C_s, H, W]. Each pair has a
    regressor of its own, three 1x1 convolutions (C_s to C_t to C_t to C_t, no bias) with ReLU between them, and one
    variance a channel, v = softplus(a_c) + 1e-5. Both are trained with the student and dropped.

    Ahn, Hu, Damianou, Lawrence and Dai 2019 ("Variational Information Distillation for Knowledge Transfer"), the
    Gaussian bound with a variance for each channel. As in the literature's comparisons (Tian et al. 2020, from the
    authors' code): v starts at 5, b = 1, all stages between the stem and the pooled features; the paper also takes the
    logits. Of unequal resolutions the larger features are averaged down first. Networks of unequal depth: see
    ``kdbench.methods.feature.paired``. The term may be negative, as a log-density may.
    """

    def __init__(
        self,
        beta: Weight = 1.0,
        variance: Annotated[float, Field(ge=0.001, le=100)] = 5.0,
    ) -> None:
        """``beta``: b, the weight of the sum; ``variance``: what v is at the start."""
        self.beta = beta
        self.variance = variance
        self.pairs: list[tuple[str, str]] = []

    def taps(self, student: Shapes, teacher: Shapes) -> tuple[Sequence[str], Sequence[str]]:
        """Every stage with maps but the stem."""
        self.pairs = paired(student, teacher)
        return [ours for ours, _ in self.pairs], [theirs for _, theirs in self.pairs]

    def prepare(self, setting: Setting) -> nn.Module:
        """One Gaussian for each pair of stages."""
        widths = [(setting.student_shapes[ours][0], setting.teacher_shapes[theirs][0]) for ours, theirs in self.pairs]
        self.gaussians = nn.ModuleList(Gaussian(*pair, self.variance) for pair in widths)
        return self.gaussians

    def losses(self, step: Step) -> dict[str, Tensor]:
        """``label`` and ``information``, with their weights."""
        terms = []
        for (ours, theirs), gaussian in zip(self.pairs, self.gaussians, strict=True):
            student, teacher = levelled(step.student.features[ours], step.teacher.features[theirs])
            mean, variance = gaussian(student)
            terms.append(((teacher - mean).square() / variance + variance.log()).mean() / 2)
        return {"label": step.label_loss(), "information": self.beta * torch.stack(terms).sum()}


class Gaussian(nn.Module):
    """What maps [B, C, H, W] tell of others [B, C', H, W]: their mean, and a variance for each channel [C', 1, 1]."""

    def __init__(self, channels: int, targets: int, variance: float) -> None:
        super().__init__()
        self.mean = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(channels, targets, 1, bias=False),
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(targets, targets, 1, bias=False),
                relu2=nn.ReLU(),
                conv3=nn.Conv2d(targets, targets, 1, bias=False),
            ),
        )
        self.scale = nn.Parameter(torch.full((targets, 1, 1), math.log(math.expm1(variance - FLOOR))))

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance."""
        return self.mean(maps), functional.softplus(self.scale) + FLOOR
