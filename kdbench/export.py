"""Export: one case's program with everything that its user needs, in a folder."""

from __future__ import annotations

import json
import math
import re
import shutil
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, StrictUndefined

from kdbench.cases import again, find_case
from kdbench.catalog import load
from kdbench.devices.runner.build import flags
from kdbench.errors import MeasureError, UsageError
from kdbench.measures.metric import metric_of
from kdbench.records import run_text
from kdbench.remains import dataset_of, outputs_of, program_of
from kdbench.whole import whole_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kdbench.data.dataset import Dataset
    from kdbench.records import Record, Run
    from kdbench.store import Artefact, Store

CONTRACT_FILE = "contract.json"
CONTRACT_FORMAT = 1

FORMULA = "(value / scale - mean) / std"
"""How an item becomes an input, a channel at a time."""

_LAYOUTS = {4: "NCHW", 3: "NCL"}


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: the folder, the run and case it holds, the program's size in bytes and its hash."""

    folder: Path
    run: str
    suite: str
    case: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class _Sample:
    """The first test item: as stored [C, H, W], as fed [1, C, H, W], what the program said of it, and its label."""

    item: NDArray[np.uint8]
    input: NDArray[np.float32]
    output: NDArray[np.float32]
    label: str


def export(
    case: str, to: Path, store: Store, results: Path, run: str | None = None, *, force: bool = False
) -> Exported:
    """Write the program of a case to the folder ``to``, whole or not at all, with labels, contract, sample and loader.

    ``case`` is an id or a part of one, see ``cases.find_case``. ``force`` replaces an earlier export, and nothing else.

    Raises:
        UsageError: no such case, or several; ``to`` exists already.
        MeasureError: the case failed, its program or its outputs left the store, or ``to`` cannot be written.
    """
    _check_free(to, force=force)
    found, record = find_case(case, results, run)
    if record.status != "ok" or not record.program_sha256:
        raise MeasureError(
            f"case {record.case} of run {found.id} has no program to ship: {record.status}: {record.reason}"
        )
    program = program_of(found, record, store)
    if why := load("targets", record.target).missing_on(record.device):
        place = program.path("program.pte")
        raise MeasureError(
            f"{record.case} was lowered and not run, so that there is no sample for it: {why}; see {place}"
        )
    sample, dataset, meaning = _sample(program, found, record, store)
    contract = _contract(program, found, record, sample, dataset, meaning)
    with whole_folder(to, "export") as out:
        shutil.copyfile(program.path("program.pte"), out / "program.pte")
        (out / "sample_item.bin").write_bytes(sample.item.tobytes())
        (out / "sample_input.bin").write_bytes(sample.input.astype("<f4").tobytes())
        (out / "expected_output.bin").write_bytes(sample.output.astype("<f4").tobytes())
        texts = {
            "labels.txt": "".join(" ".join(label.split()) + "\n" for label in dataset.labels),
            CONTRACT_FILE: json.dumps(contract, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
            "record.json": run_text(_alone(found, record)),
            "loader.cpp": _rendered("loader.cpp.in", contract),
            "README.md": _rendered("README.md.in", contract),
        }
        for name, text in texts.items():
            (out / name).write_text(text, encoding="utf-8")
    size = int(contract["program"]["size_bytes"])
    return Exported(to, found.id, found.name, record.case, size, record.program_sha256)


def _sample(program: Artefact, run: Run, record: Record, store: Store) -> tuple[_Sample, Dataset, str]:
    """The first test item with the program's stored output, the data set, and what an output means."""
    import torch

    dataset = dataset_of(program, run, record)
    task = load("tasks", program.spec["task"])()
    stored = outputs_of(program, run, record, store)
    if stored is None:
        raise MeasureError(f"the outputs of {record.case} are not in the store {store.root}; {again(run, record)}")
    item = dataset.test.inputs[:1]
    sample = _Sample(
        item=item[0],
        input=task.collate(dataset, torch.from_numpy(item)).numpy(),
        output=np.load(stored.path("outputs.npy"), allow_pickle=False, mmap_mode="r")[:1].astype(np.float32),
        label=dataset.labels[int(dataset.test.targets[0])],
    )
    return sample, dataset, str(task.meaning)


def _contract(
    program: Artefact, run: Run, record: Record, sample: _Sample, dataset: Dataset, meaning: str,
) -> dict[str, Any]:  # fmt: skip
    """What a user of the program must know, as ``contract.json`` says it."""
    from kdbench.lowering.parity import BOUNDS

    facts = program.json("program.json")
    inputs, outputs = facts["inputs"], facts["outputs"]
    shape = list(sample.input.shape)
    if [(each["dtype"], list(each["shape"])) for each in inputs] != [("float32", shape)]:
        raise MeasureError(f"{record.case} takes {inputs}; its task feeds it one float32 {shape}")
    if outputs[0]["dtype"] != "float32":
        raise MeasureError(f"{record.case} puts out {outputs[0]['dtype']}; the exported loader compares float32")
    bound = BOUNDS[facts["precision"]].graph_error
    return {
        "format": CONTRACT_FORMAT,
        "case": record.case,
        "run": run.id,
        "suite": run.name,
        "program": {
            "file": "program.pte",
            "sha256": record.program_sha256,
            "size_bytes": facts["size_bytes"],
            "method": facts["method"],
            "target": facts["target"],
            "precision": facts["precision"],
        },
        "inputs": [
            {"dtype": "float32", "shape": shape, "layout": _LAYOUTS.get(len(shape), ""), "contiguous": True},
        ],
        "normalisation": {
            "inside_program": False,
            "formula": FORMULA,
            "per": "channel",
            "item": {"dtype": "uint8", "shape": list(sample.item.shape)},
            "scale": dataset.scale,
            "mean": list(dataset.mean),
            "std": list(dataset.std),
        },
        "outputs": [{**outputs[0], "meaning": meaning, "labels": "labels.txt"}],
        "quality": {
            "metric": record.quality,
            "value": record.metrics.get(record.quality),
            "test_items": record.test_items,
            "device": record.device,
        },
        "needs": {
            "executorch": run.provenance.libraries.get("executorch", ""),
            "backends": sorted(facts["delegates"]),
            "operators": sorted(facts["operators"]),
        },
        "sample": {
            "source": f"test item 0 of data set {dataset.name}",
            "label": sample.label,
            "item": "sample_item.bin",
            "input": "sample_input.bin",
            "expected_output": "expected_output.bin",
            "runtime": ", ".join(sorted({speed.runtime for speed in run.speeds if speed.device == record.device})),
            # Other processors' kernels round otherwise; as much as a healthy program may be off its own graph.
            "tolerance": float(f"{bound * float(np.abs(sample.output).max()):.3g}"),
        },
    }


def _rendered(template: str, contract: Mapping[str, Any]) -> str:
    """A file of the export from its template; what came from records is kept on its line and inside its quotes."""
    source = files("kdbench").joinpath("templates", template).read_text(encoding="utf-8")
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701 - C++
    program, needs = contract["program"], contract["needs"]
    linked = [f"backend {name}" for name in needs["backends"]]
    linked += [f"operators {', '.join(needs['operators'])}"] if needs["operators"] else []
    given = {
        "case": _plain(contract["case"]),
        "run": _plain(contract["run"]),
        "suite": _plain(contract["suite"]),
        "target": _plain(program["target"]),
        "method": _plain(program["method"]),
        "size": program["size_bytes"],
        "sha256": program["sha256"],
        "item": contract["normalisation"]["item"],
        "input": _counted(contract["inputs"][0]),
        "output": _counted(contract["outputs"][0]),
        "formula": contract["normalisation"]["formula"],
        "tolerance": repr(contract["sample"]["tolerance"]),
        "quality": _plain(_judged(contract["quality"])),
        "executorch": _plain(needs["executorch"]),
        "needs": _plain(" and ".join(linked) or "its portable operators"),
        "flags": " ".join(f'"{flag}"' if "$" in flag else flag for flag in flags(Path("$EXECUTORCH"))),
    }
    return environment.from_string(source).render(given)


def _judged(quality: Mapping[str, Any]) -> str:
    """How good the program was found to be, in words."""
    metric, value = metric_of(quality["metric"]), quality["value"]
    if value is None:
        return f"Its {metric.title} was not judged"
    unit = " percent" if metric.shown_unit == "%" else f" {metric.shown_unit}".rstrip()
    shown = f"{metric.title} {value * metric.scale:.{metric.digits}f}{unit}"
    where = f"{quality['test_items']} test items on {quality['device']}"
    return f"Judged on the whole test set, this very file: {shown} of {where}"


def _counted(tensor: Mapping[str, Any]) -> dict[str, Any]:
    return {**tensor, "count": math.prod(tensor["shape"])}


def _plain(text: str) -> str:
    """``text`` without anything that could end a line, a quote or a comment."""
    return re.sub(r"[^\w .,:;/@+=~()-]", "?", text)


def _alone(run: Run, record: Record) -> Run:
    """The run with this case alone: its network, its teacher's and its speed."""
    teachers = {net.teacher_sha256 for net in run.networks if net.checkpoint_sha256 == record.checkpoint_sha256}
    kept = {record.checkpoint_sha256, *teachers}
    return run.model_copy(
        update={
            "partial": True,
            "records": (record,),
            "networks": tuple(net for net in run.networks if net.checkpoint_sha256 in kept),
            "speeds": tuple(
                speed for speed in run.speeds if (speed.structure, speed.device) == (record.structure, record.device)
            ),
        }
    )


def _check_free(to: Path, *, force: bool) -> None:
    if not to.exists():
        return
    if not force:
        raise UsageError(f"{to} exists already; --force replaces an earlier export")
    if not (to / CONTRACT_FILE).is_file():
        raise UsageError(f"{to} is no earlier export (it has no {CONTRACT_FILE}); --force replaces nothing else")
