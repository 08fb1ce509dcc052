"""Programs: one ``.pte`` and the facts read from it."""

from __future__ import annotations

import hashlib
import math
import zlib
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from kdbench.errors import UsageError
from kdbench.lowering.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

UNKNOWN = "unknown"
"""The data type of bytes inside a delegate that only its backend can read."""

XNNPACK = "XnnpackBackend"
"""The backend whose graphs can be read here."""

_DTYPES = {
    "FLOAT": "float32", "DOUBLE": "float64", "HALF": "float16", "BFLOAT16": "bfloat16", "BYTE": "uint8", "CHAR": "int8",
    "SHORT": "int16", "INT": "int32", "LONG": "int64", "BOOL": "bool", "UINT16": "uint16", "QINT8": "int8",
    "QUINT8": "uint8", "QINT32": "int32", "BITS16": "uint16",
}  # fmt: skip
_BITS = {"bool": 8, "int4": 4, "bfloat16": 16} | {
    f"{kind}{bits}": bits for kind in ("int", "uint", "float") for bits in (8, 16, 32, 64)
}
_MAGIC = b"ET12"


def bits_of(dtype: str) -> int:
    """The bits that a value of a data type takes where it is stored."""
    return _BITS[dtype]


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


@dataclass(frozen=True, slots=True)
class OpenProgram:
    """A program as its bytes and as ExecuTorch reads them, and one of its methods.

    ``file`` is ExecuTorch's ``PTEFile``, ``plan`` the method's ``ExecutionPlan``. ``delegates``: of each blob that the
    method calls the backend, the bytes and, where the backend is XNNPACK, its graph as JSON, else None.
    """

    data: bytes
    file: Any
    plan: Any
    delegates: list[tuple[str, bytes, Any]]


def read_program(path: Path, method: str = "") -> ProgramFacts:
    """The facts of the program in ``path``, read from the file alone; anyone's ``.pte`` will do.

    ``method`` names the method that is told of, the first one if it is empty.

    Raises:
        UsageError: no such file, not a whole, readable ExecuTorch program, or no such method in it.
    """
    return facts_of(bytes_of(path), str(path), method)


def bytes_of(path: Path) -> bytes:
    """What is in a file.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None


def facts_of(data: bytes, name: str = "program", method: str = "") -> ProgramFacts:
    """The facts of a program's bytes; ``name`` is what errors call it, ``method`` as for ``read_program``.

    Raises:
        UsageError: not a whole, readable ExecuTorch program, or no such method in it.
    """
    program = opened(data, name, method)
    with damage_told(name):
        return facts(program)


def opened(data: bytes, name: str, method: str) -> OpenProgram:
    """A program's bytes as ExecuTorch reads them; arguments and errors as for ``facts_of``."""
    _check_header(data, name)
    with damage_told(name), quiet():
        from executorch.exir._serialize._program import deserialize_pte_binary

        file = deserialize_pte_binary(data)
        plans = {each.name: each for each in file.program.execution_plan}
        first = next(iter(plans))
    if method and method not in plans:
        raise UsageError(f"{name} has no method {method!r}; it has {', '.join(map(repr, plans))}")
    with damage_told(name), quiet():
        from kdbench.lowering.xnnpack_graph import graph_of

        plan, stored = plans[method or first], file.program.backend_delegate_data
        blobs = [(each.id, bytes(stored[each.processed.index].data)) for each in plan.delegates]
        delegates = [(backend, blob, graph_of(blob) if backend == XNNPACK else None) for backend, blob in blobs]
    return OpenProgram(data, file, plan, delegates)


@contextmanager
def damage_told(name: str) -> Iterator[None]:
    """Whatever goes wrong inside the block is the fault of the program that is read there, called ``name``.

    Raises:
        UsageError: it is damaged, and by what one can see it.
    """
    try:
        yield
    except Exception as error:
        # The reader indexes into the bytes unchecked: what a corrupt file makes it raise is anyone's guess.
        kind = [] if isinstance(error, UsageError) else [type(error).__name__]
        said = str(error).strip().partition("\n")[0]
        raise UsageError(f"{name} is damaged: {': '.join([*kind, *([said] if said else [])])}") from error


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


def facts(program: OpenProgram) -> ProgramFacts:
    """The facts of a program that has been read."""
    from kdbench.lowering.xnnpack_graph import constants_of

    pte, plan, packed = program.file.program, program.plan, program.file.named_data
    named = {}
    if packed is not None:
        named = {key: len(packed.buffers[entry.buffer_index]) for key, entry in packed.pte_data.items()}

    constants = _plain_constants(plan.values, pte.constant_buffer)
    taken: set[str] = set()
    for _, blob, graph in program.delegates:
        if graph is not None:
            constants.update(constants_of(graph, named, taken))
        else:
            constants[UNKNOWN] += len(blob)
    constants[UNKNOWN] += sum(size for key, size in named.items() if key not in taken)

    calls = [instruction.instr_args for chain in plan.chains for instruction in chain.instructions]
    operators = Counter(_operator(plan.operators[call.op_index]) for call in calls if hasattr(call, "op_index"))
    delegates = Counter(plan.delegates[call.delegate_index].id for call in calls if hasattr(call, "delegate_index"))
    return ProgramFacts(
        sha256=hashlib.sha256(program.data).hexdigest(),
        size_bytes=len(program.data),
        download_bytes=deflated_size(program.data),
        weight_bytes=sum(len(buffer.storage) for buffer in pte.constant_buffer)
        + sum(len(each.data) for each in pte.backend_delegate_data)
        + sum(named.values()),
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
