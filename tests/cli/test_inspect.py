import json

from click.testing import CliRunner

from kdbench.cli.inspect import command
from kdbench.errors import UsageError


def invoke(path, *words):
    return CliRunner().invoke(command, [str(path), *words], standalone_mode=False)


def test_the_parts_operators_and_hashes_are_shown(tiny_program):
    shown = invoke(tiny_program.path)
    assert shown.exception is None
    lines = shown.output.splitlines()
    assert lines[0] == f"{tiny_program.path}: method forward, float32 [1, 3, 8, 8] -> float32 [1, 4]"
    size = len(tiny_program.path.read_bytes())
    assert lines[1].split()[:3] == ["file", f"{size:,}", "B"]
    parts = [int(line.split(" B")[0].split()[-1].replace(",", "")) for line in lines if line.startswith("  ")]
    assert sum(parts) == size
    assert any(line.startswith("in XnnpackBackend (called 1 x): Conv2d (") for line in lines)
    assert "multiply-accumulates: 19,040 an inference" in lines
    assert "outside delegates, to be linked: none" in lines
    assert lines[-1] == f"sha256: {tiny_program.sha256}"


def test_what_only_a_backend_can_read_is_said(broken_program):
    shown = invoke(broken_program.path).output
    assert ": only the backend can read what it computes" in shown
    assert "multiply-accumulates" not in shown


def test_json_holds_all_of_it(tiny_program):
    table = json.loads(invoke(tiny_program.path, "--format", "json").output)
    assert table["format"] == 1
    assert table["file"] == "tiny fp32.pte"
    assert sum(table["parts"].values()) == table["facts"]["size_bytes"]
    assert set(table) == {"format", "file", "facts", "parts", "delegated", "macs", "structure"}


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    error = invoke(tmp_path / "none.pte").exception
    assert isinstance(error, UsageError)
    assert str(error).startswith("cannot read ")
