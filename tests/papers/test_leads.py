import made_up
import pytest

pytest.importorskip("matplotlib")

from kdbench.errors import UsageError
from kdbench.papers.leads import leads
from kdbench.papers.part import part
from kdbench.ranking import rankings
from kdbench.spec import MethodSpec

FIRST = "digits:resnet8-dscnn"


def drawn(run, only="", rival="scratch"):
    return leads([run], part([run], only), rival, 3.35)


def rows(axes):
    """What a panel's rows are called, by place."""
    return dict(zip(axes.get_yticks().tolist(), (label.get_text() for label in axes.get_yticklabels()), strict=True))


def marks(axes):
    """The marks of a panel by name: their lead and whether they are filled."""
    names = rows(axes)
    found = [line for line in axes.lines if line.get_marker() == "o"]
    return {names[line.get_ydata()[0]]: (line.get_xdata()[0], line.get_markerfacecolor() != "white") for line in found}


def test_the_leads_of_the_ranking_are_drawn_in_points_and_filled_where_shown():
    run = made_up.with_record(
        made_up.run(broken=False), f"{FIRST}/fitnet/xnnpack-fp32/s0/host", metrics={"accuracy": 0.8}
    )
    sheet = drawn(run)
    assert len(sheet.figure.axes) == 4
    for axes, ranking in zip(sheet.figure.axes, rankings([run]), strict=True):
        assert axes.get_title() == f"{ranking.pair} · {ranking.target} · host"
        told = {one.method: one.leads["scratch"] for one in ranking.standings if one.leads.get("scratch")}
        assert marks(axes) == {m: (pytest.approx(100 * lead.interval.estimate), lead.shown) for m, lead in told.items()}
    bars = [
        line.get_xdata()
        for line in sheet.figure.axes[0].lines
        if len(line.get_xdata()) == 2 and line.get_color() != "black"
    ]
    kd = rankings([run])[0].standings[0].leads["scratch"].interval
    assert list(bars[0]) == pytest.approx([100 * kd.low, 100 * kd.high])
    assert sheet.figure.axes[0].get_xlabel() == "lead on scratch (pt)"
    assert {filled for axes in sheet.figure.axes for _, filled in marks(axes).values()} == {True, False}


def test_controls_stand_below_a_gap():
    methods = tuple(MethodSpec(label=m, use="label-smoothing" if m == "kd" else m) for m in made_up.RIGHT)
    run = made_up.run(broken=False, suite=made_up.suite(methods=methods).model_dump(mode="json"))
    assert rows(drawn(run).figure.axes[0]) == {0: "fitnet", 2: "kd"}
    assert rows(drawn(run, rival="kd").figure.axes[0]) == {0: "fitnet", 2: "scratch"}


def test_a_part_shows_less_and_tests_the_same():
    run = made_up.run(broken=False)
    whole, some = drawn(run).figure.axes, drawn(run, "method=kd,target=xnnpack-int8").figure.axes
    assert [axes.get_title() for axes in some] == [axes.get_title() for axes in whole[1::2]]
    assert [marks(axes) for axes in some] == [{"kd": marks(axes)["kd"]} for axes in whole[1::2]]


def test_what_failed_or_cannot_be_tested_is_noted():
    run = made_up.run()
    for seed in (0, 2):
        records = {r.case: r for r in run.records}
        case = f"{FIRST}/fitnet/xnnpack-fp32/s{seed}/host"
        run = run.model_copy(update={"records": tuple((records | {case: made_up.failed(records[case])}).values())})
    sheet = drawn(run)
    assert sheet.notes == (
        f"{FIRST} · xnnpack-fp32 · host: seeds that failed: fitnet (2 of 3)",
        f"{FIRST} · xnnpack-fp32 · host: fewer than two seeds in common with scratch: fitnet",
        f"{FIRST} · xnnpack-int8 · host: seeds that failed: fitnet (1 of 3)",
        f"{FIRST} · xnnpack-int8 · host: not tested below 3 seeds in common: fitnet",
    )
    assert rows(sheet.figure.axes[0]) == {0: "kd", 1: "fitnet"}
    assert set(marks(sheet.figure.axes[0])) == {"kd"}


def test_one_far_behind_is_an_arrow_and_figures():
    run = made_up.run(broken=False)
    names = {"kd": "a", "scratch": "scratch", "fitnet": "lost", "teacher": "teacher"}
    records = [r.model_copy(update={"method": names[r.method]}) for r in run.records]
    for place in range(6):
        records += [
            r.model_copy(update={"method": f"a{place}", "case": r.case.replace("/kd/", f"/a{place}/")})
            for r in run.records
            if r.method == "kd"
        ]
    records = [
        r.model_copy(update={"metrics": r.metrics | {"accuracy": 0.1}}) if r.method == "lost" else r for r in records
    ]
    axes = drawn(run.model_copy(update={"records": tuple(records)})).figure.axes[0]
    assert "lost" in rows(axes).values()
    assert "lost" not in marks(axes)
    assert [line.get_marker() for line in axes.lines].count("<") == 1
    assert any(text.get_text().startswith("\N{MINUS SIGN}7") for text in axes.texts)


def test_a_run_without_the_rival_is_one_line():
    with pytest.raises(UsageError) as refused:
        drawn(made_up.run(), rival="best")
    assert (
        str(refused.value)
        == "nothing to draw: no method shares two seeds with best; kdbench run SUITE --seeds 0-4 runs "
        "five, and --rival takes scratch, kd, best"
    )
