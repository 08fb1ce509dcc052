import pytest

from kdbench.party import in_step


def run(name, positions, log, error=None):
    try:
        for position in positions:
            yield position
            log.append((position, name))
        if error:
            raise error
    finally:
        log.append(name)


def student(*places):
    return [(place, True) for place in places]


def test_nobody_is_a_step_ahead_and_a_step_aside_comes_first():
    log = []
    runs = [
        ("a", run("a", student(0, 1), log)),
        ("b", run("b", [(0, False), (0, False), *student(0, 1, 2)], log)),
    ]
    assert list(in_step(runs)) == [("a", None), ("b", None)]
    steps = [entry for entry in log if isinstance(entry, tuple)]
    assert steps == [
        ((0, False), "b"),
        ((0, False), "b"),
        ((0, True), "a"),
        ((0, True), "b"),
        ((1, True), "a"),
        ((1, True), "b"),
        ((2, True), "b"),
    ]


def test_all_are_begun_before_any_takes_a_step():
    log = []

    def beginning(name):
        log.append(f"begin {name}")
        yield from run(name, student(0), log)

    list(in_step((name, beginning(name)) for name in "ab"))
    assert log[:2] == ["begin a", "begin b"]


def test_an_error_ends_its_own_run_alone():
    log, broken = [], ValueError("no")
    runs = [("a", run("a", student(0), log, broken)), ("b", run("b", student(0, 1), log))]
    assert list(in_step(runs)) == [("a", broken), ("b", None)]


def test_what_is_no_error_ends_and_unwinds_all():
    log = []
    runs = [("a", run("a", student(0, 1), log)), ("b", run("b", student(0), log, SystemExit(1)))]
    with pytest.raises(SystemExit):
        list(in_step(runs))
    assert log[-2:] == ["b", "a"]
