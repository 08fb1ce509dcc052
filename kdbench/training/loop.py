"""One plain training loop, for teachers, controls and every distillation method."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from kdbench.errors import StageError
from kdbench.methods.method import Output, Phase, Step
from kdbench.training.feed import Feed
from kdbench.training.forward import Teaching, looked_into
from kdbench.training.lesson import gathered
from kdbench.training.processor import device_of, pinned
from kdbench.training.rate import rate
from kdbench.training.trained import Trained

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kdbench.methods.method import Batch, Method
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
    with pinned(where, lesson.recipe.threads), ExitStack() as hooks:
        return _Training(lesson, method, where, hooks).run(tell)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a training is: in an epoch, from 0, of the phase's ``epochs``."""

    phase: Phase
    epoch: int
    epochs: int


class _Training:
    def __init__(self, lesson: Lesson, method: Method, device: torch.device, hooks: ExitStack) -> None:
        self.lesson, self.recipe, self.method, self.device = lesson, lesson.recipe, method, device
        started = time.perf_counter()
        networks = self.networks = gathered(lesson, method, device)
        self.feed = Feed(lesson, method, device)
        self.phases = _lengths(method.phases(), self.recipe.epochs)
        self.trained = Trained(networks.student, sum(parameter.numel() for parameter in networks.extra.parameters()))
        precision = self.recipe.precision
        self.student = hooks.enter_context(looked_into(networks.student, networks.student_taps, precision))
        self.teacher: Callable[[Batch], Output] | None = None
        if networks.teacher is not None:
            run = hooks.enter_context(looked_into(networks.teacher, networks.teacher_taps, precision))
            self.teacher = Teaching(run, self.feed, method, self.trained)
        self.trained.seconds = time.perf_counter() - started

    def run(self, tell: Tell) -> Trained:
        total = sum(epochs for _, epochs in self.phases)
        every = math.ceil(total / VALIDATIONS)
        for phase, epochs in self.phases:
            optimizer = self._optimizer(phase)
            for epoch in range(epochs):
                loss = self._epoch(_Place(phase, epoch, epochs), optimizer)
                done = self.trained.epochs
                if phase.student and (done % every == 0 or epoch + 1 == epochs):
                    self._validate()
                tell(done / total, f"epoch {done}/{total} loss {loss:.3g}")
        self.trained.network = self.method.deployed(self.networks.student).cpu().eval()
        return self.trained

    def _epoch(self, place: _Place, optimizer: torch.optim.Optimizer) -> float:
        """Train one epoch and put its figures into the curves; its mean loss."""
        started = time.perf_counter()
        phase, group = place.phase, optimizer.param_groups[0]
        # The recipe's schedule runs once over each phase: it is stretched where a phase has fewer or more epochs.
        length = self.recipe.epochs / (place.epochs * len(self.feed))
        history: list[Tensor] = []
        rates: list[float] = []
        sizes: list[int] = []
        names: tuple[str, ...] = ()
        for batch, items in self.feed.epoch(phase):
            group["lr"] = rate(self.recipe, (place.epoch * len(self.feed) + len(sizes)) * length, length)
            losses = self.method.losses(self._step(batch, place))
            names = _checked(losses, names, phase)
            terms = torch.stack(list(losses.values()))
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(terms.sum())
            optimizer.step()
            history.append(terms.detach())
            rates.append(group["lr"])
            sizes.append(items)
            self.trained.count(items, len(batch.inputs), student=phase.student)
        # The only place where the host waits for the device: once an epoch.
        means: list[float] = (torch.tensor(sizes).double() @ torch.stack(history).cpu().double() / sum(sizes)).tolist()
        self.trained.seconds += time.perf_counter() - started
        self.trained.epochs += 1
        self._note(place, dict(zip(names, means, strict=True)), rates[0])
        return sum(means)

    def _step(self, batch: Batch, place: _Place) -> Step:
        outputs: dict[str, Output] = {}
        if self.teacher is not None:
            outputs["teacher"] = self.teacher(batch)
        if place.phase.student:
            outputs["student"] = self.student(batch.inputs)
        return Step(self.lesson.task, batch, outputs, place.epoch, place.epochs, place.phase.name)

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

    def _note(self, place: _Place, means: Mapping[str, float], first_rate: float) -> None:
        prefix = f"{place.phase.name}." if len(self.phases) > 1 else ""
        for name, mean in means.items():
            if not math.isfinite(mean):
                where = f"epoch {place.epoch + 1} of {place.epochs} of phase {place.phase.name!r}"
                hint = "try a lower learning rate or a smaller weight of the term"
                raise StageError(f"loss term {name!r} is {mean} in {where}; {hint}")
            self.trained.note(prefix + name, mean)
        self.trained.note("learning_rate", first_rate)

    def _validate(self) -> None:
        split, task, student = self.lesson.dataset.validation, self.lesson.task, self.networks.student
        if len(split) == 0:
            return
        modes = [(module, module.training) for module in student.modules()]
        inputs = task.collate(self.lesson.dataset, torch.from_numpy(split.inputs).to(self.device))
        outputs = outputs_of(self.method.deployed(student), inputs)
        right = task.correct(task.predictions(outputs.numpy()), split.targets)
        self.trained.note(f"validation_{task.quality}", float(right.mean()))
        for module, mode in modes:
            module.training = mode


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
    """Each phase with its number of epochs: the student's are the recipe's in all, and no phase has less than one.

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
    found = tuple(losses)
    if not found or (names and found != names):
        raise StageError(f"the method's loss terms in phase {phase.name!r} are {found}, before they were {names}")
    for name, term in losses.items():
        if term.ndim:
            raise StageError(f"loss term {name!r} has shape {list(term.shape)}, expected a scalar")
    return found
