"""Reviews: what a comparison says where people look: terminal, pull request, annotations, JUnit, JSON."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from kdbench.errors import EXIT_OK, MeasureError
from kdbench.gate import FOLLOWED
from kdbench.tables import plain
from kdbench.verdict import EXIT_CODES, Comparison, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ORDER = ("regressed", "incomparable", "noisy", "no-baseline", "inconclusive", "improved", "ok")
"""Verdicts as people read them, the worst first."""

FAILING = frozenset(word for word, code in EXIT_CODES.items() if code != EXIT_OK)
"""What a test that reports a verdict fails by; ``inconclusive`` is skipped, so that it is seen."""

LONGEST = 60_000
"""Characters of the table's rows in Markdown: GitHub takes comments of at most 65,536."""

_SEED = re.compile(r"/s\d+/(?=[^/]*$)")
_UNSEEN = re.compile("[^\x09\x0a\x0d\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Line:
    """A verdict worth a line, and how many more cases it is true of."""

    verdict: Verdict
    more: int

    @property
    def told(self) -> str:
        """The verdict in words, without line breaks."""
        text = plain(self.verdict)
        return f"{text} [and {self.more} more case{'s' * (self.more > 1)}]" if self.more else text


def refused(suite: str, base: str, reason: str) -> Comparison:
    """What is shown where nothing could be compared: so that nobody takes what was said before for the answer."""
    return Comparison(suite, base, "no run", (Verdict("*", "*", "incomparable", None, None, reason),))


def lines_of(comparison: Comparison) -> list[Line]:
    """What is not ok: the worst first, and what was tested before what was not. Cases that share a reason share a line.

    So do figures that follow from predictions or weights, whatever they moved by: of those the JSON holds each.
    """
    groups: dict[tuple[str, ...], list[Verdict]] = {}
    for verdict in comparison.verdicts:
        if verdict.verdict != "ok":
            reason = FOLLOWED if verdict.reason.endswith(FOLLOWED) else verdict.reason
            groups.setdefault((verdict.verdict, verdict.metric, reason), []).append(verdict)
    lines = [Line(group[0], len(group) - 1) for group in groups.values()]
    return sorted(lines, key=lambda line: (ORDER.index(line.verdict.verdict), line.verdict.reason.endswith(FOLLOWED)))


def by_case(comparison: Comparison, cases: Sequence[str]) -> dict[str, tuple[Verdict, ...]]:
    """The verdicts by the case that reports them: their own, or the first of the seeds that they are about."""
    first: dict[str, str] = {}
    for case in cases:
        first.setdefault(_SEED.sub("/s*/", case), case)
    found: dict[str, list[Verdict]] = {}
    for verdict in comparison.verdicts:
        found.setdefault(first.get(verdict.case, verdict.case), []).append(verdict)
    return {case: tuple(verdicts) for case, verdicts in found.items()}


def counted(comparison: Comparison) -> str:
    """How many verdicts say what, the worst first."""
    counts = {word: sum(verdict.verdict == word for verdict in comparison.verdicts) for word in ORDER}
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "nothing to compare"


def terminal(comparison: Comparison) -> str:
    """A line a verdict that is not ok, then what else changed and what was not judged."""
    lines = [f"{comparison.base} -> {comparison.new}: {counted(comparison)}"]
    lines += [f"{line.verdict.verdict:<12}  {line.told}" for line in lines_of(comparison)]
    lines += [f"changed: {plain(suspect)}" for suspect in comparison.suspects]
    return _text([*lines, *(f"note: {plain(note)}" for note in comparison.notes)])


def markdown(comparison: Comparison) -> str:
    """For a pull request and a job's summary; the first line is a comment by which a later one finds this one."""
    from kdbench.formats import escaped

    lines = [
        f"<!-- kdbench:compare:{re.sub('[^A-Za-z0-9._@+-]', '-', comparison.suite)} -->",
        f"**kdbench {escaped(comparison.suite)}: {_outcome(comparison)}** ({counted(comparison)})",
        "",
    ]
    if shown := lines_of(comparison):
        lines += ["| verdict | case | metric | why |", "|:---|:---|:---|:---|"]
        rows, left = [], LONGEST
        for line in shown:
            verdict = line.verdict
            case = f"{escaped(verdict.case)} and {line.more} more" if line.more else escaped(verdict.case)
            cells = (f"**{verdict.verdict}**", case, escaped(verdict.metric), escaped(plain(verdict.reason)))
            row = "| " + " | ".join(cells) + " |"
            left -= len(row)
            if left < 0:
                break
            rows.append(row)
        lines += [*rows, ""]
        if len(rows) < len(shown):
            lines += [f"and {len(shown) - len(rows)} more rows: JUnit's file or the JSON has them all", ""]
    lines += [f"- changed: {escaped(plain(suspect))}" for suspect in comparison.suspects]
    lines += [f"- {escaped(plain(note))}" for note in comparison.notes]
    lines += [f"- {escaped(comparison.base)} → {escaped(comparison.new)}"]
    return _text(lines)


def github(comparison: Comparison) -> str:
    """GitHub's workflow commands, one a line: an error for what fails, a notice for what is inconclusive."""
    kinds = {word: "error" if word in FAILING else "notice" for word in (*FAILING, "inconclusive")}
    return _text(
        [
            f"::{kinds[line.verdict.verdict]} title={_property(f'kdbench: {line.verdict.verdict}')}::{_data(line.told)}"
            for line in lines_of(comparison)
            if line.verdict.verdict in kinds
        ]
    )


def junit(comparison: Comparison) -> str:
    """JUnit's XML: a test a verdict, a failure where it fails, skipped where it is inconclusive."""
    suite = ET.Element("testsuite", name=f"kdbench compare {comparison.suite}")
    for verdict in comparison.verdicts:
        case = ET.SubElement(suite, "testcase", classname=_seen(verdict.case), name=_seen(verdict.metric), time="0")
        tag = "failure" if verdict.verdict in FAILING else "skipped" if verdict.verdict == "inconclusive" else ""
        if tag:
            told = ET.SubElement(case, tag, message=_seen(f"{verdict.verdict}: {verdict.reason}"))
            told.text = _seen(str(verdict))
    suite.set("tests", str(len(comparison.verdicts)))
    suite.set("failures", str(sum(verdict.verdict in FAILING for verdict in comparison.verdicts)))
    suite.set("skipped", str(comparison.count("inconclusive")))
    suite.set("errors", "0")
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def as_json(comparison: Comparison) -> str:
    """Every verdict, those that are ok too."""
    table = {"format": 1, **asdict(comparison), "exit_code": comparison.exit_code}
    return json.dumps(table, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


FORMATS: Mapping[str, Callable[[Comparison], str]] = {
    "terminal": terminal,
    "markdown": markdown,
    "json": as_json,
    "junit": junit,
    "github": github,
}
"""Formats by the name that the command line gives them."""

SUFFIXES = {".md": "markdown", ".json": "json", ".xml": "junit", ".txt": "terminal"}
"""The format of a file by how its name ends."""


def to_github(comparison: Comparison, tell: Callable[[str], object] | None) -> None:
    """Add to the job's summary and ``tell`` the annotations, where this is a job of GitHub Actions.

    Raises:
        MeasureError: the summary cannot be written.
    """
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        write(Path(summary), markdown(comparison) + "\n", mode="a")
    if os.environ.get("GITHUB_ACTIONS") == "true" and tell is not None:
        for line in github(comparison).splitlines():
            tell(line)


def write(path: Path, text: str, mode: str = "w") -> None:
    """Write ``text`` to a file. Raises MeasureError."""
    try:
        with path.open(mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise MeasureError(f"cannot write {path}: {error.strerror or error}") from None


def _outcome(comparison: Comparison) -> str:
    if comparison.count("regressed"):
        return "regressed"
    if comparison.exit_code:
        return "no verdict"
    return "nothing is shown to be worse" if comparison.count("inconclusive") else "nothing is worse"


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _seen(text: str) -> str:
    """``text`` without what XML cannot hold."""
    return _UNSEEN.sub("?", text)
