import made_up
import pytest
from laid import cells, table


def longer(whole, method, **metrics):
    for rec in whole.records:
        if rec.method == method and rec.status == "ok":
            whole = made_up.with_record(whole, rec.case, metrics=metrics)
    return whole


def test_a_row_says_when_its_student_learnt_for_longer_than_most():
    run = longer(made_up.run(), "scratch", student_steps=1920.0)
    for options in ({}, {"per_seed": True}):
        laid = table(run, **options)
        noted = {row[0].text: laid.notes[row[0].note - 1] for row in laid.sections[1].rows if row[0].note}
        assert noted == {"scratch": "scratch: its student took 4 times the steps of most"}


@pytest.mark.parametrize(
    ("times", "gain", "said"),
    [
        (2, 0, "2 times the steps of most and gained +0.00 ±0.28 pt on scratch (less than 0.5 pt: trained out)"),
        (2, 2, "gained +0.56 ±0.28 pt on scratch (0.5 pt or more: trained too briefly to compare methods)"),
        (4, 2, "4 times the steps of most and gained +0.56 ±0.28 pt on scratch"),
        (1.5, 0, "1.5 times the steps of most and gained +0.00 ±0.28 pt on scratch"),
    ],
)
def test_a_row_says_whether_longer_training_still_helps(times, gain, said):
    run = longer(made_up.run(), "fitnet", student_steps=480.0 * times)
    suite = run.suite | {
        "methods": [m | {"use": "longer-scratch"} if m["label"] == "fitnet" else m for m in run.suite["methods"]]
    }
    run = run.model_copy(update={"suite": suite})
    for record in run.records:
        if record.method == "fitnet" and record.status == "ok":
            base = next(r for r in run.records if r.case == record.case.replace("/fitnet/", "/scratch/"))
            accuracy = base.metrics["accuracy"] + gain / 360
            run = made_up.with_record(run, record.case, metrics={"accuracy": accuracy})
    laid = table(run)
    noted = laid.notes[cells(laid, "fitnet", "xnnpack-fp32")["method"].note - 1]
    assert noted.endswith(said)


def test_a_row_says_what_networks_of_its_own_did():
    passes = {"student_forwards": 1000.0, "teacher_forwards": 1000.0, "own_forwards": 1250.0, "backwards": 2250.0}
    run = longer(made_up.run(), "fitnet", **passes)
    laid = table(run)
    note = cells(laid, "fitnet", "xnnpack-fp32")["method"].note
    said = "fitnet: networks of its own took 1.2 forwards and 1.2 backwards for each of its student's"
    assert laid.notes[note - 1] == said
    twice = table(longer(run, "fitnet", student_steps=960.0))
    note = cells(twice, "fitnet", "xnnpack-fp32")["method"].note
    assert twice.notes[note - 1] == f"fitnet: its student took 2 times the steps of most; {said}"


@pytest.mark.parametrize(
    ("taught", "own", "said"),
    [
        (1125.0, 0.0, "its teacher took 1.12 forwards"),
        (1500.0, 500.0, "networks of its own took 0.5 forwards and 0 backwards and its teacher took 1.5 forwards"),
        (1000.0, 0.0, None),
        (10.0, 0.0, None),
    ],
)
def test_a_row_says_when_its_teacher_was_run_in_a_phase_of_its_own(taught, own, said):
    passes = {"student_forwards": 1000.0, "teacher_forwards": taught, "own_forwards": own, "backwards": 1000.0}
    laid = table(longer(made_up.run(), "fitnet", **passes))
    note = cells(laid, "fitnet", "xnnpack-fp32")["method"].note
    assert (laid.notes[note - 1] if note else None) == (f"fitnet: {said} for each of its student's" if said else None)


def test_a_forward_now_and_then_is_no_other_training():
    passes = {"student_forwards": 1000.0, "teacher_forwards": 1000.0, "own_forwards": 19.0, "backwards": 1000.0}
    run = longer(made_up.run(), "fitnet", **passes)
    assert cells(table(run), "fitnet", "xnnpack-fp32")["method"].note == 0


def test_steps_of_a_failed_row_stand_beside_its_reason():
    laid = table(longer(made_up.run(), "fitnet", student_steps=960.0))
    noted = laid.notes[cells(laid, "fitnet", "xnnpack-int8")["method"].note - 1]
    assert noted.endswith("s1 crashed: signal 11 (SIGSEGV); fitnet: its student took 2 times the steps of most")


def test_teachers_equal_steps_and_runs_that_did_not_count_are_not_noted():
    assert len(table(longer(made_up.run(), "teacher", student_steps=9.0)).notes) == 3
    old = made_up.run()
    for method in ("teacher", "scratch", "kd", "fitnet"):
        old = longer(old, method, student_steps=None)
    assert len(table(old).notes) == 3
