"""Measurements: any PyTorch module as the program that would ship, lowered, proved, timed and sized in one call."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench.catalog import load, suggestion
from kdbench.devices.device import device_named
from kdbench.errors import MeasureError, StageError, UsageError
from kdbench.measures.measure import Evidence
from kdbench.measures.metric import METRICS
from kdbench.spec import Protocol
from kdbench.store import Artefact, Store, default_store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from kdbench.devices.device import Device
    from kdbench.measures.measure import Figure, Measure
    from kdbench.measures.speed import Timing
    from kdbench.measures.timing_job import SpeedProgram
    from kdbench.records import Speed

MEASURES = ("size", "compute", "latency", "memory", "energy", "instructions")
"""The measures that need no task and no data."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a module costs as a program: its bytes, the facts read from them, and its figures by metric id.

    Every metric of ``MEASURES`` is an attribute and a key, in the unit that ``kdbench.measures.metric.METRICS``
    declares: ``m.latency_ms`` and ``m["size_bytes"]``. Where there is no figure, both raise MeasureError with the
    reason; ``metrics`` then holds None and ``reasons`` the reason. ``facts`` is what ``program.json`` of a stored
    program says, its proof (``facts["parity"]``) included.
    """

    target: str
    device: str
    program: bytes
    facts: Mapping[str, Any]
    speed: Speed
    metrics: Mapping[str, float | None]
    reasons: Mapping[str, str]

    def __getitem__(self, metric: str) -> float:
        if metric not in self.metrics:
            raise KeyError(metric)
        value = self.metrics[metric]
        if value is None:
            raise MeasureError(f"no {metric} of {self.target} on {self.device}: {self.reasons[metric]}")
        return value

    def __getattr__(self, metric: str) -> float:
        if metric not in METRICS or metric not in self.metrics:
            known = suggestion(metric, [name for name in METRICS if name in self.metrics])
            raise AttributeError(f"a measurement has no {metric!r}; {known}") from None
        return self[metric]


def measure(
    model: nn.Module,
    example: Tensor | tuple[Tensor, ...],
    target: str = "xnnpack-fp32",
    device: str = "host",
    protocol: Protocol | None = None,
    *,
    calibration: Sequence[Tensor | tuple[Tensor, ...]] = (),
    store: Path | None = None,
) -> Measurement:
    """The cost of ``model`` (eval mode) as a program of ``target`` on ``device``.

    ``example`` is one input, batch 1, or a tuple of them where the module takes several; ``calibration`` are inputs
    like it, from the training data, by which an integer target chooses its ranges. The program is proved against the
    module on both. ``protocol`` says how long it is timed; ``store`` keeps the reference program that
    ``latency_ref`` is a ratio to (default: the user's).

    Raises:
        UsageError: an unknown target or device, a module in training mode, or an integer target without calibration.
        StageError: the module cannot be lowered, the program is broken (``parity-failed``), or it cannot be run.
    """
    from kdbench.lowering.shipped import lower, tupled

    where = device_named(device)
    if why := load("targets", target).missing_on(device):
        raise StageError(f"{target} can be lowered (kdbench.lower) but not measured: {why}", status="not-applicable")
    shipped, inputs = lower(model, example, target, calibration=calibration), tupled(example)
    structure = shipped.facts["structure"]
    calls = (*shipped.facts["delegates"], *shipped.facts["operators"])
    timing = _timed(shipped.program, structure, _arrays(inputs), calls, where, protocol or Protocol(), store)
    if timing.speed.status != "ok":
        raise StageError(timing.speed.reason, status=timing.speed.status)
    figures = _figures(model, inputs, shipped.facts, timing.speed)
    return Measurement(
        target=target,
        device=device,
        program=shipped.program,
        facts=shipped.facts,
        speed=timing.speed,
        metrics={metric: None if isinstance(figure, str) else figure for metric, figure in figures.items()},
        reasons={metric: figure for metric, figure in figures.items() if isinstance(figure, str)},
    )


def _timed(
    buffer: bytes,
    structure: str,
    arrays: tuple[NDArray[np.generic], ...],
    calls: tuple[str, ...],
    device: Device,
    protocol: Protocol,
    store: Path | None,
) -> Timing:
    from kdbench.measures.speed import measure_speeds
    from kdbench.measures.timing_job import SpeedProgram

    with tempfile.TemporaryDirectory(prefix="kdbench-measure-") as folder:
        path = Path(folder) / "program.pte"
        path.write_bytes(buffer)
        program = SpeedProgram(path, arrays, calls=calls)
        return measure_speeds(device, {structure: program}, _reference(store), protocol)[structure]


def _reference(store: Path | None) -> SpeedProgram | None:
    """The reference program, made once a store."""
    import numpy as np

    from kdbench.conduct import conduct
    from kdbench.measures.timing_job import SpeedProgram
    from kdbench.session import REFERENCE

    made = conduct([REFERENCE], Store(store or default_store()), 1, lambda _event: None)[REFERENCE.id]
    if not isinstance(made, Artefact):
        return None
    return SpeedProgram(made.path("program.pte"), (np.load(made.path("input.npy"), allow_pickle=False)[None],))


def _figures(model: nn.Module, inputs: tuple[Tensor, ...], facts: Mapping[str, Any], speed: Speed) -> dict[str, Figure]:
    from kdbench.measures.compute import count_macs, count_params

    evidence = Evidence(
        task=load("tasks", "classification")(),  # none of MEASURES asks it anything
        network={"params": count_params(model), "macs": count_macs(model, *inputs)},
        program=facts,
        targets=None,
        eager=None,
        outputs=None,
        teacher=None,
        speed=speed,
        kd_seconds=None,
    )
    figures: dict[str, Figure] = {}
    for name in MEASURES:
        of: Measure = load("measures", name)()
        figures |= of.of(evidence)
    return figures


def _arrays(inputs: tuple[Tensor, ...]) -> tuple[NDArray[np.generic], ...]:
    """One item for each input of a program, as a job is fed: [1, *shape]."""
    try:
        return tuple(value.detach().cpu().contiguous().numpy()[None] for value in inputs)
    except TypeError as error:
        raise UsageError(f"the example cannot be fed to a program: {error}") from None
