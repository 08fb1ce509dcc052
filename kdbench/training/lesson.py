"""Lessons: what is learnt, from what and by whom."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from kdbench.errors import StageError
from kdbench.measures.compute import count_macs
from kdbench.methods.method import Method, Setting
from kdbench.models.network import PRE, shapes, stages
from kdbench.training.stream import seeded, stream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from kdbench.data.dataset import Dataset
    from kdbench.spec import Recipe
    from kdbench.tasks.task import Task


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is learnt, from what and by whom. ``role`` (teacher, student) and ``seed`` choose the random streams.

    ``start``: the state that the student starts from instead of fresh weights. ``items``: how many make an epoch, where
    it is not the training set once: then its items come several times. ``teacher_macs``: the multiply-accumulates of a
    forward of a teacher that is not there itself; 0 if not known. ``qat_epochs``: in how many of its last epochs the
    student's numbers are rounded as 8-bit integers'.
    """

    task: Task
    dataset: Dataset
    new_student: Callable[[], nn.Module]
    teacher: nn.Module | None
    recipe: Recipe
    seed: int
    role: str = "student"
    start: Mapping[str, Tensor] | None = None
    items: int = 0
    teacher_macs: int = 0
    qat_epochs: int = 0

    def stream(self, purpose: str) -> torch.Generator:
        """The lesson's generator for one purpose."""
        return stream(self.seed, self.role, purpose)


@dataclass(frozen=True, slots=True)
class Networks:
    """A lesson's networks: the student, its teacher if the method needs one, the method's own; the stages tapped.

    ``teacher_width``: the numbers that the teacher says of one item, its logits and the stages that are tapped.
    """

    student: nn.Module
    teacher: nn.Module | None
    extra: nn.Module
    student_taps: Sequence[str]
    teacher_taps: Sequence[str]
    teacher_width: int


def gathered(lesson: Lesson, method: Method, device: torch.device) -> Networks:
    """The lesson's networks on the device, the student and the method's own freshly initialised.

    The student's weights come from a stream of their own, so that they are the same under every method.
    """
    with seeded(lesson.seed, lesson.role, "init"):
        student = placed(lesson.new_student(), device)
    if lesson.start is not None:
        student.load_state_dict(lesson.start)
    teacher = lesson.teacher if method.needs_teacher else None
    if teacher is not None:
        placed(teacher, device).eval().requires_grad_(requires_grad=False)
    shape = lesson.dataset.shape
    student_shapes = shapes(student, shape, stages(student))
    teacher_shapes = shapes(teacher, shape, stages(teacher)) if teacher is not None else {}
    student_taps, teacher_taps = method.taps(student_shapes, teacher_shapes)
    setting = Setting(
        task=lesson.task,
        teacher=teacher,
        new_student=lesson.new_student,
        shape=shape,
        outputs=lesson.task.outputs(lesson.dataset),
        student_shapes=student_shapes,
        teacher_shapes=teacher_shapes,
        targets=torch.from_numpy(lesson.dataset.train.targets).to(device),
        device=device,
        generator=lesson.stream("method"),
    )
    with seeded(lesson.seed, lesson.role, "adapters"):
        extra = method.prepare(setting)
    extra = nn.ModuleList() if extra is None else placed(extra, device)
    width = setting.outputs + sum(math.prod(teacher_shapes[name.removesuffix(PRE)]) for name in teacher_taps)
    return Networks(student, teacher, extra, student_taps, teacher_taps, width)


def placed(network: nn.Module, device: torch.device) -> nn.Module:
    """The network on the device, its convolutions with the channels innermost in memory, which is fastest."""
    return network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def student_epochs(lesson: Lesson, method: Method, student: nn.Module) -> int:
    """The epochs in which the student learns: the recipe's, for some controls times a factor (``Method.stretch``).

    Raises:
        StageError: the factor is not a positive number, or cannot be told without a teacher.
    """
    if type(method).stretch is Method.stretch:
        return lesson.recipe.epochs
    weight = lesson.teacher_macs
    if not weight and lesson.teacher is not None:
        weight = _macs(lesson.teacher, lesson)
    factor = method.stretch(_macs(student, lesson), weight)
    if not 0 < factor < math.inf:
        raise StageError(f"the method stretches the epochs by {factor}, expected a positive number")
    return max(1, round(lesson.recipe.epochs * factor))


def _macs(network: nn.Module, lesson: Lesson) -> int:
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    return count_macs(network, torch.zeros(1, *lesson.dataset.shape, device=device))
