"""ShuffleNet as the distillation literature trains it on CIFAR, at any image size and channel count.

Zhang et al. 2018, table 1 (three groups, 1x), in the form for 32x32 images of the RepDistiller collection: the stem is
a 1x1 convolution to 24 channels at full resolution, then come stages of 4, 8 and 4 blocks with 240, 480 and 960
channels, each halving the resolution, the mean over all positions and one linear layer. A block narrows its input to a
quarter of its output by a grouped 1x1 convolution, shuffles channels, filters them by a 3x3 depthwise convolution and
widens them by a grouped 1x1 one. The collection has a ReLU behind the depthwise convolution, where the paper has none.
The result is added to the input, or, in the first block of a stage, joined to the input's 3x3 mean with stride 2; a
ReLU follows. The first 1x1 convolution of the first block is not grouped. Weights start as torch's layers start
(uniform by fan in), as in the collection.

Stages are ``stem``, ``stage1``, ``stage2``, ``stage3`` (each after its last ReLU, [B, C, H, W]) and ``pool`` [B, D].
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from kdbench.errors import UsageError
from kdbench.models.layers import ChannelShuffle, check_widths, convolution, pooling

_GROUPS = 3
_NARROWING = 4
_STEP = _GROUPS * _NARROWING
_WIDTHS = (24, 240, 480, 960)


def shufflenetv1(outputs: int, shape: tuple[int, ...], *, widths: tuple[int, ...] = _WIDTHS) -> nn.Module:
    """ShuffleNet: grouped 1x1 convolutions and shuffled channels, 0.95M parameters."""
    return ShuffleNetV1(outputs, shape, widths)


class ShuffleNetV1(nn.Module):
    """A stem and three stages of shuffled blocks for items [C, H, W]; see the module's docstring.

    Raises:
        UsageError: ``widths`` are not four positive multiples of 12 (stem and stages), each above the one before.
    """

    stages = ("stem", "stage1", "stage2", "stage3", "pool")
    classifier = "linear"

    def __init__(self, outputs: int, shape: tuple[int, ...], widths: tuple[int, ...]) -> None:
        super().__init__()
        check_widths("shufflenetv1", widths, self.stages[:-1])
        if any(width % _STEP for width in widths) or any(wide <= narrow for narrow, wide in pairwise(widths)):
            raise UsageError(f"shufflenetv1 widths: found {list(widths)}, expected growing multiples of {_STEP}")
        stem, first, second, third = widths
        self.stem = convolution(shape[0], stem, 1)
        self.stage1 = _stage(4, stem, first, groups=1)
        self.stage2 = _stage(8, first, second)
        self.stage3 = _stage(4, second, third)
        self.pool = pooling()
        self.linear = nn.Linear(third, outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs [B, K] of items [B, C, H, W]."""
        maps = self.stage3(self.stage2(self.stage1(self.stem(inputs))))
        outputs: Tensor = self.linear(self.pool(maps))
        return outputs


class NeighbourMean(nn.Module):
    """The mean of each 3x3 neighbourhood, every second one: [B, C, H, W] to [B, C, H / 2, W / 2], rounded up.

    Zeros around the image count, as in ``AvgPool2d(3, 2, padding=1)``. It is written as a depthwise convolution because
    XNNPACK has no such average: three of them would cut the program into pieces between slow portable kernels.
    """

    weight: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.full((channels, 1, 3, 3), 1 / 9), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """The means."""
        return functional.conv2d(inputs, self.weight, stride=2, padding=1, groups=len(self.weight))


class ShuffledBlock(nn.Module):
    """[B, C, H, W] to [B, width, H', W'] after a ReLU; with ``halves`` the input's means are C of the output's maps.

    ``groups`` are those of the first 1x1 convolution.
    """

    def __init__(self, channels: int, width: int, *, halves: bool, groups: int = _GROUPS) -> None:
        super().__init__()
        made = width - channels if halves else width
        inner = made // _NARROWING
        self.narrow = convolution(channels, inner, 1, groups=groups)
        self.shuffle = ChannelShuffle(groups)
        self.depthwise = convolution(inner, inner, 3, stride=2 if halves else 1, groups=inner)
        self.widen = convolution(inner, made, 1, groups=_GROUPS, relu=False)
        self.shortcut: nn.Module | None = None
        if halves:
            self.shortcut = NeighbourMean(channels)
        self.relu = nn.ReLU()

    def forward(self, inputs: Tensor) -> Tensor:
        """The block's output after its ReLU."""
        made: Tensor = self.widen(self.depthwise(self.shuffle(self.narrow(inputs))))
        both = made + inputs if self.shortcut is None else torch.cat([made, self.shortcut(inputs)], 1)
        outputs: Tensor = self.relu(both)
        return outputs


def _stage(blocks: int, channels: int, width: int, groups: int = _GROUPS) -> nn.Sequential:
    first = ShuffledBlock(channels, width, halves=True, groups=groups)
    rest = (ShuffledBlock(width, width, halves=False) for _ in range(blocks - 1))
    return nn.Sequential(OrderedDict((f"block{i}", block) for i, block in enumerate((first, *rest), start=1)))
