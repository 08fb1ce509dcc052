"""Allowances: how much worse a figure may become, as the command line says it."""

from __future__ import annotations

import math

from kdbench.catalog import suggestion
from kdbench.errors import UsageError
from kdbench.measures.metric import METRICS

MARGIN = 0.005
"""How far quality may fall, if nothing else is said: half a point."""

EFFECT = 0.005
"""The least slow-down that anyone is told of, as a share."""


def allowance(text: str) -> tuple[str, float]:
    """The exact metric and the share of its old value that ``METRIC=PERCENT%`` names. Raises UsageError."""
    metric, equals, percent = (part.strip() for part in text.partition("="))
    exact = [name for name, declared in METRICS.items() if declared.tier == "exact"]
    share = _number(percent.removesuffix("%")) / 100
    if not equals or not percent.endswith("%") or not 0 <= share <= 10:
        raise UsageError(f"--allow {text!r}: expected METRIC=PERCENT% such as size_bytes=0.5%")
    if metric not in exact:
        raise UsageError(f"--allow {text!r}: {metric!r} is no exact metric; {suggestion(metric, exact)}")
    return metric, share


def margin(text: str) -> float:
    """The share by which quality may fall, from ``text`` in points. Raises UsageError."""
    points = _number(text)
    if not 0 <= points <= 100:
        raise UsageError(f"--margin {text!r}: expected points of quality such as 0.5")
    return points / 100


def effect(text: str) -> float:
    """The share by which a program may be slower, from ``text`` such as 0.5%. Raises UsageError."""
    share = _number(text.strip().removesuffix("%")) / 100
    if not text.strip().endswith("%") or not 0 < share <= 1:
        raise UsageError(f"--slower {text!r}: expected a slow-down such as 0.5%")
    return share


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
