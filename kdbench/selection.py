"""Selections: ``method=kd,target=xnnpack-int8`` as values by axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench.catalog import suggestion
from kdbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def wanted(only: str, known: Mapping[str, Sequence[str]], whose: str) -> dict[str, set[str]]:
    """The values that ``only`` admits, by axis; an axis named twice admits either value, one not named any.

    ``known``: the values by axis; ``whose``: who has them, for the message.

    Raises:
        UsageError: not of the form AXIS=VALUE, an unknown axis, or an unknown value.
    """
    found: dict[str, set[str]] = {}
    for term in only.split(","):
        axis, equals, value = (part.strip() for part in term.partition("="))
        if not equals or not value:
            raise UsageError(f"--only {term.strip()!r}: expected AXIS=VALUE such as method=kd")
        if axis not in known:
            raise UsageError(f"--only {term.strip()!r}: unknown axis {axis!r}; {suggestion(axis, list(known))}")
        if value not in known[axis]:
            hint = suggestion(value, list(known[axis]))
            raise UsageError(f"--only {term.strip()!r}: {whose} has no {axis} {value!r}; {hint}")
        found.setdefault(axis, set()).add(value)
    return found
