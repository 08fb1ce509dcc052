"""Decoupled knowledge distillation."""

import torch
from torch import Tensor
from torch.nn import functional

from kdbench.methods.method import Method, Step
from kdbench.methods.option import Share, Temperature, Weight
from kdbench.methods.warmup import WARMUP, warmed


class DKD(Method):
    """KD taken apart into target and non-target classes, weighted separately (Zhao et al. 2022).

    L = c CE(z_s, y) + w(e) T^2 (a TCKD + b NCKD), each a mean over the batch in nats. With p = softmax(z / T) [B, K] of
    teacher (t) and student (s):

    TCKD = KL([p_t,y ; 1 - p_t,y] || [p_s,y ; 1 - p_s,y]), target class y against all others together;
    NCKD = KL(q_t || q_s), where q is the softmax over the K - 1 classes other than y.

    Zhao, Cui, Song, Qiu and Liang 2022 ("Decoupled Knowledge Distillation"), equations 6 and 7: KD is the case a = 1,
    b = 1 - p_t,y of each item. Defaults c = 1, a = 1, b = 8, T = 4 are their CIFAR-100 setting for most pairs (b is
    picked by hand there: 2 to 8). Their weight grows linearly over the first 20 of 240 epochs. In epochs a short recipe
    would spend most of its training in the warm-up, so it is given as a share of the training here:
    w(e) = min((e + 1) / (warmup x epochs), 1) for epoch e = 0, 1, ...; 240 epochs give theirs exactly. After mixup the
    target class is the likeliest one.
    """

    def __init__(
        self,
        alpha: Weight = 1.0,
        beta: Weight = 8.0,
        temperature: Temperature = 4.0,
        warmup: Share = WARMUP,
        label: Weight = 1.0,
    ) -> None:
        """``alpha``, ``beta``, ``label``: a, b and c; ``temperature``: T; ``warmup``: a share of the training."""
        self.alpha = alpha
        self.beta = beta
        self.temperature = temperature
        self.warmup = warmup
        self.label = label

    def losses(self, step: Step) -> dict[str, Tensor]:
        """``label``, ``tckd`` and ``nckd``, with their weights."""
        target, other = decoupled(step.student.logits, step.teacher.logits, step.batch.classes, self.temperature)
        weight = warmed(step.epoch, self.warmup * step.epochs) * self.temperature**2
        return {
            "label": self.label * step.label_loss(),
            "tckd": weight * self.alpha * target.mean(),
            "nckd": weight * self.beta * other.mean(),
        }


def decoupled(student: Tensor, teacher: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """TCKD and NCKD of each item [B], in nats, of logits [B, K] and classes [B], without the factor T^2."""
    mask = targets[:, None] == torch.arange(student.shape[1], device=targets.device)
    target_s, other_s, rest_s = parts(student / temperature, mask)
    target_t, other_t, rest_t = parts(teacher / temperature, mask)
    tckd = target_t.exp() * (target_t - target_s) + other_t.exp() * (other_t - other_s)
    nckd = (rest_t.exp().masked_fill(mask, 0) * (rest_t - rest_s)).sum(dim=1)
    return tckd, nckd


def parts(logits: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of the target [B], of all others together [B], of each other among these [B, K] (0 at the target): log p."""
    every = logits.logsumexp(dim=1)
    others = logits.masked_fill(mask, -torch.inf)
    together = others.logsumexp(dim=1)
    target = logits.masked_fill(~mask, 0).sum(dim=1)
    rest = functional.log_softmax(others, dim=1).masked_fill(mask, 0)
    return target - every, together - every, rest
