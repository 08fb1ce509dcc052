import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from kdbench.cli.measure import command
from kdbench.errors import MeasureError, UsageError
from kdbench.measures.metric import METRICS


def invoke(path, *words, store=None):
    quick = ["--processes", "1", *(["--store", str(store)] if store else [])]
    return CliRunner().invoke(command, [str(path), *quick, *words], standalone_mode=False)


@pytest.fixture
def shown(tiny_program, tmp_path):
    return invoke(tiny_program.path, store=tmp_path)


def test_each_figure_is_a_line_with_its_unit(shown, tiny_program):
    assert shown.exception is None
    assert shown.return_value == 0
    lines = shown.output.splitlines()
    assert lines[0] == f"{tiny_program.path}: method forward, float32 [1, 3, 8, 8] -> float32 [1, 4]"
    size = len(tiny_program.path.read_bytes()) / 1000
    assert [line.split() for line in lines if line.startswith("  size ")] == [
        ["size", f"{size:.1f}", "kB", "the", ".pte", "file"]
    ]
    for title, unit in {
        "download": "kB",
        "arena": "kB",
        "latency": "us",
        "p90": "us",
        "pack": "ms",
        "peak RSS": "MB",
    }.items():
        [line] = [line for line in lines if line.startswith(f"  {title} ")]
        number, found = line.removeprefix(f"  {title} ").split()[:2]
        assert float(number.replace(",", "")) >= 0
        assert found == unit
    assert any(line.startswith("  x ref ") and "the reference program is not in the store" in line for line in lines)
    assert "delegates: XnnpackBackend (1)" in lines
    assert "operators outside them: none" in lines
    assert "inputs: 8 made up: floats from a standard normal (seed 0), whole numbers and booleans 0" in lines
    assert any(
        line.startswith("measured: ") and " runs in 1 process, 1 thread, native executorch-" in line for line in lines
    )
    assert f"sha256: {tiny_program.sha256}" in lines


def test_json_holds_every_figure_and_unit(tiny_program, tmp_path):
    shown = invoke(tiny_program.path, "--format", "json", store=tmp_path)
    table = json.loads(shown.output)
    assert table["file"] == "tiny fp32.pte"
    assert table["program"]["sha256"] == tiny_program.sha256
    assert table["metrics"]["size_bytes"] == len(tiny_program.path.read_bytes())
    assert table["metrics"]["latency_ref"] is None
    assert table["units"] == {name: METRICS[name].unit for name in table["metrics"]}
    assert "latency_ref" in table["reasons"]
    assert str(tiny_program.path.parent) not in shown.output


def damaged(path, tmp_path, kind):
    data = path.read_bytes()
    made = {"cut": data[: len(data) // 2], "empty": b"", "text": b"hello, this is text", "head": data[:20]}
    (tmp_path / "bad.pte").write_bytes(made[kind])
    return tmp_path / "bad.pte"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("cut", "is cut off: found "),
        ("empty", "is empty; expected an ExecuTorch program (.pte)"),
        ("text", "is not an ExecuTorch program (.pte): it does not start like one"),
        ("head", "is cut off: found 20 bytes"),
    ],
)
def test_a_damaged_program_is_one_line(tiny_program, tmp_path, kind, said):
    path = damaged(tiny_program.path, tmp_path, kind)
    error = invoke(path).exception
    assert isinstance(error, UsageError)
    assert str(error).startswith(f"{path} {said}")
    assert "\n" not in str(error)


def test_a_program_for_a_missing_backend_is_not_measured(broken_program):
    error = invoke(broken_program.path).exception
    assert isinstance(error, MeasureError)
    assert str(error).endswith("; it needs MissingBackend")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["none.pte"], 2, "kdbench: cannot read none.pte: No such file or directory\n"),
        (["."], 2, "kdbench: cannot read .: Is a directory\n"),
        ([], 2, "kdbench: Missing argument 'FILE.pte'"),
        (["x.pte", "--threads", "0"], 2, "kdbench: Invalid value for '--threads': 0 is not in the range x>=1"),
    ],
)
def test_bad_words_end_with_one_line_and_a_code(words, code, said, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", "from kdbench.cli.main import main; main()", "measure", *words],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1
