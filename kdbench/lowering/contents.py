"""What is in a program: its bytes part by part, what its delegates compute, its structure."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from kdbench.lowering.multiplied import macs_of
from kdbench.lowering.program import OpenProgram, ProgramFacts, bytes_of, damage_told, facts, opened
from kdbench.store import content_key

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_NUMBERS = ("scale", "zero_point", "scale_bf16")


@dataclass(frozen=True, slots=True)
class Contents:
    """A program's facts, and more that is read from its bytes.

    ``parts``: bytes of the whole file by what they are: ``flatbuffer`` (the graph, names, shapes; inline delegates
    too), ``constants``, ``delegates`` (the blobs that backends read), ``named data`` (constants of delegates, and what
    methods share), ``padding``. ``delegated``: by backend, how often each operator is in its blobs; None where only the
    backend can read them. ``macs``: multiply-accumulates of an inference, None where its bytes do not say them
    (``multiplied.macs_of``). ``structure``: a sha256 over operators, wiring, shapes and data types of the method and of
    XNNPACK's graphs in it, without any weight or quantisation parameter: two seeds of one network share it. A blob that
    cannot be read counts with all its bytes. It is another hash than that of a run, which is made while lowering.
    """

    facts: ProgramFacts
    parts: Mapping[str, int]
    delegated: Mapping[str, Mapping[str, int] | None]
    macs: int | None
    structure: str

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON-able values."""
        return asdict(self)


def read_contents(path: Path, method: str = "") -> Contents:
    """The contents of the program in ``path``; ``method`` names the method told of, the first one if it is empty.

    Raises:
        UsageError: no such file, not a whole, readable ExecuTorch program, or no such method in it.
    """
    program = opened(bytes_of(path), str(path), method)
    with damage_told(str(path)):
        return Contents(facts(program), _parts(program), _delegated(program), macs_of(program), _structure(program))


def _parts(program: OpenProgram) -> dict[str, int]:
    data, pte, named = program.data, program.file.program, program.file.named_data
    parts = {
        "constants": sum(len(buffer.storage) for buffer in pte.constant_buffer),
        "delegates": sum(len(each.data) for each in pte.backend_delegate_data),
        "named data": sum(map(len, named.buffers)) if named is not None else 0,
    }
    extended = data[8:12] == b"eh00"
    flatbuffer = int.from_bytes(data[16:24], "little") if extended else len(data)
    if not extended or not int.from_bytes(data[24:32], "little"):
        flatbuffer -= sum(parts.values())  # no segments: all of it is inside
    parts = {"flatbuffer": flatbuffer, **parts}
    return {**parts, "padding": len(data) - sum(parts.values())}


def _delegated(program: OpenProgram) -> dict[str, dict[str, int] | None]:
    counts: dict[str, dict[str, int] | None] = {}
    for backend in dict.fromkeys(name for name, _, _ in program.delegates):
        own = [graph for name, _, graph in program.delegates if name == backend]
        nodes = (node for graph in own if graph is not None for node in graph["xnodes"])
        known = Counter(node["xnode_union_type"].removeprefix("XNN") for node in nodes)
        counts[backend] = None if None in own else dict(sorted(known.items()))
    return counts


def _structure(program: OpenProgram) -> str:
    plan = program.plan
    return content_key(
        {
            "values": [_value(each.val) for each in plan.values],
            "inputs": plan.inputs,
            "outputs": plan.outputs,
            "operators": [[each.name, each.overload] for each in plan.operators],
            "calls": [[_call(each.instr_args) for each in chain.instructions] for chain in plan.chains],
            "delegates": [
                [backend, blob.hex() if graph is None else _shape(graph)] for backend, blob, graph in program.delegates
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
