"""Sheets: what a figure for a paper is drawn on, its letters and its bytes, which nothing but the runs decides.

Only matplotlib's objects are used, no pyplot. Its settings are the ones below while a sheet is drawn and written,
whatever a ``matplotlibrc`` says, and afterwards what they were before.
"""

from __future__ import annotations

import math
import textwrap
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from kdbench.errors import UsageError
from kdbench.whole import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from kdbench.records import Run

COLUMN = 3.35
"""The width of a column of a two-column paper, in inches."""

LEAST = 2.0
"""The smallest width, in inches, in which letters have room."""

FAINT = "#767676"
"""The grey of what is beside the point: rules, controls, notes."""

_UNDATED: dict[str, dict[str, None]] = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}, ".png": {}}

_SETTINGS: dict[Any, Any] = {
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so that every machine has it
    "font.size": 7.0,
    "axes.titlesize": 7.0,
    "axes.labelsize": 7.0,
    "xtick.labelsize": 6.0,
    "ytick.labelsize": 6.0,
    "legend.fontsize": 6.0,
    "axes.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.4,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.major.size": 2.0,
    "ytick.major.size": 2.0,
    "xtick.minor.size": 0.0,
    "ytick.minor.size": 0.0,
    "lines.linewidth": 0.9,
    "legend.frameon": False,
    "text.parse_math": False,  # names come from files
    "axes.unicode_minus": True,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "kdbench",
}


@dataclass(frozen=True, slots=True)
class Sheet:
    """A figure, the caption that goes with it, and what it does not show."""

    figure: Figure
    caption: str
    notes: tuple[str, ...] = ()


@contextmanager
def settings() -> Iterator[None]:
    """What is drawn and written within, or in a function that this decorates, looks as a figure for a paper does."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def blank(width: float) -> Figure:
    """An empty figure of this width, in inches."""
    figure = Figure(figsize=(width, 1.0), dpi=300, layout=ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03))
    FigureCanvasAgg(figure)
    return figure


def grid(figure: Figure, count: int, height: float) -> tuple[list[Axes], int]:
    """``count`` panels of this height, and how many of them are beside each other: as many as have room."""
    width = figure.get_figwidth()
    beside = min(count, max(1, int(width / 2.6)))
    down = math.ceil(count / beside)
    figure.set_size_inches(width, height * down)
    return [figure.add_subplot(down, beside, place + 1) for place in range(count)], beside


def source(runs: Sequence[Run]) -> str:
    """Where a figure's numbers come from, for its caption."""
    told = (
        f"{run.id} of {run.name} v{run.suite['version']}{' (partial)' * run.partial}, {run.provenance.machine.slug}"
        for run in runs
    )
    return f"Run {'; '.join(told)}; kdbench {runs[0].provenance.kdbench}."


def finish(figure: Figure, keys: Sequence[Sequence[Artist]], notes: Sequence[str]) -> None:
    """Put the keys and below them the notes under the panels; the figure becomes as much higher as they need."""
    width, body = figure.get_size_inches()
    below = 0.03
    if notes:
        signs = int(width * 72 / 3.25)  # a letter of these notes is about so wide, in points
        text = "\n".join(textwrap.fill(note, signs) for note in notes)
        told = figure.text(0.04, below, text, size=5.5, color=FAINT, va="bottom", transform=figure.dpi_scale_trans)
        below += _height(figure, told) + 0.04
    for key in reversed([key for key in keys if key]):
        below += _key(figure, key, width, below)
    total = body + below
    figure.set_size_inches(width, total)
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(rect=(0, below / total, 1, body / total))


def _key(figure: Figure, entries: Sequence[Artist], width: float, bottom: float) -> float:
    """Draw a key in as many columns as fit above ``bottom``, in inches, and return its height."""
    for columns in range(min(len(entries), 8), 0, -1):
        key = figure.legend(
            handles=list(entries), ncols=columns, loc="lower center", bbox_to_anchor=(width / 2, bottom),
            bbox_transform=figure.dpi_scale_trans, borderpad=0.1, borderaxespad=0, labelspacing=0.25,
            handlelength=1.6, handletextpad=0.4, columnspacing=1.0,
        )  # fmt: skip
        key.set_in_layout(False)
        if columns == 1 or key.get_window_extent().width / figure.dpi <= width:
            break
        key.remove()
    return _height(figure, key) + 0.03


def _height(figure: Figure, artist: Artist) -> float:
    return float(artist.get_window_extent().height) / figure.dpi


def checked(to: Path, width: float) -> None:
    """Refuse what no figure can be written to, or in, before any is drawn.

    Raises:
        UsageError: a suffix that says no format, or no sensible width.
    """
    if to.suffix not in _UNDATED:
        raise UsageError(f"--to {to}: expected a file that ends in {', '.join(list(_UNDATED)[:-1])} or .png")
    if not LEAST <= width <= 20:
        raise UsageError(f"--width {width:g}: expected inches from {LEAST:g} to 20; a column has {COLUMN:g}")


@settings()
def save(figure: Figure, to: Path) -> None:
    """Write a figure to a file whose suffix says the format, without a date.

    Raises:
        MeasureError: the file cannot be written.
    """
    with whole_file(to) as scratch:
        figure.savefig(scratch, format=to.suffix[1:], metadata=_UNDATED[to.suffix], dpi=300)
