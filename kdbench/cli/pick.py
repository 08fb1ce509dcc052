"""``kdbench pick``: which student, method and target to ship under limits."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kdbench.cli import options

if TYPE_CHECKING:
    from kdbench.choice import Candidate, Choice

_RUNNERS_UP = 3


@click.command("pick")
@click.argument("run", metavar="RUN")
@click.option(
    "--where", "limits", multiple=True, metavar="METRIC>=NUMBER",
    help="A limit to keep, in the metric's own unit (fractions, bytes, ms): accuracy>=0.9, latency_ms<=2 ...",
)  # fmt: skip
@click.option("--minimise", metavar="METRIC", help="What to have least of (default: download_bytes).")
@click.option("--maximise", metavar="METRIC", help="What to have most of, instead.")
@click.option("--format", "form", type=click.Choice(["terminal", "json"]), default="terminal", show_default=True)
@options.results
def command(
    run: str, limits: tuple[str, ...], minimise: str | None, maximise: str | None, form: str, results: Path
) -> int:
    """Pick what to ship of RUN: the student, method and target that keep all limits at the least cost.

    Limits are kept by the mean over seeds and by the program that would ship: that of the seed that validated best.

    Exit code 0: there is one; 1: nothing keeps the limits.
    """
    from kdbench.choice import choose, limit
    from kdbench.errors import EXIT_REGRESSED
    from kdbench.records import read_run
    from kdbench.results import find_run

    objective = _objective(minimise, maximise)
    found = read_run(find_run(run, results))
    choice = choose(found, [limit(text) for text in limits], objective)
    if form == "json":
        click.echo(json.dumps(_table(choice), indent=1, ensure_ascii=False))
    else:
        click.echo("\n".join(_told(choice, found.name, limits, results)), err=not choice.kept)
    return 0 if choice.kept else EXIT_REGRESSED


def _objective(minimise: str | None, maximise: str | None) -> str:
    from kdbench.choice import known_metric
    from kdbench.errors import UsageError
    from kdbench.measures.metric import METRICS

    if minimise and maximise:
        raise UsageError("--minimise and --maximise: one thing can be the least or the most, not two")
    option, name = ("--maximise", maximise) if maximise else ("--minimise", minimise or "download_bytes")
    metric = METRICS[known_metric(name, option)]
    wanted, other = ("higher", "--minimise") if maximise else ("lower", "--maximise")
    if metric.better != wanted:
        raise UsageError(f"{option} {name}: of {name} {metric.better} is better; did you mean {other}?")
    return name


def _told(choice: Choice, suite: str, limits: tuple[str, ...], results: Path) -> list[str]:
    from kdbench.choice import shown
    from kdbench.measures.metric import METRICS
    from kdbench.tables import plain

    if not choice.kept:
        nearest = choice.others[0]
        return [
            f"nothing in run {choice.run} keeps the limits; nearest is {_name(nearest)}: {'; '.join(nearest.missed)}"
        ]
    first = choice.kept[0]
    record, total = first.record, len(choice.kept) + len(choice.others)
    chosen = f", the best of {first.seeds} by validation" if first.seeds > 1 else ""
    lines = [f"{plain(suite)}: ship {_name(first)}, seed {record.seed}{chosen}"]
    told = f"the {'least' if METRICS[choice.objective].better == 'lower' else 'most'} of {len(choice.kept)} of {total} "
    told += "candidates that keep the limits" if limits else "candidates"
    asked = {choice.objective: told}
    metrics = dict.fromkeys([choice.objective, *(_metric(text) for text in limits), record.quality])
    for metric in metrics:
        wanted = ", ".join(["wanted " + text.replace(" ", "") for text in limits if _metric(text) == metric])
        note = "; ".join(part for part in (asked.get(metric, ""), wanted) if part)
        mean = f"{shown(metric, first.means[metric])} over seeds" if first.seeds > 1 else ""
        one = shown(metric, record.metrics.get(metric))
        both = one if not mean or mean.startswith(f"{one} ") else f"{one} ({mean})"
        lines.append(
            f"  {METRICS[metric].title if metric in METRICS else metric:<10} {both}{f'  [{note}]' if note else ''}"
        )
    lines += [f"  {line}" for line in _worth(choice)]
    for place, other in enumerate(choice.kept[1 : 1 + _RUNNERS_UP], 2):
        figures = ", ".join(f"{METRICS[m].title} {shown(m, other.means[m])}" for m in metrics if m in METRICS)
        lines.append(f"{place}. {_name(other)}: {figures}")
    name = f"{record.pair.rpartition(':')[2]}-{record.method}-{record.target}"
    words = ["kdbench", "export", record.case, "--run", choice.run, "--to", name]
    words += ["--results", str(results)] if results != Path("results") else []
    return [*lines, shlex.join(words)]


def _worth(choice: Choice) -> list[str]:
    """What is kept of the teacher, and what the method gained on ``scratch``."""
    from kdbench.choice import shown
    from kdbench.measures.metric import metric_of

    first, lines = choice.kept[0], []
    if choice.teacher is not None:
        parts = []
        for metric in (first.record.quality, "size_bytes", "latency_ms"):
            mine, whole = first.means.get(metric), choice.teacher.metrics.get(metric)
            if mine is not None and whole:
                parts.append(f"{mine / whole:.1%} of its {metric_of(metric).title} ({shown(metric, whole)})")
        lines.append(f"of the teacher {', '.join(parts)}")
    if choice.lead is not None:
        declared = metric_of(first.record.quality)
        half = choice.lead.interval.high - choice.lead.interval.estimate
        unit = "pt" if declared.shown_unit == "%" else declared.shown_unit
        sure = "beyond chance" if choice.lead.shown else "not beyond chance"
        gain = f"{choice.lead.interval.estimate * declared.scale:+.2f} ±{half * declared.scale:.2f} {unit}"
        lines.append(f"on scratch {gain}, {sure} (kdbench rank says more)")
    return lines


def _metric(text: str) -> str:
    from kdbench.choice import limit

    return limit(text).metric


def _name(one: Candidate) -> str:
    from kdbench.tables import plain

    record = one.record
    return plain(f"{record.pair} by {record.method} for {record.target} on {record.device}")


def _table(choice: Choice) -> dict[str, object]:
    def facts(one: Candidate) -> dict[str, object]:
        return {
            "case": one.record.case,
            "program_sha256": one.record.program_sha256,
            "seeds": one.seeds,
            "means": dict(one.means),
            "ships": dict(one.record.metrics),
            "missed": list(one.missed),
        }

    return {
        "format": 1,
        "run": choice.run,
        "objective": choice.objective,
        "kept": [facts(one) for one in choice.kept],
        "others": [facts(one) for one in choice.others],
    }
