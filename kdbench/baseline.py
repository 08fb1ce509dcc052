"""Baselines: the programs, exact facts and right answers of a run, kept for what comes later to be judged against.

A baseline holds no times: those of another day say nothing. It holds one program of each structure, so that whoever
wants to know whether a new program is slower can run both at once.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from kdbench.errors import MeasureError, NoBaselineError, UsageError
from kdbench.measures.metric import METRICS
from kdbench.privacy import cleaned
from kdbench.records import RUN_FILE, Fact, Record, Run, Sha256, read_run, run_text
from kdbench.results import named_folder
from kdbench.store import STORE_HINT, file_sha256
from kdbench.whole import whole_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from kdbench.store import Store

BASELINES = "baselines"
BASELINE_FILE = "baseline.json"
CORRECT_FILE = "correct.npz"
PROGRAMS = "programs"

MAX_BYTES = 5_000_000
"""What a baseline may weigh, so that it can live in a repository."""

_PROGRAM = "program.pte"
_BITS = "/correct"


class Program(Fact):
    """The program that stands for a structure: of which case, and whether it lies ``here`` or in the store alone."""

    structure: str
    sha256: Sha256
    case: str
    size_bytes: int
    here: bool


class Saved(Fact):
    """A run that became the baseline: when, and why."""

    run: str
    commit: str
    saved: str
    reason: str


class Manifest(Fact):
    """``baseline.json``: what lies beside it, with hashes; the last of ``history`` is what the baseline is now."""

    format: Literal[1] = 1
    suite: str
    version: int
    history: tuple[Saved, ...]
    programs: tuple[Program, ...]
    files: dict[str, Sha256]


@dataclass(frozen=True, slots=True)
class Baseline:
    """A baseline that was read: its folder, what it says of itself, and its run without times."""

    folder: Path
    manifest: Manifest
    run: Run

    def correct(self) -> dict[str, NDArray[np.bool_]]:
        """Which test items the program of each case had right: bool [items]. Raises UsageError."""
        import numpy as np

        from kdbench.npz import read_arrays

        items = {record.case: record.test_items for record in self.run.records}
        found = {}
        for name, bits in read_arrays(self.folder / CORRECT_FILE).items():
            case = name.removesuffix(_BITS)
            if bits.dtype != np.uint8 or bits.ndim != 1 or len(bits) != -(-items.get(case, 0) // 8):
                raise UsageError(f"{self.folder / CORRECT_FILE}: {case} has not one bit an item")
            found[case] = np.unpackbits(bits.astype(np.uint8), count=items[case]).astype(np.bool_)
        return found

    def program(self, structure: str, store: Store) -> Path:
        """The file of the program that stands for a structure: from here, else from the store.

        Raises:
            UsageError: the baseline has no such structure.
            MeasureError: it is neither here nor in the store, or damaged.
        """
        kept = next((program for program in self.manifest.programs if program.structure == structure), None)
        if kept is None:
            raise UsageError(f"the baseline {self.folder} has no structure {structure!r}")
        if not kept.here:
            return stored_program(self.run, kept.case, kept.sha256, store)
        path = self.folder / PROGRAMS / f"{kept.sha256}.pte"
        if not path.is_file() or file_sha256(path) != kept.sha256:
            raise MeasureError(f"{path} is lost or damaged; kdbench baseline verify says more")
        return path


def baseline_folder(suite: str, results: Path) -> Path:
    """Where the baseline of a suite lies, whether or not there is one."""
    return named_folder(results / BASELINES, suite)


def save_baseline(
    run: Run,
    correct: Mapping[str, NDArray[np.bool_]],
    program: Callable[[str], Path],
    results: Path,
    *,
    in_store: bool,
    reason: str = "",
) -> Baseline:
    """Keep a run as its suite's baseline, whole or not at all; with a ``reason`` it takes the place of another.

    ``correct``: which items each case had right; ``program``: the file of a structure's program. ``in_store`` leaves
    the programs in the store, known here by hash.

    Raises:
        UsageError: a partial run, more than ``MAX_BYTES``, a baseline where none was expected or none where one was.
        MeasureError: a program is not to be had, or the baseline cannot be written.
    """
    folder = baseline_folder(run.name, results)
    history = _history(run, folder, reason)
    if run.partial:
        raise UsageError(f"run {run.id} is partial: cases of suite {run.name!r} were left out, so it is no baseline")
    programs = _programs(run, here=not in_store)
    paths = {kept.sha256: program(kept.structure) for kept in programs}
    with whole_folder(folder, "baseline") as out:
        (out / RUN_FILE).write_text(run_text(_timeless(run)), encoding="utf-8")
        _write_correct(out / CORRECT_FILE, correct)
        if not in_store:
            (out / PROGRAMS).mkdir()
            for digest, path in paths.items():
                shutil.copyfile(path, out / PROGRAMS / f"{digest}.pte")
        files = sorted(path for path in out.rglob("*") if path.is_file())
        _check_size(files, run, in_store=in_store)
        manifest = Manifest(
            suite=run.name,
            version=run.suite["version"],
            history=history,
            programs=programs,
            files={path.relative_to(out).as_posix(): file_sha256(path) for path in files},
        )
        table = json.dumps(cleaned(manifest.model_dump(mode="json")), indent=1, sort_keys=True, ensure_ascii=False)
        (out / BASELINE_FILE).write_text(table + "\n", encoding="utf-8")
    return read_baseline(folder)


def read_baseline(folder: Path) -> Baseline:
    """The baseline in ``folder``.

    Raises:
        NoBaselineError: there is none.
        UsageError: it cannot be read.
    """
    path = folder / BASELINE_FILE
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise NoBaselineError(f"no baseline {folder}; kdbench baseline save RUN makes one") from None
    except OSError as error:
        raise UsageError(f"cannot read baseline {folder}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path} is not a baseline: {place}: {first['msg']}") from None
    run = read_run(folder)
    if (run.name, run.suite["version"]) != (manifest.suite, manifest.version):
        raise UsageError(f"{path} is of suite {manifest.suite!r}, the run beside it of {run.name!r}")
    return Baseline(folder, manifest, run)


def stored_program(run: Run, case: str, sha256: str, store: Store) -> Path:
    """The file of the program of a case of ``run``, in the store.

    Raises:
        MeasureError: it is not there; in one line, how to get it.
    """
    artefact = store.find("program", _PROGRAM, sha256)
    if artefact is None:
        suite, *variants = run.name.split("@")
        again = f"kdbench run {suite}{' --quick' if 'quick' in variants else ''}"
        raise MeasureError(
            f"the store {store.root} lacks the program of {case} ({sha256[:12]}); {STORE_HINT}, or "
            f"make it again with {again} and save that run",
        )
    return artefact.path(_PROGRAM)


def damage(baseline: Baseline, store: Store) -> list[str]:
    """What is wrong with a baseline, every file of it being read back; nothing, if it is whole."""
    found = []
    for name, digest in baseline.manifest.files.items():
        path = baseline.folder / name
        if not path.is_file():
            found.append(f"{name} is lost")
        elif file_sha256(path) != digest:
            found.append(f"{name} is not the file that was saved: its hash differs")
    if found:
        return found
    right = baseline.correct()
    for record in baseline.run.records:
        share = record.metrics.get(record.quality)
        if record.case in right and share is not None and abs(right[record.case].mean() - share) > 1e-9:
            found.append(
                f"{record.case}: {record.quality} is {share:.10g}, its bits say {right[record.case].mean():.10g}"
            )
    for program in baseline.manifest.programs:
        try:
            size = baseline.program(program.structure, store).stat().st_size
        except MeasureError as error:
            found.append(str(error))
            continue
        if size != program.size_bytes:
            found.append(f"the program of {program.case} has {size} bytes, its record says {program.size_bytes}")
    return found


def _history(run: Run, folder: Path, reason: str) -> tuple[Saved, ...]:
    there = (folder / BASELINE_FILE).is_file()
    if there and not reason:
        raise UsageError(f"suite {run.name!r} has a baseline; replace it with kdbench baseline update RUN --reason WHY")
    if reason and not there:
        raise UsageError(f"suite {run.name!r} has no baseline to update; start with kdbench baseline save RUN")
    before = read_baseline(folder).manifest.history if there else ()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return (*before, Saved(run=run.id, commit=run.provenance.commit, saved=now, reason=reason or "the first"))


def _programs(run: Run, *, here: bool) -> tuple[Program, ...]:
    """One program of each structure: that of the first case which ended well."""
    found: dict[str, Program] = {}
    for record in run.records:
        size = record.metrics.get("size_bytes")
        if record.structure and record.program_sha256 and size is not None:
            facts = {"structure": record.structure, "sha256": record.program_sha256, "case": record.case}
            found.setdefault(record.structure, Program(**facts, size_bytes=int(size), here=here))
    return tuple(found.values())


def _timeless(run: Run) -> Run:
    """The run without what another day or machine would say otherwise: times, memory, learning curves."""
    lasting = {name for name, metric in METRICS.items() if metric.tier != "host"}
    return run.model_copy(
        update={"records": tuple(_lasting(record, lasting) for record in run.records), "networks": (), "speeds": ()}
    )


def _lasting(record: Record, lasting: set[str]) -> Record:
    kept = {
        name: {metric: told for metric, told in getattr(record, name).items() if metric in {*lasting, record.quality}}
        for name in ("metrics", "reasons")
    }
    return record.model_copy(update={**kept, "flags": ()})


def _write_correct(path: Path, correct: Mapping[str, NDArray[np.bool_]]) -> None:
    import numpy as np

    from kdbench.npz import write_arrays

    write_arrays(path, {case + _BITS: np.packbits(right) for case, right in correct.items()})


def _check_size(files: list[Path], run: Run, *, in_store: bool) -> None:
    size = sum(path.stat().st_size for path in files)
    if size <= MAX_BYTES:
        return
    programs = sum(path.stat().st_size for path in files if path.suffix == ".pte")
    hint = "--programs store keeps them in the store, and their hashes here"
    what = (
        f"{programs / 1e6:.1f} MB of it programs; {hint}" if not in_store else f"of {RUN_FILE} and {CORRECT_FILE} alone"
    )
    raise UsageError(
        f"the baseline of {run.name!r} would weigh {size / 1e6:.1f} MB, at most {MAX_BYTES / 1e6:g} MB; {what}"
    )
