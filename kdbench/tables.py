"""Tables: what a summary of runs looks like to people, before any format is chosen."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kdbench.catalog import suggestion
from kdbench.errors import UsageError
from kdbench.frame import BEST_RULE, BY_PROCESS, DOMINATED_RULE, RATIOS
from kdbench.measures.metric import METRICS, Metric, metric_of
from kdbench.measures.steady import BETWEEN_SESSIONS
from kdbench.published.match import FLAGGED_RULE, PUBLISHED, PUBLISHED_RULE
from kdbench.spec import TEACHER
from kdbench.uneven import mark_uneven

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd

FAIR_RULE = (
    "students of a seed have one start and see the same items in the same order, in as many steps but where a note "
    "says otherwise; figures are of the last epoch, and no method or option is chosen on test items"
)
BEST, DOMINATED, FLAGGED, SAME, NONE = "*", "†", "‡", "=", "-"

DEFAULT_COLUMNS = (
    "method", "target", "seeds", "accuracy", "accuracy_drop", "agreement", "size_bytes", "size_bytes_ratio",
    "latency_ms", "latency_mean_ms", "latency_ref", "instructions", "peak_rss_bytes", "train_s",
)  # fmt: skip
"""The columns that tell the story. ``accuracy`` stands for the quality metric of the suite's task.

``published`` follows it where the rows have published figures beside them (``published.match.beside``),
``instructions`` is there where a row has it, and ``latency_mean_ms`` where a row has no more than that of its latency.
"""

TEXT_COLUMNS = (
    "run", "suite", "recipe", "machine", "pair", "teacher", "student", "method", "seed", "target", "device", "runtime",
    "seeds", "status", "structure", "flags",
)  # fmt: skip

_AT_TIMES: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "instructions": lambda row: _has(row, "instructions"),
    "latency_mean_ms": lambda row: _has(row, "latency_mean_ms") and not _has(row, "latency_ms"),
}
"""Default columns that are shown for the sake of such rows alone."""

_DISPENSABLE = ("train_s", "peak_rss_bytes", "latency_ref", "agreement", "size_bytes_ratio", "accuracy_drop", "seeds")
_RECIPES = {
    "fast": "fast recipes (ours, not the literature's)",
    "reference": "reference recipes (the literature's)",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its id, what stands above it, the unit below that, and whether it holds numbers."""

    id: str
    heading: str
    unit: str = ""
    numeric: bool = True


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell's text, the note it points to (0: none), and how it stands out."""

    text: str
    note: int = 0
    strong: bool = False
    faint: bool = False
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """The rows of one pair of one run on one device, below a title and a line on where they come from."""

    title: str
    source: str
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Everything a format needs. ``notes`` count from 1; ``dispensable``: the columns to drop, in order."""

    columns: tuple[Column, ...]
    sections: tuple[Section, ...]
    legend: tuple[str, ...]
    notes: tuple[str, ...]
    dispensable: tuple[str, ...]


def table_of(summary: pd.DataFrame, columns: Sequence[str] = ()) -> Table:
    """The table of a ``frame.summary``; ``columns`` are metric ids, ``ID_ratio`` or ``TEXT_COLUMNS``, else the default.

    Raises:
        UsageError: an unknown column.
    """
    rows: list[dict[str, Any]] = [{str(key): value for key, value in row.items()} for row in summary.to_dict("records")]
    chosen = columns_of(rows, columns)
    notes: list[str] = []
    mark_uneven(rows)
    _mark_repeated(rows, [column.id for column in chosen])
    sections: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        sections.setdefault(tuple(row[key] for key in ("run", "suite", "pair", "device")), []).append(row)
    laid = tuple(
        Section(_title(group[0]), _source(group), tuple(_cells(row, chosen, bool(columns), notes) for row in group))
        for group in sections.values()
    )
    ids = [column.id for column in chosen]
    order = [*(id_ for id_ in _DISPENSABLE if id_ in ids and not columns), *reversed(ids[2:])]
    return Table(chosen, laid, tuple(_legend(rows, chosen, laid)), tuple(notes), tuple(dict.fromkeys(order)))


def columns_of(rows: Sequence[Mapping[str, Any]], names: Sequence[str] = ()) -> tuple[Column, ...]:
    """The columns called ``names`` of a summary's rows, else the default ones.

    Raises:
        UsageError: an unknown column, or no rows.
    """
    if not rows:
        raise UsageError("the run holds no cases, so there is nothing to show")
    first = rows[0]
    if not names:
        here = {"accuracy": str(first["quality"]), "seeds": "seed" if "seed" in first else "seeds"}
        absent = {name for name, shown in _AT_TIMES.items() if not any(map(shown, rows))}
        names = [here.get(name, name) for name in DEFAULT_COLUMNS if name not in absent]
        if PUBLISHED in first:
            names.insert(names.index(here["accuracy"]) + 1, PUBLISHED)
    known = [*(name for name in TEXT_COLUMNS if name in first), *(key for key in first if f"{key}_ci" in first)]
    known += [f"{metric}_ratio" for metric in RATIOS] + [name for name in (PUBLISHED,) if name in first]
    for name in names:
        if name not in known:
            raise UsageError(f"--columns: unknown column {name!r}; {suggestion(name, known)}")
    return tuple(_column(name) for name in dict.fromkeys(names))


def _has(row: Mapping[str, Any], metric: str) -> bool:
    return not math.isnan(row.get(metric, math.nan))


def _column(name: str) -> Column:
    if name in TEXT_COLUMNS:
        return Column(name, name, numeric=name in ("seed", "seeds"))
    if name == PUBLISHED:
        return Column(name, name, "%")
    if name.endswith("_ratio"):
        metric = METRICS[name.removesuffix("_ratio")]
        return Column(name, metric.title, "/teacher")
    metric = metric_of(name)
    unit = "" if metric.title.startswith(f"{metric.shown_unit} ") else metric.shown_unit
    return Column(name, metric.title, unit)


def plain(text: object) -> str:
    """``text`` on one line without control characters: names come from files."""
    return "".join(char if char.isprintable() else "?" for char in " ".join(str(text).split()))


def _title(row: Mapping[str, Any]) -> str:
    run = f"run {row['run']}" + (" (partial: a selection of the suite's cases)" if row["partial"] else "")
    return plain(f"{row['suite']} v{row['version']} · {row['pair']} · {row['device']} · {run}")


def _source(group: Sequence[Mapping[str, Any]]) -> str:
    row = next((row for row in group if row["runtime"]), group[0])
    threads = f", {row['threads']} thread{'s' * (row['threads'] != 1)}" if row["threads"] else ""
    threads += ", loaded from a cold file cache" if row["cold_cache"] and row["load_program_ms"] >= 0 else ""
    threads += f", paced every {row['every_ms']:g} ms" if _has(row, "latency_paced_ms") else ""
    threads += f", sustained for {row['sustained_s']:g} s" if _has(row, "latency_sustained_ms") else ""
    parts = [
        _RECIPES.get(row["recipe"], f"{row['recipe']} recipes"),
        f"trained on {row['trained_on']}" if row["trained_on"] else "",
        row["machine"],
        row["runtime"] + threads if row["runtime"] else "",
    ]
    return plain(" · ".join(part for part in parts if part))


def _cells(row: Mapping[str, Any], columns: Sequence[Column], spreads: bool, notes: list[str]) -> tuple[Cell, ...]:
    return tuple(_cell(row, column, spreads, notes) for column in columns)


def _cell(row: Mapping[str, Any], column: Column, spreads: bool, notes: list[str]) -> Cell:
    if column.id in TEXT_COLUMNS:
        return _text_cell(row, column.id, notes)
    if column.id == PUBLISHED:
        return _published_cell(row, notes)
    metric = metric_of(column.id.removesuffix("_ratio"))
    value = row[column.id]
    if metric.shared and row["shared_speed"] and not math.isnan(value):
        return Cell(SAME, faint=True)
    if math.isnan(value):
        reason = row["reasons"].get(metric.id, "") if row["seeds"] else ""
        told = reason if reason in row["repeated"] else f"{metric.title}: {reason}"
        return Cell(NONE, noted(notes, told) if reason else 0, faint=True)
    faint = bool(row["dominated"])
    if column.id.endswith("_ratio"):
        return Cell(f"{value:.3f}", faint=faint)
    quality = column.id == row["quality"]
    half = row[f"{column.id}_ci"]
    shown = (quality or spreads or column.id in BY_PROCESS) and not math.isnan(half)
    digits = digits_of(metric, value)
    spread = f" ±{half * metric.scale:.{digits}f}" if shown else ""
    flagged = column.id == "latency_ms" and row["flags"]
    note = noted(notes, f"{row['target']} speed: {row['flags'].replace(',', ', ')}") if flagged else 0
    return Cell(f"{value * metric.scale:.{digits}f}{spread}", note, strong=quality and bool(row["best"]), faint=faint)


def _published_cell(row: Mapping[str, Any], notes: list[str]) -> Cell:
    note = noted(notes, row["published_note"])
    if math.isnan(row[PUBLISHED]):
        return Cell(NONE, note, faint=True)
    mark = FLAGGED if row["published_flags"] else ""
    return Cell(f"{row[PUBLISHED] * 100:.2f}", note, faint=bool(row["dominated"]), mark=mark)


def _mark_repeated(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    """``repeated`` of a row: the reasons why several of its shown figures are missing, which one note can tell."""
    for row in rows:
        reasons = Counter(row["reasons"].get(id_, "") for id_ in columns)
        row["repeated"] = {reason for reason, count in reasons.items() if reason and count > 1}


def _text_cell(row: Mapping[str, Any], column: str, notes: list[str]) -> Cell:
    faint = bool(row["dominated"]) or not row["seeds"]
    if column == "method":
        failed = f"{row['method']} {row['target']}: {row['reason']}" if row["failed"] else ""
        told = "; ".join(text for text in (failed, row["uneven"], row["notes"]) if text)
        note = noted(notes, told) if told else 0
        mark = (BEST if row["best"] else "") + (DOMINATED if row["dominated"] else "")
        return Cell(plain(row["method"]), note, strong=bool(row["best"]), faint=faint, mark=mark)
    if column == "seeds" and row["failed"]:
        return Cell(f"{row['seeds']}/{row['seeds'] + row['failed']}", faint=faint)
    return Cell(plain(row[column]) or NONE, faint=faint)


def digits_of(metric: Metric, value: float) -> int:
    """The decimals to show: the metric's, but no more than five significant digits of a time or a memory."""
    shown = abs(value * metric.scale)
    if metric.tier == "exact" or shown < 1:
        return metric.digits
    return max(0, min(metric.digits, 4 - int(math.log10(shown))))


def noted(notes: list[str], text: str) -> int:
    """The number by which cells point to a note, which is added where it is new."""
    text = plain(text)
    if text not in notes:
        notes.append(text)
    return notes.index(text) + 1


def _legend(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], sections: Sequence[Section]) -> list[str]:
    cells = [cell for section in sections for row in section.rows for cell in row]
    ids = [column.id for column in columns]
    others = (*TEXT_COLUMNS, PUBLISHED)
    metrics = [metric_of(id_) for id_ in ids if id_ not in others and not id_.endswith("_ratio")]
    lines = ["; ".join(f"{metric.title}: {metric.what}" for metric in metrics)] if metrics else []
    if any(id_.endswith("_ratio") for id_ in ids):
        lines.append("/teacher: as a share of the teacher's own figure for the same target and device")
    if PUBLISHED in ids:
        lines.append(PUBLISHED_RULE)
    if any(FLAGGED in cell.mark for cell in cells):
        lines.append(f"{FLAGGED} {FLAGGED_RULE}")
    if any("±" in cell.text for cell in cells):
        lines.append(_spread_rule(rows, ids))
    if any(row["method"] != TEACHER for row in rows):
        lines.append(FAIR_RULE)
    lines += _alike(rows)
    if any(cell.text == SAME for cell in cells):
        lines.append(f"{SAME}: the same structure as a row above, so measured once and shared")
    if any(DOMINATED in cell.mark for cell in cells):
        qualities = " or ".join(dict.fromkeys(metric_of(row["quality"]).title for row in rows))
        lines.append(f"{DOMINATED} {DOMINATED_RULE.format(quality=qualities)}")
    if any(BEST in cell.mark for cell in cells):
        lines.append(f"{BEST} {BEST_RULE}")
    elif any(row["seeds"] > 1 for row in rows):
        lines.append(f"no row is marked {BEST} {BEST_RULE}")
    return lines


def _alike(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What two copies of one program differed by on each device, in any of the runs."""
    found: dict[str, float] = {}
    for row in rows:
        if not math.isnan(row["aa"]):
            found[row["device"]] = max(row["aa"], found.get(row["device"], 0.0))
    told = ", ".join(f"{plain(device)} {share * 100:.1f} %" for device, share in found.items())
    return [f"A/A {told}: the most that two copies of one program differed in a process there"] if told else []


def _spread_rule(rows: Sequence[Mapping[str, Any]], ids: Sequence[str]) -> str:
    told = []
    if any(row["seeds"] > 1 for row in rows):
        told.append("±: half of Student's 95 % interval of the mean over seeds")
    timed = [id_ for id_ in BY_PROCESS if id_ in ids and any(not math.isnan(row[f"{id_}_ci"]) for row in rows)]
    if timed:
        titles = " and ".join(metric_of(id_).title for id_ in timed)
        apart = " and ".join(f"{BETWEEN_SESSIONS[id_] * 100:g} %" for id_ in timed)
        rule = f"half of the 95 % interval over fresh processes, and over sessions that are taken to differ by {apart}"
        told.append(f"± of {titles}: {rule}")
    widest = max((row["accuracy_test_ci"] for row in rows if not math.isnan(row["accuracy_test_ci"])), default=0.0)
    if "accuracy" in ids and widest:
        items = " or ".join(str(n) for n in sorted({row["test_items"] for row in rows if row["test_items"]}))
        told.append(f"the {items} test items alone leave accuracy open by up to ±{widest * 100:.2f} pt (Wilson, 95 %)")
    return "; ".join(told)
