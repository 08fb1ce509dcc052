"""``kdbench rank``: which method wins, by how much, and what these seeds could have shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kdbench.cli import options

if TYPE_CHECKING:
    from pathlib import Path


@click.command("rank")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--target", "targets", multiple=True, metavar="TARGET", help="Only this target; may be given several times.",
)  # fmt: skip
@click.option(
    "--difference", "difference", default="0.5", show_default=True, metavar="POINTS",
    help="The lead of which it is said how many seeds would show it.",
)  # fmt: skip
@click.option(
    "--format", "form", type=click.Choice(["terminal", "markdown", "csv", "latex", "json"]), default="terminal",
    show_default=True, help="CSV and JSON have a row a method and rival, with every digit.",
)  # fmt: skip
@options.results
def command(runs: tuple[str, ...], targets: tuple[str, ...], difference: str, form: str, results: Path) -> None:
    """Rank the methods of runs: leads on scratch, kd and the best reference method, seed by seed.

    Each lead has a 95 % interval and a p-value that is corrected for how many methods were compared (Holm). Runs of one
    suite add their methods to each other, such as a run of your own method to one of the reference methods.

    Where runs have five pairs or more with three methods in common, mean ranks over the pairs are compared too
    (pip install "kdbench[rank]").

    RUN is a folder, a run.json, a run id, a suite's name (its newest run) or SUITE~1 (the one before that).
    """
    from kdbench.catalog import suggestion
    from kdbench.errors import UsageError
    from kdbench.formats import screen
    from kdbench.ranking import rankings
    from kdbench.ranking_table import render
    from kdbench.ranks import can_rank, ranks
    from kdbench.records import read_run
    from kdbench.results import find_run

    folders = {folder.resolve(): folder for folder in (find_run(run, results) for run in runs)}
    found = rankings([read_run(folder) for folder in folders.values()], _points(difference))
    known = list(dict.fromkeys(one.target for one in found))
    for target in targets:
        if target not in known:
            raise UsageError(f"--target {target!r}: the runs have no such target; {suggestion(target, known)}")
    chosen = [one for one in found if not targets or one.target in targets]
    placed = ranks(chosen) if can_rank() else []
    width, colour = screen()
    click.echo(render(chosen, form, width=width, colour=colour, ranks=placed), nl=False, color=True)


def _points(text: str) -> float:
    """The share that is meant by points."""
    from kdbench.errors import UsageError

    try:
        points = float(text)
    except ValueError:
        points = 0.0
    if not 0 < points <= 100:
        raise UsageError(f"--difference {text!r}: expected points of quality such as 0.5")
    return points / 100
