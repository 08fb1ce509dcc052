"""Quality against cost: a panel a pair and device, a mark a method and target, and the front that nothing beats."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from kdbench.errors import UsageError
from kdbench.frame import frame, summary
from kdbench.measures.metric import metric_of
from kdbench.papers.looks import COLOURS, FILLS, MARKS, entry, looks, marks
from kdbench.papers.part import AXES
from kdbench.papers.sheet import FAINT, Sheet, blank, finish, grid, settings, source
from kdbench.reports.evidence import groups_of, in_reach, rows_of, unbeaten
from kdbench.spec import TEACHER
from kdbench.tables import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from kdbench.papers.looks import Look
    from kdbench.papers.part import Part
    from kdbench.records import Run
    from kdbench.reports.evidence import Row

AGAINST = {
    "latency": "latency_ms",
    "size": "size_bytes",
    "download": "download_bytes",
    "memory": "peak_rss_bytes",
    "instructions": "instructions",
}
"""What quality is drawn against, and the metric that it is."""

_PANEL = 2.3  # inches high
_FRAME = 0.55  # inches beside a panel that its axis takes
_MARK = 3.8  # points that a mark takes
_CROWD = 0.3  # share of the axis that marks standing side by side take at most
_FOOT = 0.07  # share of a panel's height in which marks are led to their costs
_COLUMN = "#f2f2f2"
_FRONT: dict[str, Any] = {"color": FAINT, "linestyle": (0, (1, 1)), "linewidth": 0.8}


@settings()
def pareto(runs: Sequence[Run], part: Part, against: str, width: float) -> Sheet:
    """The figure of quality against one of ``AGAINST``, in ``width`` inches.

    Raises:
        UsageError: no row of the part has both figures.
    """
    axis = AGAINST[against]
    groups = [(run, *group) for run in runs for group in groups_of(rows_of(summary(frame([run])))).items()]
    every = [row for _, _, rows in groups for row in rows]
    panels: dict[str, list[Row]] = {}
    notes: list[str] = []
    for run, (pair, device), rows in groups:
        title = plain(" · ".join([pair, device, *([run.id] if len(runs) > 1 else [])]))
        mine = [row for row in rows if part.holds(**{key: str(row[key]) for key in AXES})]
        drawn = [row for row in mine if not math.isnan(row[row["quality"]]) and not math.isnan(row[axis])]
        notes += [f"{title}: {note}" for note in _missing(mine, drawn, axis)]
        if drawn:
            panels[title] = drawn
    if not panels:
        quality = metric_of(str(every[0]["quality"])).title if every else "quality"
        cost = metric_of(axis).title
        raise UsageError(f"nothing to draw: no row has both {quality} and {cost}; try another --against")
    drawn = [row for rows in panels.values() for row in rows]
    hues, shapes = looks(str(row["method"]) for row in every), marks(str(row["target"]) for row in drawn)
    for what, count, most in (("targets", len(shapes), len(MARKS)), ("methods", len(hues), len(COLOURS) * len(FILLS))):
        if count > most:
            notes.append(f"marks repeat after {most} {what}")
    figure = blank(width)
    places, beside = grid(figure, len(panels), _PANEL)
    seen: list[Row] = []
    columns = False
    for place, (title, rows) in zip(places, panels.items(), strict=True):
        place.set_title(title)
        view = _view(rows)
        inside = [row for row in rows if view[0] <= _quality(row) <= view[1]]
        columns |= _panel(place, rows, inside, axis, hues, shapes, width / beside - _FRAME)
        if gone := [f"{_name(row)} ({_quality(row):.2f})" for row in rows if row not in inside]:
            notes.append(f"{title}: out of view: {', '.join(gone)}")
        seen += inside
    keys = [
        [entry(name, **hues[name].mark("o")) for name in dict.fromkeys(str(row["method"]) for row in seen)],
        [
            *(entry(name, marker=shape, color=FAINT, linestyle="none", markersize=4) for name, shape in shapes.items()),
            entry("Pareto front", **_FRONT),
            *([entry("one cost", marker="s", color=_COLUMN, linestyle="none", markersize=6)] if columns else []),
        ],
    ]
    finish(figure, keys, notes)
    return Sheet(figure, _caption(runs, drawn, axis), tuple(notes))


def _missing(rows: Sequence[Row], drawn: Sequence[Row], axis: str) -> list[str]:
    """What a panel does not show for want of a figure, and whose seeds failed."""
    absent: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row not in drawn:
            lacks = row["quality"] if math.isnan(row[row["quality"]]) else axis
            absent.setdefault((metric_of(lacks).title, str(row["target"])), []).append(str(row["method"]))
    alike: dict[tuple[str, str], list[str]] = {}
    for (lacks, target), methods in absent.items():
        alike.setdefault((lacks, ", ".join(methods)), []).append(target)
    notes = [plain(f"no {lacks}: {methods} on {', '.join(targets)}") for (lacks, methods), targets in alike.items()]
    failed = [f"{_name(row)} ({row['failed']} of {row['seeds'] + row['failed']})" for row in drawn if row["failed"]]
    return [*notes, *([f"seeds that failed: {', '.join(failed)}"] if failed else [])]


def _name(row: Row) -> str:
    return plain(f"{row['method']} on {row['target']}")


def _quality(row: Row) -> float:
    """A row's quality as it is shown."""
    return float(row[row["quality"]]) * metric_of(str(row["quality"])).scale


def _view(rows: Sequence[Row]) -> tuple[float, float]:
    """The range of quality that is shown: that of the marks in reach, with their bars."""
    near = in_reach([_quality(row) for row in rows], metric_of(str(rows[0]["quality"])).better)
    bars = [(_quality(row), _half(row)) for row in rows if _quality(row) in near]
    low, high = min(value - half for value, half in bars), max(value + half for value, half in bars)
    room = 0.06 * (high - low) or 1.0
    return low - 2 * room, high + room


def _panel(
    axes: Axes,
    rows: Sequence[Row],
    inside: Sequence[Row],
    axis: str,
    hues: Mapping[str, Look],
    shapes: Mapping[str, str],
    width: float,
) -> bool:
    """Draw the rows inside the view of a panel ``width`` inches wide; the axis of costs is of all rows.

    Whether any of them stand in a column, side by side though they cost the same.
    """
    quality, cost = metric_of(str(rows[0]["quality"])), metric_of(axis)
    _cost_axis(axes, [row[axis] * cost.scale for row in rows])
    axes.set_ylim(_view(rows))
    sign = -1 if quality.better == "higher" else 1
    order = sorted(inside, key=lambda row: (row[axis], sign * row[quality.id]))
    stand = _places(axes, order, axis, width)
    along: dict[str, Any] = {"transform": axes.get_yaxis_transform()}  # x in shares of the axis, y in data
    for row, place in zip(order, stand, strict=True):
        look, value, half = hues[str(row["method"])], _quality(row), _half(row)
        if half:
            axes.plot([place] * 2, [value - half, value + half], color=look.colour, linewidth=0.5, zorder=3, **along)
        axes.plot([place], [value], zorder=4, **look.mark(shapes[str(row["target"])]), **along)
    front = unbeaten(order, axis)
    steps = [(place, _quality(row)) for row, place in zip(order, stand, strict=True) if row in front]
    xs, ys = zip(*steps, (1.0, steps[-1][1]), strict=True)
    axes.plot(xs, ys, drawstyle="steps-post", zorder=2, **_FRONT, **along)
    axes.grid(visible=False, axis="x")
    axes.set_ylabel(f"{quality.title} ({quality.shown_unit})" if quality.shown_unit else quality.title)
    axes.set_xlabel(f"{cost.title} ({cost.shown_unit})" if cost.shown_unit else cost.title)
    return stand != [_along(axes, row[axis] * cost.scale) for row in order]


def _places(axes: Axes, order: Sequence[Row], axis: str, width: float) -> list[float]:
    """Where on the axis, from 0 to 1, the marks of these rows stand.

    At their costs, or where those of one cost would hide each other side by side, in a column whose foot is there.
    """
    scale = metric_of(axis).scale
    at = [_along(axes, row[axis] * scale) for row in order]
    ties = {cost: [place for place, other in enumerate(at) if other == cost] for cost in dict.fromkeys(at)}
    low, high = axes.get_ylim()
    mark = _MARK / 72 / _PANEL * (high - low)
    crowded = [place for places in ties.values() if _hidden([order[p] for p in places], mark) for place in places]
    if not crowded:
        return at
    apart, moved = side_by_side([at[place] for place in crowded], _MARK / 72 / width)
    stand = [dict(zip(crowded, moved, strict=True)).get(place, cost) for place, cost in enumerate(at)]
    for cost, places in ties.items():
        if places[0] in crowded:
            left, right = stand[places[0]] - 0.4 * apart, stand[places[-1]] + 0.4 * apart
            top = (max(_quality(order[place]) + max(_half(order[place]), mark) for place in places) - low) / (
                high - low
            )
            xs, ys = [cost, right, right, left, left], [0, _FOOT, top, top, _FOOT]
            axes.fill(xs, ys, transform=axes.transAxes, color=_COLUMN, linewidth=0, zorder=0)
            axes.plot([left, cost, right], [_FOOT, 0, _FOOT], transform=axes.transAxes, color=FAINT, linewidth=0.4)
    return stand


def _hidden(rows: Sequence[Row], mark: float) -> bool:
    """Whether marks or bars of these rows (sorted by quality) would lie on each other at one place."""
    reach = [(_quality(row), max(_half(row), mark / 2)) for row in rows]
    return any(abs(one - other) < far + near for (one, far), (other, near) in pairwise(reach))


def _half(row: Row) -> float:
    """Half of the bar of a row as it is shown; 0 without one."""
    half = float(row[f"{row['quality']}_ci"]) * metric_of(str(row["quality"])).scale
    return 0.0 if math.isnan(half) else half


def _cost_axis(axes: Axes, costs: Sequence[float]) -> None:
    """The limits and the ticks of the axis of costs; logarithmic from a factor of ten on."""
    least, most = min(costs), max(costs)
    if least > 0 and most > 10 * least:
        axes.set_xscale("log")
        room = (most / least) ** 0.12
        axes.set_xlim(least / room, most * room)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        room = 0.15 * (most - least) or 0.1 * abs(most) or 1.0
        axes.set_xlim(least - room, most + room)


def _along(axes: Axes, cost: float) -> float:
    """Where on the axis a cost is, from 0 to 1."""
    low, high = axes.get_xlim()
    if axes.get_xscale() == "log":
        return math.log(cost / low) / math.log(high / low)
    return (cost - low) / (high - low)


def side_by_side(costs: Sequence[float], apart: float) -> tuple[float, list[float]]:
    """How far apart marks stand whose costs are these places on the axis (sorted, 0 to 1), and where.

    ``apart``, or less where they would take more than ``_CROWD`` of the axis; as near to their costs as that allows, in
    the least squares: isotonic regression by pooling neighbours.
    """
    apart = min(apart, _CROWD / max(n for _, n in _pools(costs, apart)))
    pools = _pools(costs, apart)
    free = np.repeat([mean for mean, _ in pools], [n for _, n in pools])
    stand: list[float] = (np.clip(free, 0.02, 0.98 - apart * (len(costs) - 1)) + apart * np.arange(len(costs))).tolist()
    return apart, stand


def _pools(costs: Sequence[float], apart: float) -> list[tuple[float, int]]:
    """Marks that push each other aside: where the first of each pool would stand, and how many they are."""
    pools: list[tuple[float, int]] = []
    for place, cost in enumerate(costs):
        pools.append((cost - apart * place, 1))
        while len(pools) > 1 and pools[-2][0] >= pools[-1][0]:
            (one, n), (other, m) = pools[-2:]
            pools[-2:] = [((one * n + other * m) / (n + m), n + m)]
    return pools


def _caption(runs: Sequence[Run], rows: Sequence[Row], axis: str) -> str:
    quality, cost = metric_of(str(rows[0]["quality"])), metric_of(axis)
    seeds = sorted({int(row["seeds"]) for row in rows if row["method"] != TEACHER}) or [1]
    count = f"{seeds[0]} to {seeds[-1]} seeds" if len(seeds) > 1 else f"{seeds[0]} seed{'s' * (seeds[0] > 1)}"
    bars = "" if all(math.isnan(row[f"{quality.id}_ci"]) for row in rows) else " with Student's 95 % interval"
    return plain(
        f"{quality.title.capitalize()} ({quality.what}) against {cost.title} ({cost.what}): means over {count}{bars}. "
        f"Dotted: the Pareto front of what is shown. Marks of one cost stand side by side in a column, whose foot is "
        f"at the cost. {source(runs)}"
    )
