"""Function matching: the teacher's outputs everywhere, not at the labelled items alone."""

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from kdbench.methods.kd import soft_divergence
from kdbench.methods.method import Batch, Method, Step
from kdbench.methods.option import Temperature


class FunctionMatching(Method):
    """The teacher's function on mixed items, without labels (Beyer et al. 2022).

    L = T^2 KL(softmax(z_t / T) || softmax(z_s / T)), the mean over the batch in nats, of the logits z_s and z_t [B, K]
    of both networks for the *same* view: a x_i + (1 - a) x_(i - 1) of the augmented items x [B, ...] in the batch's
    random order, with one share a for all of the batch, uniform in [0, 1]. Labels are never looked at.

    Beyer, Zhai, Royer, Markeeva, Anil and Kolesnikov 2022 ("Knowledge Distillation: A Good Teacher is Patient and
    Consistent"), section 3.1. Default T = 1 and the mixup are those of their ImageNet configuration; their a is the
    larger of a and 1 - a, which gives the same mixtures. Their trainings last from hundreds to thousands of epochs; a
    short recipe does not show what the method can do.
    """

    needs_labels: ClassVar[bool] = False

    def __init__(self, temperature: Temperature = 1.0) -> None:
        """``temperature``: T."""
        self.temperature = temperature

    def view(self, batch: Batch, generator: torch.Generator) -> Batch:
        """The items of the batch, each mixed with the one before it; the targets stay those of the first of both."""
        share = torch.rand(1, generator=generator).item()  # a number, which a kernel is given without a copy
        return replace(batch, inputs=share * batch.inputs + (1 - share) * batch.inputs.roll(1, 0))

    def losses(self, step: Step) -> dict[str, Tensor]:
        """``kl``."""
        divergence = soft_divergence(step.student.logits, step.teacher.logits, self.temperature)
        return {"kl": self.temperature**2 * divergence}
