"""Classification: one of K classes an item; networks put out logits [N, K]."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from scipy.special import log_softmax
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from kdbench.data.dataset import Dataset

_BINS = 15


@cache
def _there(numbers: tuple[float, ...], device: torch.device) -> Tensor:
    """The numbers on the device, float32: sent once, since a copy for every batch is the host's work in every step."""
    return torch.tensor(numbers, dtype=torch.float32, device=device)


class Classification:
    """One of K classes an item, judged by accuracy."""

    quality: ClassVar[str] = "accuracy"
    meaning: ClassVar[str] = (
        "one logit a class, in the order of the labels; the largest is the prediction, softmax gives probabilities"
    )

    def outputs(self, dataset: Dataset) -> int:
        """The number of classes, K."""
        return len(dataset.labels)

    def collate(self, dataset: Dataset, inputs: Tensor) -> Tensor:
        """Stored items [B, C, H, W] as ``(value / scale - mean) / std``, float32, contiguous, on the same device."""
        channels = (-1, *(1 for _ in dataset.shape[1:]))
        mean, std = (_there(numbers, inputs.device).reshape(channels) for numbers in (dataset.mean, dataset.std))
        return ((inputs.to(torch.float32) / dataset.scale - mean) / std).contiguous()

    def loss(self, logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        """Mean cross-entropy in nats of logits [B, K] against classes [B] or probabilities [B, K].

        With ``smoothing`` e the target is (1 - e) target + e / K (Szegedy et al. 2016, section 7).
        """
        return functional.cross_entropy(logits, targets, label_smoothing=smoothing)

    def predictions(self, outputs: NDArray[np.float32]) -> NDArray[Any]:
        """The class of the largest logit [N], the lowest of equals, as the smallest unsigned type that holds K - 1."""
        predicted: NDArray[Any] = outputs.argmax(axis=1).astype(np.min_scalar_type(outputs.shape[1] - 1))
        return predicted

    def correct(self, predictions: NDArray[Any], targets: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each predicted class [N] is the labelled one."""
        return np.asarray(predictions == targets, dtype=np.bool_)

    def fidelity(
        self,
        outputs: NDArray[np.float32],
        teacher: NDArray[np.float32] | None,
        targets: NDArray[np.int64],
    ) -> dict[str, float | None]:
        """Agreement of two networks' logits [N, K] on the same items, and calibration.

        ``agreement``: share of items on which both predict the same class (Stanton et al. 2021, section 3).
        ``agreement_teacher_wrong``: the same share among the items on which the teacher errs; None where it errs
        on none. ``kl_teacher``: mean KL(teacher || student) of the softmax at temperature 1, in nats.
        ``ece``: see ``calibration_error``. Without a teacher only that is defined.
        """
        ece = calibration_error(outputs, targets)
        if teacher is None:
            return {"agreement": None, "agreement_teacher_wrong": None, "kl_teacher": None, "ece": ece}
        predicted = self.predictions(outputs)
        taught = self.predictions(teacher)
        same = predicted == taught
        wrong = ~self.correct(taught, targets)
        log_p = log_softmax(teacher.astype(np.float64), axis=1)
        log_q = log_softmax(outputs.astype(np.float64), axis=1)
        return {
            "agreement": float(same.mean()),
            "agreement_teacher_wrong": float(same[wrong].mean()) if wrong.any() else None,
            "kl_teacher": float((np.exp(log_p) * (log_p - log_q)).sum(axis=1).mean()),
            "ece": ece,
        }


def calibration_error(outputs: NDArray[np.float32], targets: NDArray[np.int64]) -> float:
    """The expected calibration error of logits [N, K]: the mean |accuracy - confidence| over bins, weighted by items.

    15 bins of equal width, each open below and closed above; confidence is the largest softmax probability (Guo et
    al. 2017, equation 3).
    """
    probabilities = np.exp(log_softmax(outputs.astype(np.float64), axis=1))
    confidence = probabilities.max(axis=1)
    right = outputs.argmax(axis=1) == targets
    bins = np.clip(np.ceil(confidence * _BINS).astype(np.int64) - 1, 0, _BINS - 1)
    gaps = np.bincount(bins, weights=right - confidence, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(targets))
