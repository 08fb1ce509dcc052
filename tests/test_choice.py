import made_up
import pytest

from kdbench.choice import condition, pick
from kdbench.errors import UnmetError, UsageError
from kdbench.records import Curve, Network

PAIR = "digits:resnet8-dscnn"


def choose(*conditions, metric="download_bytes", run=None, **options):
    return pick(
        run or made_up.run(broken=False), [condition(text) for text in conditions], metric, pair=PAIR, **options
    )


def validated(*accuracies):
    """The made-up run with a last validation accuracy for each seed of ``kd``."""
    whole = made_up.run(broken=False)
    networks = tuple(
        Network(
            checkpoint_sha256=made_up.sha("checkpoint", PAIR, "kd", seed), architecture="dscnn", recipe_sha256="",
            curves=(Curve(name="validation_accuracy", values=(0.99, accuracy)),),
            steps=1, seconds=1.0, device="cpu", threads=1, precision="fp32",
        )
        for seed, accuracy in enumerate(accuracies)
    )  # fmt: skip
    return whole.model_copy(update={"networks": networks})


def test_the_smallest_student_that_meets_the_conditions_is_shipped_and_equals_are_told_apart_by_quality():
    found = choose("accuracy>=0.8")
    assert found.chosen.name == "kd/xnnpack-int8/s0/host"
    assert [f"{c.record.method}/{c.record.target}" for c in found.runners_up] == [
        "fitnet/xnnpack-int8", "scratch/xnnpack-int8", "kd/xnnpack-fp32", "fitnet/xnnpack-fp32", "scratch/xnnpack-fp32",
    ]  # fmt: skip
    assert found.candidates == 6


def test_a_condition_moves_the_choice_to_another_target():
    assert choose("accuracy>=0.9", "latency_ms<=0.0100").chosen.name == "kd/xnnpack-fp32/s0/host"


def test_the_most_of_a_metric_can_be_asked_for():
    assert choose(metric="accuracy", most=True).chosen.record.method == "kd"
    assert choose(metric="accuracy").chosen.record.method == "scratch"


def test_the_seed_that_ships_is_chosen_on_validation_and_must_meet_the_conditions_itself():
    assert choose(run=validated(0.5, 0.6, 0.7)).chosen.record.seed == 2
    assert choose(run=validated(0.5, 0.7, 0.7)).chosen.record.seed == 1
    own = 326 / 360 - 2 / 360  # seed 2 as int8; the mean of the three is higher
    assert choose(f"accuracy>={own + 0.0005}", run=validated(0.5, 0.6, 0.7)).chosen.record.target == "xnnpack-fp32"


def test_what_is_kept_of_the_teacher_and_gained_over_scratch():
    found = choose("accuracy>=0.8")
    kd = sum((325 - 1, 331 - 6, 326 - 2)) / 3
    scratch = sum((301 - 4, 305 - 2, 298 - 5)) / 3
    assert found.retained == pytest.approx(kd / 356)
    assert found.gained.estimate == pytest.approx((kd - scratch) / 360)
    assert found.paired == 3


def test_unknown_contradictory_and_malformed_conditions_are_a_line_each():
    with pytest.raises(UsageError, match="unknown metric 'acuracy'; did you mean 'accuracy'"):
        choose("acuracy>=0.9")
    with pytest.raises(UsageError, match="unknown metric 'acc'; did you mean 'accuracy'"):
        choose("acc>=0.8")
    with pytest.raises(UsageError, match=r"--where 'accuracy>=80%': shares are numbers from 0 to 1: 90 % is 0\.9"):
        condition("accuracy>=80%")
    with pytest.raises(UsageError, match="unknown metric 'bytes'"):
        choose(metric="bytes")
    with pytest.raises(UsageError, match=r"accuracy >= 0.9 and accuracy <= 0.8 contradict"):
        choose("accuracy>=0.9", "accuracy<=0.8")
    for text in (
        "accuracy",
        "accuracy=0.9",
        "accuracy>0.9",
        "accuracy>=many",
        "accuracy>=nan",
        ">=1",
        "accuracy>=1e999",
    ):
        with pytest.raises(UsageError, match="expected METRIC>=NUMBER"):
            condition(text)
    with pytest.raises(UsageError, match="--pair: unknown pair 'x'"):
        pick(made_up.run(), [], "download_bytes", pair="x")


def test_what_cannot_be_met_names_what_comes_nearest():
    with pytest.raises(
        UnmetError, match=r"meets accuracy >= 0.99; nearest is kd/xnnpack-fp32/s0/host: accuracy 0.90\d+ \(mean\)"
    ) as told:
        choose("accuracy>=0.99")
    assert told.value.exit_code == 1
    with pytest.raises(UnmetError, match="90 % is 0.9"):
        choose("accuracy>=90")
    with pytest.raises(UnmetError, match="has a figure for npu_ms"):
        choose(metric="npu_ms")


def test_failed_seeds_and_teachers_do_not_ship():
    found = choose(run=made_up.run())
    assert {c.record.status for c in (found.chosen, *found.runners_up)} == {"ok"}
    assert "teacher" not in {c.record.method for c in (found.chosen, *found.runners_up)}


def test_pairs_of_several_data_sets_are_not_thrown_together():
    whole = made_up.run()
    records = tuple(r.model_copy(update={"pair": "fashion-mnist:a-b"}) if r.pair == PAIR else r for r in whole.records)
    with pytest.raises(UsageError, match="several data sets, name one by --pair"):
        pick(whole.model_copy(update={"records": records}), [], "download_bytes")


def test_a_program_that_no_device_ran_cannot_be_exported_and_is_left_out():
    whole = made_up.run(broken=False)

    def lowered_only(*targets):
        records = tuple(
            r.model_copy(update={"metrics": r.metrics | {"latency_ms": None}}) if r.target in targets else r
            for r in whole.records
        )
        return whole.model_copy(update={"records": records})

    found = choose("accuracy>=0.8", run=lowered_only("xnnpack-int8"))
    assert found.chosen.name == "kd/xnnpack-fp32/s0/host"
    assert (found.unrun, found.candidates) == (("xnnpack-int8",), 3)
    with pytest.raises(UnmetError, match="was run on its device, only lowered: xnnpack-fp32, xnnpack-int8"):
        choose(run=lowered_only(*made_up.TARGETS))
