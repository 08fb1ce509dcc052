"""Teacher-assistant distillation."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.errors import UsageError
from kdbench.methods.kd import softened
from kdbench.methods.method import Method, Phase, Setting, Step
from kdbench.methods.option import Share, Temperature
from kdbench.models.network import build, check

LADDER: tuple[tuple[str, dict[str, Any]], ...] = (
    *(("resnet8", {"widths": [width, width, 2 * width, 4 * width]}) for width in (2, 4, 8)),
    *((f"resnet{depth}", {}) for depth in (8, 14, 20, 32, 44, 56, 110)),
    ("resnet8x4", {}),
    ("resnet32x4", {}),
)
"""Assistants to choose from, 2 thousand to 7.4 million parameters: thin resnet8s and the usual CIFAR ResNets."""


class TAKD(Method):
    """A network between teacher and student in size learns first, then teaches (Mirzadeh et al. 2020).

    L = (1 - a) CE(z, y) + a T^2 KL(softmax(z' / T) || softmax(z / T)), twice: in the phase ``assistant`` z are the
    assistant's logits and z' the teacher's, in the phase ``student`` z are the student's and z' the assistant's, fixed
    in eval mode; all [B, K], all terms means over the batch in nats. The first phase has as many epochs as the second.

    Mirzadeh, Farajtabar, Li, Levine, Matsukawa and Ghasemzadeh 2020 ("Improved Knowledge Distillation via Teacher
    Assistant"): both steps have the loss of Hinton et al. They search a and T for each case; here both steps have the
    defaults of ``kd``, T = 4, a = 0.9, so that the row differs from that of ``kd`` in the assistant alone.

    A suite names the assistant: ``takd = { assistant = "resnet20" }``, with a table of options where the architecture
    wants some: ``{ assistant = "resnet8", assistant_options = { widths = [8, 8, 16, 32] } }``. Unnamed it is the member
    of ``LADDER`` nearest to the geometric mean of the two networks' parameters, so that both steps down are equally
    large. The paper finds that every size between helps, and most the one in the middle by accuracy, which nobody knows
    before training.
    """

    def __init__(
        self,
        assistant: str = "",
        assistant_options: dict[str, Any] | None = None,
        temperature: Temperature = 4.0,
        alpha: Share = 0.9,
    ) -> None:
        """``assistant``: a model, empty for one of middle size; ``assistant_options``: the model's own.

        ``temperature``: T; ``alpha``: the weight of the teaching term against the labels'.

        Raises:
            UsageError: no such model or option of it, or options without a model.
        """
        if assistant:
            check(assistant, assistant_options or {}, _WHERE)
        elif assistant_options:
            raise UsageError(f"assistant_options {_WHERE}: found {assistant_options!r} without an assistant")
        self.model = assistant
        self.options = assistant_options or {}
        self.temperature = temperature
        self.alpha = alpha

    def prepare(self, setting: Setting) -> nn.Module:
        """The assistant."""
        name, options = (self.model, self.options) if self.model else between(setting)
        self.assistant = build(name, setting.outputs, setting.shape, options, _WHERE)
        return self.assistant

    def phases(self) -> Sequence[Phase]:
        """The assistant learns from the teacher, then the student from the assistant alone."""
        return Phase("assistant", student=False), Phase("student", teacher=False)

    def losses(self, step: Step) -> dict[str, Tensor]:
        """``label`` and ``kd`` of whoever learns in the phase, with their weights."""
        if step.phase == "assistant":
            logits = self.assistant(step.batch.inputs).float()
            label = step.task.loss(logits, step.batch.targets)
            return softened(label, logits, step.teacher.logits, self.temperature, self.alpha)
        with torch.no_grad():
            taught = self.assistant.eval()(step.batch.inputs).float()
        return softened(step.label_loss(), step.student.logits, taught, self.temperature, self.alpha)


_WHERE = "of method 'takd'"


def between(setting: Setting) -> tuple[str, dict[str, Any]]:
    """The member of ``LADDER`` nearest to the geometric mean of teacher's and student's parameters."""
    assert setting.teacher is not None
    with torch.device("meta"):
        middle = (_size(setting.teacher) * _size(setting.new_student())) ** 0.5
        sizes = [_size(build(name, setting.outputs, setting.shape, options)) for name, options in LADDER]
    return min(zip(LADDER, sizes, strict=True), key=lambda rung: max(rung[1] / middle, middle / rung[1]))[0]


def _size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
