"""The layout that a method plans for its inputs, which ExecuTorch's Python binding does not tell."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Places of fields in the tables of ExecuTorch's schema/program.fbs, and of Tensor in its union of values.
_PROGRAM_PLANS = 1
_PLAN_NAME, _PLAN_VALUES, _PLAN_INPUTS = 0, 2, 3
_VALUE_TYPE, _VALUE = 0, 1
_TENSOR_ORDER = 3
_TENSOR = 5


def dim_orders(path: Path, method: str) -> list[tuple[int, ...] | None]:
    """For each input of a method its dimensions from the outermost to the innermost; None for what is no tensor.

    The file must be one that the runtime has loaded: nothing is checked here.

    Raises:
        KeyError: the program has no such method.
    """
    file = _Flatbuffer(path.read_bytes())
    for plan in file.tables(file.follow(0), _PROGRAM_PLANS):
        if file.text(plan, _PLAN_NAME) != method:
            continue
        values = file.tables(plan, _PLAN_VALUES)
        return [_order(file, values[place]) for place in file.vector(plan, _PLAN_INPUTS, "i")]
    raise KeyError(method)


def _order(file: _Flatbuffer, value: int) -> tuple[int, ...] | None:
    kind = file.field(value, _VALUE_TYPE)
    tensor = file.field(value, _VALUE)
    if not kind or not tensor or file.number("B", kind) != _TENSOR:
        return None
    return tuple(file.vector(file.follow(tensor), _TENSOR_ORDER, "B"))


class _Flatbuffer:
    """Reads tables of the FlatBuffers format: positions are places in the file."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def number(self, kind: str, at: int) -> int:
        found: int = struct.unpack_from("<" + kind, self._data, at)[0]
        return found

    def follow(self, at: int) -> int:
        return at + self.number("I", at)

    def field(self, table: int, place: int) -> int:
        """Where a field of a table lies, 0 where it has its default."""
        vtable = table - self.number("i", table)
        entry = 4 + 2 * place
        offset = self.number("H", vtable + entry) if entry < self.number("H", vtable) else 0
        return table + offset if offset else 0

    def vector(self, table: int, place: int, kind: str) -> list[int]:
        at = self.field(table, place)
        if not at:
            return []
        start = self.follow(at)
        return list(struct.unpack_from(f"<{self.number('I', start)}{kind}", self._data, start + 4))

    def tables(self, table: int, place: int) -> list[int]:
        """Where the tables of a field that is a vector of them lie."""
        at = self.field(table, place)
        if not at:
            return []
        start = self.follow(at)
        return [self.follow(start + 4 + 4 * i) for i in range(self.number("I", start))]

    def text(self, table: int, place: int) -> str:
        return bytes(self.vector(table, place, "B")).decode()
