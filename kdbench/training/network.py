"""The stage that trains a network, and the network's way back from the store.

``weights.safetensors`` is the state of the network that ships, ``architecture.json`` what to load it into: these two
are its content, and depend on nothing but bits. ``network.json`` tells how the training went.
"""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from kdbench.catalog import load
from kdbench.data.few import few
from kdbench.data.named import dataset_named
from kdbench.errors import StageError
from kdbench.measures.compute import count_macs, count_params
from kdbench.methods.build import method_from
from kdbench.methods.method import Method
from kdbench.models.network import build
from kdbench.spec import Recipe
from kdbench.training.classroom import Classroom
from kdbench.training.footprint import Footprint
from kdbench.training.heap import pages_kept
from kdbench.training.lesson import Lesson, gathered
from kdbench.training.loop import Training
from kdbench.training.processor import device_of, pinned, processor

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from pathlib import Path

    from kdbench.data.dataset import Dataset
    from kdbench.party import Position
    from kdbench.stage import Steps, Tell
    from kdbench.store import Artefact
    from kdbench.training.trained import Trained

VERSION = 4
LIBRARIES = ("torch",)
CONTENT = ("weights.safetensors", "architecture.json")


def run(spec: Mapping[str, Any], inputs: Mapping[str, Artefact], out: Path, tell: Tell) -> None:
    """Train the network that ``spec`` describes and write its three files.

    ``spec`` has role, task, data, architecture, teacher (its architecture, None for methods that neither run nor weigh
    one), recipe, method, seed, processor and, where few items have labels, labelled, and, where it is aware of
    quantisation, qat_epochs; ``inputs`` has ``teacher`` where
    the method needs it, and ``start`` where the student starts from another network's weights.

    Raises:
        StageError: the training failed, or this is not the processor or the data that the key was made for.
    """
    with together(1) as steps:
        for _ in steps(spec, inputs, out, tell):
            pass


@contextmanager
def together(count: int) -> Iterator[Steps]:
    """A context to train ``count`` networks of one party in: students of one seed, who share data and teacher."""
    with pages_kept(), ExitStack() as stack:
        yield _Party(count, stack).steps


class _Party:
    def __init__(self, count: int, stack: ExitStack) -> None:
        self._count, self._stack = count, stack
        self._room: Classroom | None = None

    def steps(
        self, spec: Mapping[str, Any], inputs: Mapping[str, Artefact], out: Path, tell: Tell
    ) -> Generator[Position]:
        """``run``, yielding the training's position before each of its steps."""
        recipe = Recipe.model_validate(spec["recipe"])
        here = processor(recipe.device)
        if here != spec["processor"]:
            raise StageError(f"this training is planned for the processor {spec['processor']!r}, and runs on {here!r}")
        method = method_from(spec["method"]["use"], spec["method"]["options"])
        if method.needs_teacher and "teacher" not in inputs:
            raise StageError(f"method {spec['method']['use']!r} needs a teacher, and is given none")
        footprint = Footprint(device_of(recipe.device))
        try:
            lesson, room = self._seated(spec, inputs, method)
            if method.weighs_teacher and lesson.teacher is None:
                lesson = replace(lesson, teacher_macs=_macs(spec["teacher"], lesson))
            training = Training(lesson, method, room)
            yield from training.run(tell)
        except torch.OutOfMemoryError as error:
            raise StageError(str(error).partition("\n")[0], status="out-of-memory") from None
        peak = {
            "peak_bytes": footprint.peak(),
            "peak_exact": footprint.exact,
            "before_bytes": footprint.before,
            "beside": self._count - 1,
        }
        _keep(out, spec, method, lesson, training.trained, peak)

    def _seated(
        self, spec: Mapping[str, Any], inputs: Mapping[str, Artefact], method: Method
    ) -> tuple[Lesson, Classroom]:
        """The lesson that a spec describes, and the classroom, which the first to come opens."""
        start = restore(inputs["start"]).state_dict() if "start" in inputs else None
        if self._room is None:
            lesson = _lesson(spec, restore(inputs["teacher"]) if method.needs_teacher else None)
            device = device_of(lesson.recipe.device)
            self._stack.enter_context(pinned(device, lesson.recipe.threads))
            self._room = self._stack.enter_context(Classroom(lesson, device))
        else:
            lesson = _lesson(spec, self._room.teacher.network if self._room.teacher else None)
        return replace(lesson, start=start), self._room


def _keep(
    out: Path, spec: Mapping[str, Any], method: Method, lesson: Lesson, trained: Trained, peak: Mapping[str, Any]
) -> None:
    """Write what came of a training."""
    network, shape, recipe = trained.network, lesson.dataset.shape, lesson.recipe
    state = {name: tensor.detach().contiguous().clone() for name, tensor in network.state_dict().items()}
    (out / "weights.safetensors").write_bytes(save(state))
    content = {
        "architecture": spec["architecture"],
        "outputs": lesson.task.outputs(lesson.dataset),
        "shape": list(shape),
        "method": None if type(method).deployed is Method.deployed else _method(spec),
    }
    _write(out / "architecture.json", content)
    facts = {
        "architecture": spec["architecture"],
        "params": count_params(network),
        "macs": count_macs(network, torch.zeros(1, *shape)),
        "extra_params": trained.extra_params,
        "steps": trained.steps,
        "student_steps": trained.student_steps,
        "epochs": trained.epochs,
        "seconds": round(trained.seconds, 6),
        "samples_per_s": round(trained.items / trained.seconds, 3),
        **peak,
        "student_forwards": trained.student_forwards,
        "teacher_forwards": trained.teacher_forwards,
        "own_forwards": trained.own_forwards,
        "backwards": trained.backwards,
        "device": recipe.device,
        "processor": spec["processor"],
        "threads": recipe.threads,
        "precision": recipe.precision,
        "version": VERSION,
        "torch": torch.__version__,
        "curves": [
            {"name": name, "epochs": [epoch for epoch, _ in points], "values": [float(f"{y:.7g}") for _, y in points]}
            for name, points in trained.curves.items()
        ],
    }
    _write(out / "network.json", facts)


def restore(network: Artefact) -> nn.Module:
    """The deployed network of a ``network`` artefact: in eval mode, on the CPU, in float32.

    The teacher's artefact is not needed, whatever the method: all that decides outputs is in ``network``. Leaves
    torch's random numbers as they were.

    Raises:
        StageError: the weights do not fit the architecture any more.
    """
    content = network.json("architecture.json")
    with torch.random.fork_rng(devices=[]):
        if content["method"] is None:
            architecture = content["architecture"]
            restored = build(architecture["name"], content["outputs"], tuple(content["shape"]), architecture["options"])
        else:
            restored = _composed(network.spec)
    try:
        restored.load_state_dict(load_file(network.path("weights.safetensors")))
    except (RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        name = content["architecture"]["name"]
        raise StageError(f"the stored weights of {name!r} cannot be loaded: {reason}") from None
    return restored.eval()


def dataset_of(data: Mapping[str, Any]) -> Dataset:
    """The data set of a spec's ``data``: name and sha256.

    Raises:
        StageError: the data set has changed since the key was made.
    """
    dataset = dataset_named(data["name"])
    if dataset.sha256 != data["sha256"]:
        raise StageError(f"data set {data['name']!r} is not the one that was planned with: its hash has changed")
    return dataset


def _lesson(spec: Mapping[str, Any], teacher: nn.Module | None) -> Lesson:
    task, dataset = load("tasks", spec["task"])(), dataset_of(spec["data"])
    architecture = spec["architecture"]

    def new_student() -> nn.Module:
        return build(architecture["name"], task.outputs(dataset), dataset.shape, architecture["options"])

    recipe = Recipe.model_validate(spec["recipe"])
    aware = spec.get("qat_epochs", 0)
    lesson = Lesson(task, dataset, new_student, teacher, recipe, spec["seed"], spec["role"], qat_epochs=aware)
    if "labelled" not in spec:
        return lesson
    # As many items an epoch as ever, so that every student gets as many steps, however few labels there are.
    known = few(dataset, spec["labelled"], lesson.stream("labelled"))
    return replace(lesson, dataset=known, items=len(dataset.train))


def _macs(architecture: Mapping[str, Any], lesson: Lesson) -> int:
    """What a forward of an architecture multiplies, from its shapes alone: no weight is made, no number is drawn."""
    shape, outputs = lesson.dataset.shape, lesson.task.outputs(lesson.dataset)
    with torch.device("meta"):
        network = build(architecture["name"], outputs, shape, architecture["options"])
        return count_macs(network, torch.zeros(1, *shape))


def _method(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What makes the deployed network of more than the student; a plug-in is its hash, not the place of its file."""
    method = spec["method"]
    name = method["use"].rpartition(":")[2] if method["digest"] else method["use"]
    return {"use": name, "options": method["options"], "digest": method["digest"], "teacher": spec["teacher"]}


def _composed(spec: Mapping[str, Any]) -> nn.Module:
    """The deployed network of a method that ships more than the student, with untrained weights."""
    method = method_from(spec["method"]["use"], spec["method"]["options"])
    lesson, teacher = _lesson(spec, None), None
    if spec["teacher"] is not None:
        outputs = lesson.task.outputs(lesson.dataset)
        teacher = build(spec["teacher"]["name"], outputs, lesson.dataset.shape, spec["teacher"]["options"])
    networks = gathered(_lesson(spec, teacher), method, torch.device("cpu"))
    return method.deployed(networks.student)


def _write(path: Path, table: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(table, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
