import json
import shlex
import subprocess
import sys

import made_up
import pytest
from click.testing import CliRunner

from kdbench.cli.pick import command
from kdbench.errors import UnmetError, UsageError


@pytest.fixture
def results(tmp_path):
    made_up.on_disk(tmp_path / "results", made_up.run())
    return tmp_path / "results"


def invoke(*words, results):
    return CliRunner().invoke(command, [*words, "--results", str(results)], standalone_mode=False)


def test_the_answer_says_what_to_ship_why_and_how(results):
    shown = invoke("made", "--where", "accuracy>=0.8", "--pair", "digits:resnet8-dscnn", results=results)
    assert shown.exception is None
    lines = shown.output.splitlines()
    assert lines[0] == "ship kd on xnnpack-int8: student dscnn, seed 0, made run 20261124T040506Z-00ab"
    assert "keeps 91.1% of the teacher's accuracy on the same target" in shown.output
    assert "gains +7.41 pt over scratch (95 % +4.30 to +10.52, 3 paired seeds)" in shown.output
    assert "note: noisy" not in lines
    assert lines[-1].startswith(
        "kdbench export digits:resnet8-dscnn/kd/xnnpack-int8/s0/host --run 20261124T040506Z-00ab "
    )
    words = shlex.split(lines[-1])
    assert words[words.index("--results") + 1] == str(results)


def test_an_interval_that_reaches_beyond_the_floor_is_told(results):
    pair = ["--pair", "digits:resnet8-dscnn"]
    assert "reaches beyond accuracy >= 0.9" in invoke("made", "--where", "accuracy>=0.9", *pair, results=results).output
    assert "reaches beyond" not in invoke("made", "--where", "accuracy>=0.8", *pair, results=results).output


def test_json_holds_all_of_it(results):
    shown = invoke("made", "--maximise", "accuracy", "--format", "json", results=results)
    table = json.loads(shown.output)
    assert table["chosen"]["method"] == "kd"
    assert table["chosen"]["shipped"]["accuracy"] == pytest.approx(327 / 360)
    assert len(table["runners_up"]) == table["candidates"] - 1
    assert table["export"].startswith("kdbench export ")


def test_what_cannot_be_answered_is_a_line(results):
    both = invoke("made", "--minimise", "size_bytes", "--maximise", "accuracy", results=results)
    assert isinstance(both.exception, UsageError)
    assert isinstance(invoke("made", "--where", "accuracy>=0.999", results=results).exception, UnmetError)


@pytest.mark.slow
def test_the_export_command_writes_the_program_out(tmp_path):
    """The whole way on suite tiny, each command as a person types it."""
    places = ["--store", str(tmp_path / "store"), "--results", str(tmp_path / "results")]
    kdbench = [sys.executable, "-m", "kdbench"]

    def shell(*words):
        return subprocess.run([*kdbench, *words], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    shell("run", "tiny", *places)
    words = shlex.split(shell("pick", "tiny", "--where", "latency_ms<=100", *places[2:]).splitlines()[-1])
    assert words[:2] == ["kdbench", "export"]
    shell(*words[1:], *places[:2])
    folder = tmp_path / words[-1]
    assert (folder / "program.pte").stat().st_size > 1000
    assert json.loads((folder / "record.json").read_text())["records"][0]["case"] == words[2]
