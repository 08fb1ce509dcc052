"""Bisection in real repositories; their own small kdbench says what a run would."""

import os
import subprocess

import made_up
import pytest

from kdbench.bisection import Probe, bisect
from kdbench.errors import MeasureError, UsageError
from kdbench.records import run_text

CASE = "digits:resnet8-dscnn/kd/xnnpack-int8/s0/host"
PROBE = Probe("suite.toml", "size_bytes", CASE)
MAIN = """
import pathlib, sys
size = pathlib.Path("size").read_text().strip()
if size == "broken":
    sys.exit("this commit does not run")
results = pathlib.Path(sys.argv[sys.argv.index("--results") + 1]) / "scratch" / "machine" / "made" / "id"
results.mkdir(parents=True)
(results / "run.json").write_text(pathlib.Path("run.json").read_text().replace('"size_bytes": 0.0', f'"size_bytes": {size}'))
"""


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A function that makes a repository with a commit for each size that it is given, in whose folder the test runs."""
    for name, value in {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}.items():
        monkeypatch.setenv(name, value)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "test")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "test")
    folder = tmp_path / "repository"
    (folder / "kdbench").mkdir(parents=True)
    monkeypatch.chdir(folder)
    run = made_up.with_record(made_up.run(broken=False), CASE, metrics={"size_bytes": 0.0})
    (folder / "run.json").write_text(run_text(run))
    (folder / "kdbench" / "__init__.py").write_text("")
    (folder / "kdbench" / "__main__.py").write_text(MAIN)
    git("init", "-q", "-b", "main")

    def commits(*sizes):
        for number, size in enumerate(sizes):
            (folder / "size").write_text(f"{size}\n")
            (folder / "number").write_text(f"{number}\n")
            git("add", "-A")
            git("commit", "-q", "-m", f"commit {number}")

    return commits


def git(*words):
    return subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_that_moved_a_figure_is_named_and_nothing_is_left_behind(repository):
    repository(100, 100, 100, 100, 300, 300, 300)
    told = []
    found = bisect("HEAD~6", "HEAD", PROBE, told.append)
    assert (found.subject, found.good, found.bad) == ("commit 4", 100.0, 300.0)
    assert found.commit == git("rev-parse", "HEAD~2")
    assert told[0] == f"HEAD~6 ({git('rev-parse', 'HEAD~6')[:10]}): size_bytes 100"
    assert all(line.endswith((": good", ": bad")) for line in told[2:])
    assert git("worktree", "list").count("\n") == 0
    assert git("for-each-ref", "refs/bisect") == ""
    assert (git("branch", "--show-current"), git("status", "--porcelain")) == ("main", "")


def test_commits_that_do_not_run_are_skipped(repository):
    repository(100, 100, "broken", 100, 100, 290, 300)
    told = []
    assert bisect("HEAD~6", "HEAD", PROBE, told.append).subject == "commit 5"
    only = [100, "broken", "broken", 300]
    repository(*only)
    with pytest.raises(MeasureError, match=r"^no commit can be named: "):
        bisect("HEAD~3", "HEAD", PROBE, told.append)
    assert any("skipped: " in line and line.endswith("this commit does not run") for line in told)


def test_what_goes_wrong_is_one_line(repository):
    repository(100, 100, "broken")
    with pytest.raises(UsageError, match=r"^no commit 'nowhere' in this git repository$"):
        bisect("nowhere", "HEAD", PROBE, print)
    with pytest.raises(UsageError, match=r"^HEAD~1 is no ancestor of HEAD~2$"):
        bisect("HEAD~1", "HEAD~2", PROBE, print)
    with pytest.raises(UsageError, match=rf"^size_bytes of {CASE} is 100 at both HEAD~2 and HEAD~1$"):
        bisect("HEAD~2", "HEAD~1", PROBE, print)
    with pytest.raises(MeasureError, match=rf"^{CASE} has no size_bytes there: this commit does not run$"):
        bisect("HEAD~1", "HEAD", PROBE, print)
    assert git("worktree", "list").count("\n") == 0
    with pytest.raises(UsageError, match=r"^--metric 'latency_ms' is no exact metric; "):
        Probe("suite.toml", "latency_ms", CASE)
    with pytest.raises(UsageError, match=r"^--case 'kd': expected PAIR/METHOD/TARGET/sSEED/DEVICE, as tables name it$"):
        Probe("suite.toml", "size_bytes", "kd")
