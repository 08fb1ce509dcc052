"""Runs and records: everything measured, with full provenance; read from every version ever written."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from kdbench.errors import MeasureError, UsageError
from kdbench.privacy import cleaned
from kdbench.sitting import Sitting  # noqa: TC001 - pydantic reads it

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from kdbench.npz import Items

SCHEMA_VERSION: Literal[1] = 1

RUN_FILE = "run.json"
SAMPLES_FILE = "samples.npz"
ITEMS_FILE = "items.npz"

_UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""By schema version: what turns a table of that version into one of the next. None is ever removed."""

Sha256 = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
Status = Literal["ok", "failed", "crashed", "timed-out", "out-of-memory", "parity-failed", "not-applicable", "skipped"]


class Fact(BaseModel):
    """A frozen part of a run. No figure is NaN or infinite: what has no value is None, with a reason."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Machine(Fact):
    """Where a run was measured, without names of hosts or people. ``slug`` is its folder in results/: CPU and OS."""

    slug: str
    fingerprint: Sha256
    system: str
    architecture: str
    cpu: str
    cores: int
    memory_bytes: int
    simd: str
    python: str


class Imported(Fact):
    """A file of results that were measured where kdbench was not: whose format it is, of what device, of which run.

    ``left``: what of the file has no use, and why.
    """

    file: str
    sha256: Sha256
    reader: str
    runtime: str
    device: dict[str, str]
    run: str
    left: tuple[str, ...] = ()


class Provenance(Fact):
    """What decided a run's figures besides its suite. ``imported``: the files that its speeds and outputs came from."""

    kdbench: str
    commit: str
    dirty: bool
    libraries: dict[str, str]
    machine: Machine
    started: str
    finished: str
    command: tuple[str, ...]
    imported: tuple[Imported, ...] = ()


class Speed(Fact):
    """The steady latency of one structure on one device: statistics of all samples, quantiles by numpy's linear rule.

    ``program_sha256`` was timed; ``checked_sha256`` is a second seed's program and ``checked_ratio`` its median over
    the first's. ``process_medians_ms`` and ``process_ratios``, medians over the reference program's, show the spread
    between fresh processes; ``samples`` counts all runs. ``reasons``: why metrics have no value, by id, where the one
    ``reason`` does not say it of all. ``runtime_files``: what ``runtime_bytes`` is the size of.
    ``paced_samples`` were due one ``every_ms``; ``sustained_samples`` ran back to back for ``sustained_s``, and
    ``sustained_ms`` are their medians in equal windows of time.
    """

    structure: str
    device: str
    runtime: str
    threads: int
    program_sha256: Sha256
    samples: int
    process_medians_ms: tuple[float, ...]
    process_ratios: tuple[float, ...] = ()
    metrics: dict[str, float | None]
    reasons: dict[str, str] = {}
    runtime_files: tuple[str, ...] = ()
    every_ms: float | None = None
    paced_samples: int = 0
    sustained_s: float | None = None
    sustained_samples: int = 0
    sustained_ms: tuple[float, ...] = ()
    checked_sha256: Sha256 = ""
    checked_ratio: float | None = None
    flags: tuple[str, ...] = ()
    status: Status = "ok"
    reason: str = ""


class Curve(Fact):
    """One figure over a training, such as a loss term or ``validation_accuracy``: values at epoch ends, from 1."""

    name: str
    values: tuple[float, ...]
    epochs: tuple[int, ...] = ()


class Network(Fact):
    """A trained network: what it is, where it came from and how its training went.

    ``processor`` and ``torch`` are what trained it, where that was not the CPU of the run's machine.
    """

    checkpoint_sha256: Sha256
    architecture: str
    recipe_sha256: Sha256
    teacher_sha256: Sha256 = ""
    curves: tuple[Curve, ...] = ()
    steps: int
    seconds: float
    device: str
    threads: int
    precision: str
    processor: str = ""
    torch: str = ""


class Record(Fact):
    """One case: its identity, how it ended, its metrics by id and, where a metric is None, the reason."""

    case: str
    pair: str
    teacher: str
    student: str
    method: str
    options: dict[str, Any]
    seed: int
    target: str
    device: str
    status: Status = "ok"
    reason: str = ""
    checkpoint_sha256: Sha256 = ""
    program_sha256: Sha256 = ""
    structure: str = ""
    metrics: dict[str, float | None] = {}
    reasons: dict[str, str] = {}
    details: dict[str, Any] = {}
    flags: tuple[str, ...] = ()

    @property
    def test_items(self) -> int:
        """How many items the quality was judged on (``details["test_items"]``); 0 where that is not said."""
        said = self.details.get("test_items")
        return said if type(said) is int and said > 0 else 0

    @property
    def quality(self) -> str:
        """The id of the metric that ranks (``details["quality"]``), ``accuracy`` where that is not said."""
        said = self.details.get("quality")
        return said if isinstance(said, str) and said else "accuracy"

    @property
    def machine(self) -> dict[str, Any]:
        """The facts of the device (``details["machine"]``) where it is another machine than the run's, else nothing."""
        said = self.details.get("machine")
        return said if isinstance(said, dict) else {}

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know of the program (``details["notes"]``): surprises, and what its quality was judged by."""
        said = self.details.get("notes")
        return tuple(str(note) for note in said) if isinstance(said, list) else ()


class Run(Fact):
    """The records of one execution of a suite, part of it if ``partial``; a sitting a device that was timed.

    ``runtimes``: what ran the programs, by device.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    id: str
    suite: dict[str, Any]
    suite_sha256: Sha256
    partial: bool
    records: tuple[Record, ...]
    networks: tuple[Network, ...]
    speeds: tuple[Speed, ...]
    sittings: tuple[Sitting, ...] = ()
    runtimes: dict[str, str] = {}
    provenance: Provenance

    @field_validator("suite")
    @classmethod
    def _has_the_shape_of_a_suite(cls, value: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(value.get("name"), str) or type(value.get("version")) is not int:
            raise ValueError("a suite has a name and a version")
        tables = [value.get(key, {}) for key in ("recipes", "lowering", "protocol", "budgets")]
        if not all(isinstance(table, dict) for table in (*tables, *_values(tables[0]))):
            raise ValueError("recipes, lowering, protocol and budgets are tables")
        return value

    @property
    def name(self) -> str:
        """The suite's name, ``digits`` or ``digits@quick``."""
        return str(self.suite["name"])


def read_run(folder: Path) -> Run:
    """The run in ``folder`` (or in the ``run.json`` that ``folder`` names), whatever schema version it was written in.

    Raises:
        UsageError: no such file, not JSON, not a run, or a schema newer than this kdbench.
    """
    path = folder / RUN_FILE if folder.is_dir() else folder
    try:
        table = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except OSError as error:
        raise UsageError(f"cannot read run {folder}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON: {error}") from None
    version = table.get("schema_version") if isinstance(table, dict) else None
    if type(version) is not int or version < 1:
        raise UsageError(f"{path} is not a run: it has no schema_version")
    if version > SCHEMA_VERSION:
        raise UsageError(f"{path} has schema version {version}, this kdbench reads up to {SCHEMA_VERSION}; upgrade")
    try:
        for older in range(version, SCHEMA_VERSION):
            table = _UPGRADES[older](table)
        return Run.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path} is not a run of schema version {version}: {place}: {first['msg']}") from None


def read_samples(folder: Path) -> dict[str, NDArray[np.generic]]:
    """The run's thinned samples by the names they were written with: int32 [n], ns. Raises UsageError."""
    from kdbench.npz import read_arrays

    return read_arrays(folder / SAMPLES_FILE)


def read_items(folder: Path) -> dict[str, Items]:
    """The run's per-item predictions and correctness by case. Raises UsageError."""
    from kdbench.npz import read_arrays, unpacked_items

    return unpacked_items(read_arrays(folder / ITEMS_FILE))


def run_text(run: Run) -> str:
    """``run.json``: keys sorted, floats that read back as they were, without paths, hosts, users and addresses."""
    table = cleaned(run.model_dump(mode="json"))
    return json.dumps(table, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def write_run(run: Run, samples: Mapping[str, NDArray[np.integer]], items: Mapping[str, Items], folder: Path) -> Path:
    """Write a run whole or not at all, and return ``folder``.

    ``samples``: ns, by a name such as ``STRUCTURE/DEVICE/PROCESS``; stored as int32, longer ones as 2**31 - 1.
    ``items``: by case. Equal runs give equal bytes.

    Raises:
        MeasureError: ``folder`` exists already or cannot be written, or a value is not a number.
    """
    import numpy as np

    from kdbench.npz import packed_items, write_arrays

    try:
        text = run_text(run)
    except ValueError as error:
        raise MeasureError(f"run {run.id} cannot be recorded: {error}") from None
    longest = np.iinfo(np.int32).max
    thin = {name: np.minimum(ns, longest).astype(np.int32) for name, ns in samples.items()}
    try:
        if folder.exists():
            raise MeasureError(f"{folder} exists already; a run is never overwritten")
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".writing-"))
        try:
            (scratch / RUN_FILE).write_text(text, encoding="utf-8")
            write_arrays(scratch / SAMPLES_FILE, thin)
            write_arrays(scratch / ITEMS_FILE, packed_items(items))
            scratch.chmod(0o755)  # mkdtemp's 0o700 would follow the run wherever it is copied
            scratch.rename(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        hint = "point --results or KDBENCH_RESULTS elsewhere"
        raise MeasureError(f"cannot write the run {folder}: {error.strerror or error}; {hint}") from None
    return folder


def _values(table: Any) -> list[Any]:
    return list(table.values()) if isinstance(table, dict) else []


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")
