"""``kdbench compare``: what changed from a baseline or run to another run, as verdicts and an exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kdbench.cli import options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kdbench.rematch import Moved
    from kdbench.side import Side
    from kdbench.slowdown import Judged


@click.command("compare")
@click.argument("base")
@click.argument("new")
@click.option(
    "--format", "form", type=click.Choice(["terminal", "markdown", "json", "junit", "github"]), default="terminal",
    show_default=True, help="How the verdicts are shown; JSON and JUnit hold all of them, ok ones too.",
)  # fmt: skip
@click.option(
    "--output", "outputs", multiple=True, type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Write them to a file too: .md, .json, .xml (JUnit) or .txt.",
)  # fmt: skip
@click.option(
    "--allow", "allowed", multiple=True, metavar="METRIC=PERCENT%",
    help="How much worse an exact fact may become, such as size_bytes=0.5% (default: not at all).",
)  # fmt: skip
@click.option(
    "--margin", default="0.5", show_default=True, metavar="POINTS", help="How far quality may fall, in points.",
)  # fmt: skip
@click.option(
    "--slower", default="0.5%", show_default=True, metavar="PERCENT%",
    help="The least slow-down that counts; never less than what two copies of one program differ by here.",
)  # fmt: skip
@click.option("--exact", is_flag=True, help="Run nothing: judge no speed.")
@options.store
@options.results
def command(
    base: str,
    new: str,
    form: str,
    outputs: tuple[Path, ...],
    allowed: tuple[str, ...],
    margin: str,
    slower: str,
    exact: bool,
    store: Path | None,
    results: Path,
) -> int:
    """Judge NEW against BASE: exact facts, quality, failed cases, the suite's budgets, and speed.

    Programs whose structure changed are run side by side with the base's, in a few seconds each; programs of one
    structure run alike and are not run.

    NEW is a run; BASE a run, a baseline's folder, or "baseline" for that of NEW's suite (baseline:SUITE for another's).
    In a job of GitHub Actions the job's summary and annotations are written too.

    Exit code 0: nothing is shown to be worse; 1: regressed or budget broken; 4: no baseline, or not comparable.
    """
    from kdbench import allowance
    from kdbench.gate import compare
    from kdbench.likeness import apart
    from kdbench.review import FORMATS, to_github, write
    from kdbench.side import BASELINE, side

    allowances = dict(allowance.allowance(text) for text in allowed)
    points = allowance.margin(margin)
    share = allowance.effect(slower)
    files = {path: _form(path) for path in outputs}
    named = None if base == BASELINE else side(base, results)  # whoever names two wrong ones hears of the first
    after = side(new, results)
    before = named or side(base, results, after.run.name)
    right = before.correct(), after.correct()
    speeds = {} if exact or apart(before.run.suite, after.run.suite) else _speeds(before, after, share, store)
    comparison = compare(before.run, after.run, allowances, right=right, margin=points, speeds=speeds)
    click.echo(FORMATS[form](comparison), nl=False)
    for path, wanted in files.items():
        write(path, FORMATS[wanted](comparison))
    to_github(comparison, click.echo if form == "terminal" else None)
    return comparison.exit_code


def _speeds(before: Side, after: Side, share: float, store: Path | None) -> Mapping[Moved, Judged]:
    """The verdicts on structures that changed; torch is not imported where none did."""
    from kdbench.likeness import moved_structures

    if not moved_structures(before.run, after.run):
        return {}
    from kdbench.cli.progress import Progress
    from kdbench.conduct import Event
    from kdbench.rematch import rematches
    from kdbench.store import Store, default_store

    with Progress(sys.stderr) as progress:
        return rematches(
            before,
            after,
            Store(store or default_store()),
            effect=share,
            tell=lambda done, text: progress(Event("measuring", "duels", "measure", 0, 1, done, text)),
        )


def _form(path: Path) -> str:
    from kdbench.errors import UsageError
    from kdbench.review import SUFFIXES

    if path.suffix not in SUFFIXES:
        raise UsageError(f"--output {str(path)!r}: expected a name that ends in {', '.join(SUFFIXES)}")
    return SUFFIXES[path.suffix]
