"""Leads on a rival as a forest plot: each method's mean paired difference, its interval, and whether it is shown."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from kdbench.errors import UsageError
from kdbench.measures.metric import metric_of
from kdbench.papers.looks import entry
from kdbench.papers.sheet import FAINT, Sheet, blank, finish, grid, settings, source
from kdbench.ranking import CONTROLS, LEVEL, MIN_SEEDS, rankings
from kdbench.reports.evidence import in_reach
from kdbench.tables import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from kdbench.papers.part import Part
    from kdbench.ranking import Lead, Ranking, Standing
    from kdbench.records import Run

RIVALS = ("scratch", "kd", "best")
"""What leads may be on; ``best`` is the best reference method by validation."""

_ROW = 0.125  # inches a method
_FRAME = 0.62  # inches above and below the rows: the title and the axis
_INK = "#004488"
_WHO = {"method": _INK, "control": FAINT}
_ARROW: dict[str, Any] = {"markersize": 3.0, "markeredgewidth": 0.6}
_MARK: dict[str, Any] = {"marker": "o", "markersize": 3.6, "markeredgewidth": 0.7, "linestyle": "none"}


@settings()
def leads(runs: Sequence[Run], part: Part, rival: str, width: float) -> Sheet:
    """The figure of the leads on one of ``RIVALS``, a panel a pair, target and device, in ``width`` inches.

    What is tested is every method of the runs, also where the part leaves some out: a part is no smaller family.

    Raises:
        UsageError: the runs do not compare, or the part has no lead on this rival.
    """
    notes: list[str] = []
    panels: list[tuple[str, str, Ranking, list[Standing]]] = []
    for ranking in rankings(runs):
        place = {"pair": ranking.pair, "target": ranking.target, "device": ranking.device}
        if not part.holds(**place):
            continue
        name = ranking.best if rival == "best" else rival
        title = plain(" · ".join(place.values()))
        shown = [one for one in ranking.standings if one.method != name and part.holds(method=one.method)]
        if any(name in one.leads for one in shown):
            panels.append((title, name, ranking, shown))
        else:
            notes.append(f"{title}: no lead on {rival}")
    if not panels:
        raise UsageError(
            f"nothing to draw: no method shares two seeds with {rival}; kdbench run SUITE --seeds 0-4 runs five, and "
            f"--rival takes {', '.join(RIVALS)}"
        )
    figure = blank(width)
    rows = max(len(_lines(shown)) for *_, shown in panels)
    places, _ = grid(figure, len(panels), _ROW * rows + _FRAME)
    for axes, (title, name, ranking, shown) in zip(places, panels, strict=True):
        axes.set_title(title)
        notes += [f"{title}: {note}" for note in _panel(axes, ranking, name, shown, rows)]
    shown_entry = entry(f"beyond chance (p ≤ {LEVEL:g}, Holm)", color=_INK, markerfacecolor=_INK, **_MARK)
    finish(figure, [[shown_entry, entry("may be chance", color=_INK, markerfacecolor="white", **_MARK)]], notes)
    seeds = {one.leads[name].n for _, name, _, shown in panels for one in shown if name in one.leads}
    return Sheet(figure, _caption(runs, panels[0][2].metric, rival, seeds), tuple(notes))


def _lines(standings: Sequence[Standing]) -> list[Standing | None]:
    """The rows of a panel from the top: methods, the best mean first, and after a gap the controls."""
    methods = [one for one in standings if one.use not in CONTROLS]
    controls = [one for one in standings if one.use in CONTROLS]
    return [*methods, *([None] if methods and controls else []), *controls]


def _panel(axes: Axes, ranking: Ranking, rival: str, shown: Sequence[Standing], rows: int) -> list[str]:
    """Draw a panel with room for so many rows; return what it does not show."""
    metric = metric_of(ranking.metric)
    lines = _lines(shown)
    found = {one.method: one.leads[rival] for one in shown if rival in one.leads}
    low, high = _view(list(found.values()), metric.scale)
    notes: dict[str, list[str]] = {}
    for place, one in enumerate(lines):
        if one is None:
            axes.axhline(place, color=FAINT, linewidth=0.4, linestyle=(0, (4, 3)))
            axes.text(1.02, place, "controls:", transform=axes.get_yaxis_transform(), size=6, va="center", color=FAINT)
            continue
        lead, ink = found.get(one.method), _WHO["control" if one.use in CONTROLS else "method"]
        if one.failed:
            notes.setdefault("seeds that failed", []).append(
                f"{one.method} ({one.failed} of {one.failed + len(one.quality)})"
            )
        if lead is None:
            notes.setdefault(f"fewer than two seeds in common with {rival}", []).append(one.method)
            axes.text(1.02, place, "-", transform=axes.get_yaxis_transform(), size=6, va="center", color=FAINT)
            continue
        if math.isnan(lead.p):
            notes.setdefault(f"not tested below {MIN_SEEDS} seeds in common", []).append(one.method)
        mean, left, right = (x * metric.scale for x in (lead.interval.estimate, lead.interval.low, lead.interval.high))
        told = f"{mean:+.2f} ±{right - mean:.2f}".replace("-", "\N{MINUS SIGN}")
        axes.text(1.02, place, told, transform=axes.get_yaxis_transform(), size=6, va="center", color=ink)
        axes.plot([max(left, low), min(right, high)], [place, place], color=ink, linewidth=0.8, solid_capstyle="butt")
        for end, beyond, arrow in ((low, left < low, "<"), (high, right > high, ">")):
            if beyond:
                axes.plot(
                    [end],
                    [place],
                    marker=arrow,
                    color=ink,
                    clip_on=False,
                    **({**_ARROW, "markerfacecolor": ink if lead.shown else "white"}),
                )
        if low <= mean <= high:
            axes.plot([mean], [place], color=ink, markerfacecolor=ink if lead.shown else "white", zorder=3, **_MARK)
    axes.axvline(0, color="black", linewidth=0.5, zorder=1)
    axes.set_xlim(low, high)
    axes.set_ylim(rows - 0.4, -0.6)
    axes.set_yticks([place for place, one in enumerate(lines) if one], [plain(one.method) for one in lines if one])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"lead on {plain(rival)} ({metric.difference_unit})")
    return [plain(f"{what}: {', '.join(methods)}") for what, methods in notes.items()]


def _view(found: Sequence[Lead], scale: float) -> tuple[float, float]:
    """The range of leads that is shown: that of the intervals of all but those far behind, and zero."""
    near = in_reach([lead.interval.estimate * scale for lead in found], "higher")
    seen = [lead.interval for lead in found if lead.interval.estimate * scale in near]
    ends = [0.0, *(end * scale for interval in seen for end in (interval.low, interval.high))]
    room = 0.04 * (max(ends) - min(ends)) or 1.0
    return min(ends) - room, max(ends) + room


def _caption(runs: Sequence[Run], metric: str, rival: str, seeds: set[int]) -> str:
    count = f"{min(seeds)} to {max(seeds)}" if len(seeds) > 1 else f"{min(seeds)}"
    best = " (the best reference method by validation)" if rival == "best" else ""
    return plain(
        f"Leads in {metric_of(metric).title} on {rival}{best}: mean differences over {count} paired seeds with 95 % t "
        "intervals, not corrected; filled where a paired t test shows a difference after Holm's correction for all "
        f"methods that meet {rival} there (p at most {LEVEL:g}). Triangles point to what is further out; controls "
        f"stand below the rule. {source(runs)}"
    )
