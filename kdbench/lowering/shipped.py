"""What ships: a network's program, proved, with its facts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench.catalog import load
from kdbench.errors import MeasureError, StageError, UsageError
from kdbench.lowering.parity import BOUNDS, prove
from kdbench.lowering.program import facts, opened
from kdbench.lowering.surprise import surprises, untouched

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from kdbench.lowering.export import Inputs
    from kdbench.lowering.target import Target

PROOFS = 32
"""Calibration inputs that a program is proved on besides its example."""


@dataclass(frozen=True, slots=True)
class Shipped:
    """A program's bytes, and what ``program.json`` of a stored one says of it.

    ``facts``: the program's own facts, its target, structure, delegated and quantised shares, its proof (``parity``),
    what its compiler estimates (``estimates``), what is surprising about it (``surprises``) and what each step of
    making it took (``seconds``).
    """

    program: bytes
    facts: Mapping[str, Any]

    def save(self, path: Path | str) -> None:
        """Write the program, a ``.pte``.

        Raises:
            MeasureError: it cannot be written.
        """
        try:
            Path(path).write_bytes(self.program)
        except OSError as error:
            raise MeasureError(f"cannot write {path}: {error.strerror or error}") from None


def lower(
    model: nn.Module,
    example: Tensor | Inputs,
    target: str = "xnnpack-fp32",
    *,
    calibration: Sequence[Tensor | Inputs] = (),
) -> Shipped:
    """The proved program of ``model`` (eval mode), as it would ship.

    ``example`` is one input, batch 1, or a tuple of them where the module takes several; ``calibration`` are inputs
    like it, from the training data, by which an integer target chooses its ranges. The program is run and compared with
    the module on both; where nothing here can run it, what stands in for it is, or else its graph alone: see
    ``facts["parity"]["of"]``. Not to be called from several threads: lowering changes things of the whole process.

    Raises:
        UsageError: an unknown target, a module in training mode, or an integer target without calibration.
        StageError: this machine cannot lower to the target or the target is not for such a module
            (``not-applicable``), a step failed, or the program is broken (``parity-failed``).
    """
    made: Target = load("targets", target)
    if why := made.missing():
        raise StageError(f"cannot lower to {target}: {why}", status="not-applicable")
    if not isinstance(calibration, Sequence):
        raise UsageError("calibration is a list of inputs like the example, such as list(tensor.split(1))")
    if made.calibrates and not calibration:
        raise UsageError(f"{target} needs calibration=[...]: inputs like the example, from the training data")
    more = [tupled(each) for each in calibration]
    return ship(made, model, [tupled(example), *more[:PROOFS]], more)


def ship(
    target: Target,
    network: nn.Module,
    items: Sequence[Inputs],
    calibration: Sequence[Inputs],
    predictions: Callable[[NDArray[np.float32]], NDArray[np.integer]] | None = None,
) -> Shipped:
    """The program of ``network`` for inputs like the first of ``items`` (batch 1 each), proved on all of them.

    Raises:
        UsageError: as ``Target.lower``.
        StageError: as ``Target.lower`` and ``prove``; ``not-applicable`` where the precision leaves most weights as
            they were.
    """
    if target.precision not in BOUNDS:
        raise UsageError(
            f"target {target.name}: nothing is known of precision {target.precision!r}; known: {', '.join(BOUNDS)}"
        )
    lowered = target.lower(network, items[0], calibration)
    program = opened(lowered.buffer, "program", "")
    found = facts(program)
    weights = sum(parameter.numel() for parameter in network.parameters() if parameter.ndim > 1)
    if why := untouched(target.precision, found, weights):
        raise StageError(f"{target.name} is not for this network: {why}", status="not-applicable")
    start = time.perf_counter()
    parity = prove(lowered, network, items, target, predictions)
    seconds = {**lowered.seconds, "prove": time.perf_counter() - start}
    parameters = sum(parameter.numel() for parameter in network.parameters())
    table = {
        **found.as_json(),
        "target": target.name,
        "backend": target.backend,
        "precision": target.precision,
        "structure": lowered.structure,
        "delegated": lowered.delegated,
        "quantized_share": found.quantized_share,
        "estimates": dict(lowered.estimates),
        "surprises": surprises(target.precision, program, found, parameters),
        "parity": asdict(parity),
        "seconds": seconds,
    }
    return Shipped(lowered.buffer, table)


def tupled(inputs: Tensor | Inputs) -> Inputs:
    """The inputs of one call as a tuple."""
    return inputs if isinstance(inputs, tuple) else (inputs,)
