import json
import shlex
import subprocess
import sys

import made_up
import pytest
from click.testing import CliRunner

from kdbench.cli.pick import command
from kdbench.errors import UsageError


@pytest.fixture
def results(tmp_path):
    made_up.on_disk(tmp_path / "results", made_up.run())
    return tmp_path / "results"


def invoke(results, *words):
    return CliRunner().invoke(command, ["made", *words, "--results", str(results)], standalone_mode=False)


def test_it_says_what_to_ship_and_how(results):
    shown = invoke(results, "--where", "accuracy>=0.9", "--where", "latency_ms<=2")
    assert shown.return_value == 0
    lines = shown.output.splitlines()
    assert lines[0] == (
        "made: ship digits:resnet20-dscnn by kd for xnnpack-int8 on host, seed 0, the best of 3 by validation"
    )
    assert lines[1].split() == (
        [
            "download",
            "8.2",
            "kB",
            "[the",
            "least",
            "of",
            "4",
            "of",
            "12",
            "candidates",
            "that",
            "keep",
            "the",
            "limits]",
        ]
    )
    assert "[wanted accuracy>=0.9]" in lines[2]
    assert "[wanted latency_ms<=2]" in lines[3]
    assert lines[4].startswith("  of the teacher 91.7% of its accuracy (")
    assert lines[5].startswith("  on scratch +7.96 ±3.11 pt, beyond chance")
    assert lines[6].startswith("2. digits:resnet8-dscnn by kd for xnnpack-int8 on host: download 8.2 kB, ")
    words = shlex.split(lines[-1])
    assert words[:3] == ["kdbench", "export", "digits:resnet20-dscnn/kd/xnnpack-int8/s0/host"]
    assert words[words.index("--results") + 1] == str(results)


def test_nothing_that_keeps_the_limits_is_code_1_with_the_nearest(results):
    shown = invoke(results, "--where", "accuracy>=0.99")
    assert shown.return_value == 1
    assert shown.output == (
        "nothing in run 20261124T040506Z-00ab keeps the limits; nearest is digits:resnet20-dscnn by kd for xnnpack-fp32 "
        "on host: accuracy >= 0.99: it is 91.48 %\n"
    )


def test_json_holds_every_candidate(results):
    table = json.loads(invoke(results, "--where", "accuracy>=0.9", "--format", "json").output)
    assert (table["objective"], len(table["kept"]), len(table["others"])) == ("download_bytes", 4, 8)
    assert table["others"][0]["missed"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--minimise", "accuracy"], "--minimise accuracy: of accuracy higher is better; did you mean --maximise?"),
        (
            ["--maximise", "size_bytes"],
            "--maximise size_bytes: of size_bytes lower is better; did you mean --minimise?",
        ),
        (["--minimise", "size"], "--minimise: unknown metric 'size'; "),
        (["--minimise", "size_bytes", "--maximise", "accuracy"], "--minimise and --maximise: one thing"),
        (["--where", "accuracy>0.9"], "--where 'accuracy>0.9': expected METRIC>=NUMBER"),
    ],
)
def test_bad_input_is_one_line(results, words, message):
    shown = invoke(results, *words)
    assert isinstance(shown.exception, UsageError)
    assert str(shown.exception).startswith(message)


@pytest.mark.slow
def test_the_command_that_it_ends_with_writes_the_program(tmp_path):
    places = ["--store", "store", "--results", "results"]
    kdbench = [sys.executable, "-m", "kdbench"]
    subprocess.run([*kdbench, "run", "tiny", *places], cwd=tmp_path, check=True, capture_output=True)
    told = subprocess.run(
        [*kdbench, "pick", "tiny", "--minimise", "size_bytes"], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    words = shlex.split(told.splitlines()[-1])
    subprocess.run([*kdbench, *words[1:], "--store", "store"], cwd=tmp_path, check=True)
    assert (tmp_path / words[words.index("--to") + 1] / "program.pte").is_file()
