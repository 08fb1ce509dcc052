"""Bundles: a run's programs with all that a lab needs to measure them, in a folder."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from pydantic import ValidationError

from kdbench.catalog import load
from kdbench.conduct import conduct
from kdbench.errors import MeasureError, UsageError
from kdbench.lab.manifest import MANIFEST_FILE, Entry, Expected, Feed, Manifest, Tensor
from kdbench.machine import libraries
from kdbench.plan import cases_of, select
from kdbench.privacy import cleaned
from kdbench.remains import PROGRAM, dataset_of, eager_of, outputs_of, program_of
from kdbench.session import REFERENCE, timing_items
from kdbench.spec import protocol_of, suite_of
from kdbench.store import Artefact, file_sha256
from kdbench.whole import whole_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from kdbench.data.dataset import Dataset
    from kdbench.records import Record, Run
    from kdbench.store import Store

MAX_BYTES = 500_000_000
"""What a bundle may weigh."""

README_FILE = "README.md"
_REFERENCE = "reference"


@dataclass(frozen=True, slots=True)
class Bundled:
    """What was written: the folder, its manifest, its weight, and the cases that have no program to hand out."""

    folder: Path
    manifest: Manifest
    size_bytes: int
    without: tuple[str, ...]


@dataclass
class _Parts:
    """What goes into a bundle, by the names of its files."""

    copies: dict[str, Path] = field(default_factory=dict)
    arrays: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    feeds: dict[str, Feed] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.copies.values()) + sum(a.nbytes for a in self.arrays.values())

    def feed(self, name: str, items: NDArray[np.generic]) -> str:
        """Put ``items`` [items, *shape] in under ``name``, which is given back."""
        paths = f"feeds/{name}.npy", f"feeds/{name}.bin"
        self.arrays |= dict.fromkeys(paths, items)
        each = {"shape": items.shape[1:], "items": len(items), "item_bytes": items.nbytes // len(items)}
        self.feeds[name] = Feed(npy=paths[0], bin=paths[1], dtype=items.dtype.name, **each)
        return name


def bundle(run: Run, to: Path, store: Store, only: str = "", *, outputs: bool = False) -> Bundled:
    """Write the programs of a run to the new folder ``to``, whole or not at all: one a structure, to be timed.

    ``only``: see ``plan.select``. With ``outputs`` every case's program is there, and the test items, so that quality
    can be judged too.

    Raises:
        UsageError: ``to`` exists, an unknown selection, no program, more than ``MAX_BYTES``.
        MeasureError: a program left the store, or ``to`` cannot be written.
    """
    if to.exists():
        raise UsageError(f"{to} exists already; a bundle wants a new folder")
    records = chosen(run, only)
    here = [record for record in records if record.program_sha256 and record.structure]
    if not here:
        raise UsageError(f"run {run.id} has no program to bundle: {records[0].status}: {records[0].reason}")
    parts = _Parts()
    programs = tuple(_entries(run, here, store, parts, outputs=outputs))
    reference = _reference(store, parts)
    if parts.size_bytes > MAX_BYTES:
        hint = "leave out --outputs, or select cases with --only" if outputs else "select cases with --only"
        raise UsageError(
            f"the bundle would weigh {parts.size_bytes / 1e6:.0f} MB, at most {MAX_BYTES / 1e6:g} MB; {hint}"
        )
    with whole_folder(to, "bundle") as out:
        _write(parts, out)
        manifest = Manifest(
            kdbench=libraries()["kdbench"],
            executorch=run.provenance.libraries.get("executorch", ""),
            run=run.id,
            suite=run.name,
            version=run.suite["version"],
            partial=run.partial or len(here) < len({_identity(record) for record in run.records}),
            cases=tuple(record.case for record in here),
            protocol=protocol_of(run.suite),
            programs=programs,
            reference=reference,
            feeds=parts.feeds,
            files={name: file_sha256(out / name) for name in sorted((*parts.copies, *parts.arrays))},
        )
        table = cleaned(manifest.model_dump(mode="json"))
        text = json.dumps(table, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        (out / MANIFEST_FILE).write_text(text, encoding="utf-8")
        (out / README_FILE).write_text(_readme(manifest), encoding="utf-8")
    without = tuple(record.case for record in records if record not in here)
    return Bundled(to, manifest, sum(path.stat().st_size for path in to.rglob("*") if path.is_file()), without)


def chosen(run: Run, only: str = "") -> list[Record]:
    """The records of a run that ``only`` names, each program once: the host's, if its case was on several devices.

    Raises:
        UsageError: an unknown selection, or nothing is left.
    """
    kept = {record.case for record in run.records}
    if only:
        try:
            cases = cases_of(suite_of(run.suite))
        except ValidationError:
            raise UsageError(f"run {run.id} holds a suite that this kdbench cannot select from") from None
        kept = {case.id for case in select(cases, only)}
    found: dict[tuple[object, ...], Record] = {}
    for record in sorted(run.records, key=lambda record: record.device != "host"):
        if record.case in kept:
            found.setdefault(_identity(record), record)
    if not found:
        raise UsageError(f"run {run.id} holds no such case")
    return [record for record in run.records if found.get(_identity(record)) is record]


def stem_of(record: Record) -> str:
    """What a program's file is called: by its case and, so that no two are alike, the beginning of its hash."""
    words = re.sub(r"[^0-9A-Za-z]+", "-", f"{record.method}-{record.target}-s{record.seed}").strip("-")
    return f"{words}-{record.program_sha256[:12]}"


def _identity(record: Record) -> tuple[object, ...]:
    return record.pair, record.method, record.seed, record.target


def _entries(run: Run, records: Sequence[Record], store: Store, parts: _Parts, *, outputs: bool) -> Iterable[Entry]:
    cases: dict[str, list[str]] = {}
    for record in records:
        cases.setdefault(record.program_sha256, []).append(record.case)
    structures: set[str] = set()
    done: set[str] = set()
    for record in records:
        timed = record.structure not in structures
        if record.program_sha256 in done or not (timed or outputs):
            continue
        structures.add(record.structure)
        done.add(record.program_sha256)
        of = tuple(cases[record.program_sha256])
        yield _entry(run, record, of, program_of(run, record, store), store, parts, timed=timed, outputs=outputs)


def _entry(
    run: Run, record: Record, cases: tuple[str, ...], program: Artefact, store: Store, parts: _Parts, *, timed: bool,
    outputs: bool,
) -> Entry:  # fmt: skip
    """One program, with what it is fed and what it should say of the first test item."""
    timing = _feeds(dataset_of(program, run, record), program.spec["task"], parts, outputs=outputs)
    fed = parts.feeds[timing]
    entry = _described(program, f"programs/{stem_of(record)}.pte", record.structure, cases, parts)
    if [(each.dtype, each.shape) for each in entry.inputs] != [(fed.dtype, fed.shape)]:
        raise MeasureError(f"{record.case} takes {entry.inputs}; its task feeds it one {fed.dtype} {list(fed.shape)}")
    if entry.outputs[0].dtype != "float32":
        raise MeasureError(f"{record.case} puts out {entry.outputs[0].dtype}; what comes back is read as float32")
    return entry.model_copy(
        update={
            "timing": timing if timed else "",
            "testing": _of(timing, "test") if outputs else "",
            "expected": _expected(run, record, program, store, parts, _of(timing, "sample")),
        }
    )


def _expected(run: Run, record: Record, program: Artefact, store: Store, parts: _Parts, sample: str) -> Expected | None:
    """What is known of the right answer: the program's own where it was run, else its network's, less exactly."""
    from kdbench.lowering.parity import BOUNDS

    facts = program.json("program.json")
    bounds = BOUNDS[facts["precision"]]
    stored, of, bound = outputs_of(program, run, record, store), f"the program on {record.device}", bounds.graph_error
    if stored is None:
        known = eager_of(record.checkpoint_sha256, program, store)
        stored, of, bound = known[1] if known else None, "the network before it was lowered", bounds.network_error
    if stored is None:
        return None
    said = np.load(stored.path("outputs.npy"), allow_pickle=False, mmap_mode="r")[0]
    path = f"expected/{stem_of(record)}.bin"
    parts.arrays[path] = said.astype(np.float32)
    return Expected(input=sample, file=path, of=of, tolerance=float(f"{bound * float(np.abs(said).max()):.3g}"))


def _feeds(dataset: Dataset, task_name: str, parts: _Parts, *, outputs: bool) -> str:
    """The feed for timing of a data set, put in with its sample and, with ``outputs``, its test items."""
    import torch

    timing = f"{re.sub(r'[^0-9A-Za-z]+', '-', dataset.name).strip('-')}-timing"
    if timing not in parts.feeds:
        tested = torch.from_numpy(dataset.test.inputs if outputs else dataset.test.inputs[:1])
        items = load("tasks", task_name)().collate(dataset, tested).numpy()[:, None]
        parts.feed(timing, timing_items(dataset, task_name)[0])
        parts.feed(_of(timing, "sample"), items[:1])
        if outputs:
            parts.feed(_of(timing, "test"), items)
    return timing


def _of(timing: str, use: str) -> str:
    """Another feed of the data set that a feed for timing is of."""
    return f"{timing.removesuffix('timing')}{use}"


def _described(program: Artefact, path: str, structure: str, cases: tuple[str, ...], parts: _Parts) -> Entry:
    facts: Mapping[str, Any] = program.json("program.json")
    parts.copies[path] = program.path(PROGRAM)
    inputs, outputs = (
        tuple(Tensor(dtype=each["dtype"], shape=tuple(each["shape"])) for each in facts[side])
        for side in ("inputs", "outputs")
    )
    return Entry(
        file=path,
        sha256=program.files[PROGRAM],
        size_bytes=facts["size_bytes"],
        structure=structure,
        cases=cases,
        target=facts["target"],
        method=facts["method"],
        inputs=inputs,
        outputs=outputs,
        backends=tuple(sorted(facts["delegates"])),
        operators=tuple(sorted(facts["operators"])),
    )


def _reference(store: Store, parts: _Parts) -> Entry:
    made = conduct([REFERENCE], store, 1, lambda _event: None)[REFERENCE.id]
    if not isinstance(made, Artefact):
        raise MeasureError(f"the reference program cannot be made: {made.reason}")
    entry = _described(made, f"programs/{_REFERENCE}.pte", made.json("program.json")["structure"], (), parts)
    items = np.load(made.path("input.npy"), allow_pickle=False)[None]
    return entry.model_copy(update={"timing": parts.feed(_REFERENCE, items)})


def _write(parts: _Parts, out: Path) -> None:
    for name in (*parts.copies, *parts.arrays):
        (out / name).parent.mkdir(exist_ok=True)
    for name, path in parts.copies.items():
        shutil.copyfile(path, out / name)
    for name, array in parts.arrays.items():
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        if name.endswith(".npy"):
            np.save(out / name, little, allow_pickle=False)
        else:
            (out / name).write_bytes(little.tobytes())


def _readme(manifest: Manifest) -> str:
    source = files("kdbench").joinpath("templates", "lab.md.in").read_text(encoding="utf-8")
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701 - Markdown
    timed = [entry for entry in manifest.programs if entry.timing]
    example = timed[0]
    return environment.from_string(source).render(
        manifest=manifest,
        timed=timed,
        tested=[entry for entry in manifest.programs if entry.testing],
        example=example,
        sample=manifest.feeds[_of(example.timing, "sample")].bin,
        method="forward_" + re.sub(r"[^0-9A-Za-z]", "_", example.stem),
    )
