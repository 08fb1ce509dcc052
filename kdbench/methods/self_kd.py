"""Self-distillation: the student learns from a trained copy of itself."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from kdbench.methods.kd import softened
from kdbench.methods.method import Method, Phase, Setting, Step
from kdbench.methods.option import Share, Temperature


class SelfKD(Method):
    """No teacher but an elder of the same architecture, trained first on the labels (Yuan et al. 2020).

    Phase ``elder``: L = CE(z_e, y), of the elder's logits z_e [B, K], for as many epochs as the student's. Phase
    ``student``: L = (1 - a) CE(z_s, y) + a T^2 KL(softmax(z_e / T) || softmax(z_s / T)) with the elder fixed in eval
    mode; all terms are means over the batch in nats. The elder starts from weights of its own, the student from those
    that it has under every method.

    Yuan, Tay, Li, Wang and Feng 2020 ("Revisiting Knowledge Distillation via Label Smoothing Regularization"), section
    5, self-training (Tf-KD_self); Furlanello et al. 2018 ("Born-Again Neural Networks") is the case T = 1, a = 1 in its
    first generation. Their weights differ from network to network: a = 0.95, T = 6 or 20, and a further factor of 1 to
    50 on a KL that is averaged over the classes too (for their ResNet-18 on CIFAR-100 that is 17 times the KL of an
    item, for MobileNetV2 4 times). Defaults here are those of ``kd``, T = 4, a = 0.9 (14 times), so that the two rows
    differ in nothing but who teaches.
    """

    needs_teacher: ClassVar[bool] = False

    def __init__(self, temperature: Temperature = 4.0, alpha: Share = 0.9) -> None:
        """``temperature``: T; ``alpha``: the weight of the elder's term against the labels'."""
        self.temperature = temperature
        self.alpha = alpha

    def prepare(self, setting: Setting) -> nn.Module:
        """The elder."""
        self.elder = setting.new_student()
        return self.elder

    def phases(self) -> Sequence[Phase]:
        """The elder learns, then the student: the first comes on top of the student's epochs."""
        return Phase("elder", student=False), Phase("student")

    def losses(self, step: Step) -> dict[str, Tensor]:
        """``label`` of the elder; then ``label`` and ``kd`` of the student, with their weights."""
        if step.phase == "elder":
            return {"label": step.task.loss(self.elder(step.batch.inputs).float(), step.batch.targets)}
        with torch.no_grad():
            taught = self.elder.eval()(step.batch.inputs).float()
        return softened(step.label_loss(), step.student.logits, taught, self.temperature, self.alpha)
