"""Which operators execute the instructions: made-up traces. Those of real programs are in devices/test_qemu_runs.py."""

import numpy as np
import pytest

from kdbench import counted_profiles
from kdbench.counted_profiles import CountedOperator, check, counted_profile, mean_steps, steps
from kdbench.devices.trace import Reading
from kdbench.errors import MeasureError, StageError, UsageError

DELEGATE = [
    ("begin Method::execute", 40), ("begin DELEGATE_CALL", 190), ("clock", 2000), ("clock", 700), ("clock", 9000),
    ("operator Transpose #1", 2200), ("operator GEMM #1", 1600), ("end", 900),
]  # fmt: skip
KERNEL = [("begin OPERATOR_CALL", 130), ("begin native_call_add.out", 80), ("end", 5000), ("end", 30)]
END = [("end", 70), ("done", 40)]
UNLIKE = "instructions are not linear in the number of inferences: in two passes the tracer saw"


def trace(*lines):
    """An inference: each reading after so many instructions, half of them vector ones, with one load and no store."""
    found = []
    for line, count in lines:
        kind, _, name = line.partition(" ")
        found.append(Reading(kind, name, np.array([count, count // 2, 1, 0])))
    return tuple(found)


BOTH = trace(*DELEGATE, *KERNEL, *END)
WITHOUT = 2000 + 700 + 9000 + 5000 + 500
"""What an inference takes without the tracer: some of what both take outside of steps."""


def test_operators_lie_between_a_delegates_readings_of_the_clock_and_kernels_in_their_events():
    assert steps(BOTH, ["XnnpackBackend"]) == [
        CountedOperator("Transpose #1", "XnnpackBackend", (700, 350, 1, 0)),
        CountedOperator("GEMM #1", "XnnpackBackend", (9000, 4500, 1, 0)),
        CountedOperator("rest", "XnnpackBackend", (2000, 1000, 1, 0)),
        CountedOperator("add.out", "kernel", (5000, 2500, 1, 0)),
    ]


def test_a_delegate_that_tells_of_no_operators_is_one_step():
    silent = trace(("begin DELEGATE_CALL", 9), ("clock", 5), ("end", 6), ("done", 1))
    assert steps(silent, []) == [CountedOperator("the whole delegate", "delegate", (11, 5, 2, 0))]
    with pytest.raises(StageError, match="they are not the same work$"):
        check(trace(("begin DELEGATE_CALL", 9), ("clock", 5), ("end", 6000), ("done", 1)), 15)


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        ([*DELEGATE[:4], *DELEGATE[5:], *END], "XnnpackBackend read the clock 2 times for 2 operators, expected 3"),
        ([*DELEGATE, *END, ("end", 1)], "the tracer noted the end of an event that had not begun"),
        ([*DELEGATE, ("done", 1)], "the tracer noted no end of Method::execute"),
    ],
)
def test_a_trace_that_does_not_fit_is_one_line(lines, line):
    with pytest.raises(StageError) as caught:
        steps(trace(*lines), ["XnnpackBackend"])
    assert str(caught.value) == line


def test_what_the_tracer_does_after_a_delegates_operators_explains_a_difference_and_no_more_does():
    most = sum(int(each.counts[0]) for each in BOTH)
    least = most - (2200 + 1600 + 900) - 32 * len(BOTH)
    for whole in (least, WITHOUT, most):
        check(BOTH, whole)
    for whole in (least - 1, most + 1):
        with pytest.raises(StageError, match=rf"^under the tracer .* {least:,} to {most:,} .* without it {whole:,}: "):
            check(BOTH, whole)


def test_items_are_averaged_and_the_first_passes_do_not_count():
    small, large = trace(*KERNEL, *END[1:]), trace(*KERNEL[:2], ("end", 6000), *KERNEL[3:], *END[1:])
    odd = trace(*END[1:])
    assert mean_steps([odd] * 4 + [small, large] * 3, [], 2) == [
        CountedOperator("add.out", "kernel", (5500, 2750, 1, 0))
    ]


@pytest.mark.parametrize(
    ("inferences", "line"),
    [
        ([BOTH] * 9, "9 inferences were traced, expected 10"),
        (
            [BOTH] * 9 + [trace(*DELEGATE, *KERNEL[:2], ("end", 5001), *KERNEL[3:], *END)],
            f"{UNLIKE} add.out with 5,000 and add.out with 5,001",
        ),
        (
            [BOTH] * 8 + [trace(*DELEGATE, *END)] * 2,
            f"{UNLIKE} add.out with 5,000 and Transpose #1 with 700",
        ),
        ([BOTH, trace(*DELEGATE, *END)] * 5, "the items run different operators; feed one item by --input"),
    ],
)
def test_inferences_that_differ_are_refused(inferences, line):
    with pytest.raises(StageError) as caught:
        mean_steps(inferences, ["XnnpackBackend"], 2)
    assert str(caught.value) == line


class Core:
    """A core that counts and traces as it is told."""

    runtime = "native"

    def __init__(self, whole, inference):
        self.whole, self.inference = whole, inference

    def count(self, job):
        assert job.inputs[0].arrays[0].shape[0] == 2
        return None, np.array([[self.whole, 9000, 100, 50]] * 10)

    def trace(self, job):
        return [self.inference] * 10


def test_all_rows_make_what_is_counted_without_the_tracer(tiny_program, monkeypatch):
    monkeypatch.setattr(counted_profiles, "qemu", lambda name: Core(WITHOUT, BOTH))
    found = counted_profile(tiny_program.path, "qemu:a-core")
    frame = found.frame()
    assert list(frame.columns) == [
        "operator", "where", "instructions", "vector_instructions", "loads", "stores", "share",
    ]  # fmt: skip
    assert list(frame["where"]) == ["XnnpackBackend"] * 3 + ["kernel", "runtime"]
    assert frame["instructions"].sum() == WITHOUT
    assert frame["share"].sum() == pytest.approx(1)
    assert frame.iloc[-1].tolist() == ["rest", "runtime", 500, 650, 96, 50, 500 / WITHOUT]
    assert (found.within, found.items, found.fed) == (16700, 2, "the first 2 of 8 made-up items")


def test_what_cannot_be_profiled_is_one_line(tiny_program, monkeypatch, tmp_path):
    with pytest.raises(UsageError, match=r"^device 'ssh:board': expected qemu:CORE\+wheelVERSION"):
        counted_profile(tiny_program.path, "ssh:board")
    with pytest.raises(UsageError, match=r"instructions are counted with 1 thread, not 2$"):
        counted_profile(tiny_program.path, "qemu:cortex-a76+wheel1.5.1", threads=2)
    with pytest.raises(UsageError, match="^cannot read "):
        counted_profile(tmp_path / "none.pte", "qemu:cortex-a76+wheel1.5.1")
    monkeypatch.setattr(counted_profiles, "qemu", lambda name: Core(10**6, BOTH))
    with pytest.raises(
        MeasureError, match=r"^.*tiny.* has no profile on qemu:a-core: under the tracer .*; it needs Xnn"
    ):
        counted_profile(tiny_program.path, "qemu:a-core")
