"""ResNet-50 for small images, the largest teacher of the distillation literature on CIFAR-100.

He et al. 2016, table 1, in the form for 32x32 images of the RepDistiller collection: a 3x3 stem at full resolution
instead of the 7x7 one and the maximum, then stages of 3, 4, 6 and 3 bottleneck blocks, the last three halving the
resolution, the mean over all positions and one linear layer. A block narrows by a 1x1 convolution, filters by a 3x3 one
(which takes the stride) and widens fourfold by a 1x1 one, each with batch norm; where the shape changes a 1x1
convolution with batch norm stands on its shortcut. Convolutions start from Kaiming's normal distribution (fan out),
batch norm from the identity.

Stages are ``stem``, ``stage1`` ... ``stage4`` (each *after* its last ReLU, [B, C, H, W]) and ``pool`` [B, D].
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from kdbench.models.layers import check_widths, convolution, pooling, start_convolutions

_WIDTHS = (64, 64, 128, 256, 512)
_WIDENING = 4


def resnet50(outputs: int, shape: tuple[int, ...], *, widths: tuple[int, ...] = _WIDTHS) -> nn.Module:
    """ResNet-50: sixteen bottleneck blocks, four times as wide outside as ``widths``, 23.7M parameters."""
    return ResNet50(outputs, shape, widths)


class ResNet50(nn.Module):
    """A stem and four stages of bottleneck blocks for items [C, H, W]; see the module's docstring.

    Raises:
        UsageError: ``widths`` are not five positive numbers (stem and, inside the bottlenecks, stages).
    """

    stages = ("stem", "stage1", "stage2", "stage3", "stage4", "pool")
    classifier = "linear"

    def __init__(self, outputs: int, shape: tuple[int, ...], widths: tuple[int, ...]) -> None:
        super().__init__()
        check_widths("resnet50", widths, self.stages[:-1])
        stem, first, second, third, fourth = widths
        self.stem = convolution(shape[0], stem, 3)
        self.stage1 = _stage(3, stem, first, 1)
        self.stage2 = _stage(4, _WIDENING * first, second, 2)
        self.stage3 = _stage(6, _WIDENING * second, third, 2)
        self.stage4 = _stage(3, _WIDENING * third, fourth, 2)
        self.pool = pooling()
        self.linear = nn.Linear(_WIDENING * fourth, outputs)
        start_convolutions(self)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs [B, K] of items [B, C, H, W]."""
        maps = self.stage4(self.stage3(self.stage2(self.stage1(self.stem(inputs)))))
        outputs: Tensor = self.linear(self.pool(maps))
        return outputs


class Bottleneck(nn.Module):
    """Narrow, filter, widen, added to a shortcut: [B, C, H, W] to [B, 4 * width, H', W'] after a ReLU."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.narrow = convolution(channels, width, 1)
        self.filter = convolution(width, width, 3, stride=stride)
        self.widen = convolution(width, _WIDENING * width, 1, relu=False)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != _WIDENING * width:
            self.shortcut = convolution(channels, _WIDENING * width, 1, stride=stride, relu=False)
        self.relu = nn.ReLU()

    def forward(self, inputs: Tensor) -> Tensor:
        """The block's output after its ReLU."""
        maps: Tensor = self.widen(self.filter(self.narrow(inputs)))
        outputs: Tensor = self.relu(maps + self.shortcut(inputs))
        return outputs


def _stage(blocks: int, channels: int, width: int, stride: int) -> nn.Sequential:
    first = Bottleneck(channels, width, stride)
    rest = (Bottleneck(_WIDENING * width, width, 1) for _ in range(blocks - 1))
    return nn.Sequential(OrderedDict((f"block{i}", block) for i, block in enumerate((first, *rest), start=1)))
