"""Cases by name: finding the one that is meant among the stored runs, and the command that makes it again."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from kdbench.catalog import suggestion
from kdbench.errors import UsageError
from kdbench.records import read_run
from kdbench.results import find_run, stored
from kdbench.spec import TEACHER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from kdbench.records import Record, Run

_LISTED = 12

_DECIDING = ("--method", "-o", "--option", "--tuned", "--train-device", "--trained")
"""The options of ``kdbench run`` that decide what a case is: what they add to the suite's methods, and what trains."""


def matching(name: str, known: Sequence[str]) -> list[str]:
    """The case ids that ``name`` may mean: itself; else those with its parts, in order; else those that contain it.

    Parts are what slashes divide, and a pair's may leave out its data set: ``kd/s0`` is every target of ``kd``, not of
    ``dkd``.
    """
    if name in known:
        return [name]
    wanted = [part for part in name.split("/") if part]
    return [case for case in known if wanted and _has(case, wanted)] or [
        case for case in known if name and name in case
    ]


def find_case(name: str, results: Path, run: str | None = None) -> tuple[Run, Record]:
    """The record that ``name`` means, and its run: ``run`` if that is given, else the newest one that has such a case.

    Runs of a suite's quick variant come last: what they hold was hardly trained.

    Raises:
        UsageError: no such case (with the nearest ones), or several (with their ids).
    """
    seen: dict[str, None] = {}
    looked = 0
    for found in _runs(results, run):
        looked += 1
        records = {record.case: record for record in found.records}
        cases = matching(name, list(records))
        if len(cases) == 1:
            return found, records[cases[0]]
        if cases:
            more = f" and {len(cases) - _LISTED} more" if len(cases) > _LISTED else ""
            listed = ", ".join(cases[:_LISTED])
            raise UsageError(f"{name!r} may be any of {len(cases)} cases of run {found.id}: {listed}{more}")
        seen |= dict.fromkeys(records)
    if not looked:
        hint = "--results names another folder, kdbench run digits makes one"
        raise UsageError(f"no case {name!r}: there are no runs in {results}; {hint}")
    hint = suggestion(name, list(seen))
    if not hint.startswith("did you mean"):
        hint = f"cases are named like {next(iter(seen), 'none')}"
    raise UsageError(f"no case {name!r} in {f'run {run}' if run else f'the {looked} runs of {results}'}; {hint}")


def again(run: Run, record: Record) -> str:
    """The command that makes a case's program anew, as half a sentence."""
    suite, *variants = run.name.split("@")
    words = ["kdbench", "run", suite, *(["--quick"] if "quick" in variants else [])]
    words += _decided(run.provenance.command)
    if record.method != TEACHER and "--seeds" in run.provenance.command:
        words += ["--seeds", str(record.seed)]
    only = {"pair": record.pair, "method": record.method, "target": record.target, "seed": record.seed}
    words += ["--only", ",".join(f"{axis}={value}" for axis, value in only.items())]
    return f"make it again with: {shlex.join(words)}"


def _decided(command: Sequence[str]) -> Iterator[str]:
    """What a run's command decided: methods, all of them since a case is chosen by its label, and what trains."""
    words = iter(command)
    for word in words:
        if word in _DECIDING:
            yield from (word, next(words, ""))
        elif word.startswith(tuple(f"{flag}=" for flag in _DECIDING)):
            yield word


def _has(case: str, wanted: Sequence[str]) -> bool:
    parts = iter(case.split("/"))
    return all(any(part in (found, found.rpartition(":")[2]) for found in parts) for part in wanted)


def _runs(results: Path, run: str | None) -> Iterator[Run]:
    """The runs to look into: the named one, else every readable one, the newest first and quick ones last."""
    if run is not None:
        yield read_run(find_run(run, results))
        return
    newest = stored(results)[::-1]
    quick = [place for place in newest if "@" in place.suite]
    for place in [*(place for place in newest if place not in quick), *quick]:
        try:
            found = read_run(place.folder)
        except UsageError:
            continue  # `kdbench results list` shows it as unreadable; another run may hold the case
        yield found
