"""``kdbench compare``: what changed from a baseline or run to another run, or from program to program, as verdicts."""

from __future__ import annotations

import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from kdbench.cli import options
from kdbench.errors import KdbenchError, MeasureError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kdbench.devices.device import Device
    from kdbench.verdict import Comparison

_PROGRAM = ".pte"


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
    "--margin", metavar="POINTS", help="How far quality may fall between two runs, in points (default: 0.5).",
)  # fmt: skip
@click.option(
    "--slower", default="0.5%", show_default=True, metavar="PERCENT%",
    help="The least slow-down that counts; never less than what no change at all may reach here.",
)  # fmt: skip
@click.option("--exact", is_flag=True, help="Run nothing: judge neither speed nor peak memory.")
@click.option("--device", help="Where two programs run (default: host); the cases of runs name theirs.")
@click.option(
    "--base-runtime", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIR",
    help="The executorch that runs the base's programs: a virtual environment or its site-packages.",
)  # fmt: skip
@options.store
@options.results
def command(
    base: str,
    new: str,
    form: str,
    outputs: tuple[Path, ...],
    allowed: tuple[str, ...],
    margin: str | None,
    slower: str,
    exact: bool,
    device: str | None,
    base_runtime: Path | None,
    store: Path | None,
    results: Path,
) -> int:
    """Judge NEW against BASE: two runs, or two programs.

    Of runs: exact facts, quality, failed cases, the suite's budgets, speed and peak memory. Programs whose structure
    changed, or that were written out otherwise (another arena, another size from one checkpoint), are run side by side
    with the base's, in a few seconds each; all others run alike and are not run. NEW is a run; BASE a run, a baseline's
    folder, or "baseline" for that of NEW's suite (baseline:SUITE for another's).

    Of programs, two files whose names end in .pte: exact facts, speed and peak memory. They say nothing of quality.

    One executorch, the installed one, serves both sides, so what a new one makes slower by itself is not seen. With
    --base-runtime every program is run, the base's by the executorch there, in processes that take turns. In a job of
    GitHub Actions the job's summary and annotations are written too.

    Exit code 0: nothing is shown to be worse; 1: regressed or budget broken; 4: no baseline, not
    comparable, or noisy.
    """
    from kdbench import allowance
    from kdbench.review import FORMATS, refused, to_github, write

    allowances = dict(allowance.allowance(text) for text in allowed)
    points = None if margin is None else allowance.margin(margin)
    share = allowance.effect(slower)
    files = {path: _form(path) for path in outputs}
    effect = None if exact else share
    if exact and base_runtime is not None:
        raise UsageError("--base-runtime says what runs the base's programs; with --exact nothing is run")
    programs = _are_programs(base, new)
    if device is not None and not programs:
        raise UsageError(f"--device {device!r} says where two programs run; the cases of runs name their devices")
    try:
        if programs:
            comparison = _programs(Path(base), Path(new), allowances, points, effect, device or "host", base_runtime)
        else:
            comparison = _runs(base, new, allowances, points, effect, base_runtime, store, results)
    except KdbenchError as error:
        with suppress(MeasureError, BrokenPipeError):  # what stopped the comparison is what is wanted
            to_github(refused(_suite_of(new, results), base, str(error)), click.echo if form == "terminal" else None)
        raise
    with suppress(BrokenPipeError):  # a reader that has seen enough does not make what is worse better
        click.echo(FORMATS[form](comparison), nl=False)
    for path, wanted in files.items():
        write(path, FORMATS[wanted](comparison))
    with suppress(BrokenPipeError):
        to_github(comparison, click.echo if form == "terminal" else None)
    return comparison.exit_code


def _suite_of(reference: str, results: Path) -> str:
    """The suite of a run that may not be there: then what it was called."""
    from kdbench.side import side

    try:
        return side(reference, results).run.name
    except KdbenchError:
        return reference


def _are_programs(base: str, new: str) -> bool:
    """Whether two programs are named, not two runs. Raises UsageError."""
    programs = [name for name in (base, new) if name.endswith(_PROGRAM)]
    if len(programs) == 1:
        other = new if programs == [base] else base
        raise UsageError(f"{programs[0]} is a program, {other!r} is none: compare two {_PROGRAM} files or two runs")
    return bool(programs)


def _programs(
    base: Path,
    new: Path,
    allowances: Mapping[str, float],
    margin: float | None,
    effect: float | None,
    device: str,
    base_runtime: Path | None,
) -> Comparison:
    if margin is not None:
        raise UsageError("--margin judges nothing between two programs: they say nothing of quality")
    from kdbench.swap import swap

    runtime = _runtime(base_runtime)
    with _shown() as tell:
        return swap(base, new, allowances, device=device, effect=effect, runtime=runtime, tell=tell)


def _runs(
    base: str,
    new: str,
    allowances: Mapping[str, float],
    margin: float | None,
    effect: float | None,
    base_runtime: Path | None,
    store: Path | None,
    results: Path,
) -> Comparison:
    from kdbench.allowance import MARGIN
    from kdbench.contest import contest
    from kdbench.side import BASELINE, side
    from kdbench.store import default_store

    named = None if base == BASELINE else side(base, results)  # whoever names two wrong ones hears of the first
    after = side(new, results)
    before = named or side(base, results, after.run.name)
    points, place, runtime = MARGIN if margin is None else margin, store or default_store(), _runtime(base_runtime)
    with _shown() as tell:
        return contest(before, after, place, allowances, margin=points, effect=effect, runtime=runtime, tell=tell)


def _runtime(folder: Path | None) -> Device | None:
    """The host, with the executorch in ``folder``."""
    if folder is None:
        return None
    from kdbench.devices.host import host_with

    return cast("Device", host_with(folder))


@contextmanager
def _shown() -> Iterator[Callable[[float, str], None]]:
    """Where whatever runs tells how far it is."""
    from kdbench.cli.progress import Progress
    from kdbench.conduct import Event

    with Progress(sys.stderr) as progress:
        yield lambda done, text: progress(Event("measuring", "duels", "measure", 0, 1, done, text))


def _form(path: Path) -> str:
    from kdbench.review import SUFFIXES

    if path.suffix not in SUFFIXES:
        raise UsageError(f"--output {str(path)!r}: expected a name that ends in {', '.join(SUFFIXES)}")
    return SUFFIXES[path.suffix]
