"""Plans: a suite's cases, and the stages that each case needs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from kdbench.catalog import find, load
from kdbench.errors import UsageError
from kdbench.methods.build import method_from
from kdbench.methods.method import Method
from kdbench.selection import wanted
from kdbench.spec import TEACHER, MethodSpec, Pair, Suite
from kdbench.stage import Stage
from kdbench.store import content_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kdbench.lowering.target import Target

TEACHER_SEED = 0
"""One teacher a pair, as in the literature: its own seed, whatever the students' are."""

_TEACHER_METHOD = MethodSpec(label=TEACHER, use="scratch")
_SCRATCH = MethodSpec(label="scratch", use="scratch")


@dataclass(frozen=True)
class Case:
    """One row: pair x method x seed x target x device. The teacher's own rows have the method ``teacher``."""

    pair: Pair
    method: MethodSpec
    seed: int
    target: str
    device: str

    @property
    def id(self) -> str:
        """The case as tables, records and pytest name it."""
        return f"{self.pair.id}/{self.method.label}/{self.target}/s{self.seed}/{self.device}"

    @property
    def is_teacher(self) -> bool:
        """Whether this is a row of the teacher itself."""
        return self.method.label == TEACHER

    @property
    def axes(self) -> dict[str, str]:
        """What selections and pytest marks choose by."""
        return {
            "pair": self.pair.id,
            "method": self.method.label,
            "target": self.target,
            "seed": str(self.seed),
            "device": self.device,
        }


AXES = ("pair", "method", "target", "seed", "device")


def cases_of(suite: Suite) -> tuple[Case, ...]:
    """Every case of a suite: per pair the teacher first, then the methods in the suite's order."""
    return tuple(
        Case(pair, method, seed, target, device)
        for pair in suite.pairs
        for method, seeds in (
            (_TEACHER_METHOD, (TEACHER_SEED,)),
            *((method, suite.seeds) for method in suite.methods),
        )
        for seed in seeds
        for target in suite.targets
        for device in suite.devices
    )


def select(cases: Sequence[Case], only: str) -> tuple[Case, ...]:
    """The cases that ``only`` names: ``method=kd,target=xnnpack-int8``; an axis named twice admits either value.

    Raises:
        UsageError: not of the form AXIS=VALUE, an unknown axis, or a value that no case has.
    """
    known = {axis: list(dict.fromkeys(case.axes[axis] for case in cases)) for axis in AXES}
    named = wanted(only, known, "this suite")
    chosen = tuple(case for case in cases if all(case.axes[axis] in values for axis, values in named.items()))
    if not chosen:
        raise UsageError(f"--only {only!r} leaves no case of this suite")
    return chosen


@dataclass(frozen=True)
class Ground:
    """What keys need to know of the world: the data's hashes, what trains and what lowers, the devices' runtimes."""

    data: Mapping[str, str]
    processors: Mapping[str, str]
    runtimes: Mapping[str, str]


@dataclass(frozen=True)
class CaseStages:
    """The stages behind one case.

    ``teacher`` is the teacher's eager outputs, None in the teacher's own rows. Where the device cannot run the target's
    programs ``unrun`` says what it lacks, ``outputs`` are those of what stands in for them (``stand_in``, in words), or
    None where nothing does.
    """

    network: Stage
    eager: Stage
    program: Stage
    outputs: Stage | None
    teacher: Stage | None
    unrun: str = ""
    stand_in: str = ""

    def __iter__(self) -> Iterator[Stage]:
        stages = (self.network, self.eager, self.program, self.outputs, self.teacher)
        return iter([stage for stage in stages if stage is not None])


def stages_of(case: Case, suite: Suite, ground: Ground) -> CaseStages:
    """The stages of a case; equal stages of different cases have equal ids and run once."""
    common = _common(case, suite, ground)
    teacher, network = _networks(case, suite, common, ground)
    needs = {"network": network}
    who = f"{case.method.label} s{case.seed}" if not case.is_teacher else "teacher"
    target: Target = load("targets", case.target)
    lowering = {
        **common,
        **_target(case.target),
        **_ground(target, ground),
        "lowering": suite.lowering.model_dump(mode="json"),
    }
    program = Stage("program", f"lower {who} to {case.target}", lowering, needs)
    unrun = target.missing_on(case.device)
    outputs = None
    if not unrun:
        on = {**common, "device": case.device, "runtime": ground.runtimes[case.device]}
        outputs = Stage("outputs", f"run {who} {case.target} on {case.device}", on, {"program": program})
    elif target.stand_in:
        outputs = Stage("stand-in", f"judge {who} {case.target}", lowering, {**needs, "program": program})
    return CaseStages(
        network=network,
        eager=Stage("eager", f"judge {who}", common, needs),
        program=program,
        outputs=outputs,
        teacher=None if case.is_teacher else Stage("eager", "judge teacher", common, {"network": teacher}),
        unrun=unrun,
        stand_in=target.stand_in if unrun else "",
    )


def network_of(case: Case, suite: Suite, ground: Ground) -> Stage:
    """The stage that trains the network of a case; its target and device have no part in that."""
    return _networks(case, suite, _common(case, suite, ground), ground)[1]


def _networks(case: Case, suite: Suite, common: Mapping[str, Any], ground: Ground) -> tuple[Stage, Stage]:
    """The teacher's network, and the case's own."""
    teacher = _teacher_network(case.pair, suite, common, ground)
    return teacher, teacher if case.is_teacher else _student_network(case, suite, common, ground, teacher)


def _common(case: Case, suite: Suite, ground: Ground) -> dict[str, Any]:
    """What every stage of a case knows."""
    data = {"name": case.pair.data, "sha256": ground.data[case.pair.data]}
    return {"task": suite.task, "data": data, **_digest("tasks", suite.task, "task_digest")}


def _architecture(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "options": dict(options), **_digest("models", name, "digest")}


def _target(name: str) -> dict[str, str]:
    return {"target": name, **_digest("targets", name, "target_digest")}


def _ground(target: Target, ground: Ground) -> dict[str, Any]:
    """What decides a target's programs besides what decides all targets'; most have nothing of the kind."""
    found: dict[str, Any] = {"processor": ground.processors["lowering"]} if target.tied else {}
    return found | ({"libraries": {name: _version(name) for name in target.libraries}} if target.libraries else {})


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""


def _digest(group: str, name: str, key: str) -> dict[str, str]:
    """The hash of a plug-in's file; nothing for kdbench's own things, whose keys it leaves as they are."""
    digest = find(group, name).digest()
    return {key: digest} if digest else {}


def _teacher_network(pair: Pair, suite: Suite, common: Mapping[str, Any], ground: Ground) -> Stage:
    return Stage(
        "network",
        f"train teacher {pair.teacher}",
        {
            **common,
            "role": "teacher",
            "architecture": _architecture(pair.teacher, pair.teacher_options),
            "teacher": None,
            "recipe": suite.recipes["teacher"].model_dump(mode="json"),
            "method": {"use": "scratch", "options": {}, "digest": ""},
            "seed": TEACHER_SEED,
            "processor": ground.processors["teacher"],
        },
    )


def _student_network(case: Case, suite: Suite, common: Mapping[str, Any], ground: Ground, teacher: Stage) -> Stage:
    entry = find("methods", case.method.use)
    made: type[Method] = entry.load()
    taught = bool(made.needs_teacher)
    weighed = taught or (made.weighs_teacher and method_from(case.method.use, case.method.options).weighs_teacher)
    recipe = suite.student_recipe(case.pair).model_dump(mode="json")
    # Students of one seed see the same views of the same items, and can listen to one teacher.
    shared = {**common, "teacher": teacher.id, "recipe": recipe, "seed": case.seed}
    start = {}
    if case.pair.start == "scratch":
        fresh = replace(case, pair=case.pair.model_copy(update={"start": "fresh"}), method=_SCRATCH)
        start = {"start": _student_network(fresh, suite, common, ground, teacher)}
    # Keys that are not there are not in the key of what was made before there were any.
    few = {"labelled": case.pair.labelled} if case.pair.labelled and made.needs_labels else {}
    aware = {"qat_epochs": case.method.qat_epochs} if case.method.qat_epochs else {}
    return Stage(
        "network",
        f"train {case.method.label} s{case.seed}",
        {
            **common,
            "role": "student",
            "architecture": _architecture(case.pair.student, case.pair.student_options),
            "teacher": _architecture(case.pair.teacher, case.pair.teacher_options) if weighed else None,
            "recipe": recipe,
            "method": {"use": case.method.use, "options": case.method.options, "digest": entry.digest()},
            "seed": case.seed,
            "processor": ground.processors["student"],
            **few,
            **aware,
        },
        {**({"teacher": teacher} if taught else {}), **start},
        content_key({**shared, **few}) if taught and made.view is Method.view else "",
    )
