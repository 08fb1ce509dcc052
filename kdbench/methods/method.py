"""The interface that every distillation method implements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from kdbench.errors import StageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from torch import Tensor, nn

    from kdbench.tasks.task import Task

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
"""The shapes of a network's stages by name, shallow to deep, without the batch dimension."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a network said of a batch, in float32: ``logits`` and the features of its stages, shallow to deep.

    ``features`` holds the stages that the method asked for (``Method.taps``), each [B, C, H, W] or [B, D].
    """

    logits: Tensor
    features: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Batch:
    """Training items as the networks see them.

    ``inputs`` [B, ...], ``targets`` [B] (class indices) or [B, K] (probabilities, after mixup), ``index`` [B]: the
    items' places in the training set. ``view`` [B]: the places of these views among all of the training set's, where
    an item has few (``kdbench.training.feed``).
    """

    inputs: Tensor
    targets: Tensor
    index: Tensor
    view: Tensor | None = None

    @property
    def classes(self) -> Tensor:
        """The class of each item, [B]: after mixup the likeliest."""
        return self.targets.argmax(dim=1) if self.targets.ndim > 1 else self.targets


@dataclass(frozen=True, slots=True)
class Step:
    """Everything a loss may look at in one training step.

    ``outputs`` has ``"student"`` unless the phase leaves the student alone, and ``"teacher"`` if the method needs one.
    ``epoch`` counts from 0 within the phase, which has ``epochs`` of them.
    """

    task: Task
    batch: Batch
    outputs: Mapping[str, Output]
    epoch: int
    epochs: int
    phase: str

    @property
    def student(self) -> Output:
        """The student's output; gradients flow through it."""
        return self._output("student")

    @property
    def teacher(self) -> Output:
        """The teacher's output for the same view of the batch, in eval mode and without gradient."""
        return self._output("teacher")

    def label_loss(self, smoothing: float = 0.0) -> Tensor:
        """The task's loss of the student against the labels: a scalar, the mean over the batch."""
        return self.task.loss(self.student.logits, self.batch.targets, smoothing)

    def _output(self, name: str) -> Output:
        if name not in self.outputs:
            raise StageError(f"the method looks at the {name} in phase {self.phase!r}, which runs without it")
        return self.outputs[name]


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of training, ``share`` of the student's epochs long; the recipe's schedule runs once over each phase.

    However short the recipe, a phase has at least one epoch.

    With ``student=False`` the student is neither run nor changed: a phase for the method's own networks. With
    ``teacher=False`` the teacher is not run either.
    """

    name: str
    share: float = 1.0
    student: bool = True
    teacher: bool = True


@dataclass(frozen=True, slots=True)
class Setting:
    """What a method is told once, before the first step.

    ``new_student`` makes another network of the student's architecture, freshly initialised; ``shape`` is one item's
    and ``outputs`` the networks' width. ``student_shapes`` and ``teacher_shapes`` are those of every stage, from a dry
    run, without the batch dimension; without a teacher the latter is empty. ``targets`` [N] are the training set's
    labels. ``generator`` is the method's own source of random numbers during training, on the CPU.
    """

    task: Task
    teacher: nn.Module | None
    new_student: Callable[[], nn.Module]
    shape: Shape
    outputs: int
    student_shapes: Shapes
    teacher_shapes: Shapes
    targets: Tensor
    device: torch.device
    generator: torch.Generator


class Method:
    """How a student learns from a teacher: one subclass in one file. An object serves one training.

    Options are the keyword arguments of ``__init__``, with types, bounds (``Annotated[float, Field(gt=0)]``) and
    defaults: suites set them in ``[methods.NAME]`` and they are checked before anything is trained; ``kdbench tune``
    searches those whose types say within what (``kdbench.methods.option``). Random numbers come from
    ``setting.generator``, or from torch's global one inside ``prepare`` (seeded for it), never from elsewhere.
    """

    needs_teacher: ClassVar[bool] = True
    """Whether the teacher is run. A control sets it to False; its checkpoint then does not depend on the teacher."""

    needs_labels: ClassVar[bool] = True
    """Whether the losses look at the targets. A method that does not learns from items without labels too."""

    weighs_teacher: bool = False
    """Whether ``stretch`` asks what the teacher costs. The checkpoint of a control then depends on the teacher's
    architecture, not on its weights. A class that says so may have objects that do not, by their options."""

    def stretch(self, student: int, teacher: int) -> float:
        """How many times the recipe's epochs the student learns for: 1 for all but the controls of compute.

        ``student`` and ``teacher`` are the multiply-accumulates of a forward of one item, the latter 0 where the lesson
        knows no teacher. The product is rounded to whole epochs, and the recipe's schedule runs once over them.
        """
        del student, teacher
        return 1.0

    def taps(self, student: Shapes, teacher: Shapes) -> tuple[Sequence[str], Sequence[str]]:
        """The stages whose features the losses need, of the student and of the teacher, given the shapes of all.

        ``STAGE.pre`` asks for a stage's value before its last activation, of the stage's shape.
        A method that does not apply to a pair raises ``StageError`` with the status ``not-applicable``.
        """
        del student, teacher
        return (), ()

    def prepare(self, setting: Setting) -> nn.Module | None:
        """The networks to train beside the student (adapters, peers, assistants), or None. Called once, after ``taps``.

        The training moves them to the device, trains them with the student's optimiser and puts them into train mode at
        the start of each phase; what gets no gradient in a phase is left as it is. Whole networks, those that name
        their stages, belong here even if nothing trains them: their forwards are counted, and computed in the recipe's
        precision, to answer in float32.
        """
        del setting
        return None

    def phases(self) -> Sequence[Phase]:
        """The parts of training, in their order.

        The shares of those in which the student learns sum to 1, so that the student gets as many epochs under every
        method (but see ``stretch``); the others come on top and show in the training cost.
        """
        return (Phase("distil"),)

    def view(self, batch: Batch, generator: torch.Generator) -> Batch:
        """The batch that both networks see, after augmentation: the place of mixup, or of two views in one batch."""
        del generator
        return batch

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Named scalar terms, the same ones in every step of a phase; their sum is what training minimises."""
        raise NotImplementedError

    def deployed(self, student: nn.Module) -> nn.Module:
        """The network that ships: the student itself for nearly every method. Neither it nor the student is changed.

        Called for every validation and, after a ``prepare`` with untrained networks, when a stored network is restored:
        what decides the outputs must lie in its ``state_dict``.
        """
        return student
