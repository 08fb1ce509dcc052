import made_up
import pytest
from click.testing import CliRunner

from kdbench.cli.results import command
from kdbench.errors import UsageError


def invoke(results, *words):
    return CliRunner().invoke(command, [*words, "--results", str(results)], standalone_mode=False)


@pytest.fixture
def results(tmp_path):
    made_up.on_disk(tmp_path, made_up.run())
    made_up.on_disk(tmp_path, made_up.run(id="20261125T000000Z-0001", broken=False, partial=True))
    return tmp_path


def test_runs_are_listed_the_oldest_first(results):
    assert invoke(results, "keep", "made~1").exception is None
    assert invoke(results, "list").output.splitlines() == [
        "20261124T040506Z-00ab  made v1  kept  40 cases, 1 not ok  amd-epyc-linux-x86-64",
        "20261125T000000Z-0001  made v1  scratch  40 cases, partial  amd-epyc-linux-x86-64",
    ]


def test_a_broken_run_is_listed_as_such(results):
    broken = next(results.glob("scratch/*/made/*0001/run.json"))
    broken.write_text("{", encoding="utf-8")
    line = invoke(results, "list").output.splitlines()[1]
    assert line.startswith(f"20261125T000000Z-0001  made  unreadable: {broken} is not JSON: ")


def test_an_empty_folder_holds_no_runs(tmp_path):
    assert invoke(tmp_path, "list").output == f"no runs in {tmp_path}\n"


def test_keeping_prints_the_place_and_twice_is_once(results):
    kept = results / "runs" / "amd-epyc-linux-x86-64" / "made" / "20261124T040506Z-00ab"
    for _ in range(2):
        shown = invoke(results, "keep", "20261124T040506Z-00ab")
        assert shown.stdout == f"{kept}\n"
        assert shown.stderr == ""


def test_a_partial_run_is_kept_with_a_note(results):
    shown = invoke(results, "keep", "made")
    assert shown.stderr == "note: the run is partial; tables accept it, baselines will not\n"


def test_what_is_not_there_cannot_be_kept(results):
    shown = invoke(results, "keep", "mdae")
    assert isinstance(shown.exception, UsageError)
    assert str(shown.exception).startswith("no run 'mdae' in ")
