import subprocess
import sys

import made_up
import pytest
from click.testing import CliRunner

from kdbench.cli.cite import command
from kdbench.errors import UsageError

SUITE = """
version = 1
data = "digits"
seeds = [0]
targets = ["xnnpack-fp32"]
pairs = [{ teacher = "vgg13", student = "wrn-16-1" }]
methods = { dist = {} }
recipes.teacher = { kind = "fast", epochs = 1, batch_size = 8, lr = 0.1 }
recipes.student = { kind = "fast", epochs = 1, batch_size = 8, lr = 0.1 }
"""


@pytest.fixture
def results(tmp_path, monkeypatch):
    made_up.on_disk(tmp_path / "results", made_up.run())
    (tmp_path / "suites").mkdir()
    for name in ("mine", "made"):
        (tmp_path / "suites" / f"{name}.toml").write_text(SUITE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KDBENCH_RESULTS", raising=False)
    return tmp_path / "results"


def invoke(*words):
    return CliRunner().invoke(command, words, standalone_mode=False)


def test_a_run_is_cited_by_suite_id_or_folder(results):
    told = [invoke(word).output for word in ("made", "20261124T040506Z-00ab", str(next(results.glob("*/*/*/*"))))]
    assert told[0] == told[1] == told[2]
    assert told[0].startswith("% run 20261124T040506Z-00ab of suite made v1: ")
    assert "@inproceedings{romero2015fitnets," in told[0]


def test_a_suite_without_a_run_stands_for_a_whole_run(results):
    for word in ("mine", "suites/mine.toml"):
        told = invoke(word)
        assert told.exception is None
        assert told.output.startswith("% suite mine v1\n% method dist: huang2022dist\n")
    assert invoke("suites/made.toml").output.startswith("% suite made v1\n")


def test_several_share_entries(results):
    told = invoke("made", "mine").output
    assert told.count("@misc{executorch,") == 1
    assert told.count("@misc{hinton2015distilling,") == told.count("@inproceedings{huang2022dist,") == 1


def test_an_unknown_run_is_said_as_other_commands_say_it(results):
    for word in ("mad", "made~4", "none.toml"):
        bad = invoke(word)
        assert isinstance(bad.exception, UsageError)
        assert str(bad.exception).startswith("no run ")
        assert "\n" not in str(bad.exception)
    assert str(invoke("mad").exception) == "no run 'mad' in results; did you mean 'made'?"


def test_a_suite_that_cannot_be_read_is_one_line(results):
    (results.parent / "suites" / "mine.toml").write_text("version = ", encoding="utf-8")
    bad = invoke("mine")
    assert isinstance(bad.exception, UsageError)
    assert str(bad.exception).startswith("suites/mine.toml is not valid TOML: ")


def test_citing_needs_nothing_heavy(results):
    code = (
        "import sys; from kdbench.cli.cite import command;"
        "command(['made', 'mine'], standalone_mode=False);"
        "sys.exit(bool({'torch', 'executorch', 'torchao', 'pandas', 'scipy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "@misc{kdbench," in done.stdout
