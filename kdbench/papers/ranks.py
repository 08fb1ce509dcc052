"""Ranks over many pairs as a critical-difference diagram: methods that a bar joins are not told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autorank import plot_stats

from kdbench.errors import UsageError
from kdbench.papers.sheet import Sheet, blank, finish, grid, settings, source
from kdbench.ranking import LEVEL, rankings
from kdbench.ranks import MIN_METHODS, MIN_PAIRS
from kdbench.ranks import ranks as ranked
from kdbench.tables import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kdbench.papers.part import Part
    from kdbench.records import Run

_FRAME = 1.1  # inches above the names: the title, the scale and the bars
_ROW = 0.2  # inches a name; autorank sets half of them on either side


@settings()
def ranks(runs: Sequence[Run], part: Part, width: float) -> Sheet:
    """The figure of the mean ranks over the pairs of the runs, a panel a target and device, in ``width`` inches.

    Raises:
        UsageError: the runs do not compare, or have too few pairs with too few methods in common.
    """
    found = [
        one
        for one in ranked([one for one in rankings(runs) if part.holds(pair=one.pair)])
        if part.holds(target=one.target, device=one.device)
    ]
    if not found:
        least = f"{MIN_PAIRS} pairs with {MIN_METHODS} methods in common"
        raise UsageError(f"nothing to draw: ranks are compared over at least {least}; name more runs")
    figure = blank(width)
    names = max(len(one.mean_ranks) for one in found)
    places, _ = grid(figure, len(found), _FRAME + _ROW * (names + 1) / 2)
    notes = []
    for axes, one in zip(places, found, strict=True):
        title = plain(f"{one.target} · {one.device}")
        axes.grid(visible=False)
        axes.set_title(title)
        plot_stats(one.found, allow_insignificant=True, ax=axes)
        if not one.differ:
            notes.append(f"{title}: the mean ranks do not differ beyond chance (Friedman, p = {one.p:.3f})")
        if one.left_out:
            notes.append(f"{title}: not in every pair: {plain(', '.join(one.left_out))}")
    finish(figure, [], notes)
    caption = (
        f"Mean ranks over {' and '.join(dict.fromkeys(str(len(one.pairs)) for one in found))} pairs, 1 being the best; "
        f"methods that a bar joins do not differ by Nemenyi's critical difference (CD) at the level of {LEVEL:g}. "
        f"{source(runs)}"
    )
    return Sheet(figure, caption, tuple(notes))
