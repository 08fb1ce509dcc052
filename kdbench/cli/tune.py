"""``kdbench tune``: a method's options searched on the validation split."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from kdbench.cli import options

if TYPE_CHECKING:
    from pathlib import Path

    from kdbench.tables import Section, Table
    from kdbench.tuning import Trial, Tuning

_SHOWN = 5


@click.command("tune")
@click.argument("methods", nargs=-1, required=True, metavar="METHOD...")
@click.option("--suite", "suite", required=True, metavar="SUITE", help="On its pairs, by its recipes.")
@click.option("--trials", type=click.IntRange(min=2), required=True, help="How many each method has in all.")
@click.option("--seeds", metavar="0,1,2|0-9", help="The students of a trial (default: 1000, which no suite reports).")
@click.option("--quick", is_flag=True, help="By the suite's [quick] recipes: does it work here?")
@options.jobs
@options.store
@options.results
def command(
    methods: tuple[str, ...],
    suite: str,
    trials: int,
    seeds: str | None,
    quick: bool,
    jobs: int | None,
    store: Path | None,
    results: Path,
) -> None:
    """Search the options of METHODs on SUITE: as many trials for each, judged on the validation split alone.

    A METHOD is one of the suite's, another by name, or FILE.py:CLASS. Weights are searched from a tenth of their
    default to ten times it, temperatures from a quarter to four times, shares from 0 to 1; the first trial is the
    default. Every trial is kept in RESULTS/tunings/SUITE/METHOD.json, from which a search that was cut short goes on.
    `kdbench run SUITE --tuned METHOD` adds the rows of the best options, which say what they cost.
    """
    from kdbench.cli.progress import Progress
    from kdbench.errors import MeasureError, UsageError
    from kdbench.formats import as_terminal, screen
    from kdbench.search import SEEDS, begun, can_search, further
    from kdbench.store import Store, default_store
    from kdbench.suite_file import read_suite, suite_path
    from kdbench.tuning import tuning_file, write_tuning
    from kdbench.variant import with_methods, with_seeds

    if not can_search():
        raise MeasureError('a search wants Optuna; pip install "kdbench[tune]"')
    declared = read_suite(suite_path(suite), quick=quick)
    known = {method.label: method for method in declared.methods}
    others = with_methods(declared, [name for name in methods if name not in known], ())
    known |= {method.use: method for method in others.methods if method not in declared.methods}
    tried = with_seeds(declared, seeds).seeds if seeds else SEEDS
    found: dict[Path, Tuning] = {}
    for name in dict.fromkeys(methods):
        path = tuning_file(results, declared.name, known[name].label)
        found[path] = begun(declared, known[name], tried, path)
        if (already := len(found[path].trials)) > trials:
            raise UsageError(f"{path} holds {already} trials, so that {trials} of each would not be the same budget")
    with Progress(sys.stderr) as progress:
        for name, path in zip(dict.fromkeys(methods), found, strict=True):
            while len(found[path].trials) < trials:
                place = Store(store or default_store())
                found[path] = further(found[path], declared, known[name], trials, place, jobs, progress)
                write_tuning(found[path], path)
    width, colour = screen()
    click.echo(as_terminal(_table(list(found.values())), width, colour=colour), nl=False, color=True)
    click.echo(f"trials in {', '.join(map(str, found))}")
    beaten = [tuning for tuning in found.values() if tuning.ranked()[0] is not tuning.trials[0]]
    for tuning in found.values():
        if tuning not in beaten:
            click.echo(f"{tuning.method}: no trial validated better than its own options, so nothing is left to run")
    if beaten:
        words = " ".join(f"--tuned {tuning.method}" for tuning in beaten)
        click.echo(f"kdbench run {suite}{' --quick' * quick} {words}")


def _table(tunings: list[Tuning]) -> Table:
    """The best trials of each method, and that of its defaults."""
    from kdbench.measures.metric import metric_of
    from kdbench.tables import Column, Table

    metric = metric_of(tunings[0].quality)
    unit = "pt" if metric.shown_unit == "%" else metric.shown_unit
    columns = (
        Column("trial", "trial"),
        Column("quality", f"validation {metric.title}", metric.shown_unit),
        Column("gain", "on trial 0", unit),
        Column("train_s", "train", "s"),
        Column("options", "options", numeric=False),
    )
    legend = (
        (
            f"validation {metric.title}: after the last epoch, the mean over pairs and seeds, of each method's best "
            f"{_SHOWN} trials and of trial 0, which has its own options"
        ),
        "the best of many is flattered by having been chosen: what its options are worth, a run says",
    )
    return Table(columns, tuple(map(_section, tunings)), legend, (), ("train_s",))


def _section(tuning: Tuning) -> Section:
    from kdbench.measures.metric import metric_of
    from kdbench.tables import NONE, Cell, Section, digits_of, plain

    metric, ranked, first = metric_of(tuning.quality), tuning.ranked(), tuning.trials[0]
    failed = len(tuning.trials) - len(ranked)

    def cells(trial: Trial) -> tuple[Cell, ...]:
        quality, base = trial.quality or 0.0, first.quality
        gain = NONE if base is None else f"{(quality - base) * metric.scale:+.2f}"
        shown = f"{quality * metric.scale:.{digits_of(metric, quality)}f}"
        told = " ".join(f"{name}={value:g}" for name, value in trial.options.items())
        return (Cell(str(trial.number)), Cell(shown, strong=trial is ranked[0]), Cell(gain),
                Cell(f"{trial.seconds:.1f}"), Cell(told))  # fmt: skip

    count = f"{len(tuning.trials)} trials" + (f", {failed} of which failed" if failed else "")
    title = f"{tuning.method} on {tuning.suite} v{tuning.version}: {count}"
    source = f"seeds {', '.join(map(str, tuning.seeds))} · {tuning.seconds:.0f} s of training"
    shown = [*ranked[:_SHOWN], *(trial for trial in ranked[_SHOWN:] if trial is first)]
    return Section(plain(title), plain(source), tuple(map(cells, shown)))
