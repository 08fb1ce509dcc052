from pathlib import Path

import pytest
from click.testing import CliRunner

from kdbench.cli.new import command
from kdbench.errors import UsageError


def test_it_says_what_it_wrote_and_what_comes_next(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my methods").mkdir()
    shown = CliRunner().invoke(command, ["method", "MyIdea", "--to", "my methods"], standalone_mode=False)
    assert shown.exception is None
    assert shown.output.splitlines() == [
        "wrote my methods/my_idea.py and my methods/test_my_idea.py; next:",
        "  pytest 'my methods/test_my_idea.py'",
        "  kdbench run digits --method 'my methods/my_idea.py:MyIdea'",
        "  kdbench rank digits",
    ]
    assert sorted(path.name for path in Path("my methods").iterdir()) == ["my_idea.py", "test_my_idea.py"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["my idea"], "method name 'my idea': expected letters, digits and hyphens, such as my-idea"),
        (["class"], "method name 'class' is a word of Python's own; choose another, such as my-class"),
        (["x", "--to", "no"], "--to no: no such folder"),
        (["old"], "old.py is there already; choose another name or another folder (--to)"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    Path("old.py").write_text("mine", encoding="utf-8")
    shown = CliRunner().invoke(command, ["method", *words], standalone_mode=False)
    assert isinstance(shown.exception, UsageError)
    assert str(shown.exception) == message
    assert [path.name for path in Path().iterdir()] == ["old.py"]
    assert Path("old.py").read_text(encoding="utf-8") == "mine"
