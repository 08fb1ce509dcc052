"""Surprises: what a precision promises of a program's weights and the program's bytes do not hold."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from kdbench.lowering.program import UNKNOWN, bits_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kdbench.lowering.program import OpenProgram, ProgramFacts

LEAST_TOUCHED = 0.5
"""The share of a network's weights that a precision must store as it promises, or it is not for that network."""

BITS = {"fp32": 32, "fp32-bf16": 32, "fp16": 16, "bf16": 16, "int8": 8, "int8-dynamic": 8, "int8da8w": 8, "int8da4w": 4}
"""Bits of a weight, by precision."""

_TOO_LARGE = 1.5
_SMALL = 4096
"""Constants may take half as much again as the weights alone, for scales and biases, and so many bytes in any case."""

_SEALED = 131072
"""What a blob that only its backend can read may hold besides weights: its graph, names, shaders."""


def untouched(precision: str, facts: ProgramFacts, weights: int) -> str:
    """Why a precision is not for the network of a program, or the empty string.

    ``weights``: the numbers in the network's parameters of two dimensions or more, which biases and scales are not.
    Nothing is said of what only a backend can read.
    """
    bits = BITS.get(precision, 32)
    if bits == 32 or facts.constants.get(UNKNOWN) or not facts.constants:
        return ""
    counts = {dtype: size * 8 / bits_of(dtype) for dtype, size in facts.constants.items()}
    share = sum(count for dtype, count in counts.items() if bits_of(dtype) <= bits) / max(weights, 1)
    if share >= LEAST_TOUCHED:
        return ""
    return f"{share:.0%} of its weights are stored in {bits} bits, at least {LEAST_TOUCHED:.0%} is needed"


def surprises(precision: str, program: OpenProgram, facts: ProgramFacts, parameters: int) -> list[str]:
    """What does not hold of a healthy program, each with what was expected and what was found.

    ``parameters``: how many weights the network has.
    """
    bits = BITS.get(precision, 32)
    expected = parameters * bits // 8
    sealed = bool(facts.constants.get(UNKNOWN))
    found = facts.weight_bytes if sealed else sum(facts.constants.values())
    told = []
    if found > _TOO_LARGE * expected + (_SEALED if sealed else _SMALL):
        told.append(
            f"{found:,} bytes of constants, expected about {expected:,} ({parameters:,} weights of {bits} bits)"
        )
    left = Counter(_float_weights(program)) if bits < 16 else Counter[str]()
    told += [f"the weights of {count} {kind} are left in float32" for kind, count in sorted(left.items())]
    return told


def _float_weights(program: OpenProgram) -> Iterator[str]:
    """What each float32 constant of two or more dimensions belongs to: an operator of XNNPACK's, or the program."""
    for _, _, graph in program.delegates:
        if graph is None:
            continue
        values = {value["xvalue_union"].get("id_out", place): value for place, value in enumerate(graph["xvalues"])}
        for node in graph["xnodes"]:
            weight = values.get(node["xnode_union"].get("filter_id", -1))
            if weight is not None and _is_float(weight["xvalue_union"]):
                yield node["xnode_union_type"].removeprefix("XNN")
    for value in (each.val for each in program.plan.values):
        constant = getattr(value, "data_buffer_idx", 0) > 0 and value.allocation_info is None
        if constant and value.scalar_type.name == "FLOAT" and len(value.sizes) > 1:
            yield "portable operators"


def _is_float(union: Any) -> bool:
    tensor = union.get("tensor_value", union)
    return bool(tensor["datatype"] == "xnn_datatype_fp32")
