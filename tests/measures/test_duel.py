import numpy as np
import pytest

from kdbench.devices.host import host
from kdbench.measures.duel import Apart, Duellists, Together, bout, in_blocks
from kdbench.spec import Protocol


def test_blocks_end_with_the_run_that_fills_them():
    samples = np.array([4, 5, 6, 20, 1, 1, 1], dtype=np.int64)
    assert [block.tolist() for block in in_blocks(samples, 10)] == [[4, 5, 6], [20], [1, 1, 1]]
    assert [block.tolist() for block in in_blocks(samples, 1)] == [[each] for each in samples]
    assert in_blocks(samples[:0], 10) == []


def runs(us):
    """One run a block, in ns."""
    return np.round(np.asarray(us) * 1e6).astype(np.int64)


def test_by_rounds_a_speed_that_changes_between_rounds_is_no_difference():
    speed = np.array([1.0] * 4 + [1.7] * 7)  # new was in the fast spell less often
    base, new = 100.0 * speed, 102.0 * speed
    new[3] *= 1.7
    read = bout([runs(base), runs(new), runs(99.0 * speed)]).by_rounds
    assert read.moved == pytest.approx(np.log(1.02) - np.log(0.99) / 2)  # held against both copies of base
    assert read.still == pytest.approx(np.log(0.99))
    assert (read.base_ns, read.new_ns) == pytest.approx((170e6 * np.sqrt(0.99), 173.4e6))


@pytest.mark.parametrize("disturbed", [0.25, 0.75])
def test_by_rounds_unchanged_programs_are_as_often_over_as_under_each_other(disturbed):
    generator, moved = np.random.default_rng(0), []
    for _ in range(400):
        blocks = (
            10 * (1 + 0.01 * generator.standard_normal((3, 45))) * (1 + 0.7 * (generator.random((3, 45)) < disturbed))
        )
        moved.append(bout([runs(each) for each in blocks]).by_rounds.moved)
    assert abs(np.mean(moved)) < 3 * np.std(moved) / 20


def test_by_fast_blocks_what_disturbs_some_is_no_difference():
    base = np.array([100.0] * 8 + [250.0] * 3)
    new = np.array([900.0] * 6 + [102.0] * 5 + [1.0])  # disturbed more often; the last block has no pair
    read = bout([runs(base), runs(new), runs(base[::-1] * 0.99)]).by_fast
    assert read.moved == pytest.approx(np.log(1.02) - np.log(0.99) / 2)
    assert read.still == pytest.approx(np.log(0.99))
    assert (read.base_ns, read.new_ns) == pytest.approx((100e6 * np.sqrt(0.99), 102e6))


def test_a_cold_first_run_weighs_no_more_where_a_block_has_one_run_than_where_it_has_two():
    base = np.tile(np.array([1_188_000, 990_000]), 30) - 200_000  # two runs fill a block, the first one cold
    new = np.full(30, 1_212_000 - 200_000)  # one, always cold
    read = bout([base, new, base]).by_rounds
    assert read.moved == pytest.approx(np.log(1_012 / 988))


class Recorded:
    """The host, and what each of its processes ran."""

    name, runtime = "host", "some runtime"

    def __init__(self, seen):
        self.seen = seen

    def run(self, job):
        self.seen.append((self, [one.path for one in job.programs]))
        return host().run(job)


class Kept(Recorded):
    def run(self, job):
        self.seen.append(job)
        return host().run(job)


def test_a_bout_is_one_process_together_and_three_apart(tiny_program, other_program):
    seen = []
    here, there = Recorded(seen), Recorded(seen)
    duel = Duellists(tiny_program.path, other_program.path, tiny_program.inputs)
    told = Together(here, Protocol()).fight(duel, 0)
    assert seen == [(here, [duel.base, duel.new, duel.base])]
    assert told.by_rounds.base_ns > 0
    assert told.by_fast.new_ns > 0
    orders = set()
    for seed in range(4):
        seen.clear()
        assert Apart(there, here, Protocol()).fight(duel, seed).by_fast.new_ns > 0
        assert {(device, *paths) for device, paths in seen} == {(there, duel.base), (here, duel.new)}
        assert len(seen) == 3
        orders.add(tuple(device is here for device, _ in seen))
    assert len(orders) > 1


def test_a_process_has_the_threads_and_the_time_of_the_protocol(tiny_program, other_program):
    jobs = []
    duel = Duellists(tiny_program.path, other_program.path, tiny_program.inputs)
    protocol = Protocol(threads=2, timeout_seconds=90.0)
    Together(Kept(jobs), protocol).fight(duel, 0)
    Apart(Kept(jobs), Kept(jobs), protocol).fight(duel, 0)
    assert [(job.threads, job.timeout_s, job.huge) for job in jobs] == [(2, 90.0, False)] * 4


def test_large_programs_have_huge_pages(tiny_program, other_program, monkeypatch):
    jobs = []
    monkeypatch.setattr("kdbench.measures.duel.LARGE", other_program.path.stat().st_size)
    assert tiny_program.path.stat().st_size == other_program.path.stat().st_size
    Together(Kept(jobs), Protocol()).fight(Duellists(tiny_program.path, other_program.path, tiny_program.inputs), 0)
    assert [job.huge for job in jobs] == [True]


def test_the_same_file_is_alike_together_but_not_on_two_runtimes(tiny_program, other_program):
    same = Duellists(tiny_program.path, tiny_program.path, ())
    assert Together(host(), Protocol()).alike(same)
    assert not Together(host(), Protocol()).alike(Duellists(tiny_program.path, other_program.path, ()))
    apart = Apart(Recorded([]), host(), Protocol())
    assert not apart.alike(same)
    assert (Together(host(), Protocol()).least, apart.least) == (0.0, 0.02)
    assert apart.told == f"in turns, base on some runtime, new on {host().runtime}"
