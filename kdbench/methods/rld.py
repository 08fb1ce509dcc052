"""Refined logit distillation."""

import torch
from torch import Tensor
from torch.nn import functional

from kdbench.methods.dkd import parts
from kdbench.methods.method import Method, Step
from kdbench.methods.option import Share, Temperature, Weight
from kdbench.methods.warmup import WARMUP, warmed


class RLD(Method):
    """What a teacher knows, without its mistakes: its confidence and its masked predictions (Sun et al. 2024).

    L = c CE(z_s, y) + w(e) (a S^2 SCD + b T^2 MCD), each a mean over the batch in nats, of the logits z_s and z_t
    [B, K] of student and teacher, with classes y [B]:

    SCD = KL([p_t,m ; 1 - p_t,m] || [p_s,y ; 1 - p_s,y]), p = softmax(z / S): the student is to be as sure of the label
    y as the teacher is of its own favourite m, be it right or wrong;
    MCD = KL(q_t || q_s), q the softmax of z / T over the classes that the teacher ranks below the label, 0 where there
    are none: what the teacher puts before the label is left out.

    Sun, Chen, Lyu, Chen, Chen and Wang 2024 ("Knowledge Distillation with Refined Logits"). Defaults c = 1, a = 1,
    b = 8, S = 1, T = 4 are their CIFAR-100 setting. Their weight grows linearly over the first 20 of 240 epochs, given
    as a share of the training here, as in ``kdbench.methods.dkd``. Their masked classes keep a logit of -1e9 instead of
    leaving the softmax, which is the same in float32. After mixup the label is the likeliest class.
    """

    def __init__(
        self,
        alpha: Weight = 1.0,
        beta: Weight = 8.0,
        confidence_temperature: Temperature = 1.0,
        temperature: Temperature = 4.0,
        warmup: Share = WARMUP,
        label: Weight = 1.0,
    ) -> None:
        """``alpha``, ``beta``, ``label``: a, b and c; the temperatures S and T; ``warmup``: a share of the training."""
        self.alpha = alpha
        self.beta = beta
        self.confidence_temperature = confidence_temperature
        self.temperature = temperature
        self.warmup = warmup
        self.label = label

    def losses(self, step: Step) -> dict[str, Tensor]:
        """``label``, ``scd`` and ``mcd``, with their weights."""
        student, teacher, targets = step.student.logits, step.teacher.logits, step.batch.classes
        confidence = confidence_gap(student, teacher, targets, self.confidence_temperature)
        masked = masked_divergence(student, teacher, targets, self.temperature)
        weight = warmed(step.epoch, self.warmup * step.epochs)
        return {
            "label": self.label * step.label_loss(),
            "scd": weight * self.alpha * self.confidence_temperature**2 * confidence.mean(),
            "mcd": weight * self.beta * self.temperature**2 * masked.mean(),
        }


def confidence_gap(student: Tensor, teacher: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """SCD of each item [B], in nats, of logits [B, K] and classes [B], without the factor S^2."""
    target_s, other_s, _ = parts(student / temperature, _at(targets, student))
    target_t, other_t, _ = parts(teacher / temperature, _at(teacher.argmax(dim=1), teacher))
    return target_t.exp() * (target_t - target_s) + other_t.exp() * (other_t - other_s)


def masked_divergence(student: Tensor, teacher: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """MCD of each item [B], in nats, of logits [B, K] and classes [B], without the factor T^2."""
    label = teacher.masked_fill(~_at(targets, teacher), 0).sum(dim=1, keepdim=True)
    mask = teacher >= label
    # Not minus infinity: where all classes are masked the softmax must stay finite.
    lowest = torch.finfo(student.dtype).min
    log_s = functional.log_softmax((student / temperature).masked_fill(mask, lowest), dim=1)
    log_t = functional.log_softmax((teacher / temperature).masked_fill(mask, lowest), dim=1)
    return (log_t.exp() * (log_t - log_s)).masked_fill(mask, 0).sum(dim=1)


def _at(classes: Tensor, logits: Tensor) -> Tensor:
    """Where [B, K] each item's class [B] is."""
    return classes[:, None] == torch.arange(logits.shape[1], device=logits.device)
