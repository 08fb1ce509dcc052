"""The results folder: scratch runs, the ledger of kept ones, and how a run is named on the command line."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.catalog import suggestion
from kdbench.errors import MeasureError, UsageError
from kdbench.records import RUN_FILE, read_run, write_run

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from kdbench.npz import Items
    from kdbench.records import Run

MAX_KEPT_BYTES = 3_000_000
"""What a kept run may weigh, so that the ledger can live in a repository."""

SCRATCH = "scratch"
KEPT = "runs"

_BACK = re.compile(r"^(?P<suite>.+)~(?P<back>\d{1,6})$")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run lies, told from its folders alone: ``scratch`` or ``runs``, then MACHINE/SUITE/UTC-ID."""

    folder: Path
    kept: bool
    machine: str
    suite: str
    id: str


def default_results() -> Path:
    """The results folder: ``KDBENCH_RESULTS``, else ``results`` here."""
    return Path(os.environ.get("KDBENCH_RESULTS") or "results")


def check_writable(results: Path) -> None:
    """Make ``RESULTS/scratch`` and try to write there, before anything runs: a run must not end with nowhere to go.

    Raises:
        MeasureError: it cannot be written.
    """
    folder = results / SCRATCH
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        hint = "point --results or KDBENCH_RESULTS elsewhere"
        raise MeasureError(f"cannot write results to {folder}: {error.strerror or error}; {hint}") from None


def save(run: Run, samples: Mapping[str, NDArray[np.integer]], items: Mapping[str, Items], results: Path) -> Path:
    """Write a fresh run to ``RESULTS/scratch/MACHINE/SUITE/UTC-ID`` and return that folder, which git ignores.

    Raises:
        MeasureError: it cannot be written.
    """
    return write_run(run, samples, items, results / SCRATCH / _below(run))


def stored(results: Path) -> tuple[Place, ...]:
    """Every run in the results folder, kept or not, the oldest first."""
    places = [
        Place(file.parent, below == KEPT, file.parts[-4], file.parts[-3], file.parts[-2])
        for below in (SCRATCH, KEPT)
        for file in (results / below).glob(f"*/*/*/{RUN_FILE}")
        if not file.parent.name.startswith(".")
    ]
    return tuple(sorted(places, key=lambda place: (place.id, place.suite, place.kept)))


def find_run(reference: str, results: Path) -> Path:
    """The folder of the run that is meant by ``reference``.

    That is a folder, a ``run.json``, a run id, a suite's name (its newest run) or ``SUITE~1`` (the one before that).

    Raises:
        UsageError: there is none, or an id that several runs share.
    """
    path = Path(reference)
    if path.is_file():
        if path.name != RUN_FILE:
            raise UsageError(f"{reference} is not a run; expected a folder with a {RUN_FILE}, or that file")
        return path.parent
    if (path / RUN_FILE).is_file():
        return path
    places = stored(results)
    named = [place for place in places if place.id == reference]
    if len(named) > 1:
        raise UsageError(f"run id {reference!r} is there {len(named)} times below {results}; name the run's folder")
    if named:
        return named[0].folder
    back = _BACK.match(reference)
    suite = back["suite"] if back else reference
    runs = [place for place in places if place.suite == suite]
    steps = int(back["back"]) if back else 0
    if steps < len(runs):
        return runs[-1 - steps].folder
    if runs:
        raise UsageError(f"no run {reference!r} in {results}: it holds {len(runs)} of suite {suite!r}")
    if path.is_dir():
        raise UsageError(f"folder {reference!r} holds no {RUN_FILE}")
    known = sorted({place.suite for place in places} | {place.id for place in places})
    if not known:
        raise UsageError(
            f"no run {reference!r}: {results} holds none; --results or KDBENCH_RESULTS names another folder"
        )
    hint = suggestion(reference, known) if len(known) <= 12 else suggestion(reference, known).partition("known:")[0]
    raise UsageError(f"no run {reference!r} in {results}; {hint or 'kdbench results list shows those that are there'}")


def keep(folder: Path, results: Path) -> Path:
    """Move a scratch run into the ledger, ``RESULTS/runs/MACHINE/SUITE/UTC-ID``, and return that folder.

    A run that lies elsewhere is copied; one that is there already is left alone.

    Raises:
        UsageError: not a run, more than ``MAX_KEPT_BYTES``, or the ledger has another run of that id.
        MeasureError: the ledger cannot be written.
    """
    run = read_run(folder)
    kept = results / KEPT / _below(run)
    if kept.exists():
        if kept.resolve() == folder.resolve() or read_run(kept) == run:
            return kept
        raise UsageError(f"{kept} is another run of the same id; it is not overwritten")
    files = [file for file in folder.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    if size > MAX_KEPT_BYTES:
        big = max(files, key=lambda file: file.stat().st_size)
        raise UsageError(
            f"{folder} weighs {size / 1e6:.1f} MB, a kept run at most {MAX_KEPT_BYTES / 1e6:g} MB; "
            f"the largest file is {big.name} ({big.stat().st_size / 1e6:.1f} MB)",
        )
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        if folder.resolve().is_relative_to((results / SCRATCH).resolve()):
            folder.rename(kept)
        else:
            _copy(folder, kept)
    except OSError as error:
        raise MeasureError(f"cannot keep the run as {kept}: {error.strerror or error}") from None
    return kept


def _copy(folder: Path, kept: Path) -> None:
    scratch = Path(tempfile.mkdtemp(dir=kept.parent, prefix=".writing-"))
    try:
        shutil.copytree(folder, scratch, dirs_exist_ok=True)
        scratch.rename(kept)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def named_folder(place: Path, *parts: str) -> Path:
    """A folder below ``place`` by names that come from a file, so that they must not climb out.

    Raises:
        UsageError: a part that is no plain name.
    """
    for part in parts:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@+-]*", part):
            raise UsageError(f"{part!r} cannot name a folder")
    return place.joinpath(*parts)


def _below(run: Run) -> Path:
    """A run's folder below scratch/ or runs/. Raises UsageError."""
    return named_folder(Path(), run.provenance.machine.slug, run.name, run.id)
