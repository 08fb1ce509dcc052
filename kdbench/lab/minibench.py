"""What ExecuTorch's Android benchmark app writes: averages by metric, without samples.

``benchmark_results.json`` of ``extension/benchmark/android/benchmark`` is a list of ``BenchmarkMetric`` (its
``BenchmarkMetric.java``) as Gson writes them: ``benchmarkModel`` {name, backend, quantization}, which the app tells
from the file's name, ``metric``, ``actualValue``, ``targetValue``, ``deviceInfo`` {device, arch, os, totalMem,
availMem}. Which metrics there are says its ``ModelRunner.java``; memory is PSS after minus before, so no peak.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from kdbench.errors import UsageError
from kdbench.lab.manifest import checked
from kdbench.lab.reading import NO_SAMPLES, Reading, Told
from kdbench.store import file_sha256

if TYPE_CHECKING:
    from pathlib import Path

READER = "ExecuTorch's minibench"
RUNTIME = "ExecuTorch's Android benchmark app"

MEAN, LOAD, STATUS = "avg_inference_latency(ms)", "model_load_time(ms)", "load_status"
_BESIDE = ("trimmean_inference_latency(ms)", "ram_pss_usage(mb)")


class _Foreign(BaseModel):
    """A part of a file that is not ours: what else it holds is no error."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class _Model(_Foreign):
    name: Annotated[str, Field(min_length=1)]
    backend: str = ""
    quantization: str = ""

    @property
    def stem(self) -> str:
        """The file's name, which the app takes apart where it has underscores."""
        return "_".join(filter(None, (self.name, self.backend, self.quantization)))


class _Device(_Foreign):
    device: str = ""
    arch: str = ""
    os: str = ""


class _Metric(_Foreign):
    benchmarkModel: _Model  # noqa: N815 - the app's name
    metric: str
    actualValue: float  # noqa: N815
    deviceInfo: _Device = _Device()  # noqa: N815


class _Results(_Foreign):
    rows: Annotated[tuple[_Metric, ...], Field(min_length=1)]


def read_minibench(table: Any, path: Path) -> Told:
    """The readings of a ``benchmark_results.json`` that was parsed: one a program, or more where a metric is repeated.

    Raises:
        UsageError: it is not one, it is of several devices, or an average is not above zero.
    """
    rows = checked(_Results, {"rows": table}, path, "a minibench result").rows
    devices = dict.fromkeys(row.deviceInfo for row in rows)
    if len(devices) > 1:
        raise UsageError(f"{path} is of {len(devices)} devices; ingest them one by one")
    [device] = devices
    told: dict[str, list[dict[str, float]]] = {}
    left: dict[str, None] = {}
    for row in rows:
        if row.metric not in (MEAN, LOAD, STATUS, *_BESIDE):
            left.setdefault(f"metric {row.metric}: kdbench has no such figure")
            continue
        repeats = told.setdefault(row.benchmarkModel.stem, [])
        free = next((repeat for repeat in repeats if row.metric not in repeat), None)
        if free is None:
            repeats.append(free := {})
        free[row.metric] = row.actualValue
    named = {"name": " ".join(filter(None, (device.device, device.arch))), "os": device.os}
    return Told(
        path=path,
        sha256=file_sha256(path),
        reader=READER,
        runtime=RUNTIME,
        device={key: text for key, text in named.items() if text},
        readings=tuple(
            _reading(stem, process, figures, path)
            for stem, repeats in told.items()
            for process, figures in enumerate(repeats)
        ),
        left=tuple(left),
    )


def _reading(stem: str, process: int, figures: dict[str, float], path: Path) -> Reading:
    details = {name: figures[name] for name in _BESIDE if name in figures}
    if status := figures.get(STATUS):
        return Reading(stem=stem, process=process, failed=f"{STATUS} {status:g}", details=details)
    if MEAN not in figures:
        raise UsageError(f"{path}: {stem!r} has no {MEAN}, and no {STATUS} that says why")
    for name in (MEAN, LOAD):
        if figures.get(name, 1.0) <= 0:
            raise UsageError(f"{path}: {name} of {stem!r} is {figures[name]:g}, so nothing was timed")
    return Reading(
        stem=stem,
        process=process,
        mean_ms=figures[MEAN],
        load_ms=figures.get(LOAD),
        flags=(NO_SAMPLES,),
        details=details,
    )
