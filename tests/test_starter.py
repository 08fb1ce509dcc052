import os
import subprocess
import sys

import pytest

from kdbench.errors import MeasureError, UsageError
from kdbench.methods.build import method_from
from kdbench.starter import names, start_method


@pytest.mark.parametrize(
    ("name", "module", "made"),
    [
        ("my-idea", "my_idea", "MyIdea"),
        ("my_idea", "my_idea", "MyIdea"),
        ("MyIdea", "my_idea", "MyIdea"),
        ("MyKD", "my_kd", "MyKD"),
        ("KDLoss2", "kd_loss2", "KDLoss2"),
        ("x", "x", "X"),
    ],
)
def test_a_name_gives_a_file_and_a_class(name, module, made):
    assert names(name) == (module, made)


@pytest.mark.parametrize("name", ["", "2nd", "my idea", "a/b", "../x", "a--b", "-a", "naïve", "class", "none", "{{x}}"])
def test_a_name_that_python_cannot_import_is_refused(name):
    with pytest.raises(UsageError, match="method name"):
        names(name)


def test_the_method_works_and_its_test_passes_as_written(tmp_path):
    made, method, test = start_method("my-idea", tmp_path)
    assert (made, method.name, test.name) == ("MyIdea", "my_idea.py", "test_my_idea.py")
    built = method_from(f"{method}:{made}", {"temperature": 2.0})
    assert built.temperature == 2.0
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)]
    done = subprocess.run(words, cwd=tmp_path, env=_outside(), capture_output=True, text=True, check=False)
    assert "4 passed" in done.stdout, done.stdout


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"logits": self.alpha *', '"logits": 2 * self.alpha *'),  # the golden value
        ('"features": self.beta * match', '"features": self.beta * match.detach()'),  # the adapter learns nothing
    ],
)
def test_the_written_test_fails_when_the_method_is_broken(tmp_path, before, after):
    _, method, test = start_method("my-idea", tmp_path)
    source = method.read_text(encoding="utf-8")
    assert before in source
    method.write_text(source.replace(before, after), encoding="utf-8")
    words = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(test)]
    done = subprocess.run(words, cwd=tmp_path, env=_outside(), capture_output=True, text=True, check=False)
    assert "1 failed" in done.stdout, done.stdout


def test_the_written_test_asks_no_adapter_of_a_method_without_one(tmp_path):
    made, method, test = start_method("my-idea", tmp_path)
    bare = f"\n{made}.taps, {made}.prepare = Method.taps, Method.prepare\n"
    bare += f"{made}.losses = lambda self, step: {{'label': step.label_loss()}}\n"
    method.write_text(method.read_text(encoding="utf-8") + bare, encoding="utf-8")
    words = [sys.executable, "-m", "pytest", "-q", "-k", "pair", "-p", "no:cacheprovider", str(test)]
    done = subprocess.run(words, cwd=tmp_path, env=_outside(), capture_output=True, text=True, check=False)
    assert "3 passed" in done.stdout, done.stdout


def test_the_written_files_are_as_the_house_style_wants_them(tmp_path):
    _, method, test = start_method("my-idea", tmp_path)
    for path in (method, test):
        text = path.read_text(encoding="utf-8")
        assert "{{" not in text
        assert text.endswith("\n")
        assert max(map(len, text.splitlines())) <= 120


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "test_my_idea.py").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="is there already; choose another name or another folder"):
        start_method("my-idea", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["test_my_idea.py"]


def test_a_folder_that_is_not_there_or_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="no such folder"):
        start_method("my-idea", tmp_path / "nowhere")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(MeasureError, match=r"cannot write .*my_idea\.py: No space left on device"):
        start_method("my-idea", tmp_path)


def _outside():
    """The environment of a shell without pytest's own variables."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
