"""The formats of a table: terminal, Markdown and LaTeX for people, CSV and JSON with every digit."""

from __future__ import annotations

import html
import io
import json
import math
import os
import re
import shutil
import sys
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from kdbench.errors import UsageError
from kdbench.frame import BEST_RULE, DOMINATED_RULE, frame, summary
from kdbench.measures.metric import METRICS
from kdbench.published.match import COLUMNS, PUBLISHED, PUBLISHED_RULE, beside
from kdbench.tables import BEST, DOMINATED, FLAGGED, columns_of, table_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from kdbench.records import Run
    from kdbench.tables import Cell, Column, Section, Table

FORMATS = ("terminal", "markdown", "csv", "latex", "json")

OPENING = "<!-- kdbench:table -->"
CLOSING = "<!-- /kdbench:table -->"

_LEGIBLE = 3  # columns that are never dropped for want of room
_NARROW = 6  # characters from which on a heading takes two lines

_ABOVE = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def render(
    rows: pd.DataFrame, form: str, columns: Sequence[str] = (), *, width: int = 120, colour: bool = False
) -> str:
    """The text of a ``frame.summary`` in one of ``FORMATS``, ending in a newline.

    ``columns``: see ``tables.table_of``; CSV and JSON hold every figure unless columns are named. ``width`` and
    ``colour`` are the terminal's.

    Raises:
        UsageError: an unknown format or column, or no rows.
    """
    if form in ("csv", "json"):
        chosen = _figures(rows, columns)
        return chosen.to_csv(index=False, lineterminator="\n") if form == "csv" else as_json(chosen)
    table = table_of(rows, columns)
    if form == "terminal":
        return as_terminal(table, width, colour=colour)
    if form == "markdown":
        return as_markdown(table)
    if form == "latex":
        return as_latex(table)
    raise UsageError(f"unknown format {form!r}; known: {', '.join(FORMATS)}")


def rows_of(runs: Sequence[Run], *, per_seed: bool = False, published: bool = False) -> pd.DataFrame:
    """The rows of a table of runs, for ``render``; with ``published`` what others published stands beside them."""
    rows = summary(frame(runs), per_seed=per_seed)
    return beside(rows, runs) if published else rows


def terminal(
    runs: Sequence[Run], columns: Sequence[str] = (), *, per_seed: bool = False, published: bool = False
) -> str:
    """The table of runs for the terminal that standard output is: as wide as it is, in colour where it shows any.

    Raises:
        UsageError: an unknown column, or no cases.
    """
    width, colour = screen()
    rows = rows_of(runs, per_seed=per_seed, published=published)
    return render(rows, "terminal", columns, width=width, colour=colour)


def screen() -> tuple[int, bool]:
    """How many characters wide the terminal on standard output is, and whether it shows colour."""
    return shutil.get_terminal_size((120, 24)).columns, sys.stdout.isatty() and "NO_COLOR" not in os.environ


def as_terminal(table: Table, width: int = 120, *, colour: bool = False) -> str:
    """The table in at most ``width`` characters; columns that do not fit are left out, and the last line names them."""
    shown, dropped = _fitting(table, width)
    console = Console(
        file=io.StringIO(), width=width, highlight=False, legacy_windows=False, _environ={},
        force_terminal=colour, no_color=not colour, color_system="standard" if colour else None,
    )  # fmt: skip
    for section in table.sections:
        console.print(Text(section.title, style="bold"))
        console.print(Text(section.source, style="dim"))
        console.print(_rich(table, section, shown))
        console.print()
    pointed = {row[place].note for section in table.sections for row in section.rows for place in shown}
    for number, note in enumerate(table.notes, 1):
        if number in pointed:
            console.print(Text(f"{_raised(number)} {note}"))
    for line in table.legend:
        console.print(Text(line, style="dim"))
    if dropped:
        names = ", ".join(" ".join(filter(None, (column.heading, column.unit))) for column in dropped)
        console.print(Text(f"no room for: {names} (a wider terminal or another --format shows them)", style="dim"))
    assert isinstance(console.file, io.StringIO)
    return "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())


def _fitting(table: Table, width: int) -> tuple[list[int], list[Column]]:
    shown = list(range(len(table.columns)))
    dropped: list[Column] = []
    places = {column.id: place for place, column in enumerate(table.columns)}
    wide = Console(file=io.StringIO(), width=10_000, _environ={})
    for candidate in table.dispensable:
        widths = [Measurement.get(wide, wide.options, _rich(table, part, shown)).maximum for part in table.sections]
        if max(widths, default=0) <= width or len(shown) <= _LEGIBLE:
            break
        shown.remove(places[candidate])
        dropped.append(table.columns[places[candidate]])
    return shown, dropped


def _rich(table: Table, section: Section, shown: Sequence[int]) -> RichTable:
    rich = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True, show_edge=False)
    for place in shown:
        column = table.columns[place]
        narrow = column.heading.replace(" ", "\n") if len(column.heading) > _NARROW else column.heading
        heading = Text("\n".join(filter(None, (narrow, column.unit))))
        rich.add_column(heading, justify="right" if column.numeric else "left", overflow="fold", header_style="")
    for row in section.rows:
        rich.add_row(*(_styled(row[place]) for place in shown))
    return rich


def _styled(cell: Cell) -> Text:
    text = " ".join(filter(None, (cell.text, cell.mark, _raised(cell.note) if cell.note else "")))
    return Text(text, style="bold" if cell.strong else "dim" if cell.faint else "")


def _raised(number: int) -> str:
    return str(number).translate(_ABOVE)


def as_markdown(table: Table) -> str:
    """The table as GitHub shows it, one pipe table a section; nothing in a name is read as Markdown or HTML."""
    lines: list[str] = []
    for section in table.sections:
        lines += [f"**{escaped(section.title)}**  ", f"<sub>{escaped(section.source)}</sub>", ""]
        heads = (escaped(f"{c.heading} ({c.unit})" if c.unit else c.heading) for c in table.columns)
        lines.append("| " + " | ".join(heads) + " |")
        lines.append("|" + "|".join("---:" if column.numeric else ":---" for column in table.columns) + "|")
        lines += ["| " + " | ".join(_markdown_cell(cell) for cell in row) + " |" for row in section.rows]
        lines.append("")
    tail = [f"{_raised(number)} {note}" for number, note in enumerate(table.notes, 1)] + list(table.legend)
    lines += [f"- {escaped(line)}" for line in tail]
    return "\n".join(lines).rstrip() + "\n"


def escaped(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]|~#])", r"\\\1", html.escape(text, quote=False))


def _markdown_cell(cell: Cell) -> str:
    text = f"**{escaped(cell.text)}**" if cell.strong else escaped(cell.text)
    return " ".join(filter(None, (text, escaped(cell.mark), _raised(cell.note) if cell.note else "")))


def as_latex(table: Table) -> str:
    """The table for a paper: one ``tabular`` a section, rules by booktabs."""
    lines = ["% needs \\usepackage{booktabs}"]
    for section in table.sections:
        align = "".join("r" if column.numeric else "l" for column in table.columns)
        heads = " & ".join(_latex(column.heading) for column in table.columns)
        units = " & ".join(_latex(f"({column.unit})" if column.unit else "") for column in table.columns)
        lines += [
            f"% {section.title}",
            f"% {section.source}",
            f"\\begin{{tabular}}{{{align}}}",
            "\\toprule",
            f"{heads} \\\\",
            f"{units} \\\\",
            "\\midrule",
            *(" & ".join(_latex_cell(cell) for cell in row) + " \\\\" for row in section.rows),
            "\\bottomrule",
            "\\end{tabular}",
            "",
        ]
    tail = [f"$^{{{number}}}$ {_latex(note)}" for number, note in enumerate(table.notes, 1)]
    tail += [_latex(line) for line in table.legend]
    lines += [f"\\par\\noindent\\footnotesize {line}" for line in tail]
    return "\n".join(lines).rstrip() + "\n"


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "·": r"$\cdot$", "†": r"$\dagger$",
    "‡": r"$\ddagger$", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "*": r"$\ast$",
}  # fmt: skip


def _latex(text: str) -> str:
    return "".join(_LATEX.get(char, char) for char in text)


def _latex_cell(cell: Cell) -> str:
    text = f"\\textbf{{{_latex(cell.text)}}}" if cell.strong else _latex(cell.text)
    mark = {BEST: r"\ast", DOMINATED: r"\dagger", FLAGGED: r"\ddagger"}
    above = " ".join([*(mark[char] for char in cell.mark), *([str(cell.note)] if cell.note else [])])
    return text + (f"$^{{{above}}}$" if above else "")


def as_json(rows: pd.DataFrame) -> str:
    """The summary's rows with every digit, null where there is no figure, and what the metrics and marks mean."""
    told = [
        {str(key): None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}
        for row in rows.to_dict("records")
    ]
    facts = ("unit", "better", "tier", "title", "what")
    table = {
        "format": 1,
        "metrics": {
            name: {fact: getattr(metric, fact) for fact in facts}
            for name, metric in METRICS.items()
            if name in rows.columns
        },
        "rules": {
            "best": BEST_RULE,
            "dominated": DOMINATED_RULE.format(quality="quality"),
            **({PUBLISHED: PUBLISHED_RULE} if PUBLISHED in rows.columns else {}),
        },
        "rows": told,
    }
    return json.dumps(table, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def inserted(document: str, markdown: str, name: str) -> str:
    """``document`` with the block between the two kdbench:table comments replaced; ``name`` is for the message.

    Raises:
        UsageError: not exactly one block.
    """
    block = re.compile(f"{re.escape(OPENING)}.*?{re.escape(CLOSING)}", re.DOTALL)
    if document.count(OPENING) != 1 or document.count(CLOSING) != 1 or not block.search(document):
        raise UsageError(f"{name} needs one line {OPENING} and below it one line {CLOSING}, where the table goes")
    return block.sub(lambda _: f"{OPENING}\n{markdown.rstrip()}\n{CLOSING}", document)


def _figures(rows: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    every: list[dict[str, Any]] = [{str(k): v for k, v in row.items()} for row in rows.head(1).to_dict("records")]
    names = [column.id for column in columns_of(every, columns)]
    everything = rows.drop(columns=["reasons"])
    if not columns:
        return everything
    identity = ("run", "suite", "version", "pair", "method", "target", "device", "seed", "seeds", "status")
    spread = [f"{name}_ci" for name in names]
    wanted = [*identity, *(column for pair in zip(names, spread, strict=True) for column in pair)]
    wanted += COLUMNS if PUBLISHED in names else ()
    return everything[[column for column in dict.fromkeys(wanted) if column in everything.columns]]
