"""The CIFAR-style ResNets of the distillation literature, at any image size and channel count.

He et al. 2016, section 4.2: a 3x3 stem, three stages of n basic blocks (depth 6n + 2), the first at full resolution,
the others halving it, then the mean over all positions and one linear layer. As in the distillation literature (the
RepDistiller collection) a block whose shape changes has a 1x1 convolution with batch norm on its shortcut (option B),
where the paper pads with zeros on CIFAR (option A): resnet20 for ten classes of 3x32x32 has 272,474 parameters instead
of 269,722. Widths of stem and stages are 16-16-32-64, of the ``x4`` networks 32-64-128-256. Convolutions start from
Kaiming's normal distribution (fan out), batch norm from the identity.

``stride`` is the stem's: 1 as on CIFAR, 2 to begin at half the resolution, with a quarter of the work.

Stages are ``stem``, ``stage1``, ``stage2``, ``stage3`` (each *after* its last ReLU, [B, C, H, W]) and ``pool`` [B, D].
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from kdbench.errors import UsageError

_NARROW = (16, 16, 32, 64)
_WIDE = (32, 64, 128, 256)


def resnet8(outputs: int, shape: tuple[int, ...], *, widths: tuple[int, ...] = _NARROW, stride: int = 1) -> nn.Module:
    """ResNet-8: one block a stage, 78k parameters."""
    return ResNet(outputs, shape, 1, widths, stride)


def resnet14(outputs: int, shape: tuple[int, ...], *, widths: tuple[int, ...] = _NARROW, stride: int = 1) -> nn.Module:
    """ResNet-14: two blocks a stage, 175k parameters."""
    return ResNet(outputs, shape, 2, widths, stride)


def resnet20(outputs: int, shape: tuple[int, ...], *, widths: tuple[int, ...] = _NARROW, stride: int = 1) -> nn.Module:
    """ResNet-20: three blocks a stage, 0.27M parameters."""
    return ResNet(outputs, shape, 3, widths, stride)


def resnet32(outputs: int, shape: tuple[int, ...], *, widths: tuple[int, ...] = _NARROW, stride: int = 1) -> nn.Module:
    """ResNet-32: five blocks a stage, 0.47M parameters."""
    return ResNet(outputs, shape, 5, widths, stride)


def resnet44(outputs: int, shape: tuple[int, ...], *, widths: tuple[int, ...] = _NARROW, stride: int = 1) -> nn.Module:
    """ResNet-44: seven blocks a stage, 0.66M parameters."""
    return ResNet(outputs, shape, 7, widths, stride)


def resnet56(outputs: int, shape: tuple[int, ...], *, widths: tuple[int, ...] = _NARROW, stride: int = 1) -> nn.Module:
    """ResNet-56: nine blocks a stage, 0.86M parameters."""
    return ResNet(outputs, shape, 9, widths, stride)


def resnet110(outputs: int, shape: tuple[int, ...], *, widths: tuple[int, ...] = _NARROW, stride: int = 1) -> nn.Module:
    """ResNet-110: eighteen blocks a stage, 1.73M parameters."""
    return ResNet(outputs, shape, 18, widths, stride)


def resnet8x4(outputs: int, shape: tuple[int, ...], *, widths: tuple[int, ...] = _WIDE, stride: int = 1) -> nn.Module:
    """ResNet-8x4: one block a stage, four times as wide, 1.2M parameters."""
    return ResNet(outputs, shape, 1, widths, stride)


def resnet32x4(outputs: int, shape: tuple[int, ...], *, widths: tuple[int, ...] = _WIDE, stride: int = 1) -> nn.Module:
    """ResNet-32x4: five blocks a stage, four times as wide, 7.4M parameters."""
    return ResNet(outputs, shape, 5, widths, stride)


class ResNet(nn.Module):
    """A ResNet of three stages with ``blocks`` basic blocks each, for items [C, H, W]; see the module's docstring.

    Raises:
        UsageError: ``widths`` are not four positive numbers (stem and stages), or ``stride`` is neither 1 nor 2.
    """

    stages = ("stem", "stage1", "stage2", "stage3", "pool")
    classifier = "linear"

    def __init__(self, outputs: int, shape: tuple[int, ...], blocks: int, widths: tuple[int, ...], stride: int) -> None:
        super().__init__()
        if len(widths) != 4 or any(width < 1 for width in widths):
            raise UsageError(f"resnet widths: found {list(widths)}, expected four positive numbers (stem, stages)")
        if stride not in (1, 2):
            raise UsageError(f"resnet stride: found {stride}, expected 1 or 2")
        stem, first, second, third = widths
        self.stem = nn.Sequential(
            OrderedDict(conv=_conv3x3(shape[0], stem, stride), norm=nn.BatchNorm2d(stem), relu=nn.ReLU()),
        )
        self.stage1 = _stage(blocks, stem, first, 1)
        self.stage2 = _stage(blocks, first, second, 2)
        self.stage3 = _stage(blocks, second, third, 2)
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


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, added to a shortcut: [B, C, H, W] to [B, C', H', W'] after a ReLU."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(channels, width, stride)
        self.norm1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = _conv3x3(width, width, 1)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != width:
            self.shortcut = nn.Sequential(
                OrderedDict(
                    conv=nn.Conv2d(channels, width, 1, stride=stride, bias=False),
                    norm=nn.BatchNorm2d(width),
                ),
            )
        self.relu2 = nn.ReLU()

    def forward(self, inputs: Tensor) -> Tensor:
        """The block's output after its ReLU."""
        maps = self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(inputs)))))
        outputs: Tensor = self.relu2(maps + self.shortcut(inputs))
        return outputs


def _stage(blocks: int, channels: int, width: int, stride: int) -> nn.Sequential:
    first = BasicBlock(channels, width, stride)
    rest = (BasicBlock(width, width, 1) for _ in range(blocks - 1))
    return nn.Sequential(OrderedDict((f"block{i}", block) for i, block in enumerate((first, *rest), start=1)))


def _conv3x3(channels: int, width: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
