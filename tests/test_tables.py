import made_up
import pytest
from laid import cells, table

from kdbench.errors import UsageError
from kdbench.formats import rows_of
from kdbench.measures.metric import METRICS
from kdbench.sitting import Sitting
from kdbench.tables import BEST, DEFAULT_COLUMNS, DOMINATED, FLAGGED, NONE, SAME, digits_of, plain, table_of


def test_the_default_columns_tell_the_story():
    laid = table()
    assert tuple(column.id for column in laid.columns) == tuple(
        id_ for id_ in DEFAULT_COLUMNS if id_ not in ("instructions", "latency_mean_ms")
    )
    units = {column.id: column.unit for column in laid.columns if column.numeric}
    assert units == {
        "seeds": "", "accuracy": "%", "accuracy_drop": "pt", "agreement": "%", "size_bytes": "kB",
        "size_bytes_ratio": "/teacher", "latency_ms": "us", "latency_ref": "", "peak_rss_bytes": "MB", "train_s": "s",
    }  # fmt: skip


def test_a_section_a_pair_says_suite_version_run_recipe_machine_and_runtime():
    first, second = table().sections
    assert first.title == "made v1 · digits:resnet8-dscnn · host · run 20261124T040506Z-00ab"
    assert second.title.startswith("made v1 · digits:resnet20-dscnn")
    assert first.source == (
        "fast recipes (ours, not the literature's) · amd-epyc-linux-x86-64 · native executorch-1.5.1 x86_64, 1 thread"
    )
    assert [len(section.rows) for section in (first, second)] == [8, 8]
    assert table(made_up.run(partial=True)).sections[0].title.endswith("(partial: a selection of the suite's cases)")


def test_a_cold_file_cache_is_told():
    suite = made_up.suite(protocol={"cold_cache": True}).model_dump(mode="json")
    assert table(made_up.run(suite=suite)).sections[0].source.endswith(", 1 thread, loaded from a cold file cache")


def test_a_pace_and_a_long_run_are_told():
    suite = made_up.suite(protocol={"every_ms": 33, "sustained_s": 180}).model_dump(mode="json")
    run = made_up.run(suite=suite)
    assert table(run).sections[0].source.endswith(", 1 thread")
    case = run.records[0]
    for more, told in (
        ({"latency_paced_ms": 0.1}, ", 1 thread, paced every 33 ms"),
        ({"latency_sustained_ms": 0.1}, ", 1 thread, sustained for 180 s"),
    ):
        asked = made_up.with_record(run, case.case, metrics={**case.metrics, **more})
        assert table(asked).sections[0].source.endswith(told)


def test_every_metric_can_be_a_column():
    laid = table(columns=list(METRICS))
    assert [column.heading for column in laid.columns] == [metric.title for metric in METRICS.values()]


def test_reference_recipes_are_told_from_fast_ones():
    recipe = made_up.suite().recipes["student"].model_copy(update={"kind": "reference"})
    suite = made_up.suite(recipes={"teacher": recipe, "student": recipe}).model_dump(mode="json")
    assert table(made_up.run(suite=suite)).sections[0].source.startswith("reference recipes (the literature's)")


def test_cells_of_the_teacher_of_students_and_of_shared_speed():
    laid = table()
    teacher = cells(laid, "teacher", "xnnpack-fp32")
    assert teacher["accuracy"].text == "99.17"
    assert teacher["latency_ms"].text == "81.20 ±1.60"
    assert teacher["latency_ref"].text == "1.624 ±0.010"
    assert teacher["size_bytes_ratio"].text == "1.000"
    kd = cells(laid, "kd", "xnnpack-fp32")
    assert kd["accuracy"].text == "90.93 ±2.22"
    assert kd["accuracy"].strong
    assert kd["method"].mark == BEST
    assert {kd[metric].text for metric in ("latency_ms", "latency_ref", "peak_rss_bytes")} == {SAME}
    scratch = cells(laid, "scratch", "xnnpack-fp32")
    assert scratch["method"].mark == DOMINATED
    assert scratch["latency_ms"].text == "9.13 ±0.18"


def test_failures_empty_figures_and_flags_have_notes():
    laid = table()
    fitnet = cells(laid, "fitnet", "xnnpack-int8")
    assert fitnet["seeds"].text == "2/3"
    assert laid.notes[fitnet["method"].note - 1] == "fitnet xnnpack-int8: s1 crashed: signal 11 (SIGSEGV)"
    teacher = cells(laid, "teacher", "xnnpack-fp32")
    assert teacher["agreement"].text == NONE
    assert laid.notes[teacher["agreement"].note - 1] == "agreement: the teacher is not compared with itself"
    noisy = cells(laid, "scratch", "xnnpack-int8")
    assert laid.notes[noisy["latency_ms"].note - 1] == "xnnpack-int8 speed: noisy"
    assert len(laid.notes) == 3


def test_the_foot_says_what_two_copies_of_one_program_differed_by():
    assert not any(line.startswith("A/A") for line in table().legend)
    sitting = Sitting(device="host", threads=1, reference_ms=(1.0, 2.0), again_ms=(1.0, 2.007))
    legend = table(made_up.run(sittings=(sitting,))).legend
    assert "A/A host 0.4 %: the most that two copies of one program differed in a process there" in legend


def test_a_wholly_failed_row_has_no_figures_and_one_note():
    run = made_up.run(broken=False)
    bad = tuple(made_up.failed(r, "timed-out", "300 s") if r.method == "fitnet" else r for r in run.records)
    laid = table(run.model_copy(update={"records": bad}))
    row = cells(laid, "fitnet", "xnnpack-fp32")
    assert row["seeds"].text == "0/3"
    assert {row[metric].text for metric in ("accuracy", "size_bytes", "latency_ms", "train_s")} == {NONE}
    assert laid.notes[row["method"].note - 1] == "fitnet xnnpack-fp32: s0 s1 s2 timed-out: 300 s"


def test_the_legend_explains_every_sign_that_is_used_and_no_other():
    said = "\n".join(table().legend)
    for sign in (
        "±:",
        "± of latency",
        "=:",
        f"{DOMINATED} dominated",
        f"{BEST} best",
        "/teacher:",
        "360 test items alone",
    ):
        assert sign in said, sign
    alone = "\n".join(table(columns=("method", "target", "params")).legend)
    assert "± of latency" not in alone
    assert "=:" not in alone
    assert "360 test items" not in alone


def test_where_nobody_is_best_the_rule_is_still_said():
    run = made_up.run()
    even = run.model_copy(update={"records": tuple(r for r in run.records if r.method in ("teacher", "kd"))})
    assert table(even).legend[-1].startswith(f"no row is marked {BEST} best: ")


def test_chosen_columns_show_their_spread():
    laid = table(columns=("method", "target", "train_s", "kl_teacher", "latency_ms_ratio", "structure"))
    row = cells(laid, "kd", "xnnpack-fp32")
    assert row["train_s"].text == "2.75 ±0.62"
    assert row["kl_teacher"].text == "0.310 ±0.025"
    assert row["latency_ms_ratio"].text == SAME
    assert row["structure"].text == made_up.structure("dscnn", "xnnpack-fp32")


def test_an_unknown_column_is_one_line_with_what_was_meant():
    with pytest.raises(UsageError, match=r"--columns: unknown column 'acuracy'; did you mean 'accuracy'"):
        table(columns=("acuracy",))
    with pytest.raises(UsageError, match="the run holds no cases"):
        table(made_up.run(records=()))


def test_another_tasks_quality_stands_where_accuracy_does():
    run = made_up.run()
    records = tuple(
        r.model_copy(update={"details": {"quality": "bleu"}, "metrics": {"bleu": 20.0 + r.seed}}) for r in run.records
    )
    laid = table(run.model_copy(update={"records": records}))
    assert [column.id for column in laid.columns][3] == "bleu"
    assert cells(laid, "kd", "xnnpack-fp32")["bleu"].text == "21.000 ±2.484"


def test_rows_per_seed_show_the_seed():
    laid = table(per_seed=True)
    assert [column.id for column in laid.columns][2] == "seed"
    assert [row[2].text for row in laid.sections[0].rows if row[0].text == "kd"] == ["0", "0", "1", "1", "2", "2"]


@pytest.mark.parametrize(
    ("metric", "value", "digits"),
    [
        ("latency_ms", 0.00913, 2),
        ("latency_ms", 0.5, 2),
        ("latency_ms", 1.5, 1),
        ("latency_ms", 15.0, 0),
        ("latency_ms", 1500.0, 0),
        ("params", 123456.0, 0),
        ("size_bytes", 123_456_789.0, 1),
        ("train_s", 0.0, 2),
    ],
)
def test_times_have_at_most_five_significant_digits(metric, value, digits):
    assert digits_of(METRICS[metric], value) == digits


def test_names_from_files_cannot_draw_on_the_terminal():
    assert plain("a\x1b[31mb\nc\td") == "a?[31mb c d"


def test_what_a_row_spent_is_a_column_to_choose():
    laid = table(columns=["method", "target", "student_steps", "teacher_forwards", "backwards"])
    kd = cells(laid, "kd", "xnnpack-fp32")
    assert (kd["student_steps"].text, kd["teacher_forwards"].text) == ("480 ±0", "30720 ±0")


def published(run, columns=()):
    return table_of(rows_of([run], published=True), columns)


def test_published_figures_follow_accuracy_with_a_note_and_a_flag_where_rules_differ():
    laid = published(made_up.standard_run())
    assert [column.id for column in laid.columns][3:5] == ["accuracy", "published"]
    kd, dkd = (cells(laid, method, "xnnpack-int8")["published"] for method in ("kd", "dkd"))
    assert (kd.text, kd.mark) == ("70.66", FLAGGED)
    assert laid.notes[kd.note - 1].startswith(
        "published: RepDistiller README, last epoch, 240 epochs; ours learns from"
    )
    assert (dkd.text, dkd.mark) == ("71.97", FLAGGED)
    assert "best epoch on the test set" in laid.notes[dkd.note - 1]
    said = "\n".join(laid.legend)
    assert f"\n{FLAGGED} published under other rules" in said
    assert "\npublished: accuracy that others report" in said


def test_without_a_flag_the_legend_has_none_and_without_a_figure_the_note_says_why():
    bare = published(made_up.run(), ("method", "target", "published"))
    kd = cells(bare, "kd", "xnnpack-fp32")["published"]
    assert (kd.text, bare.notes[kd.note - 1]) == (NONE, "published: none of data set digits")
    assert not any(line.startswith(FLAGGED) for line in bare.legend)


def test_published_is_no_column_of_rows_that_have_none_beside_them():
    with pytest.raises(UsageError, match="--columns: unknown column 'published'"):
        table(columns=("published",))


def test_instructions_are_a_column_where_a_row_has_them():
    run = made_up.run()
    records = tuple(
        record.model_copy(update={"metrics": {**record.metrics, "instructions": 827298.0}}) for record in run.records
    )
    laid = table(run.model_copy(update={"records": records}))
    ids = [column.id for column in laid.columns]
    assert ids.index("instructions") == ids.index("latency_ref") + 1
    assert cells(laid, "teacher", "xnnpack-fp32")["instructions"].text == "827.298"
