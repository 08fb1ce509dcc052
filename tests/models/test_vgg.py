from __future__ import annotations

import math

import pytest
import torch

from kdbench.errors import UsageError
from kdbench.measures.compute import count_params
from kdbench.models.network import build, shapes, stages
from kdbench.models.vgg import vgg8, vgg13

NARROW = (2, 3, 4, 5, 6)


def arithmetic(depth: int, channels: int, outputs: int) -> int:
    """The parameters of five stages of ``depth`` 3x3 convolutions with bias and norm, and of one linear layer."""
    total, before = 0, channels
    for width in (64, 128, 256, 512, 512):
        for _ in range(depth):
            total += 9 * before * width + width + 2 * width
            before = width
    return total + before * outputs + outputs


# Of RepDistiller's vgg8_bn and vgg13_bn for 3x32x32, for ten classes and for CIFAR-100.
PARAMETERS = {"vgg8": (3_918_858, 3_965_028), "vgg13": (9_416_010, 9_462_180)}


@pytest.mark.parametrize(("name", "depth"), [("vgg8", 1), ("vgg13", 2)])
def test_parameters_are_those_of_the_literature(name, depth):
    for outputs, expected in zip((10, 100), PARAMETERS[name], strict=True):
        assert arithmetic(depth, 3, outputs) == expected
        with torch.device("meta"):
            assert count_params(build(name, outputs, (3, 32, 32), {})) == expected


@pytest.mark.parametrize(
    ("shape", "sides"),
    [
        ((3, 32, 32), [(32, 32), (16, 16), (8, 8), (4, 4), (4, 4)]),
        ((1, 28, 28), [(28, 28), (14, 14), (7, 7), (3, 3), (3, 3)]),
        ((1, 8, 8), [(8, 8), (4, 4), (2, 2), (1, 1), (1, 1)]),
        ((2, 70, 9), [(70, 9), (35, 4), (17, 2), (8, 1), (8, 1)]),
        ((3, 64, 64), [(64, 64), (32, 32), (16, 16), (8, 8), (4, 4)]),
    ],
)
def test_shapes_at_any_size_from_8x8(shape, sides):
    network = vgg13(5, shape, widths=NARROW)
    found = shapes(network, shape, stages(network))
    assert found.pop("pool") == (6,)
    assert list(found.values()) == [(width, *side) for width, side in zip(NARROW, sides, strict=True)]


@pytest.mark.parametrize("shape", [(1, 7, 8), (1, 32, 7)])
def test_smaller_images_are_refused(shape):
    with pytest.raises(UsageError, match=rf"^vgg: found images of {shape[1]}x{shape[2]}, expected at least 8x8$"):
        build("vgg8", 10, shape, {})


def test_a_stage_takes_the_maximum_then_convolves_norms_and_activates():
    torch.manual_seed(0)
    stage = vgg13(3, (1, 8, 8), widths=NARROW).stage1.eval()
    torch.nn.init.normal_(stage.norm1.bias)
    inputs = torch.randn(2, 2, 8, 8)
    with torch.no_grad():
        maps = inputs.unflatten(3, (4, 2)).unflatten(2, (4, 2)).amax((3, 5))
        maps = torch.relu(stage.norm1(stage.conv1(maps)))
        maps = torch.relu(stage.norm2(stage.conv2(maps)))
        torch.testing.assert_close(stage(inputs), maps)


def test_weights_start_as_in_the_literature():
    torch.manual_seed(0)
    network = vgg8(100, (3, 32, 32), widths=(8, 8, 8, 64, 256))
    assert network.stage4.conv1.weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 256)), rel=0.02)
    assert network.linear.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not network.linear.bias.any()
    assert not network.stage4.conv1.bias.any()


def test_widths_are_five_positive_numbers():
    with pytest.raises(
        UsageError, match=r"^vgg widths: found \[8, 8\], expected 5 positive numbers \(stem, .*stage4\)"
    ):
        build("vgg13", 10, (1, 8, 8), {"widths": [8, 8]})
