import made_up
import pytest
from test_ranking import validated

from kdbench.choice import choose, limit, shown
from kdbench.errors import UsageError


def made(**shares):
    run = made_up.run(broken=False)
    return validated(run, **shares) if shares else run


def cases(candidates):
    return [f"{one.record.method}/{one.record.target}/s{one.record.seed}" for one in candidates]


def test_the_least_of_what_keeps_the_limits_comes_first():
    choice = choose(made(), [limit("accuracy>=0.9")], "size_bytes")
    assert [one.record.target for one in choice.kept] == ["xnnpack-int8"] * 2 + ["xnnpack-fp32"] * 2
    assert {one.record.method for one in choice.kept} == {"kd"}
    assert choice.kept[0].record.pair == "digits:resnet20-dscnn"  # equal in size, and better
    assert (choice.teacher.method, choice.teacher.pair) == ("teacher", "digits:resnet20-dscnn")
    assert choice.lead.rival == "scratch"
    assert len(choice.kept) + len(choice.others) == 12


def test_more_is_first_where_more_is_better():
    assert cases(choose(made(), [], "accuracy").kept[:1]) == ["kd/xnnpack-fp32/s0"]


def test_the_seed_that_validated_best_ships_and_has_to_keep_the_limits_too():
    run = made_up.run(broken=False)
    (known,) = run.networks
    kd = [r for r in run.records if (r.pair, r.method, r.target) == ("digits:resnet8-dscnn", "kd", "xnnpack-fp32")]
    curves = [
        known.model_copy(
            update={
                "checkpoint_sha256": rec.checkpoint_sha256,
                "curves": (known.curves[0].model_copy(update={"values": (0.5, [0.7, 0.8, 0.75][rec.seed])}),),
            }
        )
        for rec in kd
    ]
    run = run.model_copy(update={"networks": tuple(curves)})
    kept = choose(run, [limit("accuracy>=0.9")], "accuracy").kept
    assert {one.record.pair[:14]: one.record.seed for one in kept} == {"digits:resnet8": 1, "digits:resnet2": 0}
    low = made_up.with_record(run, kd[1].case, metrics={"accuracy": 0.901})
    others = choose(low, [limit("accuracy>=0.903")], "accuracy").others
    assert others[0].missed == ("accuracy >= 0.903: it is 90.10 % of s1, which would ship",)


def test_a_failed_seed_keeps_a_candidate_out_with_its_reason():
    others = choose(made_up.run(), [], "size_bytes").others
    assert [one.missed for one in others] == [("s1 crashed: signal 11 (SIGSEGV)",)]


def test_a_figure_that_is_not_there_keeps_no_limit():
    run = made()
    for record in run.records:
        if record.target == "xnnpack-int8" and record.method != "teacher":
            run = made_up.with_record(
                run, record.case, metrics={"latency_ms": None}, reasons={"latency_ms": "nothing here runs it"}
            )
    choice = choose(run, [limit("latency_ms<=1")], "size_bytes")
    assert {one.record.target for one in choice.kept} == {"xnnpack-fp32"}
    assert choice.others[0].missed == ("latency_ms <= 1: nothing here runs it",)
    assert choose(run, [], "latency_ms").others[0].missed == ("latency_ms: nothing here runs it",)


def test_the_nearest_misses_fewest_limits_by_least():
    others = choose(made(), [limit("accuracy>=0.95"), limit("size_bytes<=11000")], "size_bytes").others
    assert others[0].record.target == "xnnpack-int8"
    assert others[0].record.method == "kd"
    assert others[0].missed == ("accuracy >= 0.95: it is 90.65 %",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("accuracy=0.9", "--where 'accuracy=0.9': expected METRIC>=NUMBER or METRIC<=NUMBER such as accuracy>=0.9"),
        ("accuracy>=much", "--where 'accuracy>=much': expected METRIC>=NUMBER"),
        ("accuracy>=1e999", "--where 'accuracy>=1e999': expected METRIC>=NUMBER"),
        ("acuracy>=0.9", "--where: unknown metric 'acuracy'; did you mean 'accuracy'"),
    ],
)
def test_a_bad_limit_is_one_line(text, message):
    with pytest.raises(UsageError) as error:
        limit(text)
    assert str(error.value).startswith(message)


def test_limits_that_nothing_keeps_together_are_refused():
    with pytest.raises(UsageError, match="nothing keeps both accuracy >= 0.9 and accuracy <= 0.8"):
        choose(made(), [limit("accuracy>=0.9"), limit("accuracy <= 0.8")], "size_bytes")


def test_a_run_without_students_is_refused():
    run = made()
    with pytest.raises(UsageError, match="holds no students"):
        choose(
            run.model_copy(update={"records": tuple(r for r in run.records if r.method == "teacher")}), [], "size_bytes"
        )


def test_figures_are_shown_with_their_unit():
    assert (shown("accuracy", 0.5), shown("size_bytes", 1500.0), shown("params", None)) == ("50.00 %", "1.5 kB", "-")
