"""A made-up bundle of the made-up run: its manifest, and files of results in each known format."""

import json

import made_up

from kdbench.lab.bundle import stem_of
from kdbench.lab.manifest import Entry, Feed, Manifest, Tensor
from kdbench.spec import Protocol

REFERENCE = made_up.sha("reference program")
CASE = "digits:resnet8-dscnn/kd/xnnpack-int8/s0/host"


def run():
    return made_up.run(broken=False)


def record(whole, case=CASE):
    return next(rec for rec in whole.records if rec.case == case)


def entry(rec, **changes):
    facts = {
        "file": f"programs/{stem_of(rec)}.pte",
        "sha256": rec.program_sha256,
        "size_bytes": 1000,
        "structure": rec.structure,
        "cases": (rec.case,),
        "target": rec.target,
        "method": "forward",
        "inputs": (Tensor(dtype="float32", shape=(1, 1, 8, 8)),),
        "outputs": (Tensor(dtype="float32", shape=(1, 10)),),
        "backends": ("XnnpackBackend",),
        "operators": (),
        "timing": "digits-timing",
    }
    return Entry(**{**facts, **changes})


def manifest(whole=None, cases=(CASE,), **changes):
    whole = whole or run()
    records = [record(whole, case) for case in cases]
    feed = Feed(npy="a.npy", bin="a.bin", dtype="float32", shape=(1, 1, 8, 8), items=4, item_bytes=256)
    facts = {
        "kdbench": "0.1.0",
        "executorch": "1.5.1",
        "run": whole.id,
        "suite": whole.name,
        "version": 1,
        "partial": len(cases) < len(whole.records),
        "cases": tuple(cases),
        "protocol": Protocol(min_runs=2),
        "programs": tuple(entry(rec) for rec in records),
        "reference": entry(records[0], file="programs/reference.pte", sha256=REFERENCE, cases=(), structure="ruler"),
        "feeds": {"digits-timing": feed, "digits-test": feed},
        "files": {},
    }
    return Manifest(**{**facts, **changes})


def measured(*measurements, **changes):
    """A ``measured.json`` as a table."""
    return {
        "format": 1,
        "device": {"name": "Pixel 8", "soc": "Tensor G3", "os": "Android 15"},
        "runtime": "executor_runner executorch-1.5.1 aarch64",
        "measurements": list(measurements),
        **changes,
    }


def one(sha256, **figures):
    return {"program_sha256": sha256, "threads": 1, **(figures or {"samples_ns": [2_000_000, 3_000_000, 4_000_000]})}


def metric(name, value, model, **changes):
    """An element of minibench's list; see ``kdbench.lab.minibench`` for where the format comes from."""
    return {
        "benchmarkModel": {"name": model, "backend": "", "quantization": ""},
        "metric": name,
        "actualValue": value,
        "targetValue": 0.0,
        "deviceInfo": {"device": "google", "arch": "Pixel 8", "os": "Android 15", "totalMem": 0, "availMem": 0},
        **changes,
    }


def line(test, values, metric="Clock Monotonic Time, s"):
    """A line of XCTest's; see ``kdbench.lab.xctest`` for where the format comes from."""
    shown = ", ".join(f"{value:.6f}" if isinstance(value, float) else str(value) for value in values)
    return (
        f"/Users/ci/Tests/GenericTests.mm:62: Test Case '-[GenericTests {test}]' measured [{metric}] average: 0.002, "
        f"relative standard deviation: 3.100%, values: [{shown}], performanceMetricID:"
        'com.apple.dt.XCTMetric_Clock.time.monotonic, baselineName: "", baselineAverage: , polarity: prefers smaller, '
        "maxPercentRegression: 10.000%, maxPercentRelativeStandardDeviation: 10.000%, maxRegression: 0.000, "
        "maxStandardDeviation: 0.000\n"
    )


def said(form, *values):
    """A message at the level Info; ``form`` is C's."""
    return "I", form % values


def ran(file, iterations, threads=1, load=1.5):
    """What executor_runner of ExecuTorch 1.3 and newer says of one run; see ``kdbench.lab.executor_runner``."""
    times = len(iterations)
    return [
        said("Resetting threadpool with num threads = %d", threads),
        said("Loading inputs from input file(s)."),
        said("Model file %s is loaded.", file),
        said("Using method %s", "forward"),
        said("Setting up CPU planned buffer %u, size %u.", 0, 4096),
        said("Model loaded in %f ms.", load),
        *(said("Iteration %u of %u: %f ms", i + 1, times, ms) for i, ms in enumerate(iterations)),
        said("Model executed successfully %u time(s) in %f ms.", times, sum(iterations)),
        said("%u outputs: ", 1),
        said("Writing output to file: %s", "out-0.bin"),
    ]


def ran_before_1_3(file, times, total, threads=1):
    """The same of ExecuTorch 1.0 to 1.2."""
    return [
        said("Resetting threadpool with num threads = %d", threads),
        said("Model file %s is loaded.", file),
        said("Using method %s", "forward"),
        said("Setting up planned buffer %u, size %u.", 0, 4096),
        said("Method loaded."),
        said("Model executed successfully %u time(s) in %f ms.", times, total),
        said("%u outputs: ", 1),
    ]


def on_terminal(messages):
    """Messages, each with its level, as ExecuTorch's posix.cpp prints them."""
    form = "%c %02u:%02u:%02u.%06u executorch:%s:%u] %s\n"
    return "".join(form % (level, 0, 0, 1, 1544, "executor_runner.cpp", 612, text) for level, text in messages)


def in_logcat(messages, form="threadtime", pid=4913):
    """Messages, each with its level, as ``adb logcat -v FORM`` prints those of ExecuTorch's android.cpp."""
    prefix = {
        "threadtime": "%(time)s %(pid)5d %(pid)5d %(level)c %(tag)-8s: ",
        "threadtime,uid": "%(time)s %(uid)5s %(pid)5d %(pid)5d %(level)c %(tag)-8s: ",
        "time": "%(time)s %(level)c/%(tag)-8s(%(pid)5d): ",
        "brief": "%(level)c/%(tag)-8s(%(pid)5d): ",
    }[form]
    facts = {"time": "11-27 10:00:00.123", "uid": "shell", "pid": pid, "tag": "ExecuTorch"}
    lines = (prefix % {**facts, "level": level} + text + "\n" for level, text in messages)
    return "--------- beginning of main\n" + "".join(lines)


def written(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path
