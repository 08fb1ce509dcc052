"""``kdbench figure``: runs as figures for a paper."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kdbench.cli import options

if TYPE_CHECKING:
    from collections.abc import Callable

    from kdbench.papers.sheet import Sheet
    from kdbench.records import Run

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group("figure")
def command() -> None:
    """Write runs as a figure for a paper: PDF or SVG with its letters as letters, or PNG, a column wide.

    What it cannot show is said below it, and a caption is printed. It needs matplotlib: pip install "kdbench[paper]".
    """


def _kind(function: Callable[..., Any]) -> click.Command:
    """A kind of figure with the options that all of them have."""
    for each in (
        options.results,
        click.option("--width", type=float, default=3.35, show_default=True, metavar="INCHES", help="Of the figure."),
        click.option(
            "--only", default="", metavar="AXIS=VALUE,...",
            help="Show a part, by pair, method, target and device: method=kd,target=xnnpack-int8.",
        ),
        click.option("--to", type=_FILE, required=True, metavar="FILE.pdf|.svg|.png"),
        click.argument("runs", nargs=-1, required=True, metavar="RUN..."),
    ):  # fmt: skip
        function = each(function)
    return command.command(function.__name__)(function)


@_kind
@click.option(
    "--against", type=click.Choice(["latency", "size", "download", "memory", "instructions"]), default="latency",
    show_default=True, help="What quality is drawn against.",
)  # fmt: skip
def pareto(runs: tuple[str, ...], against: str, to: Path, only: str, width: float, results: Path) -> None:
    """Draw quality against cost: a mark a method (colour, fill) and target (shape), and the Pareto front."""
    read = _read(runs, to, width, results)
    from kdbench.papers.pareto import pareto as drawn
    from kdbench.papers.part import part

    _write(drawn(read, part(read, only), against, width), to)


@_kind
@click.option(
    "--rival", type=click.Choice(["scratch", "kd", "best"]), default="scratch", show_default=True,
    help="Whom methods are compared with; best: the best reference method by validation.",
)  # fmt: skip
def leads(runs: tuple[str, ...], rival: str, to: Path, only: str, width: float, results: Path) -> None:
    """Draw each method's lead on a rival with its 95 % interval, filled where chance does not explain it.

    It is what kdbench rank says; runs of one suite add their methods to each other.
    """
    read = _read(runs, to, width, results)
    from kdbench.papers.leads import leads as drawn
    from kdbench.papers.part import part

    _write(drawn(read, part(read, only), rival, width), to)


@_kind
def curves(runs: tuple[str, ...], to: Path, only: str, width: float, results: Path) -> None:
    """Draw how students validated over their epochs: a small panel a method, mean and range over seeds."""
    read = _read(runs, to, width, results)
    from kdbench.papers.curves import curves as drawn
    from kdbench.papers.part import part

    _write(drawn(read, part(read, only), width), to)


@_kind
def ranks(runs: tuple[str, ...], to: Path, only: str, width: float, results: Path) -> None:
    """Draw the methods' mean ranks over five pairs or more, with their critical difference (kdbench[rank])."""
    read = _read(runs, to, width, results)
    from kdbench.errors import MeasureError
    from kdbench.ranks import can_rank

    if not can_rank():
        raise MeasureError("ranks need autorank; python -m pip install 'kdbench[rank]'")
    from kdbench.papers.part import part
    from kdbench.papers.ranks import ranks as drawn

    _write(drawn(read, part(read, only), width), to)


def _read(runs: tuple[str, ...], to: Path, width: float, results: Path) -> list[Run]:
    """The runs, each once, if a figure of them can be drawn and written here."""
    from kdbench.errors import MeasureError
    from kdbench.records import read_run
    from kdbench.results import find_run

    if not find_spec("matplotlib"):
        raise MeasureError("a figure needs matplotlib; python -m pip install 'kdbench[paper]'")
    from kdbench.papers.sheet import checked

    checked(to, width)
    folders = {folder.resolve(): folder for folder in (find_run(run, results) for run in runs)}
    return [read_run(folder) for folder in folders.values()]


def _write(sheet: Sheet, to: Path) -> None:
    from kdbench.papers.sheet import save

    save(sheet.figure, to)
    wide, high = sheet.figure.get_size_inches()
    click.echo(f"wrote {to} ({wide:.2f} x {high:.2f} in)")
    click.echo(f"caption: {sheet.caption}")
    for note in sheet.notes:
        click.echo(f"note: {note}")
