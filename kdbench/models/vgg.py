"""The VGG networks of the distillation literature: batch norm, and one linear layer instead of three.

Simonyan and Zisserman 2015, in the form for 32x32 images of the RepDistiller collection: five stages of 3x3
convolutions (with bias), each with batch norm and ReLU, and a 2x2 maximum before the second, third and fourth; before
the fifth too for images of 64x64 and larger (in the collection, for those of 64 rows alone). Then the mean over all
positions and one linear layer. Convolutions start from Kaiming's normal distribution (fan out), the linear layer from
N(0, 0.01^2), all biases from 0.

Stages are ``stem``, ``stage1`` ... ``stage4`` (each after its last ReLU and before the next maximum, [B, C, H, W]) and
``pool`` [B, D]. Images must be at least 8x8: three maxima leave nothing of smaller ones.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from kdbench.errors import UsageError
from kdbench.models.layers import check_widths, pooling, start_classifier, start_convolutions

_WIDTHS = (64, 128, 256, 512, 512)
_LEAST = 8
"""The smallest side: what three halvings, rounded down, leave a position of."""
_LARGE = 64
"""The smallest side of images that are halved a fourth time."""


def vgg8(outputs: int, shape: tuple[int, ...], *, widths: tuple[int, ...] = _WIDTHS) -> nn.Module:
    """VGG-8: one convolution a stage, 4.0M parameters."""
    return VGG(outputs, shape, 1, widths)


def vgg13(outputs: int, shape: tuple[int, ...], *, widths: tuple[int, ...] = _WIDTHS) -> nn.Module:
    """VGG-13: two convolutions a stage, 9.5M parameters."""
    return VGG(outputs, shape, 2, widths)


class VGG(nn.Module):
    """A VGG of five stages with ``depth`` convolutions each, for items [C, H, W]; see the module's docstring.

    Raises:
        UsageError: ``widths`` are not five positive numbers, or the images are smaller than 8x8.
    """

    stages = ("stem", "stage1", "stage2", "stage3", "stage4", "pool")
    classifier = "linear"

    def __init__(self, outputs: int, shape: tuple[int, ...], depth: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        check_widths("vgg", widths, self.stages[:-1])
        side = min(shape[1:])
        if side < _LEAST:
            raise UsageError(f"vgg: found images of {shape[1]}x{shape[2]}, expected at least {_LEAST}x{_LEAST}")
        self.stem = _stage(depth, shape[0], widths[0], halves=False)
        self.stage1 = _stage(depth, widths[0], widths[1], halves=True)
        self.stage2 = _stage(depth, widths[1], widths[2], halves=True)
        self.stage3 = _stage(depth, widths[2], widths[3], halves=True)
        self.stage4 = _stage(depth, widths[3], widths[4], halves=side >= _LARGE)
        self.pool = pooling()
        self.linear = nn.Linear(widths[4], outputs)
        start_convolutions(self)
        start_classifier(self.linear)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs [B, K] of items [B, C, H, W]."""
        maps = self.stage4(self.stage3(self.stage2(self.stage1(self.stem(inputs)))))
        outputs: Tensor = self.linear(self.pool(maps))
        return outputs


def _stage(depth: int, channels: int, width: int, *, halves: bool) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if halves:
        layers["max"] = nn.MaxPool2d(2)
    for i in range(1, depth + 1):
        layers[f"conv{i}"] = nn.Conv2d(channels if i == 1 else width, width, 3, padding=1)
        layers[f"norm{i}"] = nn.BatchNorm2d(width)
        layers[f"relu{i}"] = nn.ReLU()
    return nn.Sequential(layers)
