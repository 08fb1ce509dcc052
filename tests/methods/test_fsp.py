from dataclasses import replace

import numpy as np
import pytest
from lessons import two_steps

from kdbench.errors import KdbenchError, UsageError
from kdbench.methods.build import method_from
from kdbench.methods.fsp import FSP, flows
from kdbench.models.network import build, shapes, stages

STUDENT = {"stem": (2, 4, 4), "one": (3, 2, 2), "two": (4, 2, 2), "pool": (4,)}
TEACHER = {"stem": (2, 8, 8), "a": (9, 8, 8), "b": (3, 4, 4), "c": (9, 4, 4), "d": (4, 8, 8), "pool": (4,)}
WIDTHS = {"widths": [4, 4, 8, 16]}


def flow(lower, upper):
    """The matrices [B, C, C'] from their definition, pair of channels by pair of channels."""
    if lower.shape[2] > upper.shape[2]:
        lower = lower.reshape(*lower.shape[:2], upper.shape[2], 2, upper.shape[2], 2).mean(axis=(3, 5))
    elif lower.shape[2] < upper.shape[2]:
        upper = upper.reshape(*upper.shape[:2], lower.shape[2], 2, lower.shape[2], 2).mean(axis=(3, 5))
    return np.array([[[(f * g).mean() for g in up] for f in low] for low, up in zip(lower, upper, strict=True)])


def first(step):
    return replace(step, phase="initialisation")


def test_value_and_gradient_of_the_first_phase(draw, step):
    method = FSP(beta=6.0)
    assert method.taps(STUDENT, TEACHER) == (["stem", "one", "two"], ["stem", "b", "d"])
    ours = {"stem": draw(2, 2, 4, 4, grad=True), "one": draw(2, 3, 2, 2, grad=True), "two": draw(2, 4, 2, 2, grad=True)}
    theirs = {"stem": draw(2, 2, 8, 8), "b": draw(2, 3, 4, 4), "d": draw(2, 4, 8, 8)}
    z = draw(2, 4, grad=True)
    losses = method.losses(first(step(z, z.detach(), None, ours, theirs)))
    losses["flow"].backward()
    given, taught = ([f.detach().numpy() for f in side.values()] for side in (ours, theirs))

    def total(given):
        pairs = [(given[i], given[i + 1], taught[i], taught[i + 1]) for i in (0, 1)]
        return 6 * sum(((flow(a, b) - flow(c, d)) ** 2).mean() for a, b, c, d in pairs)

    assert list(losses) == ["flow"]
    assert losses["flow"].item() == pytest.approx(total(given), rel=1e-10)
    for stage, name, place in [(0, "stem", (0, 0, 0, 0)), (1, "one", (1, 2, 1, 0)), (2, "two", (1, 3, 0, 1))]:
        moved = []
        for h in (1e-6, -1e-6):
            maps = given[stage].copy()
            maps[place] += h
            moved.append(total([*given[:stage], maps, *given[stage + 1 :]]))
        numeric = (moved[0] - moved[1]) / 2e-6
        assert ours[name].grad[place].item() == pytest.approx(numeric, rel=1e-5, abs=1e-8)
    assert z.grad is None


def test_the_second_phase_is_the_labels_alone(draw, step):
    method = FSP()
    method.taps(STUDENT, TEACHER)
    made = replace(step(draw(2, 4), draw(2, 4)), phase="labels")
    losses = method.losses(made)
    assert list(losses) == ["label"]
    assert losses["label"] == made.label_loss()


def test_flows_know_no_order_of_positions(draw):
    lower, upper = draw(2, 3, 4, 4), draw(2, 5, 4, 4)
    found = flows([lower, upper])[0]
    assert found.shape == (2, 3, 5)
    np.testing.assert_allclose(flows([lower.flip(2), upper.flip(2)])[0].numpy(), found.numpy(), rtol=1e-10)


def test_a_student_like_its_teacher_has_nothing_to_learn(draw, step):
    method = FSP()
    method.taps(STUDENT, STUDENT)
    features = {name: draw(2, *shape) for name, shape in STUDENT.items()}
    z = draw(2, 4)
    assert method.losses(first(step(z, z, None, features, features)))["flow"] == 0


@pytest.mark.parametrize("share", [None, 0.25])
def test_both_phases_are_the_students_and_fill_its_epochs(share):
    phases = (FSP() if share is None else FSP(initialisation=share)).phases()
    assert [phase.name for phase in phases] == ["initialisation", "labels"]
    assert all(phase.student for phase in phases)
    assert phases[0].share * 240 == (30 if share is None else 60)
    assert sum(phase.share for phase in phases) == 1


def test_a_real_training_has_both_phases_and_leaves_the_teacher_alone():
    trained = two_steps(FSP(initialisation=0.5), WIDTHS)
    assert [epoch for epoch, _ in trained.curves["initialisation.flow"]] == [1]
    assert [epoch for epoch, _ in trained.curves["labels.label"]] == [2]
    assert trained.teacher_kept


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        (
            STUDENT | {"one": (5, 2, 2)},
            TEACHER,
            "fsp needs equal widths: stage 'one' of the student has 5 channels, stage 'b' of the teacher 3; choose a student of the teacher's widths or another method",
        ),
        (
            {"stem": (2, 4, 4), "pool": (2,)},
            TEACHER,
            "the student has one stage with maps [C, H, W], and fsp needs two or more",
        ),
        (
            STUDENT,
            {"stem": (4, 4, 4)},
            "the teacher has one stage with maps [C, H, W], and fsp needs two or more",
        ),
    ],
)
def test_what_it_cannot_compare_is_said_in_one_line(student, teacher, message):
    with pytest.raises(KdbenchError) as error:
        FSP().taps(student, teacher)
    assert str(error.value) == message


def test_families_of_equal_widths_are_compared():
    student = build("dscnn", 10, (1, 8, 8), {"width": 16, "growth": 2.0})
    teacher = build("resnet8", 10, (1, 8, 8), {})
    sides = [shapes(network, (1, 8, 8), stages(network)) for network in (student, teacher)]
    assert FSP().taps(*sides) == (["stem", "stage1", "stage2", "stage3"],) * 2


def test_defaults_are_the_reference_ones_and_bounded():
    made = method_from("fsp", {})
    assert (made.beta, made.initialisation * 240) == (1.0, 30)
    for share, bound in ((0, "greater than 0"), (1, "less than 1")):
        with pytest.raises(UsageError, match=f"option 'initialisation': found {share}, expected {bound}"):
            method_from("fsp", {"initialisation": share})
    with pytest.raises(UsageError, match="option 'beta': found -1, expected greater than or equal to 0"):
        method_from("fsp", {"beta": -1})
