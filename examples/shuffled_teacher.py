"""A method that cannot work: KD from a teacher whose answers are dealt out to the wrong items.

``kdbench run digits --method examples/shuffled_teacher.py:ShuffledTeacher``: whatever its students gain on
``scratch``, it is not the teacher's knowledge of their items. A harness that calls it a winner more often than chance
does is broken.
"""

import torch
from torch import Tensor, nn

from kdbench.methods.kd import softened
from kdbench.methods.method import Method, Setting, Step


class ShuffledTeacher(Method):
    """The loss of ``kd``, the teacher's logits permuted over the batch at random in each step."""

    def __init__(self, temperature: float = 4.0, alpha: float = 0.1) -> None:
        """``temperature`` and ``alpha``: as for ``kd``, the weight of the teacher's term being small."""
        self.temperature, self.alpha = temperature, alpha

    def prepare(self, setting: Setting) -> nn.Module | None:
        """Keep the method's own source of random numbers; nothing here learns."""
        self.generator = setting.generator

    def losses(self, step: Step) -> dict[str, Tensor]:
        """``label`` and ``kd``, with their weights."""
        dealt = torch.randperm(len(step.teacher.logits), generator=self.generator).to(step.teacher.logits.device)
        teacher = step.teacher.logits[dealt]
        return softened(step.label_loss(), step.student.logits, teacher, self.temperature, self.alpha)
