"""``kdbench pick``: what of a run to ship, under conditions."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import click

from kdbench.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kdbench.choice import Candidate, Choice
    from kdbench.records import Run
    from kdbench.spec import Budget

_RUNNERS_UP = 3
_ALWAYS = ("download_bytes", "latency_ms", "peak_rss_bytes")


@click.command("pick")
@click.argument("run")
@click.option(
    "--where", "conditions", multiple=True, metavar="METRIC>=N", help="A condition, >= or <=, in the metric's own unit."
)
@click.option("--minimise", metavar="METRIC", help="What to have the least of (default: download_bytes).")
@click.option("--maximise", metavar="METRIC", help="What to have the most of, instead.")
@click.option("--pair", default="", metavar="PAIR", help="Only students of this pair.")
@click.option("--format", "form", type=click.Choice(["terminal", "json"]), default="terminal", show_default=True)
@options.results
def command(
    run: str,
    conditions: tuple[str, ...],
    minimise: str | None,
    maximise: str | None,
    pair: str,
    form: str,
    results: Path,
) -> int:
    """Say which student, method and target of RUN to ship, and the command that writes it out.

    \b
    kdbench pick digits --where "accuracy>=0.90" --where "latency_ms<=2" --minimise download_bytes

    Accuracy is a fraction, sizes are bytes, latencies ms. With several seeds, means are judged and the shipped program
    must meet the conditions too; its seed is chosen on validation. Exit code 1: nothing meets the conditions.
    """  # noqa: D301 - click reads the escape as "do not wrap"
    from kdbench.choice import condition, pick
    from kdbench.errors import UsageError
    from kdbench.records import read_run
    from kdbench.results import find_run

    if minimise and maximise:
        raise UsageError("--minimise and --maximise exclude each other; turn one of them into a --where")
    limits = [condition(text) for text in conditions]
    folder = find_run(run, results)
    found = read_run(folder)
    metric = maximise or minimise or "download_bytes"
    choice = pick(found, limits, metric, most=bool(maximise), pair=pair)
    export = _export(found, folder, choice.chosen, results)
    if form == "json":
        click.echo(json.dumps(_json(found, choice, limits, metric, export), indent=1, allow_nan=False))
    else:
        click.echo("\n".join(_terminal(found, choice, limits, metric, export)))
    return 0


def _export(run: Run, folder: Path, chosen: Candidate, results: Path) -> str:
    """The command that writes the program out, from the same results folder."""
    from kdbench.errors import UsageError
    from kdbench.results import default_results, find_run

    try:
        known = find_run(run.id, results).resolve() == folder.resolve()
    except UsageError:
        known = False
    words = ["kdbench", "export", chosen.record.case, "--run", run.id if known else str(folder)]
    words += ["--results", str(results)] if results != default_results() else []
    words += ["--to", f"{run.name.partition('@')[0]}-{chosen.record.method.rpartition(':')[2]}-{chosen.record.target}"]
    return shlex.join(words)


def _terminal(run: Run, choice: Choice, limits: Sequence[Budget], metric: str, export: str) -> list[str]:
    from kdbench.choice import RULE
    from kdbench.measures.metric import metric_of
    from kdbench.tables import plain

    chosen, row = choice.chosen, choice.chosen.row
    asked = list(dict.fromkeys([metric, *(limit.metric for limit in limits), row["quality"], *_ALWAYS]))
    head = f"ship {chosen.record.method} on {chosen.record.target}: student {chosen.record.student}"
    lines = [plain(f"{head}, seed {chosen.record.seed}, {run.name} run {run.id}")]
    lines += [f"  {line}" for line in _told(chosen, asked)]
    lines += [f"  {plain(line)}" for line in _gains(choice)]
    lines += [f"  note: the interval over seeds reaches beyond {limit}" for limit in limits if _open(chosen, limit)]
    lines += [f"  note: {plain(text)}" for text in (*chosen.record.notes, *chosen.record.flags)]
    for place, other in enumerate(choice.runners_up[:_RUNNERS_UP], 2):
        figures = ", ".join(_figure(other, name) for name in dict.fromkeys([metric, row["quality"], "latency_ms"]))
        lines.append(plain(f"{place}. {other.record.method} on {other.record.target}: {figures}"))
    left = len(choice.runners_up) - _RUNNERS_UP
    lines += [f"   and {left} more that meet the conditions"] if left > 0 else []
    if choice.unrun:
        lines.append(
            plain(f"left out: {', '.join(choice.unrun)}: lowered and not run here, so there is no sample to export")
        )
    lines.append("how: " + RULE.format(quality=metric_of(row["quality"]).title, candidates=choice.candidates))
    return [*lines, plain(export)]


def _open(chosen: Candidate, limit: Budget) -> bool:
    """Whether the end of the mean's interval over seeds (NaN: there is none) breaks a limit that the mean keeps."""
    half = chosen.row[f"{limit.metric}_ci"]
    return bool(half > 0) and not limit.holds(chosen.row[limit.metric] + (-half if limit.op == ">=" else half))


def _told(chosen: Candidate, metrics: Sequence[str]) -> list[str]:
    from kdbench.measures.metric import metric_of

    width = max(len(metric_of(name).title) for name in metrics)
    return [f"{metric_of(name).title:<{width}}  {_figure(chosen, name, titled=False)}" for name in metrics]


def _figure(candidate: Candidate, name: str, *, titled: bool = True) -> str:
    """A mean as people read it, with its interval, and the figure of the seed that ships where that differs."""
    import math

    from kdbench.measures.metric import metric_of
    from kdbench.tables import digits_of

    metric, mean, half = metric_of(name), candidate.row[name], candidate.row[f"{name}_ci"]
    title = f"{metric.title} " if titled else ""
    if math.isnan(mean):
        return f"{title}- ({candidate.row['reasons'].get(name, 'not measured')})"
    digits = digits_of(metric, mean)

    def shown(value: float) -> str:
        return f"{value * metric.scale:.{digits}f}"

    own = candidate.record.metrics.get(name)
    spread = "" if math.isnan(half) or not float(shown(half)) else f" ±{shown(half)}"
    differs = own is not None and shown(own) != shown(mean) and not titled
    ships = f" (mean of {candidate.row['seeds']} seeds; {shown(own)} as shipped)" if differs and own is not None else ""
    return f"{title}{shown(mean)}{spread} {metric.shown_unit}".rstrip() + ships


def _gains(choice: Choice) -> list[str]:
    from kdbench.measures.metric import metric_of

    quality = metric_of(choice.chosen.row["quality"])
    lines = []
    if choice.retained is not None:
        lines.append(f"keeps {choice.retained:.1%} of the teacher's {quality.title} on the same target")
    if choice.gained is not None:
        estimate, low, high = (
            value * quality.scale for value in (choice.gained.estimate, choice.gained.low, choice.gained.high)
        )
        clear = "" if choice.gained.excludes_zero else ": not told from nothing"
        unit = "pt" if quality.unit == "fraction" else quality.shown_unit
        lines.append(
            f"gains {estimate:+.2f} {unit} over scratch "
            f"(95 % {low:+.2f} to {high:+.2f}, {choice.paired} paired seeds{clear})"
        )
    elif choice.chosen.row["method"] == "scratch":
        lines.append("is trained without a teacher: nothing is gained over scratch")
    return lines


def _json(run: Run, choice: Choice, limits: Sequence[Budget], metric: str, export: str) -> dict[str, Any]:
    def told(candidate: Candidate) -> dict[str, Any]:
        record = candidate.record
        names = dict.fromkeys([metric, *(limit.metric for limit in limits), candidate.row["quality"], *_ALWAYS])
        means = {name: None if candidate.row[name] != candidate.row[name] else candidate.row[name] for name in names}
        facts = {key: getattr(record, key) for key in ("case", "pair", "student", "method", "target", "device", "seed")}
        return {
            **facts,
            "seeds": candidate.row["seeds"],
            "mean": means,
            "shipped": {n: record.metrics.get(n) for n in names},
        }

    gained = choice.gained
    lead = gained and {"estimate": gained.estimate, "low": gained.low, "high": gained.high, "seeds": choice.paired}
    return {
        "format": 1,
        "run": run.id,
        "chosen": told(choice.chosen),
        "runners_up": [told(other) for other in choice.runners_up],
        "candidates": choice.candidates,
        "unrun": list(choice.unrun),
        "retained": choice.retained,
        "gained_over_scratch": lead,
        "export": export,
    }
