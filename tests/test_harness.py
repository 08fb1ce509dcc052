"""Suites run by pytest, for real: what is reported, judged, replayed and written."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from kdbench.records import read_run, read_samples

SUITE = """
version = 1
data = "digits"
seeds = [0]
targets = ["xnnpack-fp32"]
[[pairs]]
teacher = "resnet8"
student = "dscnn"
[methods]
kd = {}
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
min_runs = 20
min_seconds = 0.0
block_ms = 0.02
warmup_seconds = 0.0
memory_processes = 1
[budgets."xnnpack-fp32"]
accuracy = ">= 1.5"
size_bytes = "<= 100000"
latency_p99_ms = "<= 1000"
"""
BROKEN = """
from kdbench.methods.scratch import Scratch

class Broken(Scratch):
    def losses(self, step):
        raise RuntimeError("no loss today")
"""
CASE = "digits:resnet8-dscnn/{}/xnnpack-fp32/s0/host"
TEACHER, KD, FAILED = (CASE.format(method) for method in ("teacher", "kd", "Broken"))


@dataclass(frozen=True)
class Place:
    """A folder with a suite, a store and results, in which pytest runs."""

    folder: Path

    def pytest(self, *arguments, **environment):
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def command(self, *arguments):
        return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]

    @property
    def environment(self):
        here = {"KDBENCH_STORE": str(self.folder / "store"), "KDBENCH_RESULTS": str(self.folder / "results")}
        # Without what a pytest around this one says of itself, such as that it is a worker of xdist.
        outside = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        return outside | here | {"COLUMNS": "140"}

    @property
    def runs(self):
        return sorted(self.folder.glob("results/scratch/*/*/*/run.json"))

    @property
    def artefacts(self):
        return sorted(self.folder.glob("store/*/*/*/artefact.json"))


@dataclass(frozen=True)
class Ended:
    """A session that has run: its exit code, what it printed, its JUnit and pytest-benchmark's JSON."""

    code: int
    out: str
    junit: dict
    benchmarks: dict
    run: Path

    def case(self, case, measure):
        return self.junit[case, measure]

    def properties(self, case, measure):
        return {each.get("name"): each.get("value") for each in self.case(case, measure).iter("property")}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("harness")
    (folder / "small.toml").write_text(SUITE)
    (folder / "broken.py").write_text(BROKEN)
    return Place(folder)


@pytest.fixture(scope="module")
def ended(place):
    """The whole suite with a method that fails, from an empty store."""
    words = ("small.toml", "--kdbench-method=broken.py:Broken", "--junitxml=junit.xml", "--benchmark-json=bench.json")
    done = place.pytest(*words, "--benchmark-autosave", "-rA")
    tree = ET.parse(place.folder / "junit.xml")
    junit = {}
    for case in tree.iter("testcase"):
        junit[case.get("classname").removeprefix("small.toml."), case.get("name")] = case
    benchmarks = {b["name"]: b for b in json.loads((place.folder / "bench.json").read_text())["benchmarks"]}
    (run,) = place.runs
    return Ended(done.returncode, done.stdout, junit, benchmarks, run.parent)


def test_broken_budgets_and_failed_cases_fail_the_session(ended):
    assert ended.code == pytest.ExitCode.TESTS_FAILED
    outcomes = {}
    for case, measure in ended.junit:
        children = {child.tag for child in ended.case(case, measure)} - {"properties"}
        outcomes.setdefault((case, *children), set()).add(measure)
    everything = {"compute", "energy", "fidelity", "instructions", "latency", "memory", "quality", "size", "training"}
    untold = {"energy", "instructions"}
    assert outcomes == {
        (TEACHER,): everything - untold,
        (TEACHER, "skipped"): untold,
        (KD,): everything - {"quality", "latency"} - untold,
        (KD, "skipped"): untold,
        (KD, "failure"): {"quality", "latency"},
        (FAILED, "error"): everything,
    }


def test_a_broken_budget_is_told_in_two_lines(ended):
    accuracy = read_run(ended.run).records[-2].metrics["accuracy"]
    failure = ended.case(KD, "quality").find("failure")
    assert failure.text == (
        f"budget accuracy >= 1.5 broken: {accuracy:g}\n"
        f"reproduce: pytest small.toml::{KD}::quality --kdbench-method broken.py:Broken"
    )
    assert f"FAILED small.toml::{KD}::quality - Failed: budget accuracy >= 1.5 broken" in ended.out


def test_a_budget_without_a_figure_is_no_pass(ended):
    failure = ended.case(KD, "latency").find("failure")
    assert failure.text.startswith("budget latency_p99_ms <= 1000 not judged: needs 1,000 samples")


def test_a_failed_case_is_an_error_with_its_reason(ended):
    error = ended.case(FAILED, "size").find("error")
    assert error.text.startswith("failed: RuntimeError: no loss today (broken.py:6)\nreproduce: pytest small.toml::")
    assert "Traceback" not in ended.out
    assert "harness.py" not in ended.out


def test_figures_are_properties(ended):
    records = {record.case: record for record in read_run(ended.run).records}
    size = ended.properties(KD, "size")
    assert float(size["size_bytes"]) == records[KD].metrics["size_bytes"]
    assert size["run"] == ended.run.name
    latency = ended.properties(TEACHER, "latency")
    assert latency["latency_p99_ms.missing"].startswith("needs 1,000 samples")
    assert "latency_p99_ms" not in latency
    assert ended.properties(FAILED, "size")["status"] == "failed"


def test_pytest_benchmark_has_exactly_the_samples_of_the_device(ended):
    records = {record.case: record for record in read_run(ended.run).records}
    samples = read_samples(ended.run)
    assert set(ended.benchmarks) == {TEACHER, KD}
    for case, benchmark in ended.benchmarks.items():
        record = records[case]
        ns = np.concatenate([samples[f"{record.structure}/host/{process}"] for process in range(2)])
        stats = benchmark["stats"]
        assert stats["data"] == (ns / 1e9).tolist()
        assert (stats["min"], stats["max"], stats["rounds"]) == (ns.min() / 1e9, ns.max() / 1e9, len(ns))
        assert stats["median"] == pytest.approx(np.median(ns) / 1e9, rel=1e-12)
        assert benchmark["fullname"] == f"small::{case}"
        assert benchmark["group"] == "digits:resnet8-dscnn xnnpack-fp32"
        extra = benchmark["extra_info"]
        assert extra["size_bytes"] == record.metrics["size_bytes"]
        assert extra["latency_p90_ms"] == record.metrics["latency_p90_ms"]
        assert (extra["run"], extra["version"]) == (ended.run.name, 1)


def test_the_table_and_the_run_are_shown(ended):
    assert re.search(r"^=+ kdbench: small =+$", ended.out, re.MULTILINE)
    assert re.search(r"^kd .*xnnpack-fp32", ended.out, re.MULTILINE)
    assert f"run {ended.run.name} in {ended.run}" in ended.out
    assert "(partial)" not in ended.out


def test_a_selection_runs_what_it_needs_and_is_partial(place, ended):
    """Also compared by pytest-benchmark with the run before, by suite and case; and by its own option, times alone."""
    made = place.artefacts
    words = ("-m", "kdbench(method='teacher')", "--benchmark-compare", "--benchmark-only", "-v")
    done = place.pytest("small.toml", *words)
    assert done.returncode == 0, done.stdout
    assert "1 passed, 8 skipped" in done.stdout
    assert f"small.toml::{TEACHER}::latency PASSED" in done.stdout
    assert place.artefacts == made
    new = next(run for run in place.runs if run.parent != ended.run)
    run = read_run(new.parent)
    assert run.partial
    assert [record.case for record in run.records] == [TEACHER]
    assert "(partial)" in done.stdout
    assert re.search(r"teacher/xnnpack-fp32/s0/host \(0001_", done.stdout)


@pytest.mark.parametrize(("option", "what"), [("store", "store"), ("results", "results")])
def test_a_place_that_cannot_be_written_is_every_items_error(place, ended, tmp_path, option, what):
    (tmp_path / "file").write_text("")
    bad = tmp_path / "file" / "below"
    done = place.pytest(f"small.toml::{TEACHER}::size", f"--kdbench-{option}={bad}")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert re.search(rf"cannot write .*{what}.* {bad}.*; point --kdbench-{option} or", done.stdout), done.stdout
    assert "1 error" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_what_only_loading_shows_is_a_usage_error(place, ended):
    words = ("--kdbench-method=kd", "--kdbench-option=warmth=2")
    done = place.pytest("small.toml", *words)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert len(done.stderr.strip().splitlines()) == 1
    assert "warmth" in done.stderr


def test_interrupted_stages_leave_nothing_half_written(place, tmp_path):
    shutil.copy(place.folder / "small.toml", tmp_path)
    here = Place(tmp_path)
    process = subprocess.Popen(
        here.command("small.toml"), cwd=tmp_path, env=here.environment, stdout=subprocess.PIPE, text=True
    )
    while not list(tmp_path.glob("store/tmp/*")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert "KeyboardInterrupt" in out
    assert list(tmp_path.glob("store/tmp/*")) == []
    assert here.runs == []
