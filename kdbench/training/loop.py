"""One plain training loop, for teachers, controls and every distillation method."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from kdbench.errors import StageError
from kdbench.methods.method import Method, Output, Phase, Step
from kdbench.training.classroom import Classroom
from kdbench.training.clock import Clock
from kdbench.training.feed import ASIDE, Feed
from kdbench.training.forward import Teaching, beside, looked_into
from kdbench.training.lesson import gathered, student_epochs
from kdbench.training.processor import device_of, pinned
from kdbench.training.rate import rate
from kdbench.training.rounded import rounded
from kdbench.training.trained import Trained

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from kdbench.methods.method import Batch
    from kdbench.party import Position
    from kdbench.spec import Recipe
    from kdbench.stage import Tell
    from kdbench.training.lesson import Lesson

VALIDATIONS = 10
"""The quality on the validation split is taken at most so often, evenly over the epochs, and after the last."""

_BATCH = 256
"""Items a forward when a network is judged."""


def train(lesson: Lesson, method: Method, device: str = "", tell: Tell = lambda _done, _text: None) -> Trained:
    """Train a student of the lesson by the method; the last epoch is what is kept.

    ``device`` overrides the recipe's. The result's bits depend on lesson, method, device and kind of processor alone.

    Raises:
        StageError: a loss term that is not finite or no scalar, or phases that do not add up.
        UsageError: no such device here.
    """
    where = device_of(device or lesson.recipe.device)
    with pinned(where, lesson.recipe.threads), Classroom(lesson, where) as room:
        training = Training(lesson, method, room)
        for _ in training.run(tell):
            pass
    return training.trained


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Where a training is: in an epoch, from 0, of the phase's ``epochs``."""

    phase: Phase
    epoch: int
    epochs: int


class Training:
    """One student's training among those in a classroom. ``trained`` is what came of it when ``run`` has ended."""

    def __init__(self, lesson: Lesson, method: Method, room: Classroom) -> None:
        self.lesson, self.recipe, self.method, self.room = lesson, lesson.recipe, method, room
        self.clock = Clock(room.device)
        with self.clock.running():
            networks = self.networks = gathered(lesson, method, room.device)
        self.aside = Feed(lesson, room.items, ASIDE)
        self.views = lesson.stream("view")
        self.phases = _lengths(method.phases(), student_epochs(lesson, method, networks.student))
        self.trained = Trained(networks.student, sum(parameter.numel() for parameter in networks.extra.parameters()))
        self.teaching: Teaching | None = None
        if networks.teacher is not None:
            assert room.teacher is not None, "a method that needs a teacher has one in its lesson"
            epochs = sum(length for phase, length in self.phases if phase.teacher)
            self.teaching = Teaching(room.teacher, room.items, method, networks, self.trained, epochs)

    def run(self, tell: Tell) -> Generator[Position]:
        """Train, yielding before each step its position: the place of the student's next batch, and if it learns.

        A step of a phase without the student comes before the student's at the same place.

        Raises:
            StageError: see ``train``.
        """
        total = sum(epochs for _, epochs in self.phases)
        every = math.ceil(total / VALIDATIONS)
        untouched = self._versions()
        self._check_deployed()
        with (
            beside(self.networks.extra, self.room.device, self.recipe.precision, self.trained),
            looked_into(self.networks.student, self.networks.student_taps, self.recipe.precision) as student,
            ExitStack() as aware,
        ):
            learnt, every_epoch = 0, sum(epochs for phase, epochs in self.phases if phase.student)
            aware_from = max(every_epoch - self.lesson.qat_epochs, 0)
            for phase, epochs in self.phases:
                optimizer = self._optimizer(phase)
                for epoch in range(epochs):
                    if self.lesson.qat_epochs and phase.student and learnt == aware_from:
                        aware.enter_context(rounded(self.networks.student))
                    learnt += phase.student
                    loss = yield from self._epoch(_Stretch(phase, epoch, epochs), optimizer, student)
                    done = self.trained.epochs
                    if phase.student and (done % every == 0 or epoch + 1 == epochs):
                        self._validate()
                    tell(done / total, f"epoch {done}/{total} loss {loss:.3g}")
        if self._versions() != untouched:
            raise StageError("the method changed the teacher, which others listen to; let it change a copy")
        shared = self.teaching.seconds() if self.teaching else 0.0
        self.trained.seconds = self.clock.seconds() + self.room.seconds() + shared
        self.trained.network = self.method.deployed(self.networks.student).cpu().eval()

    def _check_deployed(self) -> None:
        """See, before anything is learnt, that what would ship says as much of an item as its task wants."""
        deployed, dataset = self.method.deployed(self.networks.student), self.lesson.dataset
        if not isinstance(deployed, nn.Module):
            raise StageError(f"deployed gives a {type(deployed).__name__}, expected a network")
        with _modes_kept(self.networks.student):
            shape = outputs_of(deployed, torch.zeros(2, *dataset.shape, device=self.room.device)).shape
        if (shape[0], shape[-1]) != (2, width := self.lesson.task.outputs(dataset)):
            raise StageError(f"the deployed network gives {list(shape)} for two items, expected [2, ..., {width}]")

    def _epoch(
        self, stretch: _Stretch, optimizer: torch.optim.Optimizer, student: Callable[[Tensor], Output]
    ) -> Generator[Position, None, float]:
        """Train one epoch and put its figures into the curves; its mean loss."""
        phase, group, count = stretch.phase, optimizer.param_groups[0], len(self.aside)
        # The recipe's schedule runs once over each phase: it is stretched where a phase has fewer or more epochs.
        length = self.recipe.epochs / (stretch.epochs * count)
        history: list[Tensor] = []
        rates: list[float] = []
        sizes: list[int] = []
        names: tuple[str, ...] = ()
        for i in range(count):
            yield self.trained.student_steps, phase.student
            group["lr"] = rate(self.recipe, (stretch.epoch * count + i) * length, length)
            batch, items = self._batch(phase)
            step = self._step(batch, stretch, student)
            versions = [tensor._version for tensor in _given(step)]  # noqa: SLF001 - torch's own word for it
            with self.clock.running():
                losses = self.method.losses(step)
                names = _checked(losses, names, phase)
                terms = torch.stack(list(losses.values()))
                optimizer.zero_grad(set_to_none=True)
                torch.autograd.backward(terms.sum())
                optimizer.step()
            if versions != [tensor._version for tensor in _given(step)]:  # noqa: SLF001
                raise StageError("the method changed the batch or the teacher's output in place; let it change a copy")
            history.append(terms.detach())
            rates.append(group["lr"])
            sizes.append(items)
            self.trained.count(items, len(batch.inputs), student=phase.student)
        # The host waits for the device once an epoch: here, and when the next one's order and draws are sent.
        means: list[float] = (torch.tensor(sizes).double() @ torch.stack(history).cpu().double() / sum(sizes)).tolist()
        self.trained.epochs += 1
        self._note(stretch, dict(zip(names, means, strict=True)), rates[0])
        return sum(means)

    def _batch(self, phase: Phase) -> tuple[Batch, int]:
        """The next batch as the networks see it, and the number of items in it (a view may hold several of each)."""
        if phase.student:
            batch = self.room.batch(self.trained.student_steps)
        else:
            with self.clock.running():
                batch = self.aside.batch(self.trained.steps - self.trained.student_steps)
        with self.clock.running():
            return self.method.view(batch, self.views), len(batch.index)

    def _step(self, batch: Batch, stretch: _Stretch, student: Callable[[Tensor], Output]) -> Step:
        outputs: dict[str, Output] = {}
        phase = stretch.phase
        if self.teaching is not None and phase.teacher:
            if phase.student and type(self.method).view is Method.view:
                outputs["teacher"] = self.teaching.of(batch, self.trained.student_steps)
            else:
                with self.clock.running():
                    outputs["teacher"] = self.teaching.of(batch, None)
        if phase.student:
            with self.clock.running():
                outputs["student"] = student(batch.inputs)
        return Step(self.lesson.task, batch, outputs, stretch.epoch, stretch.epochs, phase.name)

    def _versions(self) -> list[int]:
        """How often each tensor of the teacher has been changed."""
        teacher = self.networks.teacher
        tensors = [] if teacher is None else [*teacher.parameters(), *teacher.buffers()]
        return [tensor._version for tensor in tensors]  # noqa: SLF001 - torch's own word for it

    def _optimizer(self, phase: Phase) -> torch.optim.Optimizer:
        """The recipe's optimiser, new for each phase, over what learns in it; puts that into train mode."""
        learning = [self.networks.student, self.networks.extra] if phase.student else [self.networks.extra]
        for network in learning:
            network.train()
        parameters = dict.fromkeys(parameter for network in learning for parameter in network.parameters())
        trainable = [parameter for parameter in parameters if parameter.requires_grad]
        if not trainable:
            raise StageError(f"nothing learns in phase {phase.name!r}: the method has no networks of its own")
        return _optimizer(trainable, self.recipe)

    def _note(self, stretch: _Stretch, means: Mapping[str, float], first_rate: float) -> None:
        prefix = f"{stretch.phase.name}." if len(self.phases) > 1 else ""
        for name, mean in means.items():
            if not math.isfinite(mean):
                where = f"epoch {stretch.epoch + 1} of {stretch.epochs} of phase {stretch.phase.name!r}"
                hint = "try a lower learning rate or a smaller weight of the term"
                raise StageError(f"loss term {name!r} is {mean} in {where}; {hint}")
            self.trained.note(prefix + name, mean)
        self.trained.note("learning_rate", first_rate)

    def _validate(self) -> None:
        split, task, student = self.lesson.dataset.validation, self.lesson.task, self.networks.student
        if len(split) == 0:
            return
        inputs = task.collate(self.lesson.dataset, torch.from_numpy(split.inputs).to(self.room.device))
        with _modes_kept(student):
            outputs = outputs_of(self.method.deployed(student), inputs)
        right = task.correct(task.predictions(outputs.numpy()), split.targets)
        self.trained.note(f"validation_{task.quality}", float(right.mean()))


@contextmanager
def _modes_kept(network: nn.Module) -> Iterator[None]:
    """After the block each part is in the mode, train or eval, that it was in."""
    modes = [(module, module.training) for module in network.modules()]
    yield
    for module, mode in modes:
        module.training = mode


def _given(step: Step) -> list[Tensor]:
    """The tensors of a step that are not the student's alone."""
    batch, teacher = step.batch, step.outputs.get("teacher")
    said = [] if teacher is None else [teacher.logits, *teacher.features.values()]
    return [batch.inputs, batch.targets, batch.index, *said]


def outputs_of(network: nn.Module, inputs: Tensor) -> Tensor:
    """The outputs [N, K] of items [N, ...], on the CPU in float32; puts the network into eval mode."""
    network.eval()
    with torch.no_grad():
        return torch.cat([network(part).float().cpu() for part in torch.split(inputs, _BATCH)])


def _optimizer(parameters: Sequence[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(parameters, recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    return torch.optim.SGD(
        parameters,
        recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        fused=True,
    )


def _lengths(phases: Sequence[Phase], epochs: int) -> list[tuple[Phase, int]]:
    """Each phase with its number of epochs: the student's are ``epochs`` in all, and no phase has less than one.

    Raises:
        StageError: the student's shares do not sum to 1, or its phases are more than its epochs.
    """
    done, used = 0.0, 0
    lengths: list[tuple[Phase, int]] = []
    for phase in phases:
        if not phase.student:
            lengths.append((phase, max(round(phase.share * epochs), 1)))
            continue
        done += phase.share
        length = min(max(round(done * epochs), used + 1), epochs) - used
        if length < 1:
            raise StageError(f"phase {phase.name!r} finds none of the {epochs} epochs left; the recipe needs more")
        lengths.append((phase, length))
        used += length
    if not math.isclose(done, 1.0, abs_tol=1e-9):
        raise StageError(f"the shares of the phases in which the student learns sum to {done:g}, expected 1")
    return lengths


def _checked(losses: Mapping[str, Tensor], names: tuple[str, ...], phase: Phase) -> tuple[str, ...]:
    """The names of the terms, after seeing that they are scalars and the phase's usual ones."""
    if not isinstance(losses, Mapping) or not all(isinstance(term, Tensor) for term in losses.values()):
        given = type(losses).__name__
        if isinstance(losses, Mapping):
            given = ", ".join(f"{name!r}: {type(term).__name__}" for name, term in losses.items())
        raise StageError(
            f"losses of phase {phase.name!r} are named scalar tensors, such as {{'label': ...}}; found {given}"
        )
    found = tuple(losses)
    if not found or (names and found != names):
        raise StageError(f"the method's loss terms in phase {phase.name!r} are {found}, before they were {names}")
    for name, term in losses.items():
        if term.ndim:
            raise StageError(f"loss term {name!r} has shape {list(term.shape)}, expected a scalar")
    if not any(term.requires_grad for term in losses.values()):
        raise StageError(f"no loss term of phase {phase.name!r} has a gradient: nothing would learn from {found}")
    return found
