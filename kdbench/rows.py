"""Rows: what a session found, as the records of a run."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from kdbench.catalog import entries, find, load
from kdbench.machine import commit, libraries, machine
from kdbench.measures.measure import Evidence, Figure
from kdbench.measures.quality import INFERIOR, inferiority
from kdbench.npz import Items
from kdbench.plan import Case, CaseStages, cases_of
from kdbench.privacy import cleaned
from kdbench.records import Curve, Network, Provenance, Record, Run
from kdbench.store import Artefact, content_key
from kdbench.training.processor import processor, simd

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from kdbench.measures.measure import Measure
    from kdbench.records import Status
    from kdbench.session import Finished
    from kdbench.spec import Suite
    from kdbench.tasks.task import Task

CHECKPOINT = "weights.safetensors"
PROGRAM = "program.pte"
HOST = "host"
JUDGED_BY = ": judged by "


def run_of(
    finished: Finished, declared: Suite, command: Sequence[str], started: datetime
) -> tuple[Run, dict[str, Items]]:
    """The run of a session and the per-item results of its cases.

    ``declared`` is the suite as its file says it: a run that lacks one of its cases is partial.
    """
    task: Task = load("tasks", finished.suite.task)()
    evidence = {case.id: _evidence(finished, case, task) for case in finished.cases}
    records = tuple(_record(finished, case, evidence[case.id], evidence) for case in finished.cases)
    items = {case: items for case, known in evidence.items() if (items := items_of(task, known)) is not None}
    now = datetime.now(UTC)
    table = cleaned(finished.suite.model_dump(mode="json"))
    head, dirty = commit()
    run = Run(
        id=f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}",
        suite=table,
        suite_sha256=content_key(table),
        partial=not {case.id for case in cases_of(declared)} <= {case.id for case in finished.cases},
        records=records,
        networks=tuple(_networks(finished).values()),
        speeds=tuple(timing.speed for timing in finished.speeds.values()),
        sittings=tuple({each.device: each for timing in finished.speeds.values() if (each := timing.sitting)}.values()),
        runtimes=_runtimes(finished),
        provenance=Provenance(
            kdbench=libraries()["kdbench"],
            commit=head,
            dirty=dirty,
            libraries=libraries(),
            machine=machine(simd()),
            started=started.isoformat(timespec="seconds"),
            finished=now.isoformat(timespec="seconds"),
            command=tuple(command),
        ),
    )
    return run, items


def _runtimes(finished: Finished) -> dict[str, str]:
    """What ran the programs of each device."""
    ran = [stages.outputs.spec for case in finished.cases if (stages := finished.stages[case.id]).outputs]
    return {spec["device"]: spec["runtime"] for spec in ran if "runtime" in spec}


def _evidence(finished: Finished, case: Case, task: Task) -> Evidence:
    """What is known of a case: parts are missing where a stage failed."""
    stages = finished.stages[case.id]
    network, program = finished.artefact(stages.network), finished.artefact(stages.program)
    eager = finished.artefact(stages.eager)
    outputs = finished.artefact(stages.outputs) if stages.outputs else None
    teacher = finished.artefact(stages.teacher) if stages.teacher else None
    facts = program.json("program.json") if program else {}
    timing = finished.speeds.get((facts.get("structure", ""), case.device))
    return Evidence(
        task=task,
        network=network.json("network.json") if network else {},
        program=facts,
        targets=_array(eager, "targets.npy"),
        eager=_array(eager, "outputs.npy"),
        outputs=_array(outputs, "outputs.npy"),
        teacher=_array(teacher, "outputs.npy"),
        speed=timing.speed if timing else None,
        kd_seconds=_kd_seconds(finished, case),
    )


def _array(artefact: Artefact | None, name: str) -> NDArray[Any] | None:
    return np.load(artefact.path(name), allow_pickle=False) if artefact else None


def _kd_seconds(finished: Finished, case: Case) -> float | None:
    """How long plain ``kd`` of the same pair and seed took to train, where the session has it."""
    for other in finished.cases:
        alike = (other.pair, other.seed) == (case.pair, case.seed)
        if alike and other.method.label == "kd" and not case.is_teacher:
            artefact = finished.artefact(finished.stages[other.id].network)
            return float(artefact.json("network.json")["seconds"]) if artefact else None
    return None


def _record(finished: Finished, case: Case, known: Evidence, evidence: Mapping[str, Evidence]) -> Record:
    stages = finished.stages[case.id]
    status, reason = _status(finished, case, known)
    figures: dict[str, Figure] = {}
    for entry in entries("measures").values():
        measure: Measure = entry.load()()
        missing = known.missing(measure.needs)
        figures |= dict.fromkeys(measure.metrics, reason or stages.unrun or missing) if missing else measure.of(known)
    network, program = finished.artefact(stages.network), finished.artefact(stages.program)
    return Record(
        case=case.id,
        pair=case.pair.id,
        teacher=case.pair.teacher,
        student=case.pair.student,
        method=case.method.label,
        options={**case.method.options, **({"qat_epochs": qat} if (qat := case.method.qat_epochs) else {})},
        seed=case.seed,
        target=case.target,
        device=case.device,
        status=status,
        reason=reason,
        checkpoint_sha256=network.files[CHECKPOINT] if network else "",
        program_sha256=program.files[PROGRAM] if program else "",
        structure=known.program.get("structure", ""),
        metrics={metric: None if isinstance(figure, str) else figure for metric, figure in figures.items()},
        reasons={metric: figure for metric, figure in figures.items() if isinstance(figure, str)},
        details=_details(case, stages, known) | _where(finished, case) | _beside_host(case, evidence),
        flags=known.speed.flags if known.speed else (),
    )


def _status(finished: Finished, case: Case, known: Evidence) -> tuple[Status, str]:
    failed = finished.failure(case)
    if failed is not None:
        return cast("Status", failed.status), failed.reason
    if known.speed is not None and known.speed.status != "ok":
        return known.speed.status, known.speed.reason
    return "ok", ""


def _details(case: Case, stages: CaseStages, known: Evidence) -> dict[str, Any]:
    """What the metrics rest on besides the suite: test items, the program's proof and notes, a plug-in's hash."""
    details: dict[str, Any] = {}
    if known.targets is not None:
        details["test_items"] = len(known.targets)
    if known.task.quality != "accuracy":
        details["quality"] = known.task.quality
    if "parity" in known.program:
        details["parity"] = known.program["parity"]
    notes = [f"{case.target}: {surprise}" for surprise in known.program.get("surprises", ())]
    if known.outputs is not None and stages.stand_in:
        notes.append(f"{case.target}{JUDGED_BY}{stages.stand_in}, not run")
    if case.method.tuned:
        notes.append(case.method.tuned.told(case.method.options))
    if worse := inferiority(known):
        notes.append(f"{case.target}: {worse}")
    if notes:
        details["notes"] = notes
    if digest := find("methods", case.method.use).digest():
        details["method_sha256"] = digest
    return details


def _where(finished: Finished, case: Case) -> dict[str, Any]:
    """What is known of the device where it is another machine than the run's own, and of its condition."""
    machine, condition = finished.machines.get(case.device), finished.conditions.get(case.device)
    return ({"machine": dict(machine)} if machine else {}) | ({"condition": dict(condition)} if condition else {})


def about_outputs(note: str) -> bool:
    """Whether a note of a program is about what it says on a device, and not about the program itself."""
    return JUDGED_BY in note or INFERIOR in note


def _beside_host(case: Case, evidence: Mapping[str, Evidence]) -> dict[str, Any]:
    """How far another device's outputs on the test set are from those of the host, where the session has both."""
    there, twin = evidence[case.id], evidence.get(replace(case, device=HOST).id)
    if case.device == HOST or twin is None or there.outputs is None or twin.outputs is None:
        return {}
    return {"beside_host": differences(there.outputs, twin.outputs)}


def differences(outputs: NDArray[Any], others: NDArray[Any]) -> dict[str, float]:
    """How many items [N, K] differ in any bit of a value, and by how much at most."""
    differing = (outputs.view(np.uint8) != others.view(np.uint8)).reshape(len(outputs), -1).any(axis=1)
    largest = np.nanmax(np.abs(outputs.astype(np.float64) - others), initial=0.0)
    return {"items_differing": int(differing.sum()), "largest_difference": float(largest)}


def items_of(task: Task, known: Evidence) -> Items | None:
    """What a case's program said of each test item, and whether it is right; None where that is not known."""
    if known.outputs is None or known.targets is None:
        return None
    predictions = task.predictions(known.outputs)
    return Items(predictions, task.correct(predictions, known.targets))


def _networks(finished: Finished) -> dict[str, Network]:
    """Every trained network once, by checkpoint."""
    networks: dict[str, Network] = {}
    for case in finished.cases:
        stage = finished.stages[case.id].network
        artefact = finished.artefact(stage)
        if artefact is None or artefact.files[CHECKPOINT] in networks:
            continue
        facts = artefact.json("network.json")
        elsewhere = facts["processor"] != processor()
        taught = finished.artefact(stage.needs["teacher"]) if "teacher" in stage.needs else None
        networks[artefact.files[CHECKPOINT]] = Network(
            checkpoint_sha256=artefact.files[CHECKPOINT],
            architecture=stage.spec["architecture"]["name"],
            recipe_sha256=content_key(stage.spec["recipe"]),
            teacher_sha256=taught.files[CHECKPOINT] if taught else "",
            curves=tuple(Curve.model_validate(curve) for curve in facts["curves"]),
            steps=facts["steps"],
            seconds=facts["seconds"],
            device=facts["device"],
            threads=facts["threads"],
            precision=facts["precision"],
            processor=facts["processor"] if elsewhere else "",
            torch=facts.get("torch", "") if elsewhere else "",
        )
    return networks
