import pytest
import torch
from lessons import lesson, teacher

from kdbench.errors import StageError, UsageError
from kdbench.measures.compute import count_macs
from kdbench.methods.build import method_from
from kdbench.methods.longer_scratch import LongerScratch
from kdbench.methods.scratch import Scratch
from kdbench.training.loop import train


@pytest.mark.parametrize(
    ("student", "taught_by", "factor"),
    [(100, 300, 2.0), (100, 150, 1.5), (100, 900, 4.0), (100, 901, 4.0), (1, 1000, 4.0), (300, 3, 1 + 3 / 900)],
)
def test_the_teachers_forwards_are_paid_out_in_epochs_up_to_the_limit(student, taught_by, factor):
    assert LongerScratch().stretch(student, taught_by) == pytest.approx(factor, rel=1e-15)


def test_the_limit_and_a_fixed_factor():
    assert LongerScratch(limit=10.0).stretch(1, 100) == 10.0
    assert LongerScratch(factor=2.0).stretch(1, 100) == 2.0
    assert LongerScratch(factor=7.0).stretch(100, 1) == 7.0


def test_the_compute_of_kd_is_spent_to_a_rounded_epoch():
    made = lesson(teacher(), epochs=8)
    macs = [count_macs(network, torch.zeros(1, 1, 8, 8)) for network in (made.new_student(), made.teacher)]
    trained = train(made, LongerScratch(limit=100.0))
    spent = trained.epochs * 3 * macs[0]
    assert abs(spent - 8 * (3 * macs[0] + macs[1])) <= 3 * macs[0] / 2
    assert trained.epochs > 2 * 8
    assert trained.teacher_forwards == 0


def test_the_schedule_runs_once_over_all_epochs():
    recipe = {"epochs": 4, "lr": 0.1, "schedule": "multistep", "milestones": [2, 3]}
    trained = train(lesson(**recipe), LongerScratch(factor=2.0))
    rates = [rate for _, rate in trained.curves["learning_rate"]]
    assert rates == pytest.approx([0.1] * 4 + [0.01] * 2 + [0.001] * 2)
    assert (trained.epochs, trained.student_steps, trained.items, trained.backwards) == (8, 16, 512, 512)


def test_it_is_scratch_with_the_longer_recipe():
    """Bit by bit: no other difference hides behind the length."""
    longer = train(lesson(epochs=2), LongerScratch(factor=1.5)).network.state_dict()
    plain = train(lesson(epochs=3), Scratch()).network.state_dict()
    assert all(longer[name].equal(plain[name]) for name in plain)


def test_a_lesson_without_a_teacher_has_to_say_what_one_costs():
    with pytest.raises(StageError, match="the method weighs the teacher against the student, and is not told what"):
        train(lesson(), LongerScratch())


@pytest.mark.parametrize("options", [{"limit": 0.5}, {"factor": 0}, {"limit": float("inf")}])
def test_options_are_checked(options):
    with pytest.raises(UsageError, match=rf"method 'longer-scratch' option '{next(iter(options))}': found"):
        method_from("longer-scratch", options)
    assert (LongerScratch.needs_teacher, LongerScratch.weighs_teacher) == (False, True)
