"""Programs: one ``.pte`` and the facts read from it."""

from __future__ import annotations

import hashlib
import math
import zlib
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from kdbench.errors import UsageError
from kdbench.lowering.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

UNKNOWN = "unknown"
"""The data type of bytes inside a delegate that only its backend can read."""

_DTYPES = {
    "FLOAT": "float32", "DOUBLE": "float64", "HALF": "float16", "BFLOAT16": "bfloat16", "BYTE": "uint8", "CHAR": "int8",
    "SHORT": "int16", "INT": "int32", "LONG": "int64", "BOOL": "bool", "UINT16": "uint16", "QINT8": "int8",
    "QUINT8": "uint8", "QINT32": "int32", "BITS16": "uint16",
}  # fmt: skip
_BITS = {"bool": 8, "int4": 4, "bfloat16": 16} | {
    f"{kind}{bits}": bits for kind in ("int", "uint", "float") for bits in (8, 16, 32, 64)
}
_MAGIC = b"ET12"


@dataclass(frozen=True, slots=True)
class TensorMeta:
    """An input or output of a method: dtype name as numpy spells it (``int`` or ``double`` for a scalar), and shape."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ProgramFacts:
    """What a ``.pte`` says of itself and of one of its methods. Sizes in bytes.

    ``download_bytes``: the file deflated at level 9, as application packages are. ``weight_bytes``: constant data,
    named data and delegate blobs. ``constants``: bytes of constant data by the type they are stored as, ``unknown`` in
    delegates that only their backend can read. ``arena_bytes``: planned memory of the method, XNNPACK's own workspace
    not included. ``delegates``: how often each backend is called. ``operators``: how often each operator runs outside
    a delegate.
    """

    sha256: str
    size_bytes: int
    download_bytes: int
    weight_bytes: int
    constants: Mapping[str, int]
    arena_bytes: int
    method: str
    delegates: Mapping[str, int]
    operators: Mapping[str, int]
    inputs: tuple[TensorMeta, ...]
    outputs: tuple[TensorMeta, ...]

    @property
    def quantized_share(self) -> float | None:
        """The share of constant bytes (weights, biases, scales) stored in less than 16 bits each.

        None where there are none, or where a backend keeps them to itself.
        """
        total = sum(self.constants.values())
        if not total or self.constants.get(UNKNOWN):
            return None
        return sum(size for dtype, size in self.constants.items() if _BITS[dtype] < 16) / total

    def as_json(self) -> dict[str, Any]:
        """All facts as JSON-able values."""
        return asdict(self)


def read_program(path: Path, method: str = "") -> ProgramFacts:
    """The facts of the program in ``path``, read from the file alone; anyone's ``.pte`` will do.

    ``method`` names the method that is told of, the first one if it is empty.

    Raises:
        UsageError: no such file, not a whole, readable ExecuTorch program, or no such method in it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    return facts_of(data, str(path), method)


def facts_of(data: bytes, name: str = "program", method: str = "") -> ProgramFacts:
    """The facts of a program's bytes; ``name`` is what errors call it, ``method`` as for ``read_program``.

    Raises:
        UsageError: not a whole, readable ExecuTorch program, or no such method in it.
    """
    _check_header(data, name)
    try:
        return _facts(data, name, method)
    except UsageError:
        raise
    except Exception as error:
        # The reader indexes into the bytes unchecked: what a corrupt file makes it raise is anyone's guess.
        said = str(error).strip().partition("\n")[0]
        raise UsageError(f"{name} is damaged: {type(error).__name__}{': ' + said if said else ''}") from error


def deflated_size(data: bytes) -> int:
    """The length of ``data`` as a raw deflate stream of level 9: what an APK or IPA ships."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return len(packer.compress(data)) + len(packer.flush())


def _check_header(data: bytes, name: str) -> None:
    if not data:
        raise UsageError(f"{name} is empty; expected an ExecuTorch program (.pte)")
    if len(data) < 8 or data[4:6] != _MAGIC[:2]:
        raise UsageError(f"{name} is not an ExecuTorch program (.pte): it does not start like one")
    if data[4:8] != _MAGIC:
        found = data[4:8].decode("ascii", "replace")
        raise UsageError(f"{name} has program format {found!r}; this ExecuTorch reads {_MAGIC.decode()!r}")
    if data[8:12] != b"eh00":
        return
    size, base, segments = (int.from_bytes(data[at : at + 8], "little") for at in (16, 24, 32))
    whole = base + segments if base else size
    if len(data) < whole or len(data) < 40:
        raise UsageError(f"{name} is cut off: found {len(data):,} bytes, its header says {whole:,}")


def _facts(data: bytes, name: str, method: str) -> ProgramFacts:
    with quiet():
        from executorch.exir._serialize._program import deserialize_pte_binary

        from kdbench.lowering.xnnpack_graph import constants_of

        file = deserialize_pte_binary(data)
    program = file.program
    plans = {each.name: each for each in program.execution_plan}
    if method and method not in plans:
        raise UsageError(f"{name} has no method {method!r}; it has {', '.join(map(repr, plans))}")
    plan = plans[method] if method else program.execution_plan[0]
    named = {}
    if file.named_data is not None:
        buffers = file.named_data.buffers
        named = {key: bytes(buffers[entry.buffer_index]) for key, entry in file.named_data.pte_data.items()}
    blobs = [(each.id, program.backend_delegate_data[each.processed.index].data) for each in plan.delegates]

    constants = _plain_constants(plan.values, program.constant_buffer)
    taken: set[str] = set()
    for backend, blob in blobs:
        if backend == "XnnpackBackend":
            constants.update(constants_of(bytes(blob), {key: len(value) for key, value in named.items()}, taken))
        else:
            constants[UNKNOWN] += len(blob)
    constants[UNKNOWN] += sum(len(value) for key, value in named.items() if key not in taken)

    calls = [instruction.instr_args for chain in plan.chains for instruction in chain.instructions]
    operators = Counter(_operator(plan.operators[call.op_index]) for call in calls if hasattr(call, "op_index"))
    delegates = Counter(plan.delegates[call.delegate_index].id for call in calls if hasattr(call, "delegate_index"))
    return ProgramFacts(
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        download_bytes=deflated_size(data),
        weight_bytes=sum(len(buffer.storage) for buffer in program.constant_buffer)
        + sum(len(each.data) for each in program.backend_delegate_data)
        + sum(len(value) for value in named.values()),
        constants={dtype: size for dtype, size in sorted(constants.items()) if size},
        arena_bytes=sum(plan.non_const_buffer_sizes[1:]),
        method=plan.name,
        delegates=dict(sorted(delegates.items())),
        operators=dict(sorted(operators.items())),
        inputs=tuple(_meta(plan.values[index].val) for index in plan.inputs),
        outputs=tuple(_meta(plan.values[index].val) for index in plan.outputs),
    )


def _plain_constants(values: list[Any], buffers: list[Any]) -> Counter[str]:
    """Bytes by type of the constants that the program itself holds, outside delegates; a shared one counts once."""
    sizes: Counter[str] = Counter()
    seen: set[int] = set()
    for value in (each.val for each in values):
        index = getattr(value, "data_buffer_idx", 0)
        if index <= 0 or value.allocation_info is not None or index in seen or index >= len(buffers):
            continue
        seen.add(index)
        dtype = _dtype(value)
        sizes[dtype] += math.prod(value.sizes) * _BITS[dtype] // 8
    return sizes


def _operator(operator: Any) -> str:
    return f"{operator.name}.{operator.overload}" if operator.overload else str(operator.name)


def _meta(value: Any) -> TensorMeta:
    if hasattr(value, "scalar_type"):
        return TensorMeta(_dtype(value), tuple(int(size) for size in value.sizes))
    return TensorMeta(type(value).__name__.lower(), ())


def _dtype(tensor: Any) -> str:
    name = str(tensor.scalar_type.name)
    return _DTYPES.get(name, name.lower())
