"""Learning curves: a small panel a method, with the mean and the range over its seeds, and ``scratch`` behind it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from matplotlib.ticker import MaxNLocator

from kdbench.errors import UsageError
from kdbench.frame import frame, summary
from kdbench.measures.metric import metric_of
from kdbench.papers.looks import entry
from kdbench.papers.sheet import FAINT, Sheet, blank, finish, settings, source
from kdbench.reports.evidence import in_reach, learning, rows_of
from kdbench.spec import TEACHER
from kdbench.tables import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import SubFigure

    from kdbench.papers.part import Part
    from kdbench.records import Run

RIVAL = "scratch"
"""Whose mean is drawn behind every method's, where it was run."""

_PANEL = 0.78  # inches high
_LEAST = 0.72  # inches wide, a panel with its share of the axis
_TITLE = 0.34  # inches of a pair's title and of the epochs below
_INK = "#004488"
_BEHIND = {"color": FAINT, "linewidth": 0.8, "linestyle": (0, (2, 1))}

Learnt = dict[int, list[float]]


@settings()
def curves(runs: Sequence[Run], part: Part, width: float) -> Sheet:
    """The figure of how the students of each pair validated, epoch by epoch, in ``width`` inches.

    Raises:
        UsageError: no run kept such a curve of a method of the part.
    """
    notes: list[str] = []
    blocks: list[tuple[str, str, dict[str, Learnt], Learnt]] = []
    for run in runs:
        rows = rows_of(summary(frame([run])))
        for pair in dict.fromkeys(str(row["pair"]) for row in rows if part.holds(pair=str(row["pair"]))):
            mine = [row for row in rows if row["pair"] == pair and row["method"] != TEACHER]
            known = learning(run, mine) if mine else {}
            methods = [m for m in dict.fromkeys(str(row["method"]) for row in mine) if part.holds(method=m)]
            title = plain(" · ".join([pair, *([run.id] if len(runs) > 1 else [])]))
            if absent := [method for method in methods if method not in known]:
                notes.append(plain(f"{title}: no curve of {', '.join(absent)}"))
            if drawn := {method: known[method] for method in methods if method in known}:
                blocks.append((title, str(mine[0]["quality"]), drawn, known.get(RIVAL, {})))
    if not blocks:
        raise UsageError("nothing to draw: the runs kept no curve of how these students validated")
    beside = min(max(1, int(width / _LEAST)), max(len(drawn) for _, _, drawn, _ in blocks))
    heights = [_PANEL * math.ceil(len(drawn) / beside) + _TITLE for _, _, drawn, _ in blocks]
    figure = blank(width)
    figure.set_size_inches(width, sum(heights))
    frames = figure.subfigures(len(blocks), 1, squeeze=False, height_ratios=heights)[:, 0]
    for frame_, (title, metric, drawn, behind) in zip(frames, blocks, strict=True):
        notes += [f"{title}: {note}" for note in _block(frame_, title, metric, drawn, behind, beside)]
    keys = [
        entry("mean", color=_INK),
        entry("range over seeds", color=_INK, alpha=0.25, linewidth=4, solid_capstyle="butt"),
    ]
    if any(behind for *_, behind in blocks):
        keys.append(entry(f"mean of {RIVAL}", **_BEHIND))
    finish(figure, [keys], notes)
    return Sheet(figure, _caption(runs, blocks), tuple(notes))


def _block(
    figure: SubFigure, title: str, metric: str, drawn: Mapping[str, Learnt], behind: Learnt, beside: int
) -> list[str]:
    """Draw the panels of a pair; return which curves end out of view."""
    quality = metric_of(metric)
    down = math.ceil(len(drawn) / beside)
    places = figure.subplots(down, beside, squeeze=False, sharex=True, sharey=True)
    means = {
        method: {epoch: quality.scale * math.fsum(v) / len(v) for epoch, v in learnt.items()}
        for method, learnt in drawn.items()
    }
    shown = in_reach([value for learnt in means.values() for value in learnt.values()], quality.better)
    room = 0.08 * (max(shown) - min(shown)) or 1.0
    low, high = min(shown) - room, max(shown) + room
    gone = []
    for axes, (method, learnt) in zip(places.flat, drawn.items(), strict=False):
        epochs = list(learnt)
        ends = [(min(values) * quality.scale, max(values) * quality.scale) for values in learnt.values()]
        axes.set_title(plain(method), size=6, pad=2)
        axes.fill_between(epochs, *zip(*ends, strict=True), color=_INK, alpha=0.25, linewidth=0)
        if behind and method != RIVAL:
            axes.plot(list(behind), [quality.scale * math.fsum(v) / len(v) for v in behind.values()], **_BEHIND)
        axes.plot(
            epochs, list(means[method].values()), color=_INK, marker="o" if len(epochs) == 1 else "", markersize=2
        )
        last = means[method][epochs[-1]]
        if not low <= last <= high:
            gone.append(plain(f"{method} (ends at {last:.{quality.digits}f})"))
    for axes in places.flat[len(drawn) :]:
        axes.set_visible(False)
    for place, axes in enumerate(places.flat[: len(drawn)]):
        axes.set_ylim(low, high)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        axes.tick_params(labelbottom=place + beside >= len(drawn))
    figure.suptitle(title, size=7)
    unit = f" ({quality.shown_unit})" if quality.shown_unit else ""
    gap = " " if down > 1 else "\n"  # a single row is lower than the words are long
    figure.supylabel(f"validation{gap}{quality.title}{unit}", size=7, ma="center")
    figure.supxlabel("epoch", size=7)
    return [f"out of view: {', '.join(gone)}"] if gone else []


def _caption(runs: Sequence[Run], blocks: Sequence[tuple[str, str, dict[str, Learnt], Learnt]]) -> str:
    seeds = sorted(
        {len(values) for _, _, drawn, _ in blocks for learnt in drawn.values() for values in learnt.values()}
    )
    count = f"{seeds[0]} to {seeds[-1]} seeds" if len(seeds) > 1 else f"{seeds[0]} seed{'s' * (seeds[0] > 1)}"
    return plain(
        f"Validation {metric_of(blocks[0][1]).title} of the students' networks over the epochs of their training: mean "
        f"and range over {count}. {source(runs)}"
    )
