from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from kdbench.errors import UsageError
from kdbench.models.layers import (
    ChannelShuffle,
    check_widths,
    convolution,
    pooling,
    start_classifier,
    start_convolutions,
)


def test_channels_of_the_groups_take_turns():
    maps = torch.arange(6.0)[None, :, None, None].expand(2, 6, 2, 3)
    for groups, expected in ((3, [0, 2, 4, 1, 3, 5]), (2, [0, 3, 1, 4, 2, 5]), (1, [0, 1, 2, 3, 4, 5])):
        shuffled = ChannelShuffle(groups)(maps)
        assert shuffled.shape == maps.shape
        assert shuffled[1, :, 1, 2].tolist() == expected


@pytest.mark.parametrize(
    ("size", "stride", "expected"), [(1, 1, (5, 8)), (3, 1, (5, 8)), (3, 2, (3, 4)), (1, 2, (3, 4))]
)
def test_a_convolution_keeps_the_size_or_divides_it_rounding_up(size, stride, expected):
    layer = convolution(2, 4, size, stride=stride)
    assert layer(torch.zeros(2, 2, 5, 8)).shape == (2, 4, *expected)
    assert [type(part) for part in layer] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    assert layer.conv.bias is None
    assert not layer.relu.inplace


def test_a_convolution_may_have_groups_and_no_relu():
    layer = convolution(6, 6, 3, groups=6, relu=False)
    assert layer.conv.weight.shape == (6, 1, 3, 3)
    assert [name for name, _ in layer.named_children()] == ["conv", "norm"]


def test_pooling_is_the_mean_over_positions_of_what_the_head_makes():
    maps = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(pooling()(maps), maps.mean((2, 3)))
    torch.testing.assert_close(pooling(nn.ReLU())(maps), maps.relu().mean((2, 3)))


def test_weights_start_from_the_named_distributions():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(64, 128, 3), nn.Conv2d(512, 512, 3, groups=512), nn.Linear(256, 128))
    start_convolutions(network)
    start_classifier(network[2])
    assert network[0].weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 128)), rel=0.02)
    # As in the collection, a depthwise convolution counts all its channels, not those of a group.
    assert network[1].weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 512)), rel=0.05)
    assert network[2].weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not any(module.bias.any() for module in network)


@pytest.mark.parametrize("widths", [(4, 8), (4, 8, 0), (4, 8, 8, 8)])
def test_widths_that_do_not_fit_are_refused(widths):
    with pytest.raises(UsageError) as caught:
        check_widths("net", widths, ("stem", "stage1", "stage2"))
    assert str(caught.value) == (
        f"net widths: found {list(widths)}, expected 3 positive numbers (stem, stage1, stage2)"
    )
    check_widths("net", (1, 2, 3), ("stem", "stage1", "stage2"))
