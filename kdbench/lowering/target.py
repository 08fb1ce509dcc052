"""The interface of a target: how a network becomes a program."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor, nn
    from torch.fx import GraphModule


LIBRARIES = ("torch", "executorch", "torchao")
"""The packages whose versions decide a program's bytes and, through the kernels they choose, its speed."""


@dataclass(frozen=True, slots=True)
class Lowered:
    """A program and what was known while making it.

    ``buffer``: the .pte. ``exported``: the graph that was lowered (quantised, if the target quantises), callable with
    inputs of batch 1, to compare the program with. ``structure``: hash of the lowered graph without values.
    ``delegated``: share of operators in a delegate. ``seconds``: what each step took. ``reference``: where only other
    machines can run the program, what computes the same on this one, if there is such a thing. ``estimates``: what the
    backend's compiler says of the program's cost, by metric id.
    """

    buffer: bytes
    exported: GraphModule
    structure: str
    delegated: float
    seconds: Mapping[str, float]
    reference: Callable[..., Any] | None = None
    estimates: Mapping[str, float] = field(default_factory=dict)


class Target(Protocol):
    """A backend and a precision.

    What asks for no program, all but ``lower``, imports neither torch nor ExecuTorch: plans and lists need the answers.
    """

    @property
    def name(self) -> str:
        """The target as suites and tables name it, such as ``xnnpack-int8``."""
        ...

    @property
    def backend(self) -> str:
        """Whose kernels run the program, such as ``xnnpack``."""
        ...

    @property
    def precision(self) -> str:
        """What its weights and activations are, such as ``fp32`` or ``int8``. Decides how exact the program must be."""
        ...

    @property
    def calibrates(self) -> bool:
        """Whether ``lower`` looks at the calibration inputs."""
        ...

    @property
    def libraries(self) -> tuple[str, ...]:
        """The packages besides ``LIBRARIES`` whose versions decide its programs."""
        ...

    @property
    def tied(self) -> bool:
        """Whether a program holds code for the machine that made it, so that another's is another."""
        ...

    @property
    def stand_in(self) -> str:
        """What computes the same as its programs where they cannot run (``Lowered.reference``), or the empty string.

        In the words of a note, such as ``Arm's reference model of TOSA``.
        """
        ...

    def missing(self) -> str:
        """Why this machine cannot lower to it (one line naming the extra), or the empty string."""
        ...

    def missing_on(self, device: str) -> str:
        """What a device, by its name, lacks to run the target's programs (one line), or the empty string."""
        ...

    def lower(
        self,
        network: nn.Module,
        example: tuple[Tensor, ...],
        calibration: Sequence[tuple[Tensor, ...]] = (),
    ) -> Lowered:
        """Export, quantise and delegate ``network`` (eval mode) for inputs like ``example`` (batch 1).

        Inputs that are not contiguous are copied first: programs read their inputs as contiguous memory. The network
        is left as it was; equal weights, examples and calibration give equal bytes.

        Raises:
            UsageError: the network is in training mode, or a quantising target is given too few calibration inputs.
            StageError: a step failed; the reason names target and step.
        """
        ...
