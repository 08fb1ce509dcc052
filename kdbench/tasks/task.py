"""The interface of a task: what is learnt and how it is judged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from kdbench.data.dataset import Dataset


class Task(Protocol):
    """Collation, loss, quality, agreement, one prediction's form. Nothing outside ``tasks/`` assumes logits [N, K]."""

    quality: ClassVar[str]
    """The metric id that ranks networks, such as ``accuracy``."""

    meaning: ClassVar[str]
    """What a program's output says and how it is decoded, for those who ship the program."""

    def outputs(self, dataset: Dataset) -> int:
        """The width of the network's output, such as the number of classes."""
        ...

    def collate(self, dataset: Dataset, inputs: Tensor) -> Tensor:
        """Stored items (uint8), a batch, as the contiguous float32 tensor that networks and programs are fed."""
        ...

    def loss(self, logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        """The scalar loss of a batch against labels: hard [B] or soft [B, K]."""
        ...

    def predictions(self, outputs: NDArray[np.float32]) -> NDArray[Any]:
        """Each item's prediction as the smallest integer type that holds every possible one."""
        ...

    def correct(self, predictions: NDArray[Any], targets: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each item is right."""
        ...

    def fidelity(
        self,
        outputs: NDArray[np.float32],
        teacher: NDArray[np.float32] | None,
        targets: NDArray[np.int64],
    ) -> dict[str, float | None]:
        """Agreement with the teacher and calibration, by metric id; None where it is undefined.

        ``outputs`` and ``teacher`` are what two networks put out for the same items; ``teacher`` is None for a
        teacher's own row, where only calibration is defined.
        """
        ...
