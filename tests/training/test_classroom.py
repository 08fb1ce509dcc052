"""Students side by side: the bits of each are those that it has alone, and the teacher is run once."""

from contextlib import contextmanager

import pytest
import torch
from torch import nn

from kdbench.errors import StageError
from kdbench.methods.build import method_from
from kdbench.methods.kd import KD
from kdbench.methods.method import Phase
from kdbench.party import in_step
from kdbench.training import forward
from kdbench.training.classroom import Classroom
from kdbench.training.loop import Training, train
from kdbench.training.processor import pinned

CPU = torch.device("cpu")
METHODS = ("kd", "fitnet", "at", "dkd", "scratch")


class Late(KD):
    """kd after a phase of its own, in which it listens to the teacher too."""

    def prepare(self, setting):
        self.own = nn.Linear(10, 10)
        return self.own

    def phases(self):
        return Phase("first", share=0.5, student=False), Phase("second")

    def losses(self, step):
        if step.phase == "first":
            return {"own": self.own(step.teacher.logits).square().mean()}
        return super().losses(step)


class Broken(KD):
    def losses(self, step):
        losses = super().losses(step)
        return losses if step.epoch == 0 else {"kd": losses["kd"] * float("nan")}


class Careless(KD):
    """Changes what others see."""

    def __init__(self, what):
        super().__init__()
        self.what = what

    def losses(self, step):
        losses = super().losses(step)
        {"index": step.batch.index, "logits": step.teacher.logits}[self.what].mul_(1)
        return losses


class Meddling(KD):
    def prepare(self, setting):
        self.teacher = setting.teacher

    def losses(self, step):
        self.teacher.linear.bias.data.mul_(1.0)
        with torch.no_grad():
            self.teacher.linear.bias.mul_(1.0)
        return super().losses(step)


class HalfDeaf(KD):
    """kd whose student hears the teacher in its first phase only."""

    def phases(self):
        return Phase("heard", share=0.5), Phase("alone", share=0.5, teacher=False)

    def losses(self, step):
        return super().losses(step) if step.phase == "heard" else {"label": step.label_loss()}


class Ticking:
    """A clock by which whatever it counts takes a million seconds."""

    def __init__(self, _device):
        self.ticks = 0

    @contextmanager
    def running(self):
        yield
        self.ticks += 1

    def seconds(self):
        return 1e6 * self.ticks


def side_by_side(lesson, methods):
    """The trainings of the methods by name, and their errors."""
    with pinned(CPU, lesson.recipe.threads), Classroom(lesson, CPU) as room:
        trainings = {name: Training(lesson, method, room) for name, method in methods.items()}
        runs = [(name, training.run(lambda _done, _text: None)) for name, training in trainings.items()]
        errors = dict(in_step(runs))
    return {name: training.trained for name, training in trainings.items()}, errors


def calls(teacher):
    seen = []
    teacher.register_forward_pre_hook(lambda _module, inputs: seen.append(len(inputs[0])))
    return seen


@pytest.mark.parametrize("augment", [[], ["crop", "flip"]])
def test_company_changes_no_bit(lesson, teacher, bits, augment, monkeypatch):
    monkeypatch.setattr(forward, "REMEMBERED_BYTES", 140 * 4 * 30)  # the logits and some features, not all maps
    made = lesson(teacher, augment=augment)
    methods = {name: method_from(name, {}) for name in METHODS} | {"late": Late()}
    together, errors = side_by_side(made, methods)
    assert not any(errors.values())
    for name in methods:
        alone = train(made, Late() if name == "late" else method_from(name, {}))
        assert bits(together[name].network) == bits(alone.network), name
        assert together[name].curves == alone.curves
        assert together[name].teacher_forwards == alone.teacher_forwards


def test_the_teacher_is_run_once_for_all(lesson, teacher):
    seen = calls(teacher)
    side_by_side(lesson(teacher, augment=["crop"]), {name: method_from(name, {}) for name in METHODS})
    dry_runs = [count for count in seen if count == 2]
    assert len(dry_runs) == 4
    assert sum(seen) - sum(dry_runs) == 2 * 140


def test_a_steady_view_is_judged_once_for_all(lesson, teacher):
    seen = calls(teacher)
    side_by_side(lesson(teacher), {"kd": method_from("kd", {}), "dkd": method_from("dkd", {})})
    assert sum(count for count in seen if count != 2) == 140


def test_a_student_pays_for_what_it_heard_of_the_teacher_whoever_else_listened(lesson, teacher, monkeypatch):
    monkeypatch.setattr(forward, "Clock", Ticking)
    methods = {"kd": KD(), "half": HalfDeaf(), "random-teacher": method_from("random-teacher", {})}
    together, _ = side_by_side(lesson(teacher, augment=["crop"], epochs=4), methods)
    paid = {name: round(trained.seconds / 1e6) for name, trained in together.items()}
    places = together["kd"].student_steps
    assert paid == {"kd": places, "half": places // 2, "random-teacher": 0}


def test_one_that_breaks_off_leaves_the_others_alone(lesson, teacher, bits):
    made = lesson(teacher, augment=["crop"])
    together, errors = side_by_side(made, {"broken": Broken(), "kd": KD()})
    assert isinstance(errors["broken"], StageError)
    assert errors["kd"] is None
    assert bits(together["kd"].network) == bits(train(made, KD()).network)


@pytest.mark.parametrize("what", ["index", "logits"])
def test_what_others_see_may_not_be_changed(lesson, teacher, what):
    with pytest.raises(StageError, match="changed the batch or the teacher's output in place; let it change a copy"):
        train(lesson(teacher, augment=["crop"]), Careless(what))


def test_the_teacher_may_not_be_changed(lesson, teacher):
    with pytest.raises(StageError, match="changed the teacher, which others listen to; let it change a copy"):
        train(lesson(teacher), Meddling())
    assert not any(module._forward_hooks for module in teacher.modules())
