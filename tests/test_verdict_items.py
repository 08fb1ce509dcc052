"""Suites judged against a baseline by pytest, for real: what is collected, what fails and what it says."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from kdbench.baseline import BASELINE_FILE, save_baseline
from kdbench.records import read_items, read_run, run_text
from kdbench.side import side
from kdbench.store import Store, file_sha256
from kdbench.verdict import Verdict
from kdbench.verdict_items import reported

SUITE = """
version = 1
data = "digits"
seeds = [0, 1, 2]
targets = ["xnnpack-fp32"]
[[pairs]]
teacher = "resnet8"
student = "dscnn"
[methods]
scratch = {}
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
processes = 1
min_runs = 20
min_seconds = 0.0
memory_processes = 1
[budgets."xnnpack-fp32"]
latency_ms = "<= 1000"
"""
TEACHER = "digits:resnet8-dscnn/teacher/xnnpack-fp32/s0/host"
S0, S1, S2 = (f"digits:resnet8-dscnn/scratch/xnnpack-fp32/s{seed}/host" for seed in range(3))
ONLY = ("-m", "kdbench(measure='baseline')")


class Place:
    def __init__(self, folder):
        self.folder = folder
        self.base = folder / "results" / "baselines" / "small"

    def pytest(self, *words, **environment):
        here = {"KDBENCH_STORE": str(self.folder / "store"), "KDBENCH_RESULTS": str(self.folder / "results")}
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "GITHUB_"))}
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words, "--junitxml=junit.xml"]
        return subprocess.run(
            command, cwd=self.folder, env=outside | here | {"COLUMNS": "140"} | environment, capture_output=True,
            text=True, timeout=300, check=False,
        )  # fmt: skip

    def cases(self):
        tree = ET.parse(self.folder / "junit.xml")
        return {
            (case.get("classname").removeprefix("small.toml."), case.get("name")): case
            for case in tree.iter("testcase")
        }

    def said(self, case, metric):
        (child,) = [each for each in self.cases()[case, f"baseline:{metric}"] if each.tag != "properties"]
        return child.tag, child.get("message")

    def alter(self, **facts):
        """The baseline with other figures of its cases, and hashes to match."""
        run = read_run(self.base)
        records = [
            record.model_copy(update={"metrics": record.metrics | facts.get(record.case.split("/")[-2], {})})
            if record.method == "scratch"
            else record
            for record in run.records
        ]
        run = run.model_copy(update={"records": tuple(records), **facts.get("run", {})})
        (self.base / "run.json").write_text(run_text(run))
        table = json.loads((self.base / BASELINE_FILE).read_text())
        table["files"]["run.json"] = file_sha256(self.base / "run.json")
        (self.base / BASELINE_FILE).write_text(json.dumps(table))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A suite whose run is its baseline."""
    place = Place(tmp_path_factory.mktemp("verdicts"))
    (place.folder / "small.toml").write_text(SUITE)
    place.pytest("small.toml")
    (folder,) = (path.parent for path in place.folder.glob("results/scratch/*/*/*/run.json"))
    right = {case: items.correct for case, items in read_items(folder).items()}
    whole, store = side(str(folder), place.folder), Store(place.folder / "store")
    save_baseline(whole.run, right, lambda name: whole.program(name, store), place.folder / "results", in_store=False)
    return place


def test_a_session_in_which_nothing_changed_is_green_and_times_nothing(place):
    summary = {"GITHUB_STEP_SUMMARY": "/nowhere/summary.md"}
    done = place.pytest("small.toml", "--kdbench-baseline", "baseline", *ONLY, **summary)
    assert done.returncode == 0, done.stdout
    cases = place.cases()
    assert {case for case, _ in cases} == {TEACHER, S0, S1, S2, "small.toml"}
    assert ("small.toml", "baseline:cases") in cases
    names = {name for case, name in cases if case == S0}
    assert {"baseline:status", "baseline:accuracy", "baseline:size_bytes", "baseline:delegated"} <= names
    assert all(name.startswith("baseline:") for name in names)
    assert {"baseline:latency_ms", "baseline:peak_rss_bytes"} <= names  # proven to run alike, so not run
    properties = {each.get("name"): each.get("value") for each in cases[S0, "baseline:accuracy"].iter("property")}
    assert properties["accuracy"].startswith("ok: unchanged: all 540 items as before; a drop of ")
    assert "cannot write /nowhere/summary.md: No such file or directory" in done.stdout  # and the verdicts stand
    assert "kdbench: small against its baseline" in done.stdout
    newest = max(place.folder.glob("results/scratch/*/*/*/run.json"))
    assert read_run(newest.parent).speeds == ()


def test_a_case_that_failed_fails_each_of_its_items():
    ended = Verdict(S0, "status", "regressed", None, None, "was ok, now crashed: signal 11")
    metrics = {"status", "size_bytes", "accuracy"}
    assert reported("size_bytes", [ended], metrics) == reported("status", [ended], metrics) == [ended]
    well = replace(ended, verdict="improved")
    assert reported("size_bytes", [well], metrics) == []
    grown, budget = (Verdict(S0, name, "regressed", 1.0, 2.0, "grew") for name in ("size_bytes", "latency_ms"))
    assert reported("size_bytes", [grown, budget], metrics) == [grown]
    assert reported("status", [grown, budget, well], metrics) == [budget, well]


def test_growth_fails_its_item_alone_with_two_lines(place, tmp_path):
    size = {record.case: record.metrics["size_bytes"] for record in read_run(place.base).records}
    place.alter(s0={"size_bytes": size[S0] - 200}, s1={"size_bytes": size[S1] + 8, "ece": 0.5})
    summary = tmp_path / "summary.md"
    done = place.pytest(
        "small.toml",
        "--kdbench-baseline=baseline:small",
        *ONLY,
        GITHUB_STEP_SUMMARY=str(summary),
        GITHUB_ACTIONS="true",
    )
    assert done.returncode == 1
    moved = f"{size[S0] - 200:.0f} -> {size[S0]:.0f} ({200 / (size[S0] - 200):+.2%})"
    tag, message = place.said(S0, "size_bytes")
    assert tag == "failure"
    first, second = message.splitlines()
    assert first.startswith(f"Failed: regressed: {S0} size_bytes: {moved}")
    assert second == f"reproduce: pytest small.toml::{S0}::baseline:size_bytes --kdbench-baseline baseline:small"
    assert "Traceback" not in done.stdout
    assert place.said(S1, "ece")[0] == "skipped"
    assert sum("failure" in {child.tag for child in case} for case in place.cases().values()) == 1
    assert f"::error title=kdbench%3A regressed::{S0} size_bytes: " in done.stdout
    assert summary.read_text().startswith("<!-- kdbench:compare:small -->\n**kdbench small: regressed**")
    place.alter(s0={"size_bytes": size[S0]}, s1={"size_bytes": size[S1]})


@pytest.mark.slow
def test_the_first_seed_reports_what_is_said_of_all(place):
    run = read_run(place.base)
    better = {f"s{seed}": {"accuracy": 0.9 + 0.001 * seed} for seed in range(3)}
    records = tuple(
        record.model_copy(update={"checkpoint_sha256": "0" * 64}) if record.method == "scratch" else record
        for record in run.records
    )
    place.alter(run={"records": records})
    place.alter(**better)
    done = place.pytest("small.toml", "--kdbench-baseline=baseline", *ONLY)
    assert done.returncode == 1
    tag, message = place.said(S0, "accuracy")
    assert (tag, message.splitlines()[0].partition(" %")[0]) == (
        "failure", f"Failed: regressed: {S0.replace('s0', 's*')} accuracy: 90.10",
    )  # fmt: skip
    for case in (S1, S2):
        assert {child.tag for child in place.cases()[case, "baseline:accuracy"]} <= {"properties"}
    place.alter(run={"records": run.records})


@pytest.mark.slow
def test_speed_that_cannot_be_judged_is_seen_unless_it_is_not_asked_for(place):
    run = read_run(place.base)
    records = tuple(
        record.model_copy(update={"structure": "f" * 64}) if record.method == "scratch" else record
        for record in run.records
    )
    place.alter(run={"records": records})
    done = place.pytest("small.toml", "--kdbench-baseline=baseline", *ONLY)
    assert done.returncode == 1
    for metric, what in (("latency_ms", "speed"), ("peak_rss_bytes", "memory")):
        tag, message = place.said(S0, metric)
        first = message.splitlines()[0]
        assert tag == "failure"
        assert first.startswith(f"Failed: incomparable: {S0} {metric}: {what} not judged: the baseline ")
        assert first.endswith(f"small has no structure '{'f' * 64}'")
    exact = place.pytest("small.toml", "--kdbench-baseline=baseline", "--kdbench-exact", *ONLY)
    assert exact.returncode == 0, exact.stdout
    assert not {(S0, "baseline:latency_ms"), (S0, "baseline:peak_rss_bytes")} & place.cases().keys()
    place.alter(run={"records": run.records})


@pytest.mark.slow
def test_another_executorch_may_run_the_baselines_programs(place):
    words = ["--kdbench-baseline=baseline", "--kdbench-base-runtime", sysconfig.get_path("purelib"), *ONLY]
    place.pytest("small.toml", *words, GITHUB_STEP_SUMMARY=str(place.folder / "summary.md"))
    told = (place.folder / "summary.md").read_text()
    assert re.search(r"\d structures were run beside the base's, base's by native executorch-1\.5\.1 ", told)


@pytest.mark.slow
def test_a_verdict_can_be_named(place):
    name = f"small.toml::{S1}::baseline:size_bytes"
    done = place.pytest(name, "--kdbench-baseline", str(place.base))
    assert done.returncode == 0, done.stdout
    assert set(place.cases()) == {(S1, "baseline:size_bytes")}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--kdbench-baseline=baseline:other"], "no baseline results/baselines/other; kdbench baseline save RUN makes one"),
        (["--kdbench-base-runtime=."], "--kdbench-base-runtime judges nothing without --kdbench-baseline"),
        (["--kdbench-baseline=baseline", "--kdbench-base-runtime=nowhere"], "nowhere has no executorch with libraries in it"),
        (["--kdbench-baseline=baseline", "--kdbench-base-runtime=.", "--kdbench-exact"], "--kdbench-base-runtime says what runs the base's programs; with --kdbench-exact nothing is run"),
        (["--kdbench-margin=1"], "--kdbench-margin judges nothing without --kdbench-baseline"),
        (["--kdbench-baseline=baseline", "--kdbench-margin=x"], "--kdbench-margin 'x': expected points of quality such as 0.5"),
        (["--kdbench-baseline=baseline", "--kdbench-allow=size_byte=1%"], "--kdbench-allow 'size_byte=1%': 'size_byte' is no exact metric; did you mean 'size_bytes'"),
    ],
)  # fmt: skip
def test_what_a_person_gets_wrong_is_one_line(place, words, line):
    done = place.pytest("small.toml", *words, KDBENCH_RESULTS="results")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    (told,) = [said for said in done.stderr.splitlines() if said]
    assert told.startswith(f"ERROR: {line}")


def test_another_version_of_the_suite_is_refused_before_anything_runs_and_a_job_is_told(place, tmp_path):
    summary = tmp_path / "summary.md"
    (place.folder / "small.toml").write_text(SUITE.replace("version = 1", "version = 2"))
    github = {"GITHUB_STEP_SUMMARY": str(summary), "GITHUB_ACTIONS": "true"}
    done = place.pytest("small.toml", "--kdbench-baseline=baseline", **github)
    (place.folder / "small.toml").write_text(SUITE)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    line = "--kdbench-baseline baseline: suite 'small' went from version 1 to 2: its figures are no longer comparable"
    assert done.stderr.strip() == f"ERROR: {line}"
    told = summary.read_text()
    assert told.startswith("<!-- kdbench:compare:small -->\n**kdbench small: no verdict** (1 incomparable)\n")
    assert "its figures are no longer comparable |" in told
    assert f"::error title=kdbench%3A incomparable::{line}" in done.stdout


def test_a_job_is_told_of_what_shows_when_the_run_begins_too(place, tmp_path):
    summary = tmp_path / "summary.md"
    (place.folder / "small.toml").write_text(SUITE.replace("scratch = {}", "scratch = { no_such_option = 1 }"))
    done = place.pytest("small.toml", "--kdbench-baseline=baseline", GITHUB_STEP_SUMMARY=str(summary))
    (place.folder / "small.toml").write_text(SUITE)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    told = summary.read_text()
    assert told.startswith("<!-- kdbench:compare:small -->\n**kdbench small: no verdict** (1 incomparable)\n")
    assert "no\\_such\\_option" in told


@pytest.mark.slow
def test_new_and_lost_cases_are_no_silent_pass(place):
    (place.folder / "small.toml").write_text(SUITE.replace("scratch = {}", "label-smoothing = {}"))
    listed = place.pytest("small.toml", "--kdbench-baseline=baseline", "--collect-only", "-q", *ONLY).stdout
    fresh = S0.replace("scratch", "label-smoothing")
    assert [line for line in listed.splitlines() if fresh in line] == [f"small.toml::{fresh}::baseline:status"]
    done = place.pytest(f"small.toml::{fresh}::baseline:status", "--kdbench-baseline=baseline")
    assert place.said(fresh, "status")[1].startswith(
        f"Failed: no-baseline: {fresh} status: the base run has no such case"
    )
    assert done.returncode == 1
    lost = place.pytest("small.toml", "--kdbench-baseline=baseline", "-k", "baseline:cases")
    (place.folder / "small.toml").write_text(SUITE)
    assert lost.returncode == 1
    assert f"incomparable: the suite lacks cases of the baseline: {S0}, {S1}, {S2}" in lost.stdout
