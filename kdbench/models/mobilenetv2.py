"""MobileNetV2 as the distillation literature trains it on CIFAR: half as wide, at any image size and channel count.

Sandler et al. 2018, table 2, in the form for 32x32 images of the RepDistiller collection: a 3x3 stem that halves the
resolution, seven groups of inverted residual blocks with 16, 24, 32, 64, 96, 160 and 320 channels times ``width``, of
which the third, fourth and sixth halve it, a 1x1 convolution to 1280 channels (times ``width`` where that is above 1),
the mean over all positions and one linear layer. A block widens its input by a 1x1 convolution (``expansion`` times; 1
in the first group, where the paper has no such layer and the collection keeps it), filters it by a 3x3 depthwise one
and narrows it by a 1x1 one that no activation follows; equal shapes are added to the input. ReLU stands where the paper
has ReLU6. Convolutions start from Kaiming's normal distribution (fan out), the linear layer from N(0, 0.01^2), its bias
from 0.

Stages are those of the collection: ``stem`` (after its ReLU), ``stage1`` (groups 1 and 2), ``stage2`` (3), ``stage3``
(4 and 5), ``stage4`` (6 and 7), each [B, C, H, W] after its last sum, since bottlenecks are linear, and ``pool``
[B, D]. The widening 1x1 convolution lies in ``pool``, which turns the last map into what the classifier reads.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from kdbench.errors import UsageError
from kdbench.models.layers import convolution, pooling, start_classifier, start_convolutions

_LEAST_WIDTH = 1 / 16
"""Of the narrowest group one channel is left."""
_HEAD = 1280


def mobilenetv2(outputs: int, shape: tuple[int, ...], *, width: float = 0.5, expansion: int = 6) -> nn.Module:
    """MobileNetV2: inverted residuals, ``width`` times as wide; half as wide it has 0.81M parameters."""
    return MobileNetV2(outputs, shape, width, expansion)


class MobileNetV2(nn.Module):
    """Seven groups of inverted residual blocks for items [C, H, W]; see the module's docstring.

    Raises:
        UsageError: ``width`` leaves a group without channels, or ``expansion`` is below 1.
    """

    stages = ("stem", "stage1", "stage2", "stage3", "stage4", "pool")
    classifier = "linear"

    def __init__(self, outputs: int, shape: tuple[int, ...], width: float, expansion: int) -> None:
        super().__init__()
        if width < _LEAST_WIDTH or expansion < 1:
            raise UsageError(
                f"mobilenetv2: found width {width} and expansion {expansion}, "
                f"expected a width of at least {_LEAST_WIDTH} and an expansion of at least 1",
            )
        stem, *groups = (int(channels * width) for channels in (32, 16, 24, 32, 64, 96, 160, 320))
        head = int(_HEAD * max(width, 1))
        self.stem = convolution(shape[0], stem, 3, stride=2)
        self.stage1 = nn.Sequential(
            OrderedDict(
                group1=_group(1, stem, groups[0], 1, 1),
                group2=_group(2, groups[0], groups[1], 1, expansion),
            ),
        )
        self.stage2 = nn.Sequential(OrderedDict(group3=_group(3, groups[1], groups[2], 2, expansion)))
        self.stage3 = nn.Sequential(
            OrderedDict(
                group4=_group(4, groups[2], groups[3], 2, expansion),
                group5=_group(3, groups[3], groups[4], 1, expansion),
            ),
        )
        self.stage4 = nn.Sequential(
            OrderedDict(
                group6=_group(3, groups[4], groups[5], 2, expansion),
                group7=_group(1, groups[5], groups[6], 1, expansion),
            ),
        )
        self.pool = pooling(convolution(groups[6], head, 1))
        self.linear = nn.Linear(head, outputs)
        start_convolutions(self)
        start_classifier(self.linear)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs [B, K] of items [B, C, H, W]."""
        maps = self.stage4(self.stage3(self.stage2(self.stage1(self.stem(inputs)))))
        outputs: Tensor = self.linear(self.pool(maps))
        return outputs


class InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow: [B, C, H, W] to [B, C', H', W'], added to the input where shapes agree."""

    def __init__(self, channels: int, width: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels * expansion
        self.expand = convolution(channels, inner, 1)
        self.depthwise = convolution(inner, inner, 3, stride=stride, groups=inner)
        self.project = convolution(inner, width, 1, relu=False)
        self.adds = stride == 1 and channels == width

    def forward(self, inputs: Tensor) -> Tensor:
        """The block's output, which no activation follows."""
        maps: Tensor = self.project(self.depthwise(self.expand(inputs)))
        return inputs + maps if self.adds else maps


def _group(blocks: int, channels: int, width: int, stride: int, expansion: int) -> nn.Sequential:
    first = InvertedResidual(channels, width, stride, expansion)
    rest = (InvertedResidual(width, width, 1, expansion) for _ in range(blocks - 1))
    return nn.Sequential(OrderedDict((f"block{i}", block) for i, block in enumerate((first, *rest), start=1)))
