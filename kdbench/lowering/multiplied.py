"""Multiplications: how many multiply-accumulates an inference of a program takes, as far as its own bytes say it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kdbench.lowering.program import OpenProgram

_MULTIPLY = ("conv", "mm", "linear", "matmul", "attention", "sdpa", "fully_connected", "::mv", "::dot", "lstm", "gru")
"""What the names of operators contain that multiply in another way than number by number."""

_COUNTED = {"XNNConv2d", "XNNDepthwiseConv2d", "XNNFullyConnected", "XNNBatchMatrixMultiply"}
_UNCOUNTED = {"XNNConvTranspose2d", "XNNScaledDotProductAttention"}


def macs_of(program: OpenProgram) -> int | None:
    """The multiply-accumulates of convolutions and matrix products, positions that only see padding counted too.

    None where the bytes do not say it: a delegate that only its backend can read, or such an operator outside of
    XNNPACK's graphs.
    """
    graphs = [graph for _, _, graph in program.delegates]
    nodes = [node["xnode_union_type"] for graph in graphs if graph is not None for node in graph["xnodes"]]
    outside = [operator.name.lower() for operator in program.plan.operators]
    if None in graphs or _UNCOUNTED & set(nodes) or any(part in name for name in outside for part in _MULTIPLY):
        return None
    return sum(_macs(graph) for graph in graphs)


def _macs(graph: Any) -> int:
    shapes = dict(_shapes(graph["xvalues"]))
    found = 0
    for node in graph["xnodes"]:
        if node["xnode_union_type"] in _COUNTED:
            of = node["xnode_union"]
            output = shapes[of["output_id"]]
            other = shapes[of["filter_id"] if "filter_id" in of else of["input2_id"]]
            found += math.prod(output) * _terms(node["xnode_union_type"], output, other, shapes[of["input1_id"]])
    return found


def _terms(kind: str, output: Sequence[int], other: Sequence[int], one: Sequence[int]) -> int:
    """How many products are summed into each number of the output."""
    if kind == "XNNConv2d":
        return math.prod(other[1:])  # [out, high, wide, in a group]
    if kind == "XNNDepthwiseConv2d":
        return math.prod(other[1:3])  # [1, high, wide, out]
    return math.prod(other) // output[-1] if kind == "XNNFullyConnected" else one[-1]


def _shapes(values: Any) -> Iterable[tuple[int, list[int]]]:
    for value in values:
        union = value["xvalue_union"]
        tensor = union.get("tensor_value", union)
        yield tensor["id_out"], tensor["dims"]
