"""The stage that trains a network, and the network's way back from the store.

``weights.safetensors`` is the state of the network that ships, ``architecture.json`` what to load it into: these two
are its content, and depend on nothing but bits. ``network.json`` tells how the training went.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from kdbench.catalog import load
from kdbench.data.named import dataset_named
from kdbench.errors import StageError
from kdbench.measures.compute import count_macs, count_params
from kdbench.methods.build import method_from
from kdbench.methods.method import Method
from kdbench.models.network import build
from kdbench.spec import Recipe
from kdbench.training.footprint import Footprint
from kdbench.training.lesson import Lesson, gathered
from kdbench.training.loop import train
from kdbench.training.processor import device_of, processor

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kdbench.data.dataset import Dataset
    from kdbench.stage import Tell
    from kdbench.store import Artefact

VERSION = 1
LIBRARIES = ("torch",)
CONTENT = ("weights.safetensors", "architecture.json")


def run(spec: Mapping[str, Any], inputs: Mapping[str, Artefact], out: Path, tell: Tell) -> None:
    """Train the network that ``spec`` describes and write its three files.

    ``spec`` has role, task, data, architecture, teacher (its architecture, None for methods without one), recipe,
    method, seed and processor; ``inputs`` has ``teacher`` where the method needs it.

    Raises:
        StageError: the training failed, or this is not the processor or the data that the key was made for.
    """
    recipe = Recipe.model_validate(spec["recipe"])
    here = processor(recipe.device)
    if here != spec["processor"]:
        raise StageError(f"this training is planned for the processor {spec['processor']!r}, and runs on {here!r}")
    method = method_from(spec["method"]["use"], spec["method"]["options"])
    if method.needs_teacher and "teacher" not in inputs:
        raise StageError(f"method {spec['method']['use']!r} needs a teacher, and is given none")
    lesson = _lesson(spec, restore(inputs["teacher"]) if method.needs_teacher else None)
    footprint = Footprint(device_of(recipe.device))
    try:
        trained = train(lesson, method, tell=tell)
    except torch.OutOfMemoryError as error:
        raise StageError(str(error).partition("\n")[0], status="out-of-memory") from None
    peak = footprint.peak()
    network, shape = trained.network, lesson.dataset.shape
    outputs = lesson.task.outputs(lesson.dataset)
    state = {name: tensor.detach().contiguous().clone() for name, tensor in network.state_dict().items()}
    (out / "weights.safetensors").write_bytes(save(state))
    content = {
        "architecture": spec["architecture"],
        "outputs": outputs,
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
        "epochs": trained.epochs,
        "seconds": round(trained.seconds, 6),
        "samples_per_s": round(trained.items / trained.seconds, 3),
        "peak_bytes": peak,
        "peak_exact": footprint.exact,
        "before_bytes": footprint.before,
        "student_forwards": trained.student_forwards,
        "teacher_forwards": trained.teacher_forwards,
        "backwards": trained.backwards,
        "device": recipe.device,
        "processor": here,
        "threads": recipe.threads,
        "precision": recipe.precision,
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
    return Lesson(task, dataset, new_student, teacher, recipe, spec["seed"], spec["role"])


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
