"""Features of two networks side by side: which stages to compare, and at which resolution."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from kdbench.catalog import suggestion
from kdbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from kdbench.methods.method import Shapes

MAP = 3
"""The dimensions of one item's feature map, [C, H, W]."""


def chosen(shapes: Shapes, name: str, whose: str) -> str:
    """The stage called ``name``, or the middle one of all where it is empty: of five, the third.

    Raises:
        UsageError: there is no such stage, or it is not a map [C, H, W].
    """
    if not shapes:
        raise UsageError(f"the {whose} names no stages, and the method needs one")
    stage = name or list(shapes)[len(shapes) // 2]
    if stage not in shapes:
        raise UsageError(f"the {whose} has no stage {stage!r}; {suggestion(stage, list(shapes))}")
    if len(shapes[stage]) != MAP:
        raise UsageError(f"stage {stage!r} of the {whose} has shape {list(shapes[stage])}, expected [C, H, W]")
    return stage


def last(shapes: Shapes, whose: str) -> str:
    """The last stage of all: in most networks the pooled features [D], what the classifier sees of an item.

    Raises:
        UsageError: there is no stage.
    """
    if not shapes:
        raise UsageError(f"the {whose} names no stages, and the method needs one")
    return list(shapes)[-1]


def paired(student: Shapes, teacher: Shapes) -> list[tuple[str, str]]:
    """Pairs of stages (student's, teacher's), shallow to deep: the maps [C, H, W] of each after its first, the stem.

    Of networks with unequal numbers the deepest are paired, and the rest spread evenly. A network whose only map is its
    first keeps that one.

    Raises:
        UsageError: a network has no map.
    """
    ours, theirs = _maps(student, "student"), _maps(teacher, "teacher")
    count = min(len(ours), len(theirs))
    return [(_spread(ours, i, count), _spread(theirs, i, count)) for i in range(count)]


def deepest(shapes: Shapes, whose: str) -> str:
    """The last stage with maps [C, H, W].

    Raises:
        UsageError: the network has no map.
    """
    return _maps(shapes, whose)[-1]


def connectors(pairs: Sequence[tuple[str, str]], student: Shapes, teacher: Shapes) -> nn.ModuleList:
    """For each pair of stages a 1x1 convolution from the student's channels to the teacher's, and its batch norm.

    Drawn as in the code of Heo et al. 2019 ("A Comprehensive Overhaul of Feature Distillation").
    """
    made = nn.ModuleList()
    for ours, theirs in pairs:
        width = teacher[theirs][0]
        convolution = nn.Conv2d(student[ours][0], width, 1, bias=False)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        made.append(nn.Sequential(OrderedDict(conv=convolution, norm=nn.BatchNorm2d(width))))
    return made


def levelled(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps [B, C, H, W] at the smaller height and the smaller width of the two, by average pooling."""
    size = (min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3]))
    return pooled(student, size), pooled(teacher, size)


def pooled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps [B, C, H, W] averaged down to ``size``."""
    height, width = maps.shape[2:]
    if (height, width) == size:
        return maps
    # Equal to adaptive pooling, and unlike it deterministic in the backward pass of a GPU.
    if height % size[0] == 0 and width % size[1] == 0:
        return functional.avg_pool2d(maps, (height // size[0], width // size[1]))
    return _averages(height, size[0], maps) @ maps @ _averages(width, size[1], maps).T


def _averages(cells: int, count: int, like: Tensor) -> Tensor:
    """The matrix [count, cells] that averages a line of cells down to ``count``."""
    row = torch.arange(count, device=like.device)[:, None]
    cell = torch.arange(cells, device=like.device)
    covered = (cell >= row * cells // count) & (cell * count < (row + 1) * cells)
    return covered.to(like.dtype) / covered.sum(dim=1, keepdim=True)


def _maps(shapes: Shapes, whose: str) -> list[str]:
    maps = [name for name, shape in shapes.items() if len(shape) == MAP]
    if not maps:
        raise UsageError(f"the {whose} has no stage with maps [C, H, W], and the method needs one")
    return maps[1:] or maps


def _spread(names: Sequence[str], position: int, count: int) -> str:
    return names[round((position + 1) * len(names) / count) - 1]
