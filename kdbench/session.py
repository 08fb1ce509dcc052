"""A session: cases trained, lowered, judged and measured. The one engine of command line, pytest and Python."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench.catalog import load
from kdbench.conduct import Event, Listener, Outcome, conduct
from kdbench.data.named import dataset_named
from kdbench.devices.device import Remote, condition_of, device_named
from kdbench.elsewhere import trained_elsewhere
from kdbench.errors import UsageError
from kdbench.machine import usable_cores
from kdbench.measures.speed import Timing, measure_speeds
from kdbench.measures.timing_job import SpeedProgram, check_protocol
from kdbench.methods.build import method_from
from kdbench.models.network import build
from kdbench.plan import Case, CaseStages, Ground, network_of, stages_of
from kdbench.stage import Stage
from kdbench.store import Artefact, Store, file_sha256
from kdbench.training.processor import processor
from kdbench.worker import Failed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from kdbench.data.dataset import Dataset
    from kdbench.devices.device import Device
    from kdbench.spec import Suite

REFERENCE = Stage("reference", "lower the reference program", {})
"""The fixed program that every session interleaves with its own: the ruler of ``latency_ref``."""

_TIMING_ITEMS = 32


@dataclass(frozen=True)
class Finished:
    """What a session did: each case's stages and every stage's outcome, the speeds by (structure, device).

    ``made`` counts the stages that ran, by kind; all others were found in the store. ``machines`` are the facts of the
    devices that are another machine, by the device's name; ``conditions`` those of devices whose condition moves their
    figures, ``before`` they were timed and ``after``.
    """

    suite: Suite
    cases: tuple[Case, ...]
    stages: Mapping[str, CaseStages]
    outcomes: Mapping[str, Outcome]
    speeds: Mapping[tuple[str, str], Timing]
    made: Mapping[str, int]
    machines: Mapping[str, Mapping[str, str | int]] = field(default_factory=dict)
    conditions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def artefact(self, stage: Stage) -> Artefact | None:
        """What a stage left, or None where it failed."""
        outcome = self.outcomes[stage.id]
        return outcome if isinstance(outcome, Artefact) else None

    def samples(self) -> dict[str, NDArray[np.int32]]:
        """The kept latency samples in ns, by ``STRUCTURE/DEVICE/PROCESS``."""
        return {
            f"{structure}/{device}/{process}": samples
            for (structure, device), timing in self.speeds.items()
            for process, samples in enumerate(timing.samples)
        }

    def failure(self, case: Case) -> Failed | None:
        """The first thing of a case that failed, on its way from training to predictions."""
        outcomes = (self.outcomes[stage.id] for stage in self.stages[case.id])
        return next((outcome for outcome in outcomes if isinstance(outcome, Failed)), None)


def conducted(
    suite: Suite,
    cases: Sequence[Case],
    store: Store,
    jobs: int | None,
    listen: Listener,
    trained: Path | None = None,
) -> Finished:
    """Run every stage that the store lacks, side by side, and measure neither speed nor memory: that is ``timed``'s.

    ``trained``: a store that another machine filled, to take every network from instead.

    Raises:
        KdbenchError: nothing can go on (the store cannot be written, a data set is not to be had, bad input).
    """
    devices = {name: device_named(name) for name in dict.fromkeys(case.device for case in cases)}
    for device in devices.values():
        check_protocol(device, suite.protocol)
    remote = {name: device for name, device in devices.items() if isinstance(device, Remote)}
    for why in filter(None, (device.revealed() for device in remote.values())):
        raise UsageError(why)
    datasets = _datasets(cases)
    _check_options(suite, cases, datasets)
    ground = Ground(
        data={name: dataset.sha256 for name, dataset in datasets.items()},
        processors=_processors(suite) if trained is None else dict.fromkeys((*suite.recipes, "lowering"), processor()),
        runtimes={name: device.runtime for name, device in devices.items()},
    )
    stages = {case.id: stages_of(case, suite, ground) for case in cases}
    made: dict[str, int] = {}

    def count(event: Event) -> None:
        if event.kind == "made":
            made[event.stage] = made.get(event.stage, 0) + 1
        listen(event)

    wanted = [REFERENCE, *(stage for of_case in stages.values() for stage in of_case)]
    machines = {name: device.facts() for name, device in remote.items()}
    judged = [stage for of_case in stages.values() for stage in (of_case.eager, of_case.teacher) if stage]
    networks = [stage.needs["network"] for stage in judged]
    known = trained_elsewhere(Store(trained), store, networks) if trained else {}
    outcomes = conduct(wanted, store, jobs or usable_cores(), count, known)
    return Finished(suite, tuple(cases), stages, outcomes, {}, made, machines)


def students(
    suite: Suite, cases: Sequence[Case], store: Store, jobs: int | None, listen: Listener
) -> dict[str, Outcome]:
    """Train the students of cases, and no more: the outcome of each one's network, by case.

    Raises:
        KdbenchError: as ``conducted``.
    """
    datasets = _datasets(cases)
    _check_options(suite, cases, datasets)
    ground = Ground({name: dataset.sha256 for name, dataset in datasets.items()}, _processors(suite), runtimes={})
    networks = {case.id: network_of(case, suite, ground) for case in cases}
    outcomes = conduct(networks.values(), store, jobs or usable_cores(), listen)
    return {case: outcomes[stage.id] for case, stage in networks.items()}


def timed(finished: Finished, listen: Listener) -> Finished:
    """What was conducted, with the speed and memory of every structure, measured now, with the machine to itself."""
    datasets = _datasets(finished.cases)
    speeds: dict[tuple[str, str], Timing] = {}
    conditions: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(case.device for case in finished.cases):
        device = device_named(name)
        before = condition_of(device)
        timings = _speeds(finished, name, device, datasets, listen)
        speeds |= {(structure, name): timing for structure, timing in timings.items()}
        if before:
            conditions[name] = {"before": before, "after": condition_of(device)}
    return replace(finished, speeds=speeds, conditions=conditions)


def _speeds(
    finished: Finished,
    name: str,
    device: Device,
    datasets: Mapping[str, Dataset],
    listen: Listener,
) -> dict[str, Timing]:
    """Each structure of a device timed once: one seed's program, checked against a second's."""
    programs: dict[str, SpeedProgram] = {}
    for case in finished.cases:
        stages = finished.stages[case.id]
        artefact = finished.artefact(stages.program)
        if case.device != name or artefact is None or stages.unrun:
            continue
        facts = artefact.json("program.json")
        structure, calls = facts["structure"], (*facts["delegates"], *facts["operators"])
        path = artefact.path("program.pte")
        known = programs.get(structure)
        if known is None:
            items = timing_items(datasets[case.pair.data], finished.suite.task)
            programs[structure] = SpeedProgram(path, items, calls=calls)
        elif known.check is None and file_sha256(known.path) != file_sha256(path):
            programs[structure] = replace(known, check=path)
    ruler = finished.artefact(REFERENCE)
    if not programs or ruler is None:
        return {}

    def tell(share: float, text: str) -> None:
        listen(
            Event(
                "measuring",
                f"measure on {name}",
                "measure",
                len(finished.outcomes),
                len(finished.outcomes),
                share,
                text,
            )
        )

    reference = SpeedProgram(ruler.path("program.pte"), (np.load(ruler.path("input.npy"), allow_pickle=False)[None],))
    return measure_speeds(device, programs, reference, finished.suite.protocol, tell)


def _datasets(cases: Sequence[Case]) -> dict[str, Dataset]:
    return {name: dataset_named(name) for name in dict.fromkeys(case.pair.data for case in cases)}


def _check_options(suite: Suite, cases: Sequence[Case], datasets: Mapping[str, Dataset]) -> None:
    """See that every method and architecture takes its options before anything is trained.

    Raises:
        UsageError: one does not.
    """
    import torch

    task = load("tasks", suite.task)()
    for method in {case.method.label: case.method for case in cases}.values():
        method_from(method.use, method.options, method.where)
    with torch.device("meta"):
        for pair in {case.pair.id: case.pair for case in cases}.values():
            dataset = datasets[pair.data]
            for role in ("teacher", "student"):
                options = getattr(pair, f"{role}_options")
                build(
                    getattr(pair, role),
                    task.outputs(dataset),
                    dataset.shape,
                    options,
                    f"in suite {suite.name!r} [pairs] {role}_options",
                )


def _processors(suite: Suite) -> dict[str, str]:
    """What trains each role's networks, and lowers, as far as it decides bits."""
    return {role: processor(recipe.device) for role, recipe in suite.recipes.items()} | {"lowering": processor()}


def timing_items(dataset: Dataset, task: str) -> tuple[NDArray[np.float32], ...]:
    """A few validation items as programs are fed them, for timing alone: [items, 1, ...] an input."""
    import torch

    inputs = torch.from_numpy(dataset.validation.inputs[:_TIMING_ITEMS])
    return (load("tasks", task)().collate(dataset, inputs).numpy()[:, None],)
