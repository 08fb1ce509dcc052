"""A small suite for this machine and another one, and what of their records may differ."""

_SUITE = """
version = 1
data = "digits"
seeds = [0]
targets = ["xnnpack-fp32", "xnnpack-int8"]
devices = ["host", "{device}"]
[[pairs]]
teacher = "mlp"
student = "dscnn"
[methods]
scratch = {{}}
[recipes.teacher]
kind = "fast"
epochs = 1
batch_size = 64
lr = 0.05
[recipes.student]
kind = "fast"
epochs = 1
batch_size = 64
lr = 0.05
[protocol]
processes = 2
min_seconds = 0.05
memory_processes = 1
"""

TIMED = {
    "latency_ms",
    "latency_mean_ms",
    "latency_p90_ms",
    "latency_p99_ms",
    "latency_ref",
    "load_program_ms",
    "load_method_ms",
    "first_ms",
    "load_ms",
    "peak_rss_bytes",
    "rss_anon_bytes",
    "rss_file_bytes",
    "runtime_bytes",
    "energy_mj",
    "latency_paced_ms",
    "latency_paced_p90_ms",
    "latency_paced_ref",
    "paced_slowdown",
    "paced_late",
    "latency_sustained_ms",
    "sustained_slowdown",
}
"""Figures of one machine alone."""


def suite_on(device):
    """The suite's text, for the host and ``device``."""
    return _SUITE.format(device=device)


def paired(records, device):
    """The records of the host, each with that of ``device`` for the same case."""
    here, there = ([record for record in records if record["device"] == name] for name in ("host", device))
    assert len(here) == len(there) == 4
    return list(zip(here, there, strict=True))
