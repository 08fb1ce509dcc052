import made_up
import pytest

pytest.importorskip("matplotlib")

from kdbench.errors import UsageError
from kdbench.papers.looks import COLOURS
from kdbench.papers.pareto import pareto, side_by_side
from kdbench.papers.part import part

FIRST, SECOND = made_up.PAIRS
CASE = f"{FIRST}/kd/xnnpack-fp32"


def drawn(run, only="", against="size", width=3.35):
    return pareto([run], part([run], only), against, width)


def marked(axes):
    """Each mark of a panel: its shape, its colour and its quality."""
    return [
        (line.get_marker(), line.get_color(), round(line.get_ydata()[0], 2))
        for line in axes.lines
        if line.get_marker() != "None"
    ]


def alone(run, method):
    """The run with one student method, whose marks nothing crowds."""
    return run.model_copy(update={"records": tuple(r for r in run.records if r.method in ("teacher", method))})


def test_a_panel_a_pair_and_a_mark_a_method_and_target_with_the_seeds_interval():
    first, second = drawn(made_up.run(broken=False)).figure.axes
    assert [axes.get_title() for axes in (first, second)] == [f"{FIRST} · host", f"{SECOND} · host"]
    assert len(marked(first)) == len(marked(second)) == 8
    kd = [found for found in marked(first) if found[1] == COLOURS[2]]
    assert kd == [("s", COLOURS[2], pytest.approx(90.09, abs=0.01)), ("o", COLOURS[2], pytest.approx(90.93, abs=0.01))]
    bars = [line for line in first.lines if line.get_marker() == "None" and line.get_color() == COLOURS[2]]
    half = made_up_half((325, 331, 326))
    assert sorted(bars[1].get_ydata()) == pytest.approx([90.93 - half, 90.93 + half], abs=0.01)
    assert (first.get_xlabel(), first.get_ylabel()) == ("size (kB)", "accuracy (%)")


def made_up_half(right):
    from kdbench.stats import t_half_width

    return 100 * t_half_width([value / made_up.N for value in right])


def test_bars_are_in_view():
    for axes in drawn(made_up.run(broken=False), "method=kd").figure.axes:
        bars = [line.get_ydata() for line in axes.lines if line.get_linewidth() == 0.5 and len(line.get_ydata()) == 2]
        assert len(bars) == 2
        assert axes.get_ylim()[0] < min(map(min, bars))
        assert max(map(max, bars)) < axes.get_ylim()[1]


def test_marks_stand_at_their_costs_and_the_front_joins_those_that_nothing_beats():
    axes, _ = drawn(alone(made_up.run(broken=False), "kd")).figure.axes
    low, high = axes.get_xlim()
    (front,) = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
    costs = [low * (high / low) ** place for place in front.get_xdata()]
    assert axes.get_xscale() == "log"
    assert costs == pytest.approx([10.88, 12.416, 92.416, 313.008, high])
    assert front.get_ydata()[:2] == pytest.approx([90.09, 90.93], abs=0.01)
    assert front.get_ydata()[-1] == front.get_ydata()[-2] == pytest.approx(100 * 357 / made_up.N)


def test_marks_of_one_cost_that_hide_each_other_stand_side_by_side_over_it():
    figure = drawn(made_up.run(broken=False), "target=xnnpack-fp32").figure
    axes, _ = figure.axes
    low, high = axes.get_xlim()
    places = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
    students = sorted(places)[:3]
    assert len(set(students)) == 3
    middle = low * (high / low) ** students[1]
    assert middle == pytest.approx(12.416)
    (column,) = axes.patches
    assert column.get_xy()[0][0] == pytest.approx(students[1])
    assert "one cost" in [text.get_text() for key in figure.legends for text in key.get_texts()]
    (front,) = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
    assert front.get_ydata() == pytest.approx([90.93, 99.17, 99.17], abs=0.01)


def test_side_by_side_is_in_order_apart_as_near_as_may_be_and_never_too_wide():
    assert side_by_side([0.2, 0.5], 0.02) == (0.02, pytest.approx([0.2, 0.5]))
    assert side_by_side([0.5, 0.5, 0.51], 0.02) == (0.02, pytest.approx([0.4833, 0.5033, 0.5233], abs=1e-4))
    apart, stand = side_by_side([0.0] * 100, 0.02)
    assert apart == pytest.approx(0.003)
    assert stand[0] == pytest.approx(0.02)
    assert stand[-1] - stand[0] == pytest.approx(99 * 0.003)


def test_failed_seeds_missing_figures_and_what_is_out_of_view_are_noted():
    run = made_up.run()
    for seed in range(3):
        run = made_up.with_record(run, f"{CASE}/s{seed}/host", metrics={"size_bytes": None})
        run = made_up.with_record(run, f"{SECOND}/kd/xnnpack-int8/s{seed}/host", metrics={"accuracy": 0.05})
    sheet = drawn(run)
    assert sheet.notes == (
        f"{FIRST} · host: no size: kd on xnnpack-fp32",
        f"{FIRST} · host: seeds that failed: fitnet on xnnpack-int8 (1 of 3)",
        f"{SECOND} · host: out of view: kd on xnnpack-int8 (5.00)",
    )
    (shown,) = sheet.figure.texts
    assert "fitnet on xnnpack-int8 (1 of 3)" in " ".join(shown.get_text().split())
    keys = [text.get_text() for key in reversed(sheet.figure.legends) for text in key.get_texts()]
    assert keys == ["teacher", "scratch", "kd", "fitnet", "xnnpack-fp32", "xnnpack-int8", "Pareto front", "one cost"]


def test_marks_that_repeat_are_noted():
    run = made_up.run(broken=False)
    more = [
        r.model_copy(update={"target": f"t{place}"}) for place in range(13) for r in run.records if r.method == "kd"
    ]
    assert drawn(run).notes == ()
    many = run.model_copy(update={"records": (*run.records, *more)})
    assert drawn(many).notes == ("marks repeat after 14 targets",)


def test_the_caption_says_what_is_drawn_and_of_which_run():
    caption = drawn(made_up.run()).caption
    assert caption.startswith(
        "Accuracy (of the program on the whole test set) against size (the .pte file): means over "
    )
    assert "2 to 3 seeds with Student's 95 % interval." in caption
    assert caption.endswith("Run 20261124T040506Z-00ab of made v1, amd-epyc-linux-x86-64; kdbench 0.1.0.")


def test_a_part_keeps_the_looks_of_the_whole():
    run = made_up.run(broken=False)
    axes, _ = drawn(run, "method=fitnet").figure.axes
    assert {colour for _, colour, _ in marked(axes)} == {COLOURS[3]}


def test_a_run_without_such_figures_is_one_line():
    with pytest.raises(UsageError) as refused:
        drawn(made_up.run(), against="instructions")
    assert str(refused.value) == "nothing to draw: no row has both accuracy and instr.; try another --against"
