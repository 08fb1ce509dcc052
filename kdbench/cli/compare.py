"""``kdbench compare``: what changed from a baseline or run to another run, as verdicts and an exit code."""

from __future__ import annotations

from pathlib import Path

import click

from kdbench.cli import options


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
@options.results
def command(
    base: str, new: str, form: str, outputs: tuple[Path, ...], allowed: tuple[str, ...], margin: str, results: Path
) -> int:
    """Judge NEW against BASE: exact facts, quality, failed cases and the suite's budgets.

    NEW is a run; BASE a run, a baseline's folder, or "baseline" for that of NEW's suite (baseline:SUITE for another's).
    In a job of GitHub Actions the job's summary and annotations are written too.

    Exit code 0: nothing is shown to be worse; 1: regressed or budget broken; 4: no baseline, or not comparable.
    """
    from kdbench import allowance
    from kdbench.gate import compare
    from kdbench.review import FORMATS, to_github, write
    from kdbench.side import BASELINE, side

    allowances = dict(allowance.allowance(text) for text in allowed)
    points = allowance.margin(margin)
    files = {path: _form(path) for path in outputs}
    named = None if base == BASELINE else side(base, results)  # whoever names two wrong ones hears of the first
    after = side(new, results)
    before = named or side(base, results, after.run.name)
    right = before.correct(), after.correct()
    comparison = compare(before.run, after.run, allowances, right=right, margin=points)
    click.echo(FORMATS[form](comparison), nl=False)
    for path, wanted in files.items():
        write(path, FORMATS[wanted](comparison))
    to_github(comparison, click.echo if form == "terminal" else None)
    return comparison.exit_code


def _form(path: Path) -> str:
    from kdbench.errors import UsageError
    from kdbench.review import SUFFIXES

    if path.suffix not in SUFFIXES:
        raise UsageError(f"--output {str(path)!r}: expected a name that ends in {', '.join(SUFFIXES)}")
    return SUFFIXES[path.suffix]
