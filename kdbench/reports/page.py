"""The page of a report: sections of runs, rendered by a template into one file that needs no network."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from plotly.offline import get_plotlyjs

from kdbench import __version__
from kdbench.errors import UsageError
from kdbench.frame import frame, summary
from kdbench.markup import pages
from kdbench.measures.metric import metric_of
from kdbench.reports import plots
from kdbench.reports.evidence import Matrix, Past, commands, groups_of, history, matrices, rows_of, summary_line
from kdbench.tables import table_of
from kdbench.whole import whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from kdbench.records import Run
    from kdbench.tables import Table

FIDELITY = ("method", "target", "seeds", "agreement", "agreement_teacher_wrong", "kl_teacher", "ece", "flips")
COST = (
    "method", "target", "seeds", "train_s", "train_cost", "train_peak_bytes", "student_steps", "student_forwards",
    "teacher_forwards", "backwards",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Part:
    """What a report shows of one pair on one device; plots are by name, tables are as ``kdbench table`` makes them."""

    id: str
    title: str
    line: str
    axes: tuple[tuple[str, str], ...]
    marks: tuple[tuple[str, str], ...]
    out_of_view: tuple[str, ...]
    plots: Mapping[str, plots.Figure]
    results: Table
    fidelity: Table
    cost: Table
    matrices: tuple[Matrix, ...]
    unit: str


@dataclass(frozen=True, slots=True)
class Chapter:
    """What a report shows of one run."""

    run: Run
    parts: tuple[Part, ...]
    history: tuple[Past, ...]
    commands: tuple[tuple[str, str, str], ...]


def write_report(runs: Sequence[Run], to: Path, results: Path, profiles: Sequence[Path] = ()) -> None:
    """Write the report of ``runs`` to the file ``to``; ``profiles`` are files of ``kdbench profile --format json``.

    ``results`` is where earlier runs of the same suites are looked for.

    Raises:
        UsageError: a run without cases, or a file that is no profile.
        MeasureError: ``to`` cannot be written.
    """
    text = page(runs, results, profiles)
    with whole_file(to) as scratch:
        scratch.write_text(text, encoding="utf-8")


def page(runs: Sequence[Run], results: Path, profiles: Sequence[Path] = ()) -> str:
    """The report as HTML, see ``write_report``."""
    chapters = [_chapter(run, number, results) for number, run in enumerate(runs)]
    told = [_profile(path) for path in profiles]
    figures = {
        f"{part.id}-{name}": plot for each in chapters for part in each.parts for name, plot in part.plots.items()
    }
    pasts = {f"history-{number}": plots.history(each.history) for number, each in enumerate(chapters)}
    figures |= {name: plot for name, plot in pasts.items() if plot is not None}
    figures |= {f"profile-{place}": plots.operators(profile) for place, profile in enumerate(told)}
    templates = files("kdbench") / "templates"
    return (
        pages()
        .get_template("report.html.in")
        .render(
            version=__version__,
            chapters=chapters,
            profiles=told,
            figures=figures,
            style=(templates / "report.css").read_text(encoding="utf-8"),
            script=(templates / "report.js").read_text(encoding="utf-8"),
            plotly=get_plotlyjs(),
        )
    )


def _chapter(run: Run, number: int, results: Path) -> Chapter:
    if not run.records:
        raise UsageError(f"run {run.id} holds no cases, so there is nothing to report")
    cases = frame([run])
    whole = summary(cases)
    parts = []
    for place, ((pair, device), rows) in enumerate(groups_of(rows_of(whole)).items()):
        mine = whole[(whole["pair"] == pair) & (whole["device"] == device)]
        of_part = cases[(cases["pair"] == pair) & (cases["device"] == device)]
        parts.append(_part(f"part-{number}-{place}", run, rows, mine, of_part))
    return Chapter(run, tuple(parts), history(run, results), commands(run))


def _part(name: str, run: Run, rows: list[dict[str, Any]], summary_rows: pd.DataFrame, cases: pd.DataFrame) -> Part:
    pareto = {axis: plot for axis in plots.AXES if (plot := plots.pareto(rows, axis)) is not None}
    drawn = {f"pareto-{axis}": plot for axis, plot in pareto.items()}
    others = {"curves": plots.curves(run, rows), "survival": plots.survival(rows)}
    quality = metric_of(str(rows[0]["quality"]))
    # A table that is sorted needs each figure in its own row, not "=" for the row above.
    alone = summary_rows.assign(shared_speed=False)
    return Part(
        id=name,
        title=f"{rows[0]['pair']} on {rows[0]['device']}",
        line=summary_line(rows),
        axes=tuple((axis, metric_of(axis).title) for axis in pareto),
        marks=tuple((symbol.replace("-", " "), target) for target, symbol in plots.symbols(rows).items()),
        out_of_view=plots.out_of_view(rows),
        plots=drawn | {kind: plot for kind, plot in others.items() if plot is not None},
        results=table_of(alone),
        fidelity=_unmarked(table_of(alone, FIDELITY)),
        cost=_unmarked(table_of(alone, COST)),
        matrices=matrices(cases),
        unit=quality.difference_unit,
    )


def _unmarked(table: Table) -> Table:
    """The table without what the results' legend says already."""
    return replace(table, legend=table.legend[:1])


def _profile(path: Path) -> dict[str, Any]:
    """A profile as ``kdbench profile --format json`` tells it."""
    hint = "expected what kdbench profile FILE.pte --format json prints of times on the host"
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError:
        raise UsageError(f"--profile {path} is not JSON; {hint}") from None
    steps = table.get("operators") if isinstance(table, dict) else None
    wanted: dict[str, Any] = {"operator": str, "where": str, "mean_us": (int, float), "share": (int, float)}
    good = isinstance(steps, list) and all(
        isinstance(step, dict) and all(isinstance(step.get(key), kind) for key, kind in wanted.items())
        for step in steps
    )
    about: dict[str, Any] = {"file": str, "mean_us": (int, float), "runs": int, "threads": int}
    if not good or not all(isinstance(table.get(key), kind) for key, kind in about.items()):
        raise UsageError(f"--profile {path} is not a profile; {hint}")
    return dict(table)
