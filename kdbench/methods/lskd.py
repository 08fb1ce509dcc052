"""Logit standardisation."""

from torch import Tensor

from kdbench.methods.kd import soft_divergence
from kdbench.methods.method import Method, Step
from kdbench.methods.option import Temperature, Weight

EPSILON = 1e-7
"""Added to the standard deviation of an item's logits."""


class LSKD(Method):
    """KD on standardised logits: the teacher's relations, not its scale (Sun et al. 2024).

    L = c CE(z_s, y) + w T^2 KL(softmax(Z(z_t) / T) || softmax(Z(z_s) / T)), means over the batch in nats, of the logits
    z_s and z_t [B, K]. Z is the z-score of an item's K logits, (z - mean) / (std + 1e-7), so that neither a shift nor a
    positive scale of a row of logits changes the second term.

    Sun, Ren, Li, Wang and Cao 2024 ("Logit Standardization in Knowledge Distillation"), algorithms 1 and 2. Defaults
    are those of their code for most CIFAR-100 pairs: c = 0.1, T = 2, w = 9, the standard deviation with K - 1 below;
    they pick T and w by hand for each pair. Their option switches T and w together with the z-score, against T = 4 and
    w = 0.9 of KD. Here ``zscore = false`` leaves out the z-score alone: KD at the same T, w and c, the ablation that
    their tables lack.
    """

    def __init__(
        self,
        temperature: Temperature = 2.0,
        weight: Weight = 9.0,
        label: Weight = 0.1,
        zscore: bool = True,
    ) -> None:
        """``temperature``: T; ``weight``, ``label``: w and c; ``zscore``: whether logits are standardised."""
        self.temperature = temperature
        self.weight = weight
        self.label = label
        self.zscore = zscore

    def losses(self, step: Step) -> dict[str, Tensor]:
        """``label`` and ``kd``, with their weights."""
        student, teacher = step.student.logits, step.teacher.logits
        if self.zscore:
            student, teacher = standardised(student), standardised(teacher)
        divergence = soft_divergence(student, teacher, self.temperature)
        return {
            "label": self.label * step.label_loss(),
            "kd": self.weight * self.temperature**2 * divergence,
        }


def standardised(logits: Tensor) -> Tensor:
    """The z-scores [..., K] of logits [..., K]: of mean 0 and standard deviation 1 over the classes."""
    centred = logits - logits.mean(dim=-1, keepdim=True)
    return centred / (logits.std(dim=-1, keepdim=True) + EPSILON)
