"""The plots of a report, by plotly: figures as JSON, drawn in the page. Names from files are escaped."""

from __future__ import annotations

import html
import json
import math
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from plotly.colors import qualitative
from plotly.subplots import make_subplots

from kdbench.measures.metric import metric_of
from kdbench.reports.evidence import in_view, learning, unbeaten
from kdbench.spec import TEACHER
from kdbench.tables import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kdbench.measures.metric import Metric
    from kdbench.records import Run
    from kdbench.reports.evidence import Past, Row

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "x", "triangle-down", "pentagon", "hexagram")
AXES = ("latency_ms", "size_bytes", "download_bytes", "peak_rss_bytes")
"""What quality is drawn against."""

_COLOURS = tuple(dict.fromkeys((*qualitative.D3, *qualitative.Set2, *qualitative.Plotly, *qualitative.Safe)))
Figure = dict[str, Any]


def escaped(text: object) -> str:
    """``text`` as plotly shows it letter by letter: it reads a little HTML otherwise."""
    return html.escape(plain(text), quote=False)


def colours(rows: Sequence[Row]) -> dict[str, str]:
    """A colour for each method, the same in every plot; they repeat after some thirty."""
    methods = dict.fromkeys(str(row["method"]) for row in rows)
    return {method: _COLOURS[place % len(_COLOURS)] for place, method in enumerate(methods)}


def symbols(rows: Sequence[Row]) -> dict[str, str]:
    """A mark for each target, the same in every plot; they repeat after ten."""
    targets = dict.fromkeys(str(row["target"]) for row in rows)
    return {target: SYMBOLS[place % len(SYMBOLS)] for place, target in enumerate(targets)}


def pareto(rows: Sequence[Row], axis: str) -> Figure | None:
    """Quality against ``axis``, a point a method and target, and the line of those that none beats in both.

    None where no row has both figures.
    """
    quality, cost = metric_of(str(rows[0]["quality"])), metric_of(axis)
    drawn = [row for row in rows if not math.isnan(row[quality.id]) and not math.isnan(row[axis])]
    if not drawn:
        return None
    hues, marks = colours(rows), symbols(rows)
    view = in_view([row[quality.id] * quality.scale for row in drawn], quality.better)
    figure = go.Figure()
    front = unbeaten(drawn, axis)
    figure.add_scatter(
        x=[row[axis] * cost.scale for row in front],
        y=[row[quality.id] * quality.scale for row in front],
        mode="lines", name="not beaten in both", line={"dash": "dot", "color": "#888888"}, hoverinfo="skip",
    )  # fmt: skip
    for method, colour in hues.items():
        mine = [row for row in drawn if row["method"] == method]
        if not mine:
            continue
        figure.add_scatter(
            x=[row[axis] * cost.scale for row in mine],
            y=[row[quality.id] * quality.scale for row in mine],
            error_y={"type": "data", "array": [_whisker(row, quality, view) for row in mine], "thickness": 1},
            text=[_case(row) for row in mine],
            mode="markers", name=escaped(method),
            marker={"color": colour, "size": 10, "symbol": [marks[str(row["target"])] for row in mine]},
            hovertemplate=(
                f"%{{text}}<br>{quality.title} %{{y:.2f}} {quality.shown_unit}<br>"
                f"{cost.title} %{{x:.4g}} {cost.shown_unit}<extra></extra>"
            ),
        )  # fmt: skip
    values = [row[axis] for row in drawn]
    figure.update_xaxes(title=_axis(axis), type="log" if max(values) > 10 * max(min(values), 1e-12) else "linear")
    figure.update_yaxes(title=_axis(quality.id), range=view)
    return _plain(figure)


def out_of_view(rows: Sequence[Row]) -> tuple[str, ...]:
    """The methods with a program so far behind that ``pareto`` leaves it out of view at first, with their targets."""
    quality = metric_of(str(rows[0]["quality"]))
    drawn = [row for row in rows if not math.isnan(row[quality.id])]
    if not drawn:
        return ()
    low, high = in_view([row[quality.id] * quality.scale for row in drawn], quality.better)
    gone = [row for row in drawn if not low <= row[quality.id] * quality.scale <= high]
    return tuple(f"{row['method']} on {row['target']}" for row in gone)


def _whisker(row: Row, quality: Metric, view: tuple[float, float]) -> float:
    """The half-width of a point's bar; 0 for one out of view, whose bar alone would cross the others."""
    inside = view[0] <= row[quality.id] * quality.scale <= view[1]
    return _half(row, quality.id) * quality.scale if inside else 0.0


def curves(run: Run, rows: Sequence[Row]) -> Figure | None:
    """The validation quality of each method over its epochs, mean over seeds; None where runs kept no such curve."""
    quality = metric_of(str(rows[0]["quality"]))
    hues = colours(rows)
    figure = go.Figure()
    for method, learnt in learning(run, rows).items():
        figure.add_scatter(
            x=list(learnt), y=[math.fsum(values) / len(values) * quality.scale for values in learnt.values()],
            mode="lines+markers", name=escaped(method), line={"color": hues[method]}, marker={"size": 5},
        )  # fmt: skip
    if not figure.data:
        return None
    figure.update_xaxes(title="epoch")
    figure.update_yaxes(title=f"validation {_axis(quality.id)}")
    return _plain(figure)


def survival(rows: Sequence[Row]) -> Figure | None:
    """What each method loses from eager network to program, by target; None where nothing is told to be lost."""
    drop = metric_of("accuracy_drop")
    lossy = [t for t in symbols(rows) if any(r["target"] == t and abs(_or_zero(r[drop.id])) > 0 for r in rows)]
    if not lossy:
        return None
    figure = go.Figure()
    for target in lossy:
        mine = [row for row in rows if row["target"] == target and not math.isnan(row[drop.id])]
        figure.add_bar(
            x=[escaped(row["method"]) for row in mine], y=[row[drop.id] * drop.scale for row in mine],
            error_y={"type": "data", "array": [_half(row, drop.id) * drop.scale for row in mine], "thickness": 1},
            name=escaped(target),
        )  # fmt: skip
    figure.update_yaxes(title="accuracy lost (pt)")
    return _plain(figure)


def history(pasts: Sequence[Past]) -> Figure | None:
    """The figures of runs in the order in which they were run, a panel each; None of a single run."""
    if len(pasts) < 2:
        return None
    metrics = [metric_of(name) for name in pasts[-1].figures]
    figure = make_subplots(rows=len(metrics), cols=1, shared_xaxes=True, vertical_spacing=0.08)
    told = [escaped(f"{past.run}, commit {past.commit or 'not known'}") for past in pasts]
    for row, metric in enumerate(metrics, 1):
        values = [past.figures.get(metric.id, math.nan) * metric.scale for past in pasts]
        figure.add_scatter(
            x=[past.started for past in pasts], y=values,
            text=told, mode="lines+markers", name=metric.title, row=row, col=1,
        )  # fmt: skip
        figure.update_yaxes(title=_axis(metric.id), row=row, col=1)
    figure.update_layout(height=160 * len(metrics))
    found = _plain(figure)
    found["layout"]["showlegend"] = False  # each panel's axis has its name
    return found


def operators(profile: Mapping[str, Any]) -> Figure:
    """The time of each operator of a profile (``kdbench profile --format json``), in the order of the inference."""
    steps = profile["operators"]
    names = [escaped(f"{place} {step['operator']}") for place, step in enumerate(steps, 1)]
    figure = go.Figure()
    for where in dict.fromkeys(str(step["where"]) for step in steps):
        mine = [place for place, step in enumerate(steps) if step["where"] == where]
        figure.add_bar(
            x=[steps[place]["mean_us"] for place in mine], y=[names[place] for place in mine],
            name=escaped(where), orientation="h",
        )  # fmt: skip
    figure.update_xaxes(title="mean time (us)")
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], automargin=True)
    figure.update_layout(height=180 + 22 * len(steps))
    return _plain(figure)


def _plain(figure: go.Figure) -> Figure:
    figure.update_layout(template="none", margin={"l": 60, "r": 10, "t": 10, "b": 50}, showlegend=True)
    table: Figure = json.loads(figure.to_json())
    return table


def _case(row: Row) -> str:
    network = row["teacher"] if row["method"] == TEACHER else row["student"]
    return escaped(f"{row['method']} on {row['target']}, {network}, {row['seeds']} seed{'s' * (row['seeds'] != 1)}")


def _axis(metric: str) -> str:
    declared = metric_of(metric)
    return f"{declared.title} ({declared.shown_unit})" if declared.shown_unit else declared.title


def _half(row: Row, metric: str) -> float:
    return _or_zero(row[f"{metric}_ci"])


def _or_zero(value: float) -> float:
    return 0.0 if math.isnan(value) else float(value)
