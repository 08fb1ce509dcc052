"""What is in a program: its bytes part by part, what its delegates compute, its structure."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from kdbench.errors import UsageError
from kdbench.lowering.program import ProgramFacts, facts_of
from kdbench.lowering.quiet import quiet
from kdbench.lowering.xnnpack_graph import graph_of
from kdbench.store import content_key

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_XNNPACK = "XnnpackBackend"
_NUMBERS = ("scale", "zero_point", "scale_bf16")


@dataclass(frozen=True, slots=True)
class Contents:
    """A program's facts, and more that is read from its bytes.

    ``parts``: bytes of the whole file by what they are: ``flatbuffer`` (the graph, names, shapes; inline delegates
    too), ``constants``, ``delegates`` (the blobs that backends read), ``named data`` (constants of delegates, and what
    methods share), ``padding``. ``delegated``: by backend, how often each operator is in its blobs; None where only the
    backend can read them. ``structure``: a sha256 over operators, wiring, shapes and data types of the method and of
    XNNPACK's graphs in it, without any weight or quantisation parameter: two seeds of one network share it. A blob that
    cannot be read counts with all its bytes. It is another hash than that of a run, which is made while lowering.
    """

    facts: ProgramFacts
    parts: Mapping[str, int]
    delegated: Mapping[str, Mapping[str, int] | None]
    structure: str

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON-able values."""
        return asdict(self)


def read_contents(path: Path, method: str = "") -> Contents:
    """The contents of the program in ``path``; ``method`` names the method told of, the first one if it is empty.

    Raises:
        UsageError: no such file, not a whole, readable ExecuTorch program, or no such method in it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    facts = facts_of(data, str(path), method)
    with quiet():
        from executorch.exir._serialize._program import deserialize_pte_binary

        file = deserialize_pte_binary(data)
    program = file.program
    plan = next(each for each in program.execution_plan if each.name == facts.method)
    blobs = [(each.id, bytes(program.backend_delegate_data[each.processed.index].data)) for each in plan.delegates]
    graphs = [graph_of(blob) if backend == _XNNPACK else None for backend, blob in blobs]
    return Contents(facts, _parts(data, file), _delegated(blobs, graphs), _structure(plan, blobs, graphs))


def _parts(data: bytes, file: Any) -> dict[str, int]:
    program = file.program
    parts = {
        "constants": sum(len(buffer.storage) for buffer in program.constant_buffer),
        "delegates": sum(len(each.data) for each in program.backend_delegate_data),
        "named data": sum(map(len, file.named_data.buffers)) if file.named_data is not None else 0,
    }
    extended = data[8:12] == b"eh00"
    flatbuffer = int.from_bytes(data[16:24], "little") if extended else len(data)
    if not extended or not int.from_bytes(data[24:32], "little"):
        flatbuffer -= sum(parts.values())  # no segments: all of it is inside
    parts = {"flatbuffer": flatbuffer, **parts}
    return {**parts, "padding": len(data) - sum(parts.values())}


def _delegated(blobs: list[tuple[str, bytes]], graphs: list[Any]) -> dict[str, dict[str, int] | None]:
    counts: dict[str, dict[str, int] | None] = {}
    for backend in dict.fromkeys(name for name, _ in blobs):
        own = [graph for (name, _), graph in zip(blobs, graphs, strict=True) if name == backend]
        nodes = (node for graph in own if graph is not None for node in graph["xnodes"])
        known = Counter(node["xnode_union_type"].removeprefix("XNN") for node in nodes)
        counts[backend] = None if None in own else dict(sorted(known.items()))
    return counts


def _structure(plan: Any, blobs: list[tuple[str, bytes]], graphs: list[Any]) -> str:
    return content_key(
        {
            "values": [_value(each.val) for each in plan.values],
            "inputs": plan.inputs,
            "outputs": plan.outputs,
            "operators": [[each.name, each.overload] for each in plan.operators],
            "calls": [[_call(each.instr_args) for each in chain.instructions] for chain in plan.chains],
            "delegates": [
                [backend, blob.hex() if graph is None else _shape(graph)]
                for (backend, blob), graph in zip(blobs, graphs, strict=True)
            ],
        },
    )


def _value(value: Any) -> list[Any]:
    """A value of the method: of a tensor its type and shape and whether it is constant, of the rest all."""
    if not hasattr(value, "scalar_type"):
        # A number with a fraction may be a scale; whole ones are strides, paddings, axes.
        return [type(value).__name__, {name: str(each) for name, each in vars(value).items() if name != "double_val"}]
    constant = value.data_buffer_idx > 0 and value.allocation_info is None
    return ["Tensor", value.scalar_type.name, list(value.sizes), list(value.dim_order), constant]


def _call(call: Any) -> list[Any]:
    return [type(call).__name__, {name: str(each) for name, each in vars(call).items()}]


def _shape(graph: Any) -> Any:
    """XNNPACK's graph without numbers that training or calibration decide, and without the place of constants."""
    if isinstance(graph, dict):
        return {key: _shape(each) for key, each in graph.items() if key not in (*_NUMBERS, "constant_data")}
    if isinstance(graph, list):
        return [_shape(each) for each in graph]
    # A bound of an activation may be infinite, which JSON, and so the key, cannot hold.
    return repr(graph) if isinstance(graph, float) else graph
