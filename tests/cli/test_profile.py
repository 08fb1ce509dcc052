import csv
import json

import pytest
from click.testing import CliRunner

from kdbench.cli.profile import command
from kdbench.errors import MeasureError


def invoke(path, *words):
    return CliRunner().invoke(command, [str(path), "--seconds", "0", *words], standalone_mode=False)


def test_every_step_has_a_line_with_time_share_and_place(tiny_program):
    shown = invoke(tiny_program.path)
    assert shown.exception is None
    lines = shown.output.splitlines()
    assert lines[0].startswith(f"{tiny_program.path}: method forward, ")
    assert lines[0].endswith(" us an inference")
    assert all(" us  " in line and "%" in line for line in lines[1:-1])
    assert any("  XnnpackBackend  " in line for line in lines)
    assert lines[-1] == "mean of 100 runs on 1 thread, traced by ExecuTorch, fed 8 made-up items"


def test_csv_and_json_hold_the_same_steps(tiny_program):
    rows = list(csv.DictReader(invoke(tiny_program.path, "--format", "csv").output.splitlines()))
    table = json.loads(invoke(tiny_program.path, "--format", "json").output)
    assert [row["operator"] for row in rows] == [row["operator"] for row in table["operators"]]
    assert sum(row["share"] for row in table["operators"]) == pytest.approx(1)
    assert (table["format"], table["runs"], table["threads"]) == (1, 100, 1)


def test_by_time_the_largest_comes_first(tiny_program):
    rows = json.loads(invoke(tiny_program.path, "--format", "json", "--by", "time").output)["operators"]
    assert [row["mean_us"] for row in rows] == sorted((row["mean_us"] for row in rows), reverse=True)


def test_a_picture_is_a_page_that_needs_no_network(tiny_program, tmp_path):
    shown = invoke(tiny_program.path, "--picture", str(tmp_path / "page.html"))
    assert shown.exception is None
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "XnnpackBackend" in page
    assert '<script src="http' not in page
    error = invoke(tiny_program.path, "--picture", str(tmp_path / "nowhere" / "page.html")).exception
    assert isinstance(error, MeasureError)
    assert str(error).startswith("cannot write ")
