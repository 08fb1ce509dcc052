"""Inferences at due times and back to back, by both runners."""

from dataclasses import replace

import numpy as np
import pytest

from kdbench.devices.job import Input, Job, Load, Pace, Program
from kdbench.devices.pace import MOST, Kept
from kdbench.devices.wire import write_job
from kdbench.errors import UsageError

MS = 1_000_000
ENDLESS = 10**15


def pacing(tiny, **limits):
    step = Pace("p", "x", **{"period_ns": 0, "runs": 1, "max_ns": ENDLESS, **limits})
    return Job((Program("p", tiny.path),), (Input("x", tiny.inputs),), (Load("p"), step), timeout_s=60)


def test_each_inference_begins_when_it_is_due_and_none_before(either, tiny_program):
    result = either.run(pacing(tiny_program, period_ns=8 * MS, runs=12))
    series = result.series["p"]
    assert series.runs == len(series.began) == len(series.taken) == 12
    assert (series.began >= np.arange(12) * 8 * MS).all()
    assert (series.taken > 0).all()
    assert (series.began[1:] >= series.began[:-1] + series.taken[:-1]).all()
    assert result.samples == {}
    # The first inference of the process is apart.
    assert 0 < result.first_ns["p"] != series.taken[0]
    # Lateness does not add up: after one that was woken late the next is due sooner than a period later.
    assert (np.diff(series.began) < 8 * MS).any()


def test_what_is_overdue_begins_at_once(either, tiny_program):
    series = either.run(pacing(tiny_program, period_ns=100, runs=300)).series["p"]
    assert series.runs == 300
    late = series.began - 100 * np.arange(300)
    assert (late[1:] > 100).all()
    assert late[-1] > late[1]


def test_back_to_back_ends_with_its_time(either, tiny_program):
    series = either.run(pacing(tiny_program, runs=10**9, max_ns=30 * MS)).series["p"]
    assert series.runs > 10
    ended = series.began + series.taken
    # The last but one ended before the time was over: how long the next waits for the processor no test can know.
    assert ended[-2] < 30 * MS
    assert ended[-1] > 3 * MS
    assert len(either.run(pacing(tiny_program, runs=10**9, max_ns=0)).series["p"].taken) == 1
    assert either.run(pacing(tiny_program, runs=7)).series["p"].runs == 7


def test_of_a_long_series_so_many_are_kept_evenly_spread(native, tiny_program):
    runs = 2 * MOST + 5
    series = native.run(pacing(tiny_program, runs=runs)).series["p"]
    assert series.runs == runs
    assert len(series.began) == len(series.taken) == MOST // 2 + 2
    assert (np.diff(series.began) > 0).all()
    # Four of them lie between two that are kept, early on as late: medians, for a busy machine may pause the process.
    for gaps in np.array_split(np.diff(series.began) / series.taken[:-1], 2):
        assert 3 < np.median(gaps) < 40


def test_the_python_runner_keeps_the_same_ones():
    kept = Kept()
    for number in range(2 * MOST + 5):
        kept.add(number, 1)
    assert kept.runs == 2 * MOST + 5
    assert [began for began, _ in kept.pairs] == list(range(0, 2 * MOST + 5, 4))


@pytest.mark.parametrize("kind", ["native", "python"])
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("pace\t0\t0\t0\t1", "pace\t0\t0\t0", "'pace' has 5 fields, expected 6"),
        ("pace\t0\t0\t0\t1", "pace\t0\t0\t-3\t1", "expected a whole number up to 9223372036854775807, found '-3'"),
        ("pace\t0\t0", "pace\t0\t2", "there is no input 2"),
        ("load\t0\n", "pace\t0\t0\t0\t1\t1\n", "program 0 is paced twice"),
    ],
)
def test_a_wrong_pace_is_named(answer, tiny_program, kind, old, new, words):
    def change(text):
        assert old in text
        return text.replace(old, new, 1)

    code, said = answer(kind, pacing(tiny_program), change)
    assert code == 10
    assert words in said
    assert said.count("\n") == 1


def test_a_program_is_paced_once(tiny_program, tmp_path):
    job = pacing(tiny_program)
    with pytest.raises(UsageError, match=r"^the job paces program 'p' twice$"):
        write_job(replace(job, steps=(*job.steps, job.steps[-1])), tmp_path)
