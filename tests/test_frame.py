import math

import made_up
import numpy as np
import pandas as pd
import pytest

from kdbench.frame import BY_PROCESS, CASE_COLUMNS, SUMMARY_COLUMNS, frame, metrics_of, summary
from kdbench.measures.metric import METRICS
from kdbench.sitting import Sitting
from kdbench.stats import t_half_width, wilson_half_width

PAIR = "digits:resnet8-dscnn"


@pytest.fixture(scope="module")
def cases():
    return frame([made_up.run()])


@pytest.fixture(scope="module")
def rows(cases):
    return summary(cases)


def row(rows, method, target="xnnpack-fp32", pair=PAIR):
    (index,) = rows.index[(rows.pair == pair) & (rows.method == method) & (rows.target == target)]
    return rows.loc[index]


def changed(case, **changes):
    return summary(frame([made_up.with_record(made_up.run(), case, **changes)]))


def test_one_row_a_case_with_every_declared_metric(cases):
    run = made_up.run()
    assert list(cases.columns) == [*CASE_COLUMNS, *METRICS]
    assert len(cases) == len(run.records) == 40
    assert set(metrics_of(cases)) == set(METRICS)
    assert {str(cases[metric].dtype) for metric in METRICS} == {"float64"}
    for (_, found), record in zip(cases.iterrows(), run.records, strict=True):
        for metric in METRICS:
            value = record.metrics.get(metric)
            assert math.isnan(found[metric]) if value is None else found[metric] == value


def test_a_case_says_what_it_is_and_how_it_was_timed(cases):
    first = cases.iloc[0]
    assert first[["run", "suite", "version", "recipe", "machine"]].tolist() == [
        "20261124T040506Z-00ab", "made", 1, "fast", "amd-epyc-linux-x86-64",
    ]  # fmt: skip
    assert (first.runtime, first.threads, first.test_items) == ("native executorch-1.5.1 x86_64", 1, 360)
    assert first.latency_ms_ci == pytest.approx(0.001602388, rel=1e-6)  # of 12.2 degrees of freedom
    assert first.latency_ref_ci == pytest.approx(0.010336009, rel=1e-6)
    int8 = cases[(cases.target == "xnnpack-int8") & (cases.method == "kd")].iloc[0]
    assert int8["flags"] == "noisy"


def test_what_a_protocol_asked_for_is_told():
    assert frame([made_up.run()])[["every_ms", "sustained_s"]].isna().all(axis=None)
    suite = made_up.suite(protocol={"every_ms": 33, "sustained_s": 180}).model_dump(mode="json")
    cases = frame([made_up.run(suite=suite)])
    for told in (cases, summary(cases)):
        assert (told[["every_ms", "sustained_s"]] == [33, 180]).all(axis=None)


def test_aa_is_that_of_the_devices_sitting():
    assert frame([made_up.run()])["aa"].isna().all()
    sitting = Sitting(device="host", threads=1, reference_ms=(1.0, 2.0), again_ms=(1.0, 2.01))
    other = sitting.model_copy(update={"device": "ssh:board", "again_ms": (2.0, 2.0)})
    cases = frame([made_up.run(sittings=(other, sitting))])
    assert cases["aa"].tolist() == pytest.approx([0.005] * len(cases))
    assert summary(cases)["aa"].unique().tolist() == pytest.approx([0.005])


def test_a_failed_case_stays_a_row_with_status_and_reason(cases):
    (index,) = cases.index[cases.status != "ok"]
    bad = cases.loc[index]
    assert (bad.method, bad.seed, bad.status, bad.reason) == ("fitnet", 1, "crashed", "signal 11 (SIGSEGV)")
    assert cases.loc[index, list(METRICS)].isna().all()


def test_a_metric_that_only_the_run_knows_gets_a_column():
    run = made_up.with_record(made_up.run(), made_up.run().records[0].case, metrics={"npu_cycles": 12.0})
    cases = frame([run])
    assert cases["npu_cycles"].dropna().tolist() == [12.0]
    assert summary(cases)["npu_cycles"].dropna().tolist() == [12.0]


def test_means_and_intervals_over_seeds(rows):
    kd = row(rows, "kd")
    values = np.array([325, 331, 326]) / 360
    assert kd.seeds == 3
    assert kd.accuracy == pytest.approx(values.mean())
    assert kd.accuracy_ci == pytest.approx(t_half_width(values))
    assert kd.accuracy_test_ci == pytest.approx(wilson_half_width(values.mean(), 360))
    assert kd.params == 506
    assert kd.params_ci == 0


def test_one_seed_has_no_interval_over_seeds_but_one_of_the_test_set(rows):
    teacher = row(rows, "teacher")
    assert teacher.seeds == 1
    assert math.isnan(teacher.accuracy_ci)
    assert teacher.accuracy_test_ci == pytest.approx(wilson_half_width(357 / 360, 360))


def test_what_is_measured_once_a_structure_has_no_interval_over_seeds(rows):
    of_seeds = [m for m, metric in METRICS.items() if metric.shared and m not in BY_PROCESS]
    assert rows[[f"{m}_ci" for m in of_seeds]].isna().all().all()
    kd = rows[(rows.method == "kd") & (rows.target == "xnnpack-fp32")].iloc[0]
    assert kd.latency_ref_ci == pytest.approx(0.001162165, rel=1e-6)


def test_the_mean_of_equal_numbers_is_that_number_to_the_last_bit():
    run = made_up.run()
    value = next(x / 1000 for x in range(1, 1000) if np.mean([x / 1000] * 3) != x / 1000)
    for seed in range(3):
        run = made_up.with_record(run, f"{PAIR}/kd/xnnpack-fp32/s{seed}/host", metrics={"latency_ms": value})
    assert row(summary(frame([run])), "kd").latency_ms == value


def test_seeds_of_several_structures_have_that_of_their_processes():
    run = made_up.run()
    other = made_up.structure("resnet8", "xnnpack-fp32")
    kd = row(changed(f"{PAIR}/kd/xnnpack-fp32/s1/host", structure=other, metrics={"latency_ms": 0.02}), "kd")
    assert kd.structure == ""
    assert not kd.shared_speed
    mine, others = 0.00018017003, 0.001602388
    assert kd.latency_ms_ci == pytest.approx((2 * mine + others) / 3, rel=1e-6)
    assert np.isnan(kd.peak_rss_bytes_ci)
    assert len(run.records) == 40


def test_a_partly_failed_row_says_so_and_is_the_mean_of_the_rest(rows):
    fitnet = row(rows, "fitnet", "xnnpack-int8")
    assert (fitnet.seeds, fitnet.failed, fitnet.status) == (2, 1, "some-failed")
    assert fitnet.reason == "s1 crashed: signal 11 (SIGSEGV)"
    assert fitnet.accuracy == pytest.approx((311 + 309) / 720)


def test_a_wholly_failed_row_stays_and_is_neither_best_nor_dominated():
    run = made_up.run()
    bad = tuple(made_up.failed(r, "timed-out", "300 s") if r.method == "fitnet" else r for r in run.records)
    rows = summary(frame([run.model_copy(update={"records": bad})]))
    fitnet = row(rows, "fitnet")
    assert (fitnet.seeds, fitnet.failed, fitnet.status) == (0, 3, "timed-out")
    assert fitnet.reason == "s0 s1 s2 timed-out: 300 s"
    assert math.isnan(fitnet.accuracy)
    assert not fitnet.best
    assert not fitnet.dominated
    assert row(rows, "kd").best


def test_ratios_are_shares_of_the_teacher_of_the_same_target(rows):
    assert row(rows, "teacher").size_bytes_ratio == 1
    assert row(rows, "kd").size_bytes_ratio == pytest.approx(12_416 / 313_008)
    assert row(rows, "kd", "xnnpack-int8").latency_ms_ratio == pytest.approx(0.0106 / 0.0455)
    assert row(rows, "kd", pair="digits:resnet20-dscnn").macs_ratio == pytest.approx(15_120 / 1_250_000)


def test_without_a_teacher_there_is_no_ratio(cases):
    assert summary(cases[cases.method != "teacher"])["size_bytes_ratio"].isna().all()


def test_speed_is_shown_once_a_structure_within_a_pair(rows):
    shared = rows[rows.pair == PAIR].set_index(["method", "target"]).shared_speed
    assert shared[~shared].index.tolist() == [
        ("teacher", "xnnpack-fp32"), ("teacher", "xnnpack-int8"),
        ("scratch", "xnnpack-fp32"), ("scratch", "xnnpack-int8"),
    ]  # fmt: skip
    assert not rows[(rows.pair != PAIR) & (rows.method == "scratch")].shared_speed.any()


def test_best_leads_every_other_method_beyond_the_spread_of_seeds(rows):
    assert set(rows[rows.best].method) == {"kd"}
    assert row(rows, "kd").best
    assert not rows[rows.method == "teacher"].best.any()


@pytest.mark.parametrize(
    ("right", "best"),
    [((312, 318, 313), True), ((312, 330, 312), False), ((326, 332, 327), False), ((325, 331, 326), False)],
)
def test_best_needs_an_interval_that_excludes_zero_against_each(right, best):
    run = made_up.run()
    for seed, count in enumerate(right):
        case = f"{PAIR}/fitnet/xnnpack-fp32/s{seed}/host"
        run = made_up.with_record(run, case, metrics={"accuracy": count / 360})
    rows = summary(frame([run]))
    assert row(rows, "kd").best == best
    assert not row(rows, "scratch").best


def test_one_common_seed_makes_nobody_best():
    run = made_up.run()
    kept = tuple(r for r in run.records if r.method != "kd" or r.seed == 0)
    assert not summary(frame([run.model_copy(update={"records": kept})])).best.any()


def test_a_method_alone_is_not_the_best_of_anything(cases):
    assert not summary(cases[cases.method.isin(["teacher", "kd"])]).best.any()


def test_dominated_rows_lose_in_quality_latency_and_size(rows):
    assert row(rows, "scratch").dominated
    assert not row(rows, "kd").dominated
    assert not row(rows, "teacher").dominated
    faster = changed(f"{PAIR}/scratch/xnnpack-fp32/s0/host", metrics={"latency_ms": 0.001})
    assert not row(faster, "scratch").dominated
    unknown = changed(f"{PAIR}/scratch/xnnpack-fp32/s0/host", metrics={"latency_ms": 0.01})
    assert row(unknown, "scratch").dominated


def test_domination_does_not_reach_into_another_pair_or_run():
    run = made_up.run()
    two = summary(frame([run, run.model_copy(update={"id": "20270101T000000Z-0000"})]))
    assert len(two) == 2 * len(summary(frame([run])))
    assert two[two.method == "kd"].dominated.sum() == 0
    assert row(two[two.run == run.id], "kd").best


def test_rows_per_seed_are_cases_with_ratios_and_without_marks(cases):
    rows = summary(cases, per_seed=True)
    assert len(rows) == 40
    assert "seed" in rows.columns
    assert not (rows.best | rows.dominated).any()
    assert rows[[f"{metric}_ci" for metric in METRICS if metric not in BY_PROCESS]].isna().all().all()
    assert (rows[rows.method == "kd"].size_bytes_ratio > 0).all()


def test_the_columns_are_as_documented(rows):
    assert list(rows.columns[: len(SUMMARY_COLUMNS)]) == list(SUMMARY_COLUMNS)
    assert all(f"{metric}_ci" in rows.columns for metric in METRICS)
    assert isinstance(rows, pd.DataFrame)


def test_a_task_whose_every_case_failed_still_makes_a_frame():
    run = made_up.run()
    bad = tuple(made_up.failed(r).model_copy(update={"details": {"quality": "bleu"}}) for r in run.records)
    rows = summary(frame([run.model_copy(update={"records": bad})]))
    assert rows["bleu"].isna().all()
    assert not (rows.best | rows.dominated).any()


def test_a_record_that_lies_about_its_numbers_makes_no_traceback():
    case = made_up.run().records[0].case
    odd = changed(case, metrics={"accuracy": 1.5}, details={"test_items": "many", "quality": 3})
    assert math.isnan(row(odd, "teacher").accuracy_test_ci)
    odd = changed(case, metrics={"accuracy": 1.5})
    assert math.isnan(row(odd, "teacher").accuracy_test_ci)
