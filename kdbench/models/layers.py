"""Layers that several architectures are made of, the start of their weights and the check of their widths."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from torch import Tensor, nn

from kdbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


def convolution(
    channels: int,
    width: int,
    size: int,
    *,
    stride: int = 1,
    groups: int = 1,
    relu: bool = True,
) -> nn.Sequential:
    """A convolution without bias and its batch norm, then a ReLU unless ``relu`` is false.

    [B, channels, H, W] to [B, width, H', W'] with H' = ceil(H / stride), for an odd kernel ``size``.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(channels, width, size, stride=stride, padding=size // 2, groups=groups, bias=False),
        norm=nn.BatchNorm2d(width),
    )
    if relu:
        layers["relu"] = nn.ReLU()
    return nn.Sequential(layers)


def pooling(head: nn.Module | None = None) -> nn.Sequential:
    """The mean over all positions, [B, C, H, W] to [B, C], of what ``head`` makes of the maps, if there is one."""
    layers: OrderedDict[str, nn.Module] = OrderedDict() if head is None else OrderedDict(head=head)
    return nn.Sequential(layers | {"mean": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()})


class ChannelShuffle(nn.Module):
    """Deals the channels of ``groups`` equal groups out in turn, so that the next grouped layer sees all of them.

    Channel g * n + i, the i-th of n in group g, moves to place i * groups + g (Zhang et al. 2018, "ShuffleNet",
    section 3.1): [B, C, H, W] to [B, C, H, W].
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, inputs: Tensor) -> Tensor:
        """The same maps in another order."""
        batch, channels, height, width = inputs.shape
        split = inputs.reshape(batch, self.groups, channels // self.groups, height, width)
        return split.permute(0, 2, 1, 3, 4).reshape(batch, channels, height, width)


def start_convolutions(network: nn.Module) -> None:
    """Draw the weights of all convolutions from N(0, 2 / (k^2 * C_out)), Kaiming's distribution (fan out), bias 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def start_classifier(linear: nn.Linear) -> None:
    """Draw its weights from N(0, 0.01^2), bias 0."""
    nn.init.normal_(linear.weight, std=0.01)
    nn.init.zeros_(linear.bias)


def check_widths(model: str, widths: Sequence[int], meaning: Sequence[str]) -> None:
    """Do nothing where there is one positive width for each of ``meaning``.

    Raises:
        UsageError: there is not.
    """
    if len(widths) != len(meaning) or any(width < 1 for width in widths):
        raise UsageError(
            f"{model} widths: found {list(widths)}, expected {len(meaning)} positive numbers ({', '.join(meaning)})",
        )
