"""Traces as the tracer leaves them: each line with its counts, cut into inferences."""

import numpy as np
import pytest

from kdbench.devices.trace import read_trace
from kdbench.errors import StageError

LINES = ["begin Method::execute", "begin native_call_aten::add.out", "end", "end", "done"]


def test_a_trace_is_cut_into_inferences_and_names_may_have_spaces(tmp_path):
    path = tmp_path / "trace.txt"
    path.write_text("\n".join([*LINES, "clock", "operator Mean (ND) Reduce2 #1", "done"]) + "\n")
    first, second = read_trace(path, np.arange(32).reshape(8, 4))
    assert [(each.kind, each.name) for each in first[:3]] == [
        ("begin", "Method::execute"), ("begin", "native_call_aten::add.out"), ("end", ""),
    ]  # fmt: skip
    assert [each.kind for each in second] == ["clock", "operator", "done"]
    assert second[1].name == "Mean (ND) Reduce2 #1"
    assert second[0].counts.tolist() == [20, 21, 22, 23]


@pytest.mark.parametrize(
    ("lines", "rows", "line"),
    [
        (None, 1, "the tracer left nothing to read: No such file or directory"),
        (LINES, 4, "the tracer noted 5 readings, but 4 were counted"),
        ([*LINES[:2], "stop", *LINES[3:]], 5, "the tracer noted 'stop', which is no reading"),
        (LINES[:4], 4, "the tracer's last inference has no end"),
    ],
)
def test_what_is_no_trace_is_one_line(tmp_path, lines, rows, line):
    path = tmp_path / "trace.txt"
    if lines is not None:
        path.write_text("\n".join(lines) + "\n")
    with pytest.raises(StageError) as caught:
        read_trace(path, np.zeros((rows, 4), np.int64))
    assert str(caught.value) == line
