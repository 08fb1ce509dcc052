"""Suites as pytest items: what is collected, what is refused, and which sessions are left alone."""

import subprocess
import sys
from pathlib import Path

import pytest

# In-process sessions forget the modules that they import first; these (and what they import) must outlive them.
import kdbench.harness
import kdbench.performance
import kdbench.results
import kdbench.store
import kdbench.suite_items
from kdbench.devices.runner.build import cache_folder

pytest_plugins = ["pytester"]

SUITE = """
version = 1
data = "digits"
seeds = [0, 1]
targets = ["xnnpack-fp32", "xnnpack-int8"]
[[pairs]]
teacher = "resnet8"
student = "dscnn"
[methods]
kd = {}
dkd = {}
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
[quick]
seeds = [0]
"""
KD = "digits:resnet8-dscnn/kd/xnnpack-int8/s1/host"
MEASURES = ("compute", "energy", "fidelity", "instructions", "latency", "memory", "quality", "size", "training")


@pytest.fixture(autouse=True)
def outside_of_workers(monkeypatch):
    """Sessions inside these tests are nobody's worker, whatever runs the tests: in one, pytest-benchmark is off."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)


@pytest.fixture
def suite(pytester, monkeypatch):
    """A suite, ``suites/small.toml``, in a folder of its own."""
    monkeypatch.setenv("KDBENCH_STORE", str(pytester.path / "store"))
    monkeypatch.setenv("KDBENCH_RESULTS", str(pytester.path / "results"))
    folder = pytester.mkdir("suites")
    (folder / "small.toml").write_text(SUITE)
    return "suites/small.toml"


def collected(pytester, *arguments):
    result = pytester.runpytest_inprocess("--collect-only", "-q", "--strict-markers", *arguments)
    return [line for line in result.outlines if "::" in line]


def refused(pytester, *arguments):
    """The one line of a usage error."""
    result = pytester.runpytest_inprocess("--collect-only", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    lines = [line for line in result.errlines if line]
    assert len(lines) == 1, lines
    return lines[0].removeprefix("ERROR: ")


def test_an_item_for_each_case_and_measure(pytester, suite):
    found = collected(pytester, suite)
    assert len(found) == 2 * (1 + 2 * 2) * len(MEASURES)
    assert found[: len(MEASURES)] == [
        f"{suite}::digits:resnet8-dscnn/teacher/xnnpack-fp32/s0/host::{measure}" for measure in MEASURES
    ]
    assert f"{suite}::{KD}::latency" in found
    assert not (pytester.path / "store").exists()
    assert not (pytester.path / "results").exists()


def test_a_case_and_a_measure_can_be_named(pytester, suite):
    assert collected(pytester, f"{suite}::{KD}") == [f"{suite}::{KD}::{measure}" for measure in MEASURES]
    assert collected(pytester, f"{suite}::{KD}::size") == [f"{suite}::{KD}::size"]


def test_marks_choose_exactly(pytester, suite):
    kd = collected(pytester, suite, "-m", "kdbench(method='kd', seed=1, measure='size')")
    assert kd == [f"{suite}::{KD.replace('int8', 'fp32')}::size", f"{suite}::{KD}::size"]
    whole = "pair='digits:resnet8-dscnn', target='xnnpack-int8', device='host', method='kd', seed=1"
    assert len(collected(pytester, suite, "-m", f"kdbench({whole})")) == len(MEASURES)
    assert len(collected(pytester, suite, "-k", "kd/ and int8 and size".replace("kd/", "dkd"))) == 2


def test_only_named_suites_are_collected(pytester, suite):
    pytester.makepyfile(test_plain="def test_plain(): pass")
    for arguments in ((), ("suites", ".")):
        assert collected(pytester, *arguments) == ["test_plain.py::test_plain"]
    assert collected(pytester, ".", f"{suite}::{KD}::size") == [f"{suite}::{KD}::size", "test_plain.py::test_plain"]


def test_options_change_the_suite(pytester, suite):
    assert len(collected(pytester, suite, "--kdbench-quick")) == 2 * (1 + 2) * len(MEASURES)
    seeds = collected(pytester, suite, "--kdbench-seeds=3-4,7", "-m", "kdbench(method='kd', measure='size')")
    assert [name.split("/")[-2] for name in seeds] == ["s3", "s3", "s4", "s4", "s7", "s7"]
    more = ("--kdbench-method=kd", "--kdbench-option=temperature=2", "-m", "kdbench(method='kd-temperature2')")
    assert len(collected(pytester, suite, *more)) == 2 * 2 * len(MEASURES)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["suites/small.toml", "--kdbench-seeds=x"], "--kdbench-seeds 'x': expected seeds such as 0,1,2 or 0-9"),
        (
            ["suites/small.toml", "--kdbench-jobs=0"],
            "--kdbench-jobs '0': expected how many stages may run side by side, such as 2",
        ),
        (
            ["suites/small.toml", "--kdbench-method=fitnets"],
            "unknown method 'fitnets' of --kdbench-method; did you mean 'fitnet'?",
        ),
        (
            ["suites/small.toml", "--kdbench-option=temperature=2"],
            "--kdbench-option temperature=2: an option needs a --kdbench-method to belong to",
        ),
        (["suites/small.toml", "--kdbench-train-device=tpu"], "--kdbench-train-device 'tpu': expected cpu or cuda"),
        (["suites/bad.toml"], "suites/bad.toml is not valid TOML: *"),
        (["suites/empty.toml", "--kdbench-quick"], "*no [[]quick] table, so it cannot run with --kdbench-quick"),
        (["suites/small.toml::digits:resnet8-dscnn/kd/xnnpack-int8/s9/host"], "*has no case *; did you mean *"),
        (["suites/small.toml::kd"], "suites/small.toml has no case 'kd'; cases are named like digits:*"),
        (
            [f"suites/small.toml::{KD}::latencies"],
            f"suites/small.toml::{KD}: unknown measure *; did you mean 'latency'?",
        ),
        ([f"suites/small.toml::{KD}::size::0"], f"suites/small.toml::{KD}::size::0: expected SUITE::CASE::MEASURE"),
        (["suites/small.toml", "-n1"], "suites cannot run with -n (pytest-xdist): *--kdbench-jobs N *"),
        (
            ["suites/small.toml", "--benchmark-disable"],
            "suites cannot run with --benchmark-disable: *--kdbench-jobs N *",
        ),
        (["suites/small.toml", "--benchmark-skip"], "suites cannot run with --benchmark-skip: *--kdbench-jobs N *"),
        (["suites/small.toml", "-pno:benchmark"], "suites cannot run with -p no:benchmark: *--kdbench-jobs N *"),
    ],
)
def test_bad_input_is_one_usage_line(pytester, suite, arguments, line):
    (pytester.path / "suites" / "bad.toml").write_text("version =")
    (pytester.path / "suites" / "empty.toml").write_text("version = 1")
    said = refused(pytester, *arguments)
    pytest.LineMatcher([said]).fnmatch_lines([line])


def test_a_missing_suite_is_a_usage_error(pytester, suite):
    assert refused(pytester, "suites/none.toml") == "cannot read suites/none.toml: No such file or directory"


def test_what_is_kept_beside_the_store_is_beside_the_one_of_the_option(pytester, suite):
    config = pytester.parseconfig(suite, "--kdbench-store=mine")
    before = cache_folder()
    kdbench.harness.harness(config, [suite])
    assert cache_folder() == pytester.path / "mine" / "runner"
    config._ensure_unconfigure()
    assert cache_folder() == before == pytester.path / "store" / "runner"


def test_messages_name_the_options_of_pytest():
    translated = kdbench.harness.in_pytest(
        "point --store or KDBENCH_STORE elsewhere; -o x=1 of --method, not --methods"
    )
    assert translated == (
        "point --kdbench-store or KDBENCH_STORE elsewhere; --kdbench-option x=1 of --kdbench-method, not --methods"
    )
    assert kdbench.harness.in_pytest("a-o.toml, --seedsx, kdbench --quick") == (
        "a-o.toml, --seedsx, kdbench --kdbench-quick"
    )


def test_the_command_to_reproduce_keeps_what_changes_the_suite(pytester, suite):
    config = pytester.parseconfig(
        suite, "--kdbench-quick", "--kdbench-method=a b.py:M", "--kdbench-seeds=1", "--kdbench-jobs=2"
    )
    again = kdbench.suite_items.again(suite, KD, "size", config.option)
    assert again == (f"pytest {suite}::{KD}::size --kdbench-quick --kdbench-method 'a b.py:M' --kdbench-seeds 1")


def test_the_command_to_reproduce_keeps_what_decides_a_verdict(pytester, suite):
    words = ["--kdbench-device=host", "--kdbench-store=s", "--kdbench-results=r", "--kdbench-base-runtime=old"]
    config = pytester.parseconfig(suite, "--kdbench-baseline=baseline", *words)
    again = kdbench.suite_items.again(suite, KD, "baseline:latency_ms", config.option)
    assert again.partition("::baseline:latency_ms ")[2] == (
        "--kdbench-device host --kdbench-store s --kdbench-results r --kdbench-baseline baseline "
        "--kdbench-base-runtime old"
    )


def test_replayed_rounds_last_exactly_the_samples():
    """Also where a running sum would round, and when someone reads the time once more."""
    timer = kdbench.suite_items.ReplayTimer()
    samples = [0.1, 1e-9, 0.2, 123456.7, 3e-9]
    timer.feed(samples)
    read = []
    for _ in range(7):
        timer()
        start = timer()
        timer.step()
        read.append(timer() - start)
    assert read == [*samples, *samples[:2]]


def test_a_session_inside_a_worker_is_refused(pytester, suite, monkeypatch):
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw1")
    said = refused(pytester, suite)
    assert said.startswith("suites cannot run with PYTEST_XDIST_WORKER set (inside pytest-xdist): their latencies")


def modules_after(folder, *arguments):
    """The modules that a pytest session in a process of its own has imported when it ends."""
    code = "import pytest, sys; code = pytest.main(sys.argv[1:]); print('\\n' + ' '.join(sys.modules)); sys.exit(code)"
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return set(ended.stdout.splitlines()[-1].split())


def test_other_sessions_are_left_alone(pytester):
    pytester.makepyfile("def test_plain(): pass")
    modules = modules_after(pytester.path, "-q", "-p", "no:cacheprovider")
    assert {name for name in modules if name.partition(".")[0] == "kdbench"} == {"kdbench", "kdbench.pytest_plugin"}


def test_collecting_imports_nothing_heavy():
    suites = Path(__file__).parent.parent
    modules = modules_after(suites, "--collect-only", "-q", "-p", "no:cacheprovider", "suites/digits.toml")
    assert "kdbench.suite_items" in modules
    assert modules.isdisjoint({"torch", "executorch", "numpy", "pandas", "scipy"})


def test_every_metric_has_an_item_that_judges_its_budgets():
    owned = [metric for metrics in kdbench.performance.metrics_by_measure().values() for metric in metrics]
    from kdbench.measures.metric import METRICS

    assert sorted(owned) == sorted(METRICS)
