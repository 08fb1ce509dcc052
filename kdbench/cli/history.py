"""``kdbench history``: a suite's figures over its runs, and where they moved."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from kdbench.cli import options

if TYPE_CHECKING:
    from pathlib import Path

    from kdbench.history import Move, Series


@click.command("history")
@click.argument("suite")
@click.option("--metric", "metrics", multiple=True, metavar="ID", help="A figure; several times for several.")
@click.option("--case", default="", metavar="PART", help="Only cases with this in their name, such as kd/xnnpack-int8.")
@click.option("--format", "form", type=click.Choice(["terminal", "json"]), default="terminal", show_default=True)
@options.results
def command(suite: str, metrics: tuple[str, ...], case: str, form: str, results: Path) -> None:
    """Show the figures of SUITE (a name) over its runs in results/, the oldest first, and where they moved.

    Exact facts are compared from run to run; what scatters is cut into levels (pip install "kdbench[history]"). Figures
    of different machines are never one series.
    """
    from kdbench.history import DEFAULT_METRICS, METHOD, can_cut, history, moves
    from kdbench.tables import plain

    found = [(series, moves(series)) for series in history(suite, results, metrics or DEFAULT_METRICS, case)]
    if form == "json":
        table = [{**asdict(series), "moves": [asdict(move) for move in moved]} for series, moved in found]
        click.echo(json.dumps({"format": 1, "method": METHOD, "series": table}, indent=1, ensure_ascii=False))
        return
    width = max(len(_head(series)) for series, _ in found)
    case = ""
    for series, moved in found:
        if series.case != case:
            click.echo(plain(series.case))
        case = series.case
        for line in _lines(series, moved, width):
            click.echo(f"  {line}")
    if any(not series.exact for series, _ in found):
        more = "" if can_cut() else '; not installed: pip install "kdbench[history]"'
        click.echo(f"levels of what scatters: {METHOD}{more}")


def _head(series: Series) -> str:
    """What a series is called below its case."""
    from kdbench.measures.metric import METRICS
    from kdbench.tables import plain

    return plain(METRICS[series.metric].title + (f" ({series.place})" if series.place else ""))


def _lines(series: Series, moved: list[Move], width: int) -> list[str]:
    from kdbench.history import LEAST, spark
    from kdbench.measures.metric import METRICS
    from kdbench.tables import plain

    metric, values = METRICS[series.metric], series.values

    def shown(value: float) -> str:
        return f"{value * metric.scale:,.{metric.digits}f} {metric.shown_unit}".strip()

    ends = shown(values[0]) if values[0] == values[-1] else f"{shown(values[0])} -> {shown(values[-1])}"
    few = f"; levels are told from {LEAST} runs on" if not series.exact and len(values) < LEAST else ""
    counts = f"{len(values)} runs, {len(series.seeds)} seeds"
    lines = [f"{_head(series):<{width}}  {spark(values)}  {ends}  ({counts}{few})"]
    for move in moved:
        commits = f"commit {move.after.commit[:10] or 'none'}, after {move.before.commit[:10] or 'none'}"
        lines.append("  " + plain(f"moved {shown(move.old)} -> {shown(move.new)} at run {move.after.run}, {commits}"))
    return lines
