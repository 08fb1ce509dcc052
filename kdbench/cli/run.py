"""``kdbench run``: a suite from training to table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kdbench.cli import options

if TYPE_CHECKING:
    from kdbench.records import Run
    from kdbench.session import Finished
    from kdbench.verdict import Verdict


@click.command("run")
@click.argument("suite")
@click.option(
    "--quick", is_flag=True, help="The suite's [quick] variant: does it work here? Never compared with the full one."
)
@click.option(
    "--only",
    multiple=True,
    metavar="AXIS=VALUE,...",
    help="Only these cases: pair=, method=, target=, seed=, device=; an axis named twice admits either value.",
)
@click.option(
    "--method",
    "methods",
    multiple=True,
    metavar="NAME|FILE.py:CLASS",
    help="Add a method's rows; nothing else is retrained.",
)
@options.settings
@click.option(
    "--tuned",
    multiple=True,
    metavar="METHOD|FILE.json",
    help="Add the rows of the best options of kdbench tune.",
)
@click.option("--seeds", metavar="0,1,2|0-9", help="Other seeds than the suite's.")
@click.option(
    "--device", "devices", multiple=True, metavar="NAME", help="Run programs there instead of where the suite says."
)
@options.jobs
@options.train_device
@click.option(
    "--trained",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="STORE",
    help="Take every network from this store, which kdbench train filled on another machine.",
)
@options.store
@options.results
def command(
    suite: str,
    quick: bool,
    only: tuple[str, ...],
    methods: tuple[str, ...],
    settings: tuple[str, ...],
    tuned: tuple[str, ...],
    seeds: str | None,
    devices: tuple[str, ...],
    jobs: int | None,
    train_device: str | None,
    trained: Path | None,
    store: Path | None,
    results: Path,
) -> int:
    """Train, lower and measure SUITE (a name or a .toml file), and print its table.

    What the store already holds is neither trained nor lowered again; speed and memory are measured anew.
    """
    from datetime import UTC, datetime

    from kdbench.cli.progress import Progress
    from kdbench.formats import terminal
    from kdbench.plan import cases_of, select
    from kdbench.results import check_writable
    from kdbench.runs import perform
    from kdbench.spec import TEACHER
    from kdbench.store import default_store
    from kdbench.suite_file import read_suite, suite_path
    from kdbench.tuning import with_tuned
    from kdbench.variant import varied

    started = datetime.now(UTC)
    declared = read_suite(suite_path(suite), quick=quick)
    chosen = varied(
        declared, methods=methods, options=settings, seeds=seeds, devices=devices, train_device=train_device
    )
    chosen = with_tuned(chosen, tuned, results) if tuned else chosen
    cases = select(cases_of(chosen), ",".join(only)) if only else cases_of(chosen)
    check_writable(results)
    with Progress(sys.stderr) as progress:
        words = ("kdbench", *sys.argv[1:])
        place = store or default_store()
        stored, finished = perform(declared, chosen, cases, place, results, jobs, progress, words, started, trained)
    run, folder = stored.record, stored.folder
    click.echo(terminal([run]), nl=False)
    click.echo(_made(finished))
    click.echo(f"run {run.id} in {folder}" + (" (partial)" if run.partial else ""))
    if len({record.method for record in run.records} - {TEACHER}) > 1:
        click.echo(f"which method is shown to win: kdbench rank {folder}")
    doubts, code = _judged(run)
    for verdict in doubts:
        click.echo(str(verdict))
    return code


def _judged(run: Run) -> tuple[list[Verdict], int]:
    """What speaks against a run's budgets, or cannot be said of them, and the exit code of that and of failed cases."""
    from kdbench.budgets import judged_budgets
    from kdbench.errors import EXIT_FAILED, worst
    from kdbench.verdict import EXIT_CODES

    doubts = [verdict for verdict in judged_budgets(run) if verdict.verdict != "ok"]
    failed = [record for record in run.records if record.status not in {"ok", "not-applicable"}]
    return doubts, worst([EXIT_CODES[verdict.verdict] for verdict in doubts] + [EXIT_FAILED] * bool(failed))


def _made(finished: Finished) -> str:
    """What was made and what was found, in a sentence."""
    verbs = {"network": "trained", "program": "lowered", "outputs": "ran"}
    made = ", ".join(f"{verb} {finished.made.get(kind, 0)}" for kind, verb in verbs.items())
    from kdbench.worker import Failed

    failed = sum(isinstance(outcome, Failed) for outcome in finished.outcomes.values())
    found = len(finished.outcomes) - sum(finished.made.values()) - failed
    text = f"{made}; {found} of {len(finished.outcomes)} stages were in the store"
    return text + (f"; {failed} failed or were fed by one that did" if failed else "")
