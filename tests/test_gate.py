import made_up
import numpy as np
import pytest

from kdbench.budgets import judged_budgets
from kdbench.errors import UsageError
from kdbench.gate import compare
from kdbench.spec import Budget

KD8 = "digits:resnet8-dscnn/kd/xnnpack-int8/s0/host"
PAIR8 = "digits:resnet8-dscnn/kd/xnnpack-int8/s*/host"
SCRATCH8 = "digits:resnet8-dscnn/scratch/xnnpack-int8/s0/host"
TEACHER8 = "digits:resnet8-dscnn/teacher/xnnpack-int8/s0/host"


def base(**changes):
    return made_up.run(broken=False, **changes)


def shown(comparison, *words):
    words = words or ("regressed", "improved", "inconclusive", "no-baseline", "incomparable", "noisy")
    return [(v.case, v.metric, v.verdict) for v in comparison.verdicts if v.verdict in words]


def the(comparison, case, metric):
    (verdict,) = [v for v in comparison.verdicts if (v.case, v.metric) == (case, metric) and "budget" not in v.reason]
    return verdict


def retrained(run, offsets, method="kd", target="xnnpack-int8"):
    """The run with other checkpoints of a method of the first pair, and ``offsets`` right items more a seed."""
    for seed, offset in enumerate(offsets):
        case = f"digits:resnet8-dscnn/{method}/{target}/s{seed}/host"
        old = next(r for r in run.records if r.case == case)
        metrics = {"accuracy": (round(old.metrics["accuracy"] * 360) + offset) / 360}
        run = made_up.with_record(run, case, checkpoint_sha256=made_up.sha("other", case), metrics=metrics)
    return run


def test_equal_runs_are_ok():
    comparison = compare(base(), base())
    assert shown(comparison) == []
    assert comparison.count("ok") > 500
    assert comparison.exit_code == 0
    assert comparison.suspects == ()
    assert comparison.notes == (
        "speed and memory need no judging: every structure is the base's, on the same executorch",
    )


@pytest.mark.parametrize(
    ("metric", "value", "verdict", "code"),
    [
        ("size_bytes", 10_881.0, "regressed", 1),
        ("size_bytes", 10_879.0, "improved", 0),
        ("arena_bytes", 8_192.0, "regressed", 1),
        ("delegated", 0.9, "regressed", 1),
        ("accuracy", 323 / 360, "incomparable", 4),
        ("accuracy", 1.0, "inconclusive", 0),
        ("flips", 7 / 360, "inconclusive", 0),
        ("kl_teacher", 0.300001, "ok", 0),
        ("kl_teacher", 0.31, "inconclusive", 0),
        ("download_bytes", 1e6, "regressed", 1),
        ("latency_ms", 100.0, None, 0),
        ("peak_rss_bytes", 1e9, None, 0),
        ("train_s", 100.0, None, 0),
        ("size_bytes", None, "incomparable", 4),
    ],
)
def test_an_exact_fact_of_the_same_checkpoint_is_judged_to_the_last_byte(metric, value, verdict, code):
    comparison = compare(base(), made_up.with_record(base(), KD8, metrics={metric: value}))
    found = [v.verdict for v in comparison.verdicts if (v.case, v.metric) == (KD8, metric) and "budget" not in v.reason]
    assert found == ([verdict] if verdict else [])
    assert comparison.exit_code == code


def test_the_reason_says_what_moved_and_by_how_much():
    comparison = compare(base(), made_up.with_record(base(), KD8, metrics={"size_bytes": 11_424.0}))
    assert the(comparison, KD8, "size_bytes").reason == "10880 -> 11424 (+5.00%)"


def test_growth_within_the_allowance_is_ok():
    new = made_up.with_record(base(), KD8, metrics={"size_bytes": 11_424.0})
    assert compare(base(), new, {"size_bytes": 0.05}).exit_code == 0
    assert "within the allowance of 5.00%" in the(compare(base(), new, {"size_bytes": 0.05}), KD8, "size_bytes").reason
    assert compare(base(), new, {"size_bytes": 0.049}).exit_code == 1


def test_a_retrained_student_is_judged_over_seeds_only():
    worse = compare(base(), retrained(base(), (-20, -21, -19)))
    assert shown(worse) == [(PAIR8, "accuracy", "regressed")]
    assert the(worse, PAIR8, "accuracy").reason == (
        "90.09 % -> 84.54 %: retrained, 3 paired seeds, p = 0.00042; at worst -6.02 points, margin 0.50; "
        "a drop of 1.44 would have been shown"
    )
    better = compare(base(), retrained(base(), (20, 21, 19)))
    assert shown(better) == [(PAIR8, "accuracy", "improved")]
    luck = compare(base(), retrained(base(), (-20, 3, 1)))
    assert shown(luck) == [(PAIR8, "accuracy", "inconclusive")]
    assert luck.exit_code == 0
    assert the(luck, PAIR8, "accuracy").reason.endswith(
        "; a drop of 18.31 would have been shown; 506 seeds would show one of the margin"
    )


def test_retrained_students_of_another_test_set_are_incomparable():
    new = retrained(base(), (1, 2, 3))
    for seed in range(3):
        case = KD8.replace("s0", f"s{seed}")
        new = made_up.with_record(new, case, details={"test_items": 400, "quality": "accuracy"})
    said = the(compare(base(), new), PAIR8, "accuracy")
    assert (said.verdict, said.reason) == ("incomparable", "judged on 360 and on 400 items")


def test_two_retrained_seeds_prove_nothing():
    two = compare(base(), retrained(base(), (-20, -20)))
    assert shown(two) == [(PAIR8, "accuracy", "inconclusive")]
    assert "retrained, 2 paired seeds of at least 3; " in the(two, PAIR8, "accuracy").reason


def test_equal_steps_of_one_item_are_not_mistaken_for_a_trend():
    assert shown(compare(base(), retrained(base(), (-1, -1, -1)), margin=0.0)) == [(PAIR8, "accuracy", "inconclusive")]
    within = compare(base(), retrained(base(), (-1, -1, -1)))
    assert shown(within) == []
    assert "at worst -0.47 points, margin 0.50" in the(within, PAIR8, "accuracy").reason


@pytest.mark.parametrize(("grown", "word", "code"), [(1.019, "inconclusive", 0), (1.021, "regressed", 1)])
def test_values_alone_do_not_make_a_program_much_larger(grown, word, code):
    old = next(record for record in base().records if record.case == KD8).metrics["size_bytes"]
    new = made_up.with_record(retrained(base(), (0, 0, 0)), KD8, metrics={"size_bytes": old + 3 * (grown - 1) * old})
    comparison = compare(base(), new)
    assert the(comparison, PAIR8, "size_bytes").verdict == word
    assert comparison.exit_code == code
    assert compare(base(), new, {"size_bytes": 0.03}).exit_code == 0


def test_a_quality_that_is_not_known_is_no_silent_pass():
    def with_quality(value):
        return made_up.with_record(
            base(), KD8, details={"test_items": 360, "quality": "map50"}, metrics={"map50": value}
        )

    assert the(compare(with_quality(0.6), with_quality(0.6)), KD8, "map50").verdict == "ok"
    assert the(compare(with_quality(None), with_quality(None)), KD8, "map50").verdict == "incomparable"
    comparison = compare(with_quality(0.6), with_quality(0.1))
    verdict = the(comparison, KD8, "map50")
    assert (verdict.verdict, verdict.base, verdict.new) == ("incomparable", 0.6, 0.1)
    assert verdict.reason == "a quality that kdbench does not know, so no test says whether it fell"
    assert comparison.exit_code == 4


def test_the_bytes_of_a_retrained_student_follow_its_values_but_not_those_of_another_structure():
    """An int8 student of digits has 16,424 or 16,552 bytes: equal constants are stored once."""
    new = made_up.with_record(retrained(base(), (0,)), KD8, metrics={"size_bytes": 11_008.0})
    assert shown(compare(base(), new)) == [(PAIR8, "size_bytes", "inconclusive")]
    assert shown(compare(base(), new, {"size_bytes": 0.01})) == [(PAIR8, "size_bytes", "regressed")]
    assert shown(compare(base(), new, {"size_bytes": 0.02})) == []
    other = made_up.with_record(new, KD8, structure="f" * 64)
    assert shown(compare(base(), other)) == [(KD8, "size_bytes", "regressed")]


def test_a_case_that_fails_anew_is_regressed_with_its_reason():
    comparison = compare(base(), made_up.run())
    case = "digits:resnet8-dscnn/fitnet/xnnpack-int8/s1/host"
    assert shown(comparison) == [(case, "status", "regressed"), (case, "accuracy", "regressed")]
    assert the(comparison, case, "status").reason == "was ok, now crashed: signal 11 (SIGSEGV)"
    assert comparison.exit_code == 1
    assert shown(compare(made_up.run(), base())) == [(case, "status", "improved")]


def test_a_case_that_failed_before_and_now_cannot_be_compared():
    suite = made_up.suite(budgets={}).model_dump(mode="json")
    comparison = compare(made_up.run(suite=suite), made_up.run(suite=suite))
    case = "digits:resnet8-dscnn/fitnet/xnnpack-int8/s1/host"
    assert shown(comparison) == [(case, "status", "incomparable")]
    assert comparison.exit_code == 4


def test_a_case_that_no_target_offers_is_no_failure():
    absent = {"status": "not-applicable", "reason": "no such operator"}
    run = base().model_copy(
        update={"records": tuple(made_up.failed(r, **absent) if r.case == KD8 else r for r in base().records)}
    )
    assert shown(compare(run, run)) == []
    assert shown(compare(base(), run)) == [(KD8, "status", "regressed")]


def test_new_cases_have_no_baseline_and_lost_ones_are_not_passed_over():
    without = base().model_copy(update={"records": tuple(r for r in base().records if r.method != "fitnet")})
    fresh = compare(without, base())
    assert {v[2] for v in shown(fresh)} == {"no-baseline"}
    assert len(shown(fresh)) == 12
    assert fresh.exit_code == 4
    lost = compare(base(), without)
    assert {v[2] for v in shown(lost)} == {"incomparable"}
    assert lost.exit_code == 4
    chosen = compare(base(), without.model_copy(update={"partial": True}))
    assert chosen.exit_code == 0
    assert "12 cases of the base were left out" in chosen.notes[1]


def test_a_figure_that_the_base_lacks_has_no_baseline():
    older = made_up.with_record(base(), KD8, metrics={"ece": None})
    assert shown(compare(older, base())) == [(KD8, "ece", "no-baseline")]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": "made@quick"}, "suite 'made' and suite 'made@quick' are different suites"),
        ({"version": 2}, "suite 'made' went from version 1 to 2: its figures are no longer comparable"),
        (
            {"protocol": {"threads": 2, "cold_cache": True, "min_runs": 5}},
            "the measuring protocols differ in cold_cache, threads",
        ),
    ],
)
def test_runs_of_other_suites_versions_and_protocols_are_incomparable(changes, reason):
    other = base(suite=made_up.suite(**changes).model_dump(mode="json"))
    comparison = compare(base(), other)
    assert [v.reason for v in comparison.verdicts] == [reason]
    assert comparison.exit_code == 4


def test_a_changed_library_is_compared_and_named():
    provenance = base().provenance.model_copy(
        update={"libraries": {"torch": "2.13.1", "executorch": "1.5.1", "torchao": "0.18.0"}, "commit": "f" * 40}
    )
    new = made_up.with_record(base(provenance=provenance), KD8, metrics={"size_bytes": 10_900.0})
    comparison = compare(base(), new)
    assert comparison.suspects == ("torch 2.13.0 -> 2.13.1", "commit 0123456789 -> ffffffffff")
    assert (
        "(suspects: torch 2.13.0 -> 2.13.1, commit 0123456789 -> ffffffffff)"
        in the(comparison, KD8, "size_bytes").reason
    )


def test_budgets_bind_every_students_case_of_their_target():
    verdicts = judged_budgets(base())
    assert len(verdicts) == 18
    assert {v.verdict for v in verdicts} == {"ok"}
    assert not any("teacher" in v.case for v in verdicts)
    tight = made_up.budgeted(
        base(), Budget(metric="accuracy", op=">=", limit=0.9), Budget(metric="latency_ms", op="<=", limit=0.01)
    )
    broken = [v for v in judged_budgets(tight) if v.verdict == "regressed"]
    assert (SCRATCH8, "accuracy") in {(v.case, v.metric) for v in broken}
    assert (KD8, "accuracy") not in {(v.case, v.metric) for v in broken}
    assert sum(v.metric == "latency_ms" for v in broken) == 18
    reasons = {v.reason for v in broken if v.case == SCRATCH8}
    assert reasons == {"budget accuracy >= 0.9 broken: 0.825", "budget latency_ms <= 0.01 broken: 0.0106"}
    assert compare(tight, tight).exit_code == 1


def test_a_budget_of_a_missing_figure_is_not_kept():
    run = made_up.budgeted(base(), Budget(metric="latency_p99_ms", op="<=", limit=1))
    run = made_up.with_record(run, KD8, metrics={"latency_p99_ms": None}, reasons={"latency_p99_ms": "612 samples"})
    (verdict,) = [v for v in judged_budgets(run) if v.verdict != "ok"]
    assert (verdict.case, verdict.verdict) == (KD8, "incomparable")
    assert verdict.reason == "budget latency_p99_ms <= 1 not judged: 612 samples"


def test_a_failed_case_breaks_its_budgets():
    (verdict,) = [v for v in judged_budgets(made_up.run()) if v.verdict != "ok"]
    assert verdict.reason == "budget accuracy >= 0.8 broken: crashed: signal 11 (SIGSEGV)"


def test_budgets_of_another_kdbench_are_one_line():
    run = base(suite=made_up.suite().model_dump(mode="json") | {"budgets": {"xnnpack-int8": [{"metric": "accuracy"}]}})
    with pytest.raises(UsageError, match=r"the budgets of run 20261124T040506Z-00ab cannot be read: Field required"):
        judged_budgets(run)


def changed(lost, gained, case=KD8, run=None):
    """A run whose program of a case has ``lost`` items wrong that were right and ``gained`` the other way; its bits."""
    items = made_up.items(base())
    before = {name: item.correct for name, item in items.items()}
    after = {name: right.copy() for name, right in before.items()}
    after[case][np.flatnonzero(before[case])[:lost]] = False
    after[case][np.flatnonzero(~before[case])[:gained]] = True
    metrics = {"accuracy": float(after[case].mean())}
    return made_up.with_record(run or base(), case, metrics=metrics), (before, after)


@pytest.mark.parametrize(
    ("lost", "gained", "verdict", "code"),
    [
        (12, 0, "regressed", 1),
        (30, 10, "regressed", 1),
        (3, 0, "inconclusive", 0),
        (12, 9, "inconclusive", 0),
        (0, 12, "improved", 0),
        (0, 0, None, 0),
    ],
)
def test_two_programs_of_one_checkpoint_are_judged_by_the_items_they_share(lost, gained, verdict, code):
    new, right = changed(lost, gained)
    comparison = compare(base(), new, right=right)
    assert shown(comparison) == ([(KD8, "accuracy", verdict)] if verdict else [])
    assert comparison.exit_code == code


def test_a_drop_is_told_with_its_margin_and_what_could_have_been_shown():
    new, right = changed(12, 0)
    assert the(compare(base(), new, right=right), KD8, "accuracy").reason == (
        "90.00 % -> 86.67 %: 12 items lost, 0 gained of 360, p = 0.00024; at worst -4.99 points, margin 0.50; "
        "a drop of 3.28 would have been shown"
    )
    assert shown(compare(base(), new, right=right, margin=0.06)) == []


def test_items_of_another_test_set_are_incomparable():
    new, (before, after) = changed(12, 0)
    shorter = {case: right[:100] for case, right in after.items()}
    comparison = compare(base(), new, right=(before, shorter))
    assert the(comparison, KD8, "accuracy").verdict == "incomparable"
    assert the(comparison, KD8, "accuracy").reason == "judged on 360 items before and on 100 now"


def test_what_follows_from_predictions_is_judged_under_an_allowance_alone():
    new = made_up.with_record(base(), KD8, metrics={"flips": 7 / 360})
    assert the(compare(base(), new), KD8, "flips").reason == (
        "0.01666666667 -> 0.01944444444 (+16.67%): moved with what it follows from, not tested"
    )
    assert shown(compare(base(), new, {"flips": 0.1})) == [(KD8, "flips", "regressed")]
    assert shown(compare(base(), new, {"flips": 0.2})) == []
    other = retrained(new, (0,))
    assert (PAIR8, "flips", "inconclusive") in shown(compare(base(), other))
