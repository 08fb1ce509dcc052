"""The ``kdbench`` command: its sub-commands, and how errors become one line and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

import click

from kdbench import __version__
from kdbench.cli import (
    baseline,
    bisect,
    bundle,
    cite,
    compare,
    doctor,
    export,
    figure,
    history,
    ingest,
    inspect,
    measure,
    new,
    pick,
    profile,
    rank,
    report,
    results,
    run,
    table,
    train,
    tune,
)
from kdbench.cli import list as list_
from kdbench.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, KdbenchError

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.group(context_settings=HELP)
@click.version_option(__version__, prog_name="kdbench")
def cli() -> None:
    """Distil, lower to ExecuTorch, measure, compare: benchmarks of the program that ships.

    \b
    kdbench run digits               a suite: trains, lowers, measures, prints the table
    kdbench train SUITE              its networks alone, where a GPU is; kdbench run --trained does the rest
    kdbench table digits             the newest run's table again, in any format
    kdbench rank digits              which method wins, by how much, and whether these seeds can tell
    kdbench pick digits --where ...  which student, method and target to ship
    kdbench report RUN...            runs as one HTML page: plots, tables, tests, provenance
    kdbench figure pareto RUN...     runs as figures for a paper: pareto, leads, curves, ranks
    kdbench new method my-idea       a method of your own to start from, with its test
    kdbench tune METHOD --suite ...  its options searched, on the validation split alone
    kdbench compare BASE NEW         what changed between two runs, with an exit code
    kdbench baseline save RUN        what later runs are judged against, to be committed
    kdbench measure FILE.pte         size, latency and memory of any ExecuTorch program
    kdbench inspect FILE.pte         what is in it, part by part and operator by operator
    kdbench profile FILE.pte         where its time goes, operator by operator
    kdbench export CASE --to DIR     the program to ship, with everything its user needs
    kdbench bundle RUN --to DIR      the programs for whoever can measure them elsewhere
    kdbench ingest DIR --name NAME   and what came back, as a run

    Exit codes: 0 ok, 1 regressed or budget broken, 2 usage, 3 could not measure, 4 no verdict, 130 interrupted.

    KDBENCH_DEBUG=1 shows the traceback of an error that kdbench did not foresee.
    """  # noqa: D301 - click reads the escape as "do not wrap"


for module in (
    run,
    train,
    table,
    rank,
    tune,
    pick,
    report,
    figure,
    compare,
    baseline,
    history,
    bisect,
    list_,
    measure,
    inspect,
    profile,
    export,
    bundle,
    ingest,
    doctor,
    results,
    cite,
    new,
):
    cli.add_command(module.command)


def main() -> None:
    """Run the command line and exit with the code that the outcome owns."""
    try:
        code = _outcome()
    except Exception as error:  # noqa: BLE001 - 1, Python's own code for this, would say that something regressed
        code = _unforeseen(error)
    sys.exit(code)


def _unforeseen(error: Exception) -> int:
    if os.environ.get("KDBENCH_DEBUG"):
        traceback.print_exception(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    words = " ".join(str(error).split())[:300]
    where = f"{Path(place.filename).name}:{place.lineno}"
    click.echo(f"kdbench: unexpected {type(error).__name__}: {words} ({where}); KDBENCH_DEBUG=1 shows more", err=True)
    return EXIT_FAILED


def _outcome() -> int:
    code = None
    try:
        code = cli.main(standalone_mode=False, prog_name="kdbench")
        sys.stdout.flush()
    except KdbenchError as error:
        click.echo(f"kdbench: {error}", err=True)
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return EXIT_USAGE
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f" (see '{context.command_path} -h')" if context else ""
        click.echo(f"kdbench: {error.format_message().rstrip('.')}{hint}", err=True)
        return EXIT_USAGE
    except (click.Abort, KeyboardInterrupt):
        click.echo("kdbench: interrupted; finished stages are kept in the store", err=True)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code if isinstance(code, int) else 0
