import numpy as np
import pytest
from scipy.stats import binomtest

from kdbench import slowdown
from kdbench.measures.duel import Bout, Duellists
from kdbench.slowdown import BOUTS, LEVEL, MOST, judge, slowdown_of, verdicts

NOTHING = np.zeros((3, 1))


def made(moved, still=None):
    still = np.zeros(len(moved)) if still is None else still
    return [Bout(float(m), float(s), 1e5, 1e5 * float(np.exp(m)), NOTHING) for m, s in zip(moved, still, strict=True)]


def noise(generator, n=BOUTS, sd=0.0015):
    return sd * generator.standard_normal(n)


def test_a_slowdown_has_a_share_an_interval_and_a_floor():
    found = slowdown_of(made(np.log1p([0.010, 0.011, 0.009, 0.010, 0.010]), [0.001, -0.001, 0.001, 0.0, -0.001]))
    assert found.share == pytest.approx(0.01, rel=1e-2)
    assert found.low < found.share < found.high
    assert found.p < 1e-4 < 0.5 < found.p_faster
    assert found.floor == pytest.approx(3.3649 * np.sqrt(0.8e-6 / 5), rel=1e-3)  # t of 5 degrees at 99 %
    assert found.effect == 0.005


def test_no_change_at_all_is_hardly_ever_called_one():
    generator, sessions, programs = np.random.default_rng(0), 1000, 6
    red = 0
    for _ in range(sessions):
        found = {str(i): slowdown_of(made(noise(generator), noise(generator)), effect=0.0) for i in range(programs)}
        red += "regressed" in verdicts(found).values()
    assert binomtest(red, sessions, LEVEL, alternative="greater").pvalue > 0.01


@pytest.mark.parametrize(("share", "least"), [(0.01, 0.9), (0.02, 0.97)])
def test_a_true_slowdown_is_found_among_programs_that_did_not_change(share, least):
    generator, sessions = np.random.default_rng(1), 300
    found = 0
    for _ in range(sessions):
        suite = {str(i): made(noise(generator), noise(generator)) for i in range(11)}
        suite["slow"] = made(np.log1p(share) + noise(generator, 2 * BOUTS), noise(generator, 2 * BOUTS))
        found += verdicts({name: slowdown_of(bouts) for name, bouts in suite.items()})["slow"] == "regressed"
    assert found / sessions > least


def test_a_change_below_the_least_effect_is_ok_and_a_faster_program_improved():
    generator = np.random.default_rng(2)
    small, fast = 0.002 + noise(generator, sd=0.0005), -0.02 + noise(generator, sd=0.0005)
    found = {name: slowdown_of(made(moved)) for name, moved in (("small", small), ("fast", fast))}
    assert verdicts(found) == {"small": "ok", "fast": "improved"}


def test_what_two_copies_differ_by_is_no_slowdown():
    moved, still = np.full(5, 0.012) + 1e-4 * np.arange(5), np.array([0.01, -0.012, 0.011, -0.01, 0.012])
    found = slowdown_of(made(moved, still))
    assert found.effect == found.floor > 0.012
    assert verdicts({"p": found}) == {"p": "ok"}


class Scripted:
    """Bouts as a script says, by the name of the new program; counts how many were asked for."""

    def __init__(self, script):
        self.script, self.asked = script, 0

    def __call__(self, _device, duellists, seed, _threads):
        self.asked += 1
        return self.script(duellists.new.name, seed, np.random.default_rng(seed))


@pytest.fixture
def fought(monkeypatch, tmp_path):
    def run(script, names=("new",)):
        scripted = Scripted(script)
        monkeypatch.setattr(slowdown, "fight", scripted)
        for name in ("base", *names):
            (tmp_path / name).write_bytes(name.encode())
        duels = {name: Duellists(tmp_path / "base", tmp_path / name, ()) for name in names}
        return judge(None, duels), scripted.asked

    return run


def test_the_same_file_is_not_run(fought, tmp_path):
    judged, asked = fought(None, names=())
    assert (judged, asked) == ({}, 0)
    (tmp_path / "copy").write_bytes(b"base")
    judged = judge(None, {"copy": Duellists(tmp_path / "base", tmp_path / "copy", ())})
    assert (judged["copy"].verdict, judged["copy"].reason) == ("ok", "the same file")


def test_a_slower_program_is_looked_at_a_second_time(fought):
    judged, asked = fought(lambda _n, _s, rng: made(0.02 + noise(rng, 1), noise(rng, 1))[0])
    assert judged["new"].verdict == "regressed"
    assert "; a second look in 5 fresh processes: +1.97%" in judged["new"].reason
    assert asked == 2 * BOUTS


def test_what_a_second_look_does_not_show_is_inconclusive(fought):
    def script(_name, seed, rng):
        return made((0.02 if seed < MOST else 0.0) + noise(rng, 1), noise(rng, 1))[0]

    judged, _ = fought(script)
    assert judged["new"].verdict == "inconclusive"
    assert judged["new"].reason.endswith("which does not show it")


def test_undecided_duels_go_on_and_the_others_do_not(fought):
    def script(name, _seed, rng):
        wide = name == "wide"
        return made(noise(rng, 1, 0.02 if wide else 0.0005), noise(rng, 1, 0.002))[0]

    judged, asked = fought(script, ("wide", "calm"))
    assert (judged["wide"].verdict, judged["calm"].verdict) == ("inconclusive", "ok")
    assert asked == MOST + BOUTS


def test_a_machine_that_makes_much_of_nothing_is_noisy(fought):
    judged, _ = fought(lambda _n, _s, rng: made(noise(rng, 1, 0.1), noise(rng, 1, 0.1))[0])
    assert judged["new"].verdict == "noisy"
