"""Looks: how methods and targets are told from each other, in colour and in grey."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D

from kdbench.tables import plain

if TYPE_CHECKING:
    from collections.abc import Iterable

COLOURS = ("#000000", "#6699CC", "#994455", "#997700", "#004488", "#EE99AA")
"""Paul Tol's medium-contrast scheme ("Colour schemes", SRON 2021) without its light yellow: safe for the colour-blind,
and of different lightness, so that they differ in grey."""

FILLS = ("full", "open", "left", "bottom", "right", "top")
"""How much of a mark is filled, where there are more methods than colours."""

MARKS = ("o", "s", "D", "^", "v", "P", "X", "p", "*", "h", "<", ">", "d", "8")


@dataclass(frozen=True, slots=True)
class Look:
    """The colour and the fill of a method's marks."""

    colour: str
    fill: str

    def mark(self, shape: str, size: float = 3.6) -> dict[str, Any]:
        """What a line is told to draw marks of this shape."""
        half = self.fill not in ("full", "open")
        return {
            "marker": shape, "markersize": size, "color": self.colour, "linestyle": "none", "markeredgewidth": 0.6,
            "fillstyle": self.fill if half else "full", "markerfacecoloralt": "white",
            **({"markerfacecolor": "white"} if self.fill == "open" else {}),
        }  # fmt: skip


def looks(methods: Iterable[str]) -> dict[str, Look]:
    """A look for each method: colours first, then fills; they repeat after 36."""
    return {
        method: Look(COLOURS[place % len(COLOURS)], FILLS[place // len(COLOURS) % len(FILLS)])
        for place, method in enumerate(dict.fromkeys(methods))
    }


def marks(targets: Iterable[str]) -> dict[str, str]:
    """A mark for each target; they repeat after 14."""
    return {target: MARKS[place % len(MARKS)] for place, target in enumerate(dict.fromkeys(targets))}


def entry(label: str, **told: Any) -> Line2D:
    """An entry of a key."""
    return Line2D([], [], label=plain(label), **told)
