"""ExecuTorch's Python binding, and what it says in the words of the native runner."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kdbench.devices.statements import BAD_INPUT, DTYPE_BYTES, NO_MEMORY, Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kdbench.devices.statements import Array

_ERRORS = {
    0x01: "Internal",
    0x02: "InvalidState",
    0x03: "EndOfMethod",
    0x04: "AlreadyLoaded",
    0x10: "NotSupported",
    0x11: "NotImplemented",
    0x12: "InvalidArgument",
    0x13: "InvalidType",
    0x14: "OperatorMissing",
    0x20: "NotFound",
    0x21: "MemoryAllocationFailed",
    0x22: "AccessFailed",
    0x23: "InvalidProgram",
    0x24: "InvalidExternalData",
    0x25: "OutOfResources",
    0x30: "DelegateInvalidCompatibility",
    0x31: "DelegateMemoryAllocationFailed",
    0x32: "DelegateInvalidHandle",
}
"""ExecuTorch's errors (``runtime/core/error.h``), of which its Python binding tells the number."""

_OF_MEMORY = (0x21, 0x31)
_DTYPES = ("uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64", "", "", "", "bool", "", "", "")
"""The types by ExecuTorch's numbers for them; bfloat16 is the one after."""


def binding() -> Any:
    """ExecuTorch's runtime, without the exporter that its public wrapper imports."""
    import torch  # noqa: F401 - brings libraries that the binding needs
    from executorch.extension.pybindings import _C

    return _C


def match_inputs(meta: Any, arrays: Sequence[Array], what: str) -> None:
    """Nothing, when the method that ``meta`` describes reads ``arrays`` as they are meant; ``what`` names its program.

    Raises:
        Refusal: it would misread them.
    """
    if meta.num_inputs() != len(arrays):
        raise Refusal(BAD_INPUT, f"{what} has {meta.num_inputs()} inputs, found {len(arrays)}")
    for i, array in enumerate(arrays):
        try:
            info = meta.input_tensor_meta(i)
        except IndexError:
            raise Refusal(BAD_INPUT, f"input {i} of {what} is not a tensor") from None
        wanted, sizes = _dtype(info.dtype()), info.sizes()
        if wanted != array.dtype:
            raise Refusal(BAD_INPUT, f"input {i} of {what} is {wanted}, found {array.dtype}")
        # A dynamic dimension is planned for its largest size.
        fits = len(sizes) == len(array.shape) and all(a <= b for a, b in zip(array.shape, sizes, strict=True))
        if not fits:
            raise _misshapen(i, what, sizes, array.shape)


def unset(meta: Any, inputs: Sequence[Any], what: str, error: RuntimeError) -> Refusal:
    """The refusal of inputs that matched and could not be set: a shape smaller than a method's that is not dynamic."""
    for i, tensor in enumerate(inputs):
        sizes = meta.input_tensor_meta(i).sizes()
        if tuple(sizes) != tuple(tensor.shape):
            return _misshapen(i, what, sizes, tensor.shape)
    return refusal(error, BAD_INPUT, f"cannot set the inputs of {what}")


def refusal(error: RuntimeError, code: int, what: str) -> Refusal:
    """The refusal of ``what``, with the name of ExecuTorch's error; want of memory has a code of its own."""
    told = re.search(r"0x:?([0-9a-fA-F]+)", str(error))
    number = int(told[1], 16) if told else -1
    words = _ERRORS.get(number) or " ".join(str(error).split())[:200]
    return Refusal(NO_MEMORY if number in _OF_MEMORY else code, f"{what}: {words}")


def _misshapen(place: int, what: str, wanted: Sequence[int], found: Sequence[int]) -> Refusal:
    return Refusal(BAD_INPUT, f"input {place} of {what} has shape {list(wanted)}, found {list(found)}")


def _dtype(number: int) -> str:
    name = (*_DTYPES, "bfloat16")[number] if number <= len(_DTYPES) else ""
    return name if name in DTYPE_BYTES else f"dtype {number}"
