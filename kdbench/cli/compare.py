"""``kdbench compare``: what changed between two runs, as verdicts and an exit code."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from kdbench.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kdbench.gate import Comparison, Verdict

_ORDER = ("regressed", "incomparable", "noisy", "no-baseline", "inconclusive", "improved", "ok")


@click.command("compare")
@click.argument("base")
@click.argument("new")
@click.option(
    "--format", "form", type=click.Choice(["terminal", "markdown", "json"]), default="terminal", show_default=True,
    help="How the verdicts are shown; JSON holds all of them, ok ones too.",
)  # fmt: skip
@click.option(
    "--allow", "allowed", multiple=True, metavar="METRIC=PERCENT%",
    help="How much worse an exact fact may become, such as size_bytes=0.5% (default: not at all).",
)  # fmt: skip
@options.results
def command(base: str, new: str, form: str, allowed: tuple[str, ...], results: Path) -> int:
    """Judge run NEW against run BASE: exact facts, failed cases and the suite's budgets.

    Exit code 0: nothing is worse; 1: regressed or budget broken; 4: no baseline, or not comparable.
    """
    from kdbench.gate import compare
    from kdbench.records import read_run
    from kdbench.results import find_run

    allowances = dict(_allowance(text) for text in allowed)
    comparison = compare(read_run(find_run(base, results)), read_run(find_run(new, results)), allowances)
    lines = {"terminal": _terminal, "markdown": _markdown, "json": _json}[form](comparison)
    click.echo("\n".join(lines))
    return comparison.exit_code


def _allowance(text: str) -> tuple[str, float]:
    from kdbench.catalog import suggestion
    from kdbench.errors import UsageError
    from kdbench.measures.metric import METRICS

    metric, equals, percent = (part.strip() for part in text.partition("="))
    exact = [name for name, declared in METRICS.items() if declared.tier == "exact"]
    try:
        share = float(percent.removesuffix("%")) / 100
    except ValueError:
        share = -1.0
    if not equals or not percent.endswith("%") or not 0 <= share <= 10:
        raise UsageError(f"--allow {text!r}: expected METRIC=PERCENT% such as size_bytes=0.5%")
    if metric not in exact:
        raise UsageError(f"--allow {text!r}: {metric!r} is no exact metric; {suggestion(metric, exact)}")
    return metric, share


def _shown(comparison: Comparison) -> list[Verdict]:
    """The verdicts worth a line, the worst first."""
    shown = [verdict for verdict in comparison.verdicts if verdict.verdict != "ok"]
    return sorted(shown, key=lambda verdict: _ORDER.index(verdict.verdict))


def _counts(comparison: Comparison) -> str:
    words = {word: sum(verdict.verdict == word for verdict in comparison.verdicts) for word in _ORDER}
    return ", ".join(f"{count} {word}" for word, count in words.items() if count) or "nothing to compare"


def _terminal(comparison: Comparison) -> Sequence[str]:
    from kdbench.tables import plain

    lines = [f"{comparison.base} -> {comparison.new}: {_counts(comparison)}"]
    lines += [f"{verdict.verdict:<12}  {plain(verdict)}" for verdict in _shown(comparison)]
    lines += [f"changed: {plain(suspect)}" for suspect in comparison.suspects]
    return lines + [f"note: {plain(note)}" for note in comparison.notes]


def _markdown(comparison: Comparison) -> Sequence[str]:
    from kdbench.formats import escaped

    lines = [f"**{escaped(comparison.base)} → {escaped(comparison.new)}**: {_counts(comparison)}", ""]
    shown = _shown(comparison)
    if shown:
        lines += ["| verdict | case | metric | why |", "|:---|:---|:---|:---|"]
        for verdict in shown:
            cells = (verdict.verdict, verdict.case, verdict.metric, verdict.reason)
            lines.append("| " + " | ".join(escaped(cell) for cell in cells) + " |")
        lines.append("")
    return lines + [
        f"- {escaped(line)}" for line in (*(f"changed: {s}" for s in comparison.suspects), *comparison.notes)
    ]


def _json(comparison: Comparison) -> Sequence[str]:
    table = {"format": 1, **asdict(comparison), "exit_code": comparison.exit_code}
    return [json.dumps(table, indent=1, ensure_ascii=False, allow_nan=False)]
