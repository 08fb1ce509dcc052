import json

import made_up
import numpy as np
import pytest
from click.testing import CliRunner

from kdbench.cli.history import command
from kdbench.errors import UsageError
from kdbench.history import LEAST, PENALTY, Point, Series, history, moves, spark
from kdbench.results import save

pytest.importorskip("ruptures")

KD8 = "digits:resnet8-dscnn/kd/xnnpack-int8/host"


def series(metric, values, place="here"):
    points = tuple(Point(f"r{number}", f"c{number}", float(value)) for number, value in enumerate(values))
    return Series(KD8, metric, place, (0,), points)


def run(number, size=10_880.0, machine="", **changes):
    whole = made_up.run(broken=False)
    provenance = whole.provenance.model_copy(
        update={"commit": f"{number:040d}", "finished": f"2026-11-{number:02d}T00:00:00+00:00"}
    )
    if machine:
        provenance = provenance.model_copy(
            update={
                "machine": provenance.machine.model_copy(update={"slug": machine, "fingerprint": made_up.sha(machine)})
            }
        )
    for seed in range(3):
        whole = made_up.with_record(whole, KD8.replace("/host", f"/s{seed}/host"), metrics={"size_bytes": size})
    return whole.model_copy(update={"id": f"202611{number:02d}T000000Z-0000", "provenance": provenance, **changes})


@pytest.fixture
def results(tmp_path):
    for number, size in enumerate((10_880.0, 10_880.0, 11_080.0, 11_080.0), 1):
        save(run(number, size, "other" if number == 2 else ""), {}, {}, tmp_path)
    return tmp_path


def test_exact_facts_are_one_series_and_each_step_names_its_commit(results):
    (found,) = history("made", results, ["size_bytes"], "resnet8-dscnn/kd/xnnpack-int8")
    assert (found.case, found.seeds, found.values) == (KD8, (0, 1, 2), [10_880.0, 10_880.0, 11_080.0, 11_080.0])
    (move,) = moves(found)
    assert (move.before.commit[-1], move.after.commit[-1], move.old, move.new) == ("2", "3", 10_880.0, 11_080.0)


def test_times_of_different_machines_are_never_one_series(results):
    found = history("made", results, ["latency_ms"], "resnet8-dscnn/kd/xnnpack-int8")
    assert [(len(each.points), each.place.partition(" ")[0]) for each in found] == [
        (3, "amd-epyc-linux-x86-64"),
        (1, "other"),
    ]


def test_kd_is_not_dkd_and_other_versions_and_seeds_are_left_out(results):
    suite = made_up.suite(version=2).model_dump(mode="json")
    assert len(history("made", results, ["params"], "kd")) == 4
    fewer = run(5)
    fewer = fewer.model_copy(update={"records": tuple(r for r in fewer.records if r.seed == 0)})
    save(fewer, {}, {}, results)
    found = history("made", results, ["size_bytes"], "resnet8-dscnn/kd/xnnpack-int8")
    assert [(each.seeds, len(each.points)) for each in found] == [((0, 1, 2), 4), ((0,), 1)]
    save(run(6, suite=suite), {}, {}, results)
    (found,) = history("made", results, ["size_bytes"], "resnet8-dscnn/kd/xnnpack-int8")
    assert len(found.points) == 1


def test_what_is_not_there_is_one_line(results):
    with pytest.raises(UsageError, match=r"^no run of suite 'digits' in .*; it holds runs of made$"):
        history("digits", results, ["accuracy"])
    with pytest.raises(UsageError, match=r"^unknown metric 'size'; "):
        history("made", results, ["size"])
    with pytest.raises(UsageError, match=r"^no case 'nothing' with accuracy in the runs of suite 'made' in "):
        history("made", results, ["accuracy"], "nothing")


def test_a_level_is_found_where_it_begins():
    draw = np.random.default_rng(3)
    values = np.concatenate([draw.normal(1.0, 0.01, 12), draw.normal(1.05, 0.01, 12)])
    (move,) = moves(series("latency_ms", values))
    assert (move.before.commit, move.after.commit) == ("c11", "c12")
    assert (move.old, move.new) == (pytest.approx(1.0, abs=0.01), pytest.approx(1.05, abs=0.01))
    assert moves(series("latency_ms", values[: LEAST - 1])) == []
    assert moves(series("latency_ms", [1.0] * 10)) == moves(series("accuracy", [0.9] * 10)) == []


@pytest.mark.parametrize(("runs", "most", "least"), [(8, 0.1, 0.85), (20, 0.03, 0.97)])
def test_series_that_do_not_move_are_rarely_cut_and_clear_steps_are_found(runs, most, least):
    draw = np.random.default_rng(4)
    still = draw.normal(0.9, 0.01, (300, runs))
    assert np.mean([bool(moves(series("accuracy", row))) for row in still]) <= most, PENALTY
    stepped = still - 0.05 * (np.arange(runs) >= runs // 2)
    found = [[int(move.after.commit[1:]) for move in moves(series("accuracy", row))] for row in stepped]
    assert np.mean([any(abs(place - runs // 2) <= 1 for place in places) for places in found]) >= least


def test_times_of_two_boards_under_one_name_are_two_series(tmp_path):
    for number, board in enumerate(("one", "one", "another"), 1):
        whole = run(number, machine="laptop" if number == 2 else "")
        for seed in range(3):
            details = {"machine": {"slug": board, "fingerprint": made_up.sha(board)}}
            whole = made_up.with_record(whole, KD8.replace("/host", f"/s{seed}/host"), details=details)
        save(whole, {}, {}, tmp_path)
    found = history("made", tmp_path, ["latency_ms"], KD8)
    assert [(each.place.split()[0], len(each.points)) for each in found] == [("one", 2), ("another", 1)]


def test_sparks():
    assert spark([1, 2, 3]) == "▁▅█" or spark([1, 2, 3]) == "▁▄█"
    assert spark([5, 5]) == "▄▄"


def test_the_command(results):
    words = ["made", "--metric", "size_bytes", "--metric", "latency_ms", "--case", "resnet8-dscnn/kd/xnnpack-int8"]
    shown = CliRunner().invoke(command, [*words, "--results", str(results)], standalone_mode=False)
    few = "levels are told from 6 runs on"
    machine, other = made_up.sha("machine")[:6], made_up.sha("other")[:6]
    assert shown.output.splitlines() == [
        KD8,
        "  size                                               ▁▁██  10.9 kB -> 11.1 kB  (4 runs, 3 seeds)",
        "    moved 10.9 kB -> 11.1 kB at run 20261103T000000Z-0000, commit 0000000000, after 0000000000",
        f"  latency (amd-epyc-linux-x86-64 {machine}, 1 threads)  ▄▄▄  10.60 us  (3 runs, 3 seeds; {few})",
        f"  latency (other {other}, 1 threads)                  ▄  10.60 us  (1 runs, 3 seeds; {few})",
        "levels of what scatters: PELT (ruptures), changed mean, penalty 5 s^2 ln(n), at least 2 runs a level",
    ]
    table = json.loads(CliRunner().invoke(command, [*words, "--format", "json", "--results", str(results)]).output)
    assert [len(each["moves"]) for each in table["series"]] == [1, 0, 0]
