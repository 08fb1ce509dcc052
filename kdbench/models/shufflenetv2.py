"""ShuffleNetV2 as the distillation literature trains it on CIFAR, at any image size and channel count.

Ma et al. 2018, table 5 (1x), in the form for 32x32 images of the RepDistiller collection: the stem is a 1x1 convolution
to 24 channels at full resolution, then come stages of 4, 8 and 4 blocks with 116, 232 and 464 channels, each halving
the resolution, a 1x1 convolution to 1024 channels, the mean over all positions and one linear layer. A block leaves
half of its channels as they are and runs the others through a 1x1, a 3x3 depthwise and a 1x1 convolution; in the first
block of a stage all channels go both through these and through a 3x3 depthwise and a 1x1 convolution, with stride 2.
Both halves are joined and their channels shuffled. Weights start as torch's layers start (uniform by fan in), as in the
collection.

Stages are ``stem``, ``stage1``, ``stage2``, ``stage3``, each [B, C, H, W] after its last shuffle, which moves maps that
have all been through a ReLU, and ``pool`` [B, D]. The last 1x1 convolution lies in ``pool``, which turns the last map
into what the classifier reads: ``stage3`` is the map that the collection distils.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from kdbench.errors import UsageError
from kdbench.models.layers import ChannelShuffle, check_widths, convolution, pooling

_WIDTHS = (24, 116, 232, 464, 1024)


def shufflenetv2(outputs: int, shape: tuple[int, ...], *, widths: tuple[int, ...] = _WIDTHS) -> nn.Module:
    """ShuffleNetV2: half of the channels pass each block, all are shuffled, 1.36M parameters."""
    return ShuffleNetV2(outputs, shape, widths)


class ShuffleNetV2(nn.Module):
    """A stem, three stages of split blocks and a 1x1 convolution for items [C, H, W]; see the module's docstring.

    Raises:
        UsageError: ``widths`` are not five positive numbers (stem, stages, pool), those of the stages even.
    """

    stages = ("stem", "stage1", "stage2", "stage3", "pool")
    classifier = "linear"

    def __init__(self, outputs: int, shape: tuple[int, ...], widths: tuple[int, ...]) -> None:
        super().__init__()
        check_widths("shufflenetv2", widths, self.stages)
        stem, first, second, third, head = widths
        if first % 2 or second % 2 or third % 2:
            raise UsageError(f"shufflenetv2 widths: found {list(widths)}, expected even numbers for the three stages")
        self.stem = convolution(shape[0], stem, 1)
        self.stage1 = _stage(4, stem, first)
        self.stage2 = _stage(8, first, second)
        self.stage3 = _stage(4, second, third)
        self.pool = pooling(convolution(third, head, 1))
        self.linear = nn.Linear(head, outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs [B, K] of items [B, C, H, W]."""
        maps = self.stage3(self.stage2(self.stage1(self.stem(inputs))))
        outputs: Tensor = self.linear(self.pool(maps))
        return outputs


class SplitBlock(nn.Module):
    """The second half of the channels is worked on, the first one passes: [B, C, H, W] to the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.passed = channels // 2
        self.branch = _branch(channels - self.passed, channels - self.passed, 1)
        self.shuffle = ChannelShuffle(2)

    def forward(self, inputs: Tensor) -> Tensor:
        """Both halves, shuffled."""
        passed, worked = inputs[:, : self.passed], inputs[:, self.passed :]
        outputs: Tensor = self.shuffle(torch.cat([passed, self.branch(worked)], 1))
        return outputs


class HalvingBlock(nn.Module):
    """All channels are worked on twice, with stride 2: [B, C, H, W] to [B, width, H / 2, W / 2], rounded up."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.short = nn.Sequential(
            OrderedDict(
                depthwise=convolution(channels, channels, 3, stride=2, groups=channels, relu=False),
                widen=convolution(channels, width // 2, 1),
            ),
        )
        self.branch = _branch(channels, width // 2, 2)
        self.shuffle = ChannelShuffle(2)

    def forward(self, inputs: Tensor) -> Tensor:
        """Both halves, shuffled."""
        outputs: Tensor = self.shuffle(torch.cat([self.short(inputs), self.branch(inputs)], 1))
        return outputs


def _branch(channels: int, width: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            first=convolution(channels, width, 1),
            depthwise=convolution(width, width, 3, stride=stride, groups=width, relu=False),
            last=convolution(width, width, 1),
        ),
    )


def _stage(blocks: int, channels: int, width: int) -> nn.Sequential:
    first = HalvingBlock(channels, width)
    rest = (SplitBlock(width) for _ in range(blocks - 1))
    return nn.Sequential(OrderedDict((f"block{i}", block) for i, block in enumerate((first, *rest), start=1)))
