"""A multilayer perceptron: what sensors, features and small pictures are classified with, and linear layers alone.

Linear layers with ReLU between (Rumelhart, Hinton and Williams 1986), the items laid out as one vector. Precisions that
know linear layers alone, as those for language models do, reach all of its weights.

Stages are ``hidden1``, ``hidden2`` ... , each after its ReLU, [B, D].
"""

from __future__ import annotations

import math
from collections import OrderedDict

from torch import Tensor, nn

from kdbench.errors import UsageError


def mlp(outputs: int, shape: tuple[int, ...], *, width: int = 128, depth: int = 2) -> nn.Module:
    """Multilayer perceptron: ``depth`` hidden layers of ``width``."""
    return MLP(outputs, shape, width, depth)


class MLP(nn.Module):
    """``depth`` hidden layers for items of any shape; see the module's docstring.

    Raises:
        UsageError: ``width`` or ``depth`` is below 1.
    """

    classifier = "linear"

    def __init__(self, outputs: int, shape: tuple[int, ...], width: int, depth: int) -> None:
        super().__init__()
        if width < 1 or depth < 1:
            raise UsageError(f"mlp: found width {width} and depth {depth}, expected both to be at least 1")
        self.stages = tuple(f"hidden{place}" for place in range(1, depth + 1))
        self.flatten = nn.Flatten()
        given = math.prod(shape)
        for name in self.stages:
            self.add_module(name, nn.Sequential(OrderedDict(linear=nn.Linear(given, width), relu=nn.ReLU())))
            given = width
        self.linear = nn.Linear(width, outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs [B, K] of items [B, ...]."""
        values = self.flatten(inputs)
        for name in self.stages:
            values = self.get_submodule(name)(values)
        outputs: Tensor = self.linear(values)
        return outputs
