import made_up
import pytest

from kdbench.frame import frame, summary
from kdbench.reports import plots
from kdbench.reports.evidence import history, rows_of

PAIR = "digits:resnet8-dscnn"


def rows(run=None):
    whole = summary(frame([run or made_up.run(broken=False)]))
    return rows_of(whole[whole["pair"] == PAIR])


def test_a_point_for_each_method_and_target_and_the_front_of_those_that_none_beats():
    found = plots.pareto(rows(), "latency_ms")
    front, *methods = found["data"]
    assert [trace["name"] for trace in methods] == ["teacher", "scratch", "kd", "fitnet"]
    assert all(trace["marker"]["symbol"] == ["circle", "square"] for trace in methods)
    kd = methods[2]
    assert kd["x"] == pytest.approx([9.13, 10.6])
    assert kd["text"] == ["kd on xnnpack-fp32, dscnn, 3 seeds", "kd on xnnpack-int8, dscnn, 3 seeds"]
    assert front["x"] == pytest.approx([9.13, 45.5, 81.2])
    assert len({trace["marker"]["color"] for trace in methods}) == 4


def test_what_no_row_has_is_not_drawn():
    bare = [row | {"latency_ms": float("nan")} for row in rows()]
    assert plots.pareto(bare, "latency_ms") is None
    assert plots.pareto(bare, "size_bytes") is not None
    assert plots.survival([row | {"accuracy_drop": 0.0} for row in rows()]) is None
    assert plots.curves(made_up.run(networks=()), rows()) is None


def test_one_that_is_far_behind_leaves_the_view_to_the_others_and_is_named():
    usual = rows()
    assert plots.out_of_view(usual) == ()
    low = [row | {"accuracy": 0.1} if row["method"] == "scratch" and "int8" in row["target"] else row for row in usual]
    assert plots.out_of_view(low) == ("scratch on xnnpack-int8",)
    found = plots.pareto(low, "latency_ms")
    bars = {trace["name"]: trace["error_y"]["array"] for trace in found["data"][2:]}
    assert bars["scratch"][1] == 0 < bars["scratch"][0]
    start, end = found["layout"]["yaxis"]["range"]
    assert 70 < start < 84
    assert end > 99


def test_curves_are_of_validation_and_names_are_escaped():
    run = made_up.run(broken=False)
    records = tuple(r.model_copy(update={"method": "<b>kd</b>"}) if r.method == "kd" else r for r in run.records)
    run = run.model_copy(update={"records": records})
    found = plots.curves(run, rows(run))
    assert [(t["name"], t["x"]) for t in found["data"]] == [("&lt;b&gt;kd&lt;/b&gt;", [1, 2, 3])]
    assert found["data"][0]["y"] == pytest.approx([10, 70, 90])
    assert "<b>" not in str(plots.pareto(rows(run), "size_bytes")).replace("<br>", "")


def test_survival_shows_what_quantised_programs_lose():
    found = plots.survival(rows())
    assert [trace["name"] for trace in found["data"]] == ["xnnpack-int8"]
    lost = dict(zip(found["data"][0]["x"], found["data"][0]["y"], strict=True))
    assert lost["kd"] == pytest.approx(100 * 3 / 360)


def test_operators_are_drawn_in_the_order_of_the_inference():
    steps = [("conv", "XnnpackBackend", 4.0), ("rest", "runtime", 1.0)]
    profile = {"operators": [{"operator": o, "where": w, "mean_us": m} for o, w, m in steps]}
    found = plots.operators(profile)
    assert [trace["name"] for trace in found["data"]] == ["XnnpackBackend", "runtime"]
    assert found["layout"]["yaxis"]["categoryarray"] == ["2 rest", "1 conv"]


def test_a_history_has_a_panel_a_figure_and_names_the_commits(tmp_path):
    run, later = made_up.run(broken=False), made_up.run(broken=False, id="20261125T000000Z-0000")
    made_up.on_disk(tmp_path, run)
    assert plots.history(history(run, tmp_path)) is None
    made_up.on_disk(tmp_path, later)
    pasts = history(run, tmp_path)
    found = plots.history(pasts)
    assert [trace["name"] for trace in found["data"]] == ["accuracy", "size", "latency"]
    assert found["data"][0]["y"] == [100 * past.figures["accuracy"] for past in pasts]
    assert found["data"][0]["text"] == [f"{past.run}, commit {past.commit}" for past in pasts]
    assert len({trace["yaxis"] for trace in found["data"]}) == 3
