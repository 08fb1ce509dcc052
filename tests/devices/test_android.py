import pytest

from kdbench.devices.runner.android import VARIABLE, android_runner, runner_executorch
from kdbench.errors import MeasureError


def test_the_users_runner_is_the_one_that_is_named(tmp_path, monkeypatch):
    (tmp_path / "runner").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, "runner")
    assert android_runner() == tmp_path / "runner"


def test_without_one_the_page_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(MeasureError) as caught:
        android_runner()
    why = "there is no runner for Android: point KDBENCH_ANDROID_RUNNER at yours; docs/android.md says how to build it"
    assert str(caught.value) == why
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(
        MeasureError, match=rf"^no file {tmp_path} \(KDBENCH_ANDROID_RUNNER\), expected the runner for "
    ):
        android_runner()


def test_a_runner_says_its_executorch():
    assert runner_executorch("kdbench-runner 1 executorch-1.5.1\n") == "1.5.1"
    assert runner_executorch("kdbench-runner 1 executorch-1.6.0a0+cpu\n") == "1.6.0a0+cpu"


@pytest.mark.parametrize(
    "said", ["", "kdbench-runner 1", "kdbench-runner executorch-1.5.1", "x kdbench-runner 1 executorch-1"]
)
def test_another_program_is_no_runner(said):
    with pytest.raises(MeasureError, match=r"^KDBENCH_ANDROID_RUNNER is no runner of kdbench's: it says "):
        runner_executorch(said)


def test_a_runner_of_other_jobs_is_refused():
    with pytest.raises(MeasureError, match=r"^KDBENCH_ANDROID_RUNNER reads jobs of version 2, not 1: build it anew; "):
        runner_executorch("kdbench-runner 2 executorch-1.5.1")
