"""A depthwise-separable student, small enough for a microcontroller.

MobileNet's building block (Howard et al. 2017, section 3.1) in the shape of the DS-CNN of Zhang et al. 2017 ("Hello
Edge", section 5): a 3x3 stem, then stages of a 3x3 depthwise and a 1x1 pointwise convolution, each with batch norm and
ReLU, the mean over all positions, and one linear layer.

Stages are ``stem``, ``stage1``, ``stage2``, ``stage3`` (each after its last ReLU, [B, C, H, W]) and ``pool`` [B, D];
the second and third stage halve the resolution, like those of the ResNets.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from kdbench.errors import UsageError


def dscnn(outputs: int, shape: tuple[int, ...], *, width: int = 8, growth: float = 1.0, stride: int = 1) -> nn.Module:
    """Depthwise-separable CNN: three stages of ``width`` channels, times ``growth`` at each halving.

    ``stride`` is the stem's: 2 to begin at half the resolution, as MobileNet and DS-CNN do.
    """
    return DSCNN(outputs, shape, width, growth, stride)


class DSCNN(nn.Module):
    """A stem and three depthwise-separable stages for items [C, H, W]; see the module's docstring.

    Raises:
        UsageError: ``width`` or ``growth`` is below 1, or ``stride`` neither 1 nor 2.
    """

    stages = ("stem", "stage1", "stage2", "stage3", "pool")
    classifier = "linear"

    def __init__(self, outputs: int, shape: tuple[int, ...], width: int, growth: float, stride: int) -> None:
        super().__init__()
        if width < 1 or growth < 1:
            raise UsageError(f"dscnn: found width {width} and growth {growth}, expected both to be at least 1")
        if stride not in (1, 2):
            raise UsageError(f"dscnn: found stride {stride}, expected 1 or 2")
        second, third = round(width * growth), round(width * growth**2)
        self.stem = nn.Sequential(
            OrderedDict(
                conv=nn.Conv2d(shape[0], width, 3, stride=stride, padding=1, bias=False),
                norm=nn.BatchNorm2d(width),
                relu=nn.ReLU(),
            ),
        )
        self.stage1 = _separable(width, width, 1)
        self.stage2 = _separable(width, second, 2)
        self.stage3 = _separable(second, third, 2)
        self.pool = nn.Sequential(OrderedDict(mean=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten()))
        self.linear = nn.Linear(third, outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs [B, K] of items [B, C, H, W]."""
        maps = self.stage3(self.stage2(self.stage1(self.stem(inputs))))
        outputs: Tensor = self.linear(self.pool(maps))
        return outputs


def _separable(channels: int, width: int, stride: int) -> nn.Sequential:
    """A depthwise 3x3 and a pointwise 1x1 convolution, each with batch norm and ReLU."""
    return nn.Sequential(
        OrderedDict(
            depthwise=nn.Conv2d(channels, channels, 3, stride=stride, padding=1, groups=channels, bias=False),
            norm1=nn.BatchNorm2d(channels),
            relu1=nn.ReLU(),
            pointwise=nn.Conv2d(channels, width, 1, bias=False),
            norm2=nn.BatchNorm2d(width),
            relu2=nn.ReLU(),
        ),
    )
