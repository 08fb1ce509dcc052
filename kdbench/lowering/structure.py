"""The structure of a program: its lowered graph with the values left out, named by a hash.

What decides a program's speed is which kernels run on which shapes, not which weights they read. Two seeds of one
student share a structure, so speed is measured once for both.
"""

from __future__ import annotations

import hashlib
import operator
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch
from torch.fx import GraphModule, Node

from kdbench.lowering.target import LIBRARIES
from kdbench.store import content_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch.export import ExportedProgram

_QUANTISATION = ("quantized_decomposed", "torchao")
_VALUES = ("scale", "zero_point")


def structure_of(program: ExportedProgram, target: str, precision: str) -> str:
    """The sha256 that names the structure of a program lowered to the edge dialect.

    It covers operators, the wiring of their arguments, scalar arguments, shapes, data types and dimension orders of all
    values, the delegates with their options and the graphs inside them, the target, its precision and the versions of
    the libraries. It leaves out names, constants, and the scales and zero points of quantisation, which differ between
    two networks of one architecture but change no kernel.
    """
    return content_key(
        {
            "graph": _graph(program.graph_module, _kinds(program)),
            "target": target,
            "precision": precision,
            "libraries": {library: version(library) for library in LIBRARIES},
        },
    )


def delegated_share(program: ExportedProgram) -> float:
    """The share of a lowered program's operators that run inside a delegate, in [0, 1]; ``getitem`` is none."""
    inside = outside = 0
    for node in program.graph_module.graph.nodes:
        if node.op == "get_attr" and (delegate := _delegate(node)) is not None:
            inside += sum(1 for _ in _operators(delegate.original_module.graph_module))
    for node in _operators(program.graph_module):
        outside += "executorch_call_delegate" not in str(node.target)
    return inside / (inside + outside) if inside + outside else 0.0


def _operators(graph: GraphModule) -> Iterator[Node]:
    return (node for node in graph.graph.nodes if node.op == "call_function" and node.target is not operator.getitem)


def _kinds(program: ExportedProgram) -> dict[str, str]:
    """What each placeholder is: USER_INPUT, PARAMETER, BUFFER, ..."""
    return {spec.arg.name: spec.kind.name for spec in program.graph_signature.input_specs if hasattr(spec.arg, "name")}


def _graph(graph: GraphModule, kinds: dict[str, str]) -> list[Any]:
    """The nodes of a graph in their order, each known by its place."""
    places = {node: place for place, node in enumerate(graph.graph.nodes)}
    return [_node(node, places, kinds) for node in graph.graph.nodes]


def _node(node: Node, places: dict[Node, int], kinds: dict[str, str]) -> list[Any]:
    if node.op == "placeholder":
        return ["input", kinds.get(node.name, ""), _value(node.meta.get("val"))]
    if node.op == "get_attr":
        if (delegate := _delegate(node)) is not None:
            options = [[spec.key, hashlib.sha256(bytes(spec.value)).hexdigest()] for spec in delegate.compile_specs]
            inner = delegate.original_module
            return ["delegate", delegate.backend_id, options, _graph(inner.graph_module, _kinds(inner))]
        module = _attribute(node)
        return ["graph", _graph(module, {})] if isinstance(module, GraphModule) else ["constant", _value(module)]
    if node.op == "output":
        return ["output", _argument(node.args, places)]
    return [
        "call",
        _name(node.target),
        [_argument(argument, places) for argument in _without_values(node)],
        {key: _argument(value, places) for key, value in node.kwargs.items()},
        _value(node.meta.get("val")),
    ]


def _without_values(node: Node) -> list[Any]:
    """The positional arguments, with the numbers among a quantisation's scales and zero points left out."""
    schema = getattr(node.target, "_schema", None)
    if schema is None or not schema.name.startswith(_QUANTISATION):
        return list(node.args)
    names = [argument.name for argument in schema.arguments]
    return [
        "value" if name.startswith(_VALUES) and isinstance(argument, int | float) else argument
        for name, argument in zip(names, node.args, strict=False)
    ]


def _argument(value: Any, places: dict[Node, int]) -> Any:
    if isinstance(value, Node):
        return {"node": places[value]}
    if isinstance(value, list | tuple):
        return [_argument(item, places) for item in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    return f"{type(value).__name__} {value}"  # floats, dtypes, layouts, devices, symbolic sizes


def _value(value: Any) -> Any:
    """Type and shape of what a node gives: never its numbers."""
    if isinstance(value, torch.Tensor):
        return [str(value.dtype), [str(size) for size in value.shape], list(value.dim_order())]
    if isinstance(value, list | tuple):
        return [_value(item) for item in value]
    return type(value).__name__


def _name(target: Any) -> str:
    name = getattr(target, "name", None)
    return str(name()) if callable(name) else str(getattr(target, "__name__", target))


def _attribute(node: Node) -> Any:
    owner: Any = node.graph.owning_module
    for part in str(node.target).split("."):
        owner = getattr(owner, part)
    return owner


def _delegate(node: Node) -> Any:
    """The lowered module behind a node, or None if it is something else."""
    owner = _attribute(node)
    return owner if hasattr(owner, "backend_id") and hasattr(owner, "original_module") else None
