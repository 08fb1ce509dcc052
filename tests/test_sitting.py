import pytest

from kdbench.sitting import Around, Sitting

SLOWER = (1.0, 1.06, 1.12)


def around(*clocks):
    return tuple(Around(load=1.0, mhz=mhz, celsius=None) for mhz in clocks)


def sitting(reference=(1.0, 1.0, 1.0), again=None, **facts):
    return Sitting(device="host", threads=1, reference_ms=reference, again_ms=again or reference, **facts)


def test_aa_is_the_largest_difference_of_two_copies_in_a_process():
    assert sitting((1.0, 2.0, 1.0), (1.01, 1.96, 1.0)).aa == pytest.approx(0.02)
    assert sitting((1.0, 2.0), (1.0, 2.0)).aa == 0
    assert Sitting(device="ssh:board", threads=1).aa is None


@pytest.mark.parametrize(("again", "flags"), [((1.049, 1.0, 1.0), ()), ((1.0, 1.0, 0.94), ("noisy",))])
def test_a_wide_aa_makes_all_noisy(again, flags):
    assert sitting(again=again).flags == flags


@pytest.mark.parametrize(("stolen", "flags"), [(None, ()), (0.01, ()), (0.011, ("stolen",))])
def test_stolen_time(stolen, flags):
    assert sitting(stolen=stolen).flags == flags


@pytest.mark.parametrize(
    ("reference", "facts", "throttled"),
    [
        (SLOWER, {"others": 0.1}, True),
        (SLOWER, {"others": 0.25}, False),  # others were busy
        (SLOWER, {"others": 0.1, "stolen": 0.02}, False),  # the hypervisor took it
        (SLOWER, {}, False),  # nobody says whether others were busy
        ((1.0, 1.05, 1.1), {"others": 0.0}, False),  # not by enough
        ((1.0, 1.2, 1.15), {"others": 0.0}, False),  # not from third to third
        ((1.0, 1.2), {"others": 0.0}, False),  # two processes are no course
        ((1.02, 1.0, 1.06, 1.07, 1.2, 1.14), {"others": 0.0}, True),  # six processes: by thirds
        ((1.0, 1.0, 1.0, 1.01, 1.02, 1.3), {"others": 0.0}, False),  # one slow process is no course
        ((1.0, 1.0, 1.3, 1.3, 1.2, 1.2), {"others": 0.0}, False),  # nor is one that turns
        ((1.12, 1.06, 1.0), {"others": 0.0}, False),
        (SLOWER, {"others": 2.0, "around": around(800, 3000, 2900, 2800)}, True),  # the clock fell
        (SLOWER, {"others": 2.0, "around": around(800, 3000, 2900, 2860)}, False),  # by too little
        (SLOWER, {"others": 2.0, "around": around(3500, 2600, 2600, 2600)}, False),  # it rested before
        ((1.0, 1.0, 1.0), {"others": 0.0, "around": around(3000, 3000, 2000, 1000)}, False),  # nothing became slower
    ],
)
def test_a_slower_reference_is_throttled_where_nothing_else_explains_it(reference, facts, throttled):
    assert ("throttled" in sitting(reference, **facts).flags) == throttled
