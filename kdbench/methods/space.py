"""What a search may try of a method's options, as their types declare it (``kdbench.methods.option``)."""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Any

from kdbench.errors import UsageError
from kdbench.methods.build import option_types
from kdbench.methods.option import Around, Axis, Between

if TYPE_CHECKING:
    from collections.abc import Mapping


def space_of(use: str, options: Mapping[str, Any]) -> dict[str, Axis]:
    """The axes along which the method ``use`` can be searched, by option; ``options`` replace its defaults.

    Raises:
        UsageError: none of its options can be searched, or no such method.
    """
    found: dict[str, Axis] = {}
    for name, (annotation, default) in option_types(use).items():
        value = options.get(name, default)
        marks = typing.get_args(annotation)[1:] if typing.get_origin(annotation) is typing.Annotated else ()
        for mark in marks:
            if type(value) not in (int, float):
                continue
            if isinstance(mark, Around) and value > 0:
                low, high = float(f"{value / mark.times:.4g}"), float(f"{value * mark.times:.4g}")
                found[name] = Axis(low=low, high=high, log=True, default=value)
            if isinstance(mark, Between):
                low, high = min(mark.low, value), max(mark.high, value)
                found[name] = Axis(low=low, high=high, log=False, default=value)
    if not found:
        hint = "kdbench.methods.option has types that can, such as Weight, Temperature and Share"
        raise UsageError(f"method {use!r} has no option that can be searched; {hint}")
    return found
