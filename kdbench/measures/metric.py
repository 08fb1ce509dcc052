"""Metrics: each figure's id, unit, direction and tier, declared once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Tier = Literal["exact", "host", "estimate"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure that tables, budgets, records and the gate know by ``id``.

    ``tier`` says where it may be compared: ``exact`` across machines, ``host`` only on one machine and device,
    ``estimate`` only with itself. ``scale`` and ``digits`` say how people read it: shown = value * scale. ``shared``
    figures are measured once a structure and stand in the rows of all its seeds and methods.
    """

    id: str
    unit: str
    better: Literal["higher", "lower"]
    tier: Tier
    title: str
    what: str
    scale: float = 1.0
    shown_unit: str = ""
    digits: int = 2
    shared: bool = False

    @property
    def difference_unit(self) -> str:
        """The shown unit of a difference of two such figures: points where they are percentages."""
        return "pt" if self.shown_unit == "%" else self.shown_unit


METRICS: dict[str, Metric] = {
    metric.id: metric
    for metric in (
        Metric(
            "accuracy", "fraction", "higher", "exact", "accuracy", "of the program on the whole test set", 100, "%", 2
        ),
        Metric("accuracy_eager", "fraction", "higher", "exact", "eager", "of the eager network", 100, "%", 2),
        Metric("accuracy_drop", "fraction", "lower", "exact", "drop", "eager minus program", 100, "pt", 2),
        Metric(
            "flips", "fraction", "lower", "exact", "flips", "test items on which program and eager differ", 100, "%", 2
        ),
        Metric("agreement", "fraction", "higher", "exact", "agreement", "with the teacher's predictions", 100, "%", 2),
        Metric(
            "agreement_teacher_wrong",
            "fraction",
            "higher",
            "exact",
            "agr. wrong",
            "with the teacher where the teacher errs",
            100,
            "%",
            1,
        ),
        Metric("kl_teacher", "nats", "lower", "exact", "KL", "mean KL(teacher || program)", 1, "nats", 3),
        Metric("ece", "fraction", "lower", "exact", "ECE", "expected calibration error, 15 bins", 100, "%", 2),
        Metric("params", "count", "lower", "exact", "params", "parameters of the deployed network", 1, "", 0),
        Metric("macs", "count", "lower", "exact", "MACs", "multiply-accumulates per inference", 1e-6, "M", 3),
        Metric("size_bytes", "bytes", "lower", "exact", "size", "the .pte file", 1 / 1000, "kB", 1),
        Metric("download_bytes", "bytes", "lower", "exact", "download", "the file, deflate level 9", 1 / 1000, "kB", 1),
        Metric(
            "weight_bytes", "bytes", "lower", "exact", "weights", "constant data and delegate blobs", 1 / 1000, "kB", 1
        ),
        Metric("arena_bytes", "bytes", "lower", "exact", "arena", "planned memory", 1 / 1000, "kB", 1),
        Metric("delegated", "fraction", "higher", "exact", "delegated", "operators inside a delegate", 100, "%", 0),
        Metric(
            "quantized_share", "fraction", "higher", "exact", "quantized", "weight bytes below 16 bits", 100, "%", 0
        ),
        Metric(
            "latency_ms", "ms", "lower", "host", "latency", "steady median of execute()", 1000, "us", 2, shared=True
        ),
        Metric("latency_mean_ms", "ms", "lower", "host", "mean", "mean of execute()", 1000, "us", 2, shared=True),
        Metric(
            "latency_p90_ms", "ms", "lower", "host", "p90", "90th percentile of execute()", 1000, "us", 2, shared=True
        ),
        Metric(
            "latency_p99_ms",
            "ms",
            "lower",
            "host",
            "p99",
            "99th percentile, from 1,000 samples on",
            1000,
            "us",
            2,
            shared=True,
        ),
        Metric(
            "latency_ref",
            "ratio",
            "lower",
            "host",
            "x ref",
            "median latency over that of a small fixed network timed beside it, kdbench's reference program",
            1,
            "x",
            3,
            shared=True,
        ),
        Metric(
            "latency_paced_ms",
            "ms",
            "lower",
            "host",
            "paced",
            "median of execute(), begun when due as apps do",
            1000,
            "us",
            2,
            shared=True,
        ),
        Metric(
            "latency_paced_p90_ms",
            "ms",
            "lower",
            "host",
            "paced p90",
            "90th percentile, paced",
            1000,
            "us",
            2,
            shared=True,
        ),
        Metric(
            "latency_paced_ref",
            "ratio",
            "lower",
            "host",
            "paced ref",
            "paced latency over that of the reference program, paced alike",
            1,
            "x",
            3,
            shared=True,
        ),
        Metric(
            "paced_slowdown",
            "ratio",
            "lower",
            "host",
            "x steady",
            "paced latency over the steady one",
            1,
            "x",
            3,
            shared=True,
        ),
        Metric(
            "paced_late",
            "fraction",
            "lower",
            "host",
            "late",
            "paced inferences that began over a tenth of the period after they were due",
            100,
            "%",
            1,
            shared=True,
        ),
        Metric(
            "latency_sustained_ms",
            "ms",
            "lower",
            "host",
            "sustained",
            "median of the last tenth of a long run back to back",
            1000,
            "us",
            2,
            shared=True,
        ),
        Metric(
            "sustained_slowdown",
            "ratio",
            "lower",
            "host",
            "last/first",
            "median of the last tenth of that run over that of its first",
            1,
            "x",
            3,
            shared=True,
        ),
        Metric("load_program_ms", "ms", "lower", "host", "load", "reading the program", 1, "ms", 3, shared=True),
        Metric(
            "load_method_ms",
            "ms",
            "lower",
            "host",
            "pack",
            "loading the method, packing weights",
            1,
            "ms",
            3,
            shared=True,
        ),
        Metric(
            "load_ms",
            "ms",
            "lower",
            "host",
            "load all",
            "reading the program, loading its method",
            1,
            "ms",
            3,
            shared=True,
        ),
        Metric("first_ms", "ms", "lower", "host", "first", "the first inference", 1, "ms", 3, shared=True),
        Metric(
            "peak_rss_bytes",
            "bytes",
            "lower",
            "host",
            "peak RSS",
            "runner with the program minus without",
            1e-6,
            "MB",
            2,
            shared=True,
        ),
        Metric(
            "rss_anon_bytes",
            "bytes",
            "lower",
            "host",
            "anonymous",
            "resident of no file after 4 inferences, minus without the program",
            1e-6,
            "MB",
            2,
            shared=True,
        ),
        Metric(
            "rss_file_bytes",
            "bytes",
            "lower",
            "host",
            "of files",
            "resident of files after 4 inferences, minus without the program",
            1e-6,
            "MB",
            2,
            shared=True,
        ),
        Metric(
            "runtime_bytes",
            "bytes",
            "lower",
            "host",
            "runtime",
            "executorch's libraries that the program calls",
            1e-6,
            "MB",
            2,
            shared=True,
        ),
        Metric(
            "energy_mj", "mJ", "lower", "host", "energy", "of an inference, idle subtracted", 1, "mJ", 3, shared=True
        ),
        Metric("instructions", "count", "lower", "exact", "instr.", "of an inference", 1e-3, "k", 3, shared=True),
        Metric(
            "vector_instructions",
            "count",
            "lower",
            "exact",
            "vector",
            "instructions of the vector and floating-point unit",
            1e-3,
            "k",
            3,
            shared=True,
        ),
        Metric("loads", "count", "lower", "exact", "loads", "instructions that load", 1e-3, "k", 3, shared=True),
        Metric("stores", "count", "lower", "exact", "stores", "instructions that store", 1e-3, "k", 3, shared=True),
        Metric(
            "npu_cycles", "count", "lower", "estimate", "NPU cycles", "of an inference, by its compiler", 1e-3, "k", 1
        ),
        Metric("npu_ms", "ms", "lower", "estimate", "NPU", "time of an inference, by Vela", 1000, "us", 1),
        Metric("npu_sram_bytes", "bytes", "lower", "estimate", "SRAM", "at most used, by Vela", 1e-3, "kB", 1),
        Metric("npu_flash_bytes", "bytes", "lower", "estimate", "flash", "what the NPU reads, by Vela", 1e-3, "kB"),
        Metric("train_s", "s", "lower", "host", "train", "training the student", 1, "s", 2),
        Metric("train_samples_per_s", "1/s", "higher", "host", "img/s", "training throughput", 1, "/s", 0),
        Metric("train_peak_bytes", "bytes", "lower", "host", "train RSS", "peak memory of training", 1e-6, "MB", 0),
        Metric("train_cost", "ratio", "lower", "host", "x kd", "training time over that of kd", 1, "x", 2),
        Metric("student_steps", "count", "lower", "estimate", "steps", "updates of the student", 1, "", 0),
        Metric("student_forwards", "count", "lower", "estimate", "fwd", "items forward through the student", 1, "", 0),
        Metric(
            "teacher_forwards", "count", "lower", "estimate", "fwd t", "items forward through the teacher", 1, "", 0
        ),
        Metric(
            "own_forwards", "count", "lower", "estimate", "fwd own", "items forward through peer or assistant", 1, "", 0
        ),
        Metric("backwards", "count", "lower", "estimate", "bwd", "items backward, peer or assistant too", 1, "", 0),
    )
}
"""Every figure by its id."""


def metric_of(name: str) -> Metric:
    """The declared metric, or a plain one for an id that only a run knows."""
    return METRICS.get(name) or Metric(name, "", "lower", "estimate", name, name, digits=4)
