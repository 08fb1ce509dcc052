"""What the store still holds of a recorded case: its program, its outputs, those of its eager network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kdbench.cases import again
from kdbench.data.named import dataset_named
from kdbench.errors import MeasureError
from kdbench.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kdbench.data.dataset import Dataset
    from kdbench.records import Record, Run
    from kdbench.store import Artefact, Store

PROGRAM = "program.pte"
WEIGHTS = "weights.safetensors"


def program_of(run: Run, record: Record, store: Store) -> Artefact:
    """The program of a case, with its facts.

    Raises:
        MeasureError: it left the store; in one line, how to get it.
    """
    program = store.find("program", PROGRAM, record.program_sha256)
    if program is None:
        raise MeasureError(f"the program of {record.case} is not in the store {store.root}; {again(run, record)}")
    return program


def dataset_of(program: Artefact, run: Run, record: Record) -> Dataset:
    """The data set that a case was made with.

    Raises:
        MeasureError: the one of that name is another by now.
        UsageError: it is not to be had.
    """
    dataset = dataset_named(program.spec["data"]["name"])
    if dataset.sha256 != program.spec["data"]["sha256"]:
        raise MeasureError(
            f"data set {dataset.name!r} is not the one that {record.case} was made with; {again(run, record)}"
        )
    return dataset


def outputs_of(program: Artefact, run: Run, record: Record, store: Store) -> Artefact | None:
    """What the program said of the test set on the case's device, found by the key it was stored with."""
    runtimes = {speed.runtime for speed in run.speeds if speed.device == record.device}
    for runtime in sorted(runtimes):
        stored = _stored("outputs", {"device": record.device, "runtime": runtime}, {"program": program}, program, store)
        if stored is not None:
            return stored
    return None


def eager_of(checkpoint_sha256: str, program: Artefact, store: Store) -> tuple[Artefact, Artefact] | None:
    """A trained network, and what it said of the test set of ``program``'s case; None where either left the store."""
    network = store.find("network", WEIGHTS, checkpoint_sha256) if checkpoint_sha256 else None
    eager = _stored("eager", {}, {"network": network}, program, store) if network else None
    return (network, eager) if network and eager else None


def _stored(
    kind: str, spec: Mapping[str, Any], inputs: Mapping[str, Artefact], program: Artefact, store: Store
) -> Artefact | None:
    common = {name: program.spec[name] for name in ("task", "data", "task_digest") if name in program.spec}
    return store.get(kind, Stage(kind, "", {**common, **spec}).key(inputs))
