"""Integers: a quantised graph computed as integer kernels compute it, which a float graph only does up to ties.

Between quantisations every number of a statically quantised graph is a whole multiple of a scale. In 64-bit floats
sums of such are exact, where the graph's own 32-bit ones round. Biases, which the graph keeps as floats, are whole
multiples of input scale times weight scale in the kernels (Jacob et al. 2018, section 2.4), and so they are here: how
many times is found out in 32 bits, as it is when a program is made, since 21255.49986 is 21255.5 there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node
from torch.utils._pytree import tree_map

from kdbench.lowering.export import leaves

if TYPE_CHECKING:
    from torch.fx.node import Argument, Target

_BIASED = ("aten.conv1d.default", "aten.conv2d.default", "aten.linear.default")
"""Operators of an exported graph whose arguments are input, weight and, perhaps, bias."""

_EXACT = (
    "quantized_decomposed", *_BIASED, "aten.relu", "aten.hardtanh", "aten.clamp", "aten.mean.dim", "aten.max_pool2d",
    "aten.adaptive_avg_pool2d", "aten.view", "aten.reshape", "aten.flatten", "aten.permute", "aten.dropout",
)  # fmt: skip
"""How operators begin that kernels compute as is done here; a sum of two tensors has a fixed-point rule of its own."""

_NUDGES = (1 - 2.0**-23, 1 + 2.0**-23)
"""The smallest changes of a 32-bit scale: kernels round the products of scales, up or down, and this does not."""


def settled(graph: GraphModule, inputs: tuple[Tensor, ...]) -> bool:
    """Whether integer kernels can but say what ``Integers`` says of these inputs.

    That is so where every operator is one that is computed alike, and no number lies so near the middle between two
    integers that the last bit of a scale decides where it is rounded to.
    """
    names = (str(node.target) for node in graph.graph.nodes if node.op == "call_function")
    if not all(name.startswith(_EXACT) for name in names):
        return False
    less, more = (leaves(Integers(graph, nudge).run(*inputs)) for nudge in _NUDGES)
    return all(torch.allclose(one, other, rtol=1e-5, atol=0) for one, other in zip(less, more, strict=True))


class Integers(Interpreter):
    """Runs a graph of ``convert_pt2e`` whose inputs and outputs are floats; ``run`` gives 64-bit ones.

    ``nudge`` is what scales of weights are multiplied with.
    """

    def __init__(self, graph: GraphModule, nudge: float = 1.0) -> None:
        super().__init__(graph)
        self._nudge = nudge
        self._node: Node | None = None

    def run_node(self, n: Node) -> Any:
        """Run a node, knowing which."""
        self._node = n
        return super().run_node(n)

    def call_function(self, target: Target, args: tuple[Argument, ...], kwargs: dict[str, Any]) -> Any:
        """A quantisation by its rule, anything else on 64-bit floats."""
        given: list[Any] = list(tree_map(_double, args))
        name = str(target).removeprefix("quantized_decomposed.")
        if name.startswith("dequantize_per_tensor"):
            values, scale, zero = given[:3]
            return (values.double() - zero) * _single(scale)
        if name.startswith("dequantize_per_channel"):
            values, scales, zeros, axis = given[:4]
            shape = [-1 if place == axis else 1 for place in range(values.ndim)]
            return (values.double() - zeros.reshape(shape)) * scales.double().reshape(shape) * self._nudge
        if name.startswith("quantize_per_tensor"):
            values, scale, zero, low, high, dtype = given[:6]
            return (torch.round(values / _single(scale)) + zero).clamp(low, high).to(dtype)
        if name in _BIASED and len(given) > 2 and given[2] is not None:
            unit = self._unit()
            if unit is not None:
                given[2] = torch.round(given[2].float() / unit.float()).double() * unit
        return super().call_function(target, tuple(given), kwargs)

    def _unit(self) -> Tensor | None:
        """What the bias of the current node is a whole multiple of, [C] or a number; None if nothing says so."""
        assert self._node is not None
        entering, weight = (_dequantized(argument) for argument in self._node.args[:2])
        if entering is None or weight is None:
            return None
        scales = weight.args[1]
        found = self.fetch_attr(str(scales.target)) if isinstance(scales, Node) else torch.tensor(_single(scales))
        return found.double() * _single(entering.args[1]) * self._nudge


def _dequantized(argument: Any) -> Node | None:
    """The dequantisation that a value comes from, through what only moves it."""
    while isinstance(argument, Node) and argument.op == "call_function":
        if "dequantize_per" in str(argument.target):
            return argument
        argument = argument.args[0] if argument.args else None
    return None


def _single(scale: Any) -> float:
    """A scale as the kernels have it, in 32 bits."""
    return float(np.float32(scale))


def _double(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value
