"""Half precision: a network computed in 16-bit floats between casts, and a program that stores it so."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from kdbench.lowering.export import refuse_training
from kdbench.lowering.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Iterator

with quiet():
    import executorch.backends.xnnpack.operators  # noqa: F401 - registers the visitors
    from executorch.backends.xnnpack.operators.node_visitor import get_node_visitors, register_node_visitor

CONVOLUTION = "aten.convolution.default"


class Halved(nn.Module):
    """A copy of a network in ``dtype``, float16 or bfloat16: it takes and gives float32, as other programs do.

    Raises:
        UsageError: the network is in training mode.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        refuse_training(network)
        self.network = copy.deepcopy(network).to(dtype)
        self.dtype = dtype
        self.training = False

    def forward(self, *inputs: Tensor) -> Any:
        """What the network says of inputs, all floats among them cast to ``dtype``."""
        fed = [value.to(self.dtype) if value.is_floating_point() else value for value in inputs]
        return tree_map(self._single, self.network(*fed))

    def _single(self, value: Any) -> Any:
        return value.float() if isinstance(value, Tensor) and value.dtype == self.dtype else value


@contextmanager
def half_convolutions() -> Iterator[None]:
    """Inside the block XNNPACK's delegates store the weights of convolutions in the type that the graph has them in.

    ExecuTorch 1.5.1 writes those of linear layers as they are, but forces those of convolutions to float32, which makes
    the program of a convolutional network in float16 as large as that in float32. The kernels read either.
    """
    convolution = type(get_node_visitors(None, None, None)[CONVOLUTION])

    class AsTheyAre(convolution):  # type: ignore[misc, valid-type]
        target = CONVOLUTION

        def define_tensor(self, *given: Any, force_fp32: bool = False, **named: Any) -> None:
            del force_fp32
            super().define_tensor(*given, **named)

    register_node_visitor(AsTheyAre)
    try:
        yield
    finally:
        register_node_visitor(convolution)
