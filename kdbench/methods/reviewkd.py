"""Knowledge review: the student's deep features look back at the teacher's shallow ones."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from kdbench.methods.feature import MAP, paired, pooled
from kdbench.methods.method import Method, Setting, Shape, Shapes, Step
from kdbench.methods.option import Share, Weight
from kdbench.methods.warmup import WARMUP, warmed
from kdbench.models.network import PRE

_GRIDS = (4, 2, 1)
"""The sides to which the hierarchical loss averages maps down, beside their own."""


class ReviewKD(Method):
    """Features of each stage fused with all deeper ones, then matched at several resolutions (Chen et al. 2021).

    L = CE(z_s, y) + b w(e) sum_l HCL(o_l, f_t^l). From the deepest level up, the student's features f_s^l [B, C, H, W]
    become c_l = f_s^l in a common width (1x1 convolution, batch norm), fused with those of the level below as
    r_l = a_1 c_l + a_2 up(r_(l+1)), with two maps a [B, 1, H, W] in (0, 1) from a 1x1 convolution of both (the deepest
    r is c), and o_l = r_l in the teacher's channels (3x3 convolution, batch norm). All these are trained with the
    student and dropped. HCL(o, f) is the weighted mean of mean((o - f)^2) at the maps' own resolution (weight 1) and
    averaged down to 4x4, 2x2 and 1x1 where that is smaller (1/2, 1/4, 1/8, in the order of those that are).

    Chen, Liu, Zhao and Jia 2021 ("Distilling Knowledge via Knowledge Review"), section 3 and figure 3, with the
    constants of their code: the teacher's features before each stage's last ReLU and the student's after it, the pooled
    ones [B, D] as a deepest level of 1x1, a common width of the student's deepest level and at most 512, b = 1 (picked
    by hand a pair there: 0.6 to 8). Their weight grows over the first 20 of 240 epochs; w(e) is
    ``kdbench.methods.warmup.warmed``, in shares of the training. Shapes come from a dry run, where theirs are tables a
    pair; networks of unequal depth are matched by ``kdbench.methods.feature.paired``; where the resolutions of a level
    differ both are averaged down to the smaller, where theirs repeats pixels of the student's.
    """

    def __init__(self, beta: Weight = 1.0, warmup: Share = WARMUP, width: Annotated[int, Field(ge=1)] = 512) -> None:
        """``beta``: b; ``warmup``: a share of the training; ``width``: the most that the common width may be."""
        self.beta = beta
        self.warmup = warmup
        self.width = width
        self.levels: list[tuple[str, str]] = []

    def taps(self, student: Shapes, teacher: Shapes) -> tuple[Sequence[str], Sequence[str]]:
        """Every stage with maps but the stem, the teacher's before its last activation, and the pooled features."""
        self.levels = paired(student, teacher)
        mine, its = _vectors(student), _vectors(teacher)
        if mine and its:
            self.levels.append((mine[-1], its[-1]))
        self.teacher_taps = [name + PRE if len(teacher[name]) == MAP else name for _, name in self.levels]
        return [name for name, _ in self.levels], self.teacher_taps

    def prepare(self, setting: Setting) -> nn.Module:
        """A fusion a level, shallow to deep."""
        ours = [setting.student_shapes[name] for name, _ in self.levels]
        theirs = [setting.teacher_shapes[name] for _, name in self.levels]
        self.sizes = [_smaller(mine, its) for mine, its in zip(ours, theirs, strict=True)]
        width, last = min(self.width, ours[-1][0]), len(ours) - 1
        self.fusions = nn.ModuleList(
            Fusion(mine[0], width, its[0], fused=level < last)
            for level, (mine, its) in enumerate(zip(ours, theirs, strict=True))
        )
        return self.fusions

    def losses(self, step: Step) -> dict[str, Tensor]:
        """``label`` and ``review``, with their weights."""
        carried: Tensor | None = None
        terms = []
        names = [(mine, its) for (mine, _), its in zip(self.levels, self.teacher_taps, strict=True)]
        for (mine, its), size, fusion in reversed(list(zip(names, self.sizes, self.fusions, strict=True))):
            student, teacher = _map(step.student.features[mine]), _map(step.teacher.features[its])
            reviewed, carried = fusion(student, carried, size)
            terms.append(hierarchical(reviewed, pooled(teacher, size)))
        weight = self.beta * warmed(step.epoch, self.warmup * step.epochs)
        return {"label": step.label_loss(), "review": weight * torch.stack(terms).sum()}


class Fusion(nn.Module):
    """A level's features [B, C, H, W] with those of all deeper levels, in ``width`` and in the teacher's channels."""

    def __init__(self, channels: int, width: int, outputs: int, *, fused: bool) -> None:
        super().__init__()
        self.reduce = _normed(nn.Conv2d(channels, width, 1, bias=False))
        self.attention = nn.Conv2d(2 * width, 2, 1) if fused else None
        self.expand = _normed(nn.Conv2d(width, outputs, 3, padding=1, bias=False))

    def forward(self, maps: Tensor, deeper: Tensor | None, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """What is matched with the teacher, and what the next shallower level fuses in: both at ``size``."""
        carried: Tensor = self.reduce(maps)
        if self.attention is not None and deeper is not None:
            deeper = functional.interpolate(deeper, carried.shape[2:], mode="nearest")
            shares = self.attention(torch.cat([carried, deeper], dim=1)).sigmoid()
            carried = carried * shares[:, :1] + deeper * shares[:, 1:]
        carried = pooled(carried, size)
        return self.expand(carried), carried


def hierarchical(student: Tensor, teacher: Tensor) -> Tensor:
    """The weighted mean of the squared distances of maps [B, C, H, W] at their own and at lower resolutions."""
    total, weight, weights = functional.mse_loss(student, teacher), 1.0, 1.0
    for side in _GRIDS:
        if side < min(student.shape[2:]):
            weight /= 2
            weights += weight
            total = total + weight * functional.mse_loss(pooled(student, (side, side)), pooled(teacher, (side, side)))
    return total / weights


def _normed(convolution: nn.Conv2d) -> nn.Sequential:
    """The convolution, drawn as in the authors' code (Kaiming's uniform distribution for a gain of 1), and its norm."""
    nn.init.kaiming_uniform_(convolution.weight, a=1)
    return nn.Sequential(OrderedDict(conv=convolution, norm=nn.BatchNorm2d(convolution.out_channels)))


def _vectors(shapes: Shapes) -> list[str]:
    return [name for name, shape in shapes.items() if len(shape) == 1]


def _map(features: Tensor) -> Tensor:
    """Features as maps: pooled ones [B, D] are [B, D, 1, 1]."""
    return features if features.ndim > 2 else features[:, :, None, None]


def _smaller(student: Shape, teacher: Shape) -> tuple[int, int]:
    if len(student) < MAP:
        return 1, 1
    return min(student[1], teacher[1]), min(student[2], teacher[2])
