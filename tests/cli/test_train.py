from click.testing import CliRunner

from kdbench.cli import run, train
from kdbench.errors import EXIT_FAILED, UsageError

BROKEN = '''
from kdbench.methods.method import Method

class Broken(Method):
    """A method with a bug."""

    def losses(self, step):
        return {"label": step.label_loss(), "nothing": step.student.features["no such stage"].mean()}
'''


def invoke(command, *words):
    return CliRunner().invoke(command.command, list(words), standalone_mode=False, env={"COLUMNS": "120"})


def test_what_is_trained_here_is_measured_there(tmp_path):
    there, here = str(tmp_path / "there"), str(tmp_path / "here")
    only = ("--only", "method=scratch,target=xnnpack-fp32")
    shown = invoke(train, "tiny", *only, "--jobs", "1", "--store", there)
    assert (shown.exception, shown.return_value) == (None, 0)
    assert shown.stdout.startswith("2 networks, ")
    rest = "where they are measured: kdbench run tiny --only method=scratch,target=xnnpack-fp32 --trained COPY_OF_THE_STORE"
    assert shown.stdout.splitlines()[-1] == rest
    assert not list((tmp_path / "there").glob("program"))
    results = ("--store", here, "--results", str(tmp_path / "results"))
    shown = invoke(run, "tiny", *only, "--trained", there, *results)
    assert (shown.exception, shown.return_value) == (None, 0)
    assert "trained 0, lowered 1, ran 1" in shown.stdout, shown.stdout[-900:]
    there, here = (sorted(path.name for path in (tmp_path / place).glob("network/*/*/")) for place in ("there", "here"))
    assert there == here


def test_what_fails_is_told_once_and_in_the_exit_code(tmp_path):
    (tmp_path / "broken.py").write_text(BROKEN)
    words = ("--method", f"{tmp_path}/broken.py:Broken", "--only", "method=Broken", "--store", str(tmp_path / "store"))
    shown = invoke(train, "tiny", *words)
    assert shown.return_value == EXIT_FAILED
    told = [line for line in shown.stdout.splitlines() if "Broken" in line and "failed: KeyError" in line]
    assert len(told) == 1
    assert shown.stdout.startswith("1 network, ")


def test_bad_input_is_one_line(tmp_path):
    caught = invoke(train, "tin", "--store", str(tmp_path)).exception
    assert isinstance(caught, UsageError)
    assert str(caught).startswith("unknown suite 'tin'; did you mean 'tiny'")
