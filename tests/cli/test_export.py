import subprocess
import sys

import made_up
import pytest
from click.testing import CliRunner

from kdbench.cli.export import command
from kdbench.errors import MeasureError, UsageError

CASE = "digits:resnet8-dscnn/kd/xnnpack-int8/s0/host"


@pytest.fixture
def results(tmp_path):
    made_up.on_disk(tmp_path / "results", made_up.run())
    return tmp_path / "results"


def invoke(results, *words):
    places = ["--results", str(results), "--store", str(results.parent / "store"), "--to", str(results.parent / "out")]
    return CliRunner().invoke(command, [*words, *places], standalone_mode=False)


def test_a_program_that_left_the_store_is_made_again_by_the_command_told(results):
    error = invoke(results, CASE).exception
    assert isinstance(error, MeasureError)
    assert str(error) == (
        f"the program of {CASE} is not in the store {results.parent / 'store'}; make it again with: "
        "kdbench run made --only pair=digits:resnet8-dscnn,method=kd,target=xnnpack-int8,seed=0"
    )
    assert not (results.parent / "out").exists()


def test_the_run_can_be_named(results):
    error = invoke(results, CASE, "--run", "mdae").exception
    assert isinstance(error, UsageError)
    assert str(error).startswith("no run 'mdae' in ")


def test_an_existing_folder_is_refused_before_anything_is_read(results):
    (results.parent / "out").mkdir()
    error = invoke(results, "whatever").exception
    assert isinstance(error, UsageError)
    assert str(error) == f"{results.parent / 'out'} exists already; --force replaces an earlier export"


def test_errors_are_one_line_with_their_code(tmp_path):
    def run(*words):
        done = subprocess.run(
            [sys.executable, "-c", "from kdbench.cli.main import main; main()", "export", *words],
            capture_output=True, text=True, check=False, cwd=tmp_path,
        )  # fmt: skip
        assert done.stdout == ""
        return done.returncode, done.stderr

    code, said = run("kd")
    assert (code, said.count("\n")) == (2, 1)
    assert said.startswith("kdbench: Missing option '--to'")
    assert run("kd", "--to", "out", "--results", "none") == (
        2,
        "kdbench: no case 'kd': there are no runs in none; --results names another folder, kdbench run digits makes one\n",
    )
