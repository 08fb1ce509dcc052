"""Contrastive representation distillation."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from kdbench.errors import UsageError
from kdbench.methods.chance import local
from kdbench.methods.feature import last
from kdbench.methods.method import Method, Setting, Shapes, Step
from kdbench.methods.option import Temperature, Weight

Count = Annotated[int, Field(ge=1)]


class CRD(Method):
    """An item's two embeddings told from K pairs with items of other classes (Tian et al. 2020).

    L = CE(z_s, y) + b (C(s, M_t) + C(t, M_s)). Heads g of one linear layer each embed the last features of student and
    teacher (averaged over positions where they are maps) as s and t [B, D], of L2 norm 1. M_s and M_t [N, D] are
    memory banks of the embeddings of all N training items. For anchors a of items i, a bank M and K negatives j of
    each item, drawn from the items of other classes,

    C(a, M) = -mean_i(log h(a_i, M_i) + sum_j log(1 - h(a_i, M_j))), in nats, with
    h(a, m) = e / (e + K / N), e = exp(a . m / T) / Z, and Z = N mean(exp(a . m / T)) over the first batch, then fixed.

    Tian, Krishnan and Isola 2020 ("Contrastive Representation Distillation"), equations 10, 17 and 19, with the
    constants of their code: K = 16384, T = 0.07, D = 128, b = 0.8, and banks that move as m <- normalise(0.5 m +
    0.5 a) after each step. N cancels in h. Unlike their code: negatives are drawn with replacement (independent, as
    the loss has them, and so K may exceed N); h is taken in logarithms instead of with an epsilon; banks start as
    random directions of norm 1 instead of about 1; a change to a bank is written before the next step reads it.

    Cost: the banks take 2 N D floats (51 MB for 50,000 items of 128, 1.3 GB for ImageNet). A step scores each anchor
    against a whole bank, two products of B N D, and picks 2 B (K + 1) of these scores. Rows picked first would be
    2 B (K + 1) D floats, 1.1 GB at B = 64, whatever N. Negatives are drawn on the device.
    """

    def __init__(
        self,
        beta: Weight = 0.8,
        negatives: Count = 16384,
        temperature: Temperature = 0.07,
        momentum: Annotated[float, Field(ge=0, lt=1)] = 0.5,
        width: Count = 128,
    ) -> None:
        """``beta``: b; ``negatives``: K; ``temperature``: T; ``momentum``: what stays of a row; ``width``: D."""
        self.beta = beta
        self.negatives = negatives
        self.temperature = temperature
        self.momentum = momentum
        self.width = width

    def taps(self, student: Shapes, teacher: Shapes) -> tuple[Sequence[str], Sequence[str]]:
        """The last stage of each."""
        self.student_stage, self.teacher_stage = last(student, "student"), last(teacher, "teacher")
        return [self.student_stage], [self.teacher_stage]

    def prepare(self, setting: Setting) -> nn.Module:
        """The two heads; also the banks, and what negatives are drawn with.

        Raises:
            UsageError: all training items are of one class.
        """
        self.others = Others(setting.targets, setting.generator)
        count, device = len(setting.targets), setting.device
        self.student_bank, self.teacher_bank = (
            Bank(functional.normalize(torch.randn(count, self.width), dim=1).to(device), self.momentum) for _ in "st"
        )
        self.heads = nn.ModuleDict(
            OrderedDict(
                student=nn.Linear(setting.student_shapes[self.student_stage][0], self.width),
                teacher=nn.Linear(setting.teacher_shapes[self.teacher_stage][0], self.width),
            ),
        )
        return self.heads

    def losses(self, step: Step) -> dict[str, Tensor]:
        """``label`` and ``contrast``, with their weights."""
        index = step.batch.index
        student = self._embedded("student", step.student.features[self.student_stage])
        teacher = self._embedded("teacher", step.teacher.features[self.teacher_stage])
        drawn = torch.cat([index[:, None], self.others.draw(index, self.negatives)], dim=1)
        contrast = self.teacher_bank.contrast(student, drawn, self.temperature)
        contrast = contrast + self.student_bank.contrast(teacher, drawn, self.temperature)
        self.student_bank.note(index, student.detach())
        self.teacher_bank.note(index, teacher.detach())
        return {"label": step.label_loss(), "contrast": self.beta * contrast}

    def _embedded(self, whose: str, features: Tensor) -> Tensor:
        return functional.normalize(self.heads[whose](features.flatten(2).mean(2) if features.ndim > 2 else features))


class Bank:
    """A network's embeddings of all training items, ``rows`` [N, D] of L2 norm 1, and log(Z / N)."""

    def __init__(self, rows: Tensor, momentum: float) -> None:
        self.rows = rows
        self.momentum = momentum
        self.scale: Tensor | None = None
        self._noted: tuple[Tensor, Tensor] | None = None

    def contrast(self, anchors: Tensor, drawn: Tensor, temperature: float) -> Tensor:
        """C of anchors [B, D] and the rows ``drawn`` [B, 1 + K], of which the first is the anchor's own: a scalar."""
        self._settle()
        scores = (anchors @ self.rows.T).gather(1, drawn) / temperature
        if self.scale is None:
            self.scale = scores.detach().flatten().logsumexp(0) - math.log(scores.numel())
        # h is the sigmoid of this.
        odds = scores - self.scale - math.log(drawn.shape[1] - 1)
        return (functional.softplus(-odds[:, 0]) + functional.softplus(odds[:, 1:]).sum(dim=1)).mean()

    def note(self, index: Tensor, embeddings: Tensor) -> None:
        """Move the rows ``index`` [B] towards ``embeddings`` [B, D], before they are next looked at.

        Not at once: the backward pass of this step still reads the rows as they were, and a copy of a bank is large.
        """
        self._noted = (index, embeddings)

    def _settle(self) -> None:
        if self._noted is None:
            return
        index, embeddings = self._noted
        moved = self.momentum * self.rows[index] + (1 - self.momentum) * embeddings
        self.rows[index] = functional.normalize(moved, dim=1)
        self._noted = None


class Others:
    """Draws items of other classes, uniformly and with replacement, on the device of the labels ``targets`` [N].

    Raises:
        UsageError: all items are of one class.
    """

    def __init__(self, targets: Tensor, generator: torch.Generator) -> None:
        self._classes: Tensor = torch.unique(targets, return_inverse=True)[1]
        self._order: Tensor = self._classes.argsort(stable=True)
        self._counts = self._classes.bincount()
        if len(self._counts) < 2:
            raise UsageError("crd draws negatives of other classes, and all training items are of one class")
        self._starts = self._counts.cumsum(0) - self._counts
        self._generator = local(generator, targets.device)

    def draw(self, index: Tensor, count: int) -> Tensor:
        """For each item of ``index`` [B] as many items [B, count], none of its class."""
        classes = self._classes[index]
        own, start = self._counts[classes, None], self._starts[classes, None]
        drawn = torch.randint(2**62, (len(index), count), generator=self._generator, device=index.device)
        place = drawn % (len(self._order) - own)
        # Places are counted in the order of classes, past the item's own class.
        place = torch.where(place < start, place, place + own)
        return self._order[place]
