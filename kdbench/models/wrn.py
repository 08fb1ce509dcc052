"""The wide ResNets of the distillation literature, at any image size and channel count.

Zagoruyko and Komodakis 2016, section 2: pre-activation residual networks of depth 6n + 4 and widening factor k. A 3x3
stem of 16 channels, three stages of n blocks with 16k, 32k and 64k channels, the second and third halving the
resolution, a last batch norm and ReLU, the mean over all positions and one linear layer. A block is batch norm, ReLU,
3x3 convolution, twice, added to its input; where the shape changes a 1x1 convolution of the *activated* input stands
in for the input. Without dropout, as in the literature's recipes. Convolutions start from Kaiming's normal distribution
(fan out), batch norm from the identity, the linear layer's bias from 0.

Stages are ``stem`` (a convolution alone: nothing is activated yet), ``stage1``, ``stage2``, ``stage3`` and ``pool``
[B, D]. In a pre-activation network the batch norm and ReLU that follow a stage's last sum open the next block; that
block reads nothing but their output when its shape changes, as it does behind every stage. So they are counted to the
stage before: each of the three ends in a ReLU [B, C, H, W], and ``stage3`` is what ``pool`` averages. The RepDistiller
collection computes the same network but hands out the sums before that batch norm as features (and, for the methods
that look before the activation, its output).
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from kdbench.models.layers import check_widths, pooling, start_convolutions

_ONCE = (16, 16, 32, 64)
_TWICE = (16, 32, 64, 128)


def wrn_16_1(outputs: int, shape: tuple[int, ...], *, widths: tuple[int, ...] = _ONCE) -> nn.Module:
    """WRN-16-1: two blocks a stage, not widened, 0.18M parameters."""
    return WRN(outputs, shape, 2, widths)


def wrn_16_2(outputs: int, shape: tuple[int, ...], *, widths: tuple[int, ...] = _TWICE) -> nn.Module:
    """WRN-16-2: two blocks a stage, twice as wide, 0.70M parameters."""
    return WRN(outputs, shape, 2, widths)


def wrn_40_1(outputs: int, shape: tuple[int, ...], *, widths: tuple[int, ...] = _ONCE) -> nn.Module:
    """WRN-40-1: six blocks a stage, not widened, 0.57M parameters."""
    return WRN(outputs, shape, 6, widths)


def wrn_40_2(outputs: int, shape: tuple[int, ...], *, widths: tuple[int, ...] = _TWICE) -> nn.Module:
    """WRN-40-2: six blocks a stage, twice as wide, 2.26M parameters."""
    return WRN(outputs, shape, 6, widths)


class WRN(nn.Module):
    """A wide ResNet of three stages with ``blocks`` blocks each, for items [C, H, W]; see the module's docstring.

    Raises:
        UsageError: ``widths`` are not four positive numbers (stem and stages).
    """

    stages = ("stem", "stage1", "stage2", "stage3", "pool")
    classifier = "linear"

    def __init__(self, outputs: int, shape: tuple[int, ...], blocks: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        check_widths("wrn", widths, ("stem", "stage1", "stage2", "stage3"))
        stem, first, second, third = widths
        self.stem = nn.Conv2d(shape[0], stem, 3, padding=1, bias=False)
        self.stage1 = _stage(blocks, stem, first, 1, activated=False)
        self.stage2 = _stage(blocks, first, second, 2, activated=True)
        self.stage3 = _stage(blocks, second, third, 2, activated=True)
        self.pool = pooling()
        self.linear = nn.Linear(third, outputs)
        start_convolutions(self)
        nn.init.zeros_(self.linear.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs [B, K] of items [B, C, H, W]."""
        maps = self.stage3(self.stage2(self.stage1(self.stem(inputs))))
        outputs: Tensor = self.linear(self.pool(maps))
        return outputs


class PreactBlock(nn.Module):
    """A pre-activation block: [B, C, H, W] to the sum [B, C', H', W'] of its branch and its shortcut.

    ``activated``: the input comes after a batch norm and ReLU already, so the block brings none for it.
    """

    def __init__(self, channels: int, width: int, stride: int, *, activated: bool) -> None:
        super().__init__()
        self.preact = nn.Sequential()
        if not activated:
            self.preact = nn.Sequential(OrderedDict(norm=nn.BatchNorm2d(channels), relu=nn.ReLU()))
        self.conv1 = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.shortcut: nn.Module | None = None
        if stride != 1 or channels != width:
            self.shortcut = nn.Conv2d(channels, width, 1, stride=stride, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """The sum, before any activation."""
        active = self.preact(inputs)
        branch: Tensor = self.conv2(self.relu(self.norm(self.conv1(active))))
        return branch + (inputs if self.shortcut is None else self.shortcut(active))


def _stage(blocks: int, channels: int, width: int, stride: int, *, activated: bool) -> nn.Sequential:
    """``blocks`` blocks and the batch norm and ReLU that follow the last one."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        block1=PreactBlock(channels, width, stride, activated=activated),
    )
    for i in range(2, blocks + 1):
        layers[f"block{i}"] = PreactBlock(width, width, 1, activated=False)
    layers["norm"] = nn.BatchNorm2d(width)
    layers["relu"] = nn.ReLU()
    return nn.Sequential(layers)
