from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from kdbench.errors import StageError, UsageError
from kdbench.measures.compute import count_macs
from kdbench.methods.build import method_from
from kdbench.methods.dml import DML
from kdbench.methods.fitnet import FitNet
from kdbench.methods.kd import soft_divergence
from kdbench.methods.method import Method, Phase
from kdbench.methods.scratch import Scratch
from kdbench.training import forward
from kdbench.training.loop import VALIDATIONS, train
from kdbench.training.stream import seeded, stream

METHODS = ("scratch", "label-smoothing", "kd", "fitnet", "at", "dkd")


class Spy(Method):
    """Keeps what it was shown."""

    def __init__(self):
        self.steps, self.setting = [], None

    def prepare(self, setting):
        self.setting = setting

    def losses(self, step):
        self.steps.append(step)
        return {"kl": soft_divergence(step.student.logits, step.teacher.logits, 1.0)}


class Noisy(Scratch):
    """Scratch with networks of its own that draw random numbers, learn, and run before the student does."""

    def prepare(self, setting):
        torch.rand(100)
        self.other = nn.Linear(64, 10)
        self.draw = setting.generator
        return self.other

    def phases(self):
        return Phase("first", share=0.5, student=False), Phase("second")

    def losses(self, step):
        torch.rand(5, generator=self.draw)
        logits = self.other(step.batch.inputs.flatten(1))
        own = {"own": functional.cross_entropy(logits, step.batch.targets)}
        return own if step.phase == "first" else own | super().losses(step)


class Mixup(Spy):
    def view(self, batch, generator):
        share = torch.rand(len(batch.index), generator=generator)[:, None, None, None]
        return replace(batch, inputs=share * batch.inputs + (1 - share) * batch.inputs.roll(1, 0))


class Doubled(Spy):
    def view(self, batch, generator):
        return replace(batch, inputs=torch.cat([batch.inputs, -batch.inputs]))


class Wrong(Method):
    needs_teacher = False

    def __init__(self, losses, phases=None):
        self._losses, self._phases = losses, phases or super().phases()

    def phases(self):
        return self._phases

    def losses(self, step):
        return self._losses(step)


@pytest.mark.parametrize("name", METHODS)
def test_a_training_repeats_bit_by_bit_whatever_came_before_it(lesson, teacher, bits, name):
    first = train(lesson(teacher, augment=["crop", "flip"]), method_from(name, {}))
    torch.rand(17)
    train(lesson(teacher, seed=5, width=6), method_from("fitnet", {}))
    second = train(lesson(teacher, augment=["crop", "flip"]), method_from(name, {}))
    assert bits(first.network) == bits(second.network)
    assert first.curves == second.curves


def test_adapters_and_extra_phases_change_nothing_of_a_student_that_ignores_them(lesson, bits):
    plain, noisy = train(lesson(), Scratch()), train(lesson(), Noisy())
    assert bits(plain.network) == bits(noisy.network)
    assert plain.curves["label"] == [(epoch - 1, value) for epoch, value in noisy.curves["second.label"]]
    assert noisy.extra_params == 650
    assert plain.extra_params == 0


def test_seeds_and_roles_give_other_networks(lesson, bits):
    made = [train(lesson(**keywords), Scratch()) for keywords in ({}, {"seed": 1}, {"role": "teacher"})]
    assert len({bits(trained.network) for trained in made}) == 3


def test_the_loss_falls_and_validation_rises(lesson):
    trained = train(lesson(epochs=12, lr=0.1, width=6), Scratch())
    losses = [value for _, value in trained.curves["label"]]
    assert losses[-1] < 0.7 * losses[0]
    assert trained.curves["validation_accuracy"][-1][1] > 0.3


def test_curves_have_every_epoch_and_validations_few(lesson, teacher):
    trained = train(lesson(teacher, epochs=23, batch_size=140), method_from("kd", {}))
    assert set(trained.curves) == {"label", "kd", "learning_rate", "validation_accuracy"}
    for name in ("label", "kd", "learning_rate"):
        assert [epoch for epoch, _ in trained.curves[name]] == list(range(1, 24))
    validated = [epoch for epoch, _ in trained.curves["validation_accuracy"]]
    assert validated == [3, 6, 9, 12, 15, 18, 21, 23]
    assert len(validated) <= VALIDATIONS + 1
    assert trained.curves["learning_rate"][0] == (1, 0.05)


def test_a_curve_is_the_mean_over_items_not_over_batches(lesson):
    spied = []

    def losses(step):
        loss = step.label_loss()
        spied.append((loss.item(), len(step.batch.index)))
        return {"label": loss}

    trained = train(lesson(epochs=1), Wrong(losses))
    assert {count for _, count in spied} == {32, 12}
    assert trained.curves["label"][0][1] == pytest.approx(sum(v * n for v, n in spied) / 140, rel=1e-6)


def test_the_last_epoch_is_kept(lesson, bits):
    kept = []

    class Watched(Scratch):
        def losses(self, step):
            kept.append(step)
            return super().losses(step)

    trained = train(lesson(epochs=3), Watched())
    longer = train(lesson(epochs=3), Scratch())
    assert kept[-1].epoch == 2
    assert not trained.network.training
    assert bits(trained.network) == bits(longer.network)
    assert trained.network.state_dict()["stem.norm.num_batches_tracked"] == trained.steps == 15


def test_validating_changes_no_bit(lesson, dataset, bits):
    empty = type(dataset.train)(dataset.validation.inputs[:0], dataset.validation.targets[:0])
    blind = train(lesson(data=replace(dataset, validation=empty)), Scratch())
    assert "validation_accuracy" not in blind.curves
    assert bits(blind.network) == bits(train(lesson(), Scratch()).network)


def test_a_phase_without_the_student_leaves_it_as_it_was(lesson, bits):
    found = []

    class Looking(Noisy):
        def losses(self, step):
            assert set(step.outputs) == (set() if step.phase == "first" else {"student"})
            return super().losses(step)

    def made():
        network = lesson().new_student()
        found.append(network)
        initial.append(bits(network))
        return network

    def tell(done, _text):
        states.append((done, bits(found[0])))

    initial, states = [], []
    trained = train(replace(lesson(epochs=4), new_student=made), Looking(), tell=tell)
    assert initial[0] == states[0][1] == states[1][1] != states[2][1]
    assert [done for done, _ in states] == pytest.approx([i / 6 for i in range(1, 7)])
    assert (trained.epochs, trained.items, trained.steps) == (6, 4 * 140, 30)


def test_a_method_gets_shapes_targets_and_a_fresh_student(lesson, teacher, dataset):
    spy = Spy()
    train(lesson(teacher, epochs=1), spy)
    setting = spy.setting
    assert setting.student_shapes["stage2"] == (4, 4, 4)
    assert setting.teacher_shapes["pool"] == (8,)
    assert (setting.shape, setting.outputs) == ((1, 8, 8), 10)
    assert setting.targets.tolist() == dataset.train.targets.tolist()
    assert setting.teacher is teacher
    assert setting.new_student().linear.weight.shape == (10, 4)


def test_the_teacher_judges_in_eval_mode_and_stays_as_it_is(lesson, teacher, bits):
    before = bits(teacher)
    teacher.train()
    for augment in ([], ["flip"]):
        spy = Spy()
        train(lesson(teacher, augment=augment), spy)
        assert not any(step.teacher.logits.requires_grad for step in spy.steps)
        step = spy.steps[-1]
        torch.testing.assert_close(step.teacher.logits, teacher(step.batch.inputs).detach(), rtol=1e-5, atol=1e-5)
    assert not any(module.training for module in teacher.modules())
    assert bits(teacher) == before
    assert not teacher._forward_hooks
    assert not any(module._forward_hooks for module in teacher.modules())


def test_both_networks_see_the_mixed_view(lesson, teacher):
    spy = Mixup()
    trained = train(lesson(teacher, epochs=1), spy)
    step = spy.steps[0]
    torch.testing.assert_close(step.teacher.logits, teacher(step.batch.inputs), rtol=1e-5, atol=1e-5)
    assert not torch.equal(step.batch.inputs, train_inputs(lesson)[step.batch.index])
    student = lesson().new_student()
    assert step.student.logits.shape == student(step.batch.inputs).shape
    assert trained.teacher_forwards == 140


def train_inputs(lesson):
    made = lesson()
    return made.task.collate(made.dataset, torch.from_numpy(made.dataset.train.inputs))


def test_the_student_sees_the_mixed_view(lesson, teacher):
    seen = []

    class Wrapped(nn.Module):
        stages, classifier = ("linear",), "linear"

        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(64, 10)

        def forward(self, inputs):
            seen.append(inputs)
            return self.linear(inputs.flatten(1))

    spy = Mixup()
    train(replace(lesson(teacher, epochs=1), new_student=Wrapped), spy)
    trained_on = [inputs for inputs in seen if len(inputs) in {32, 12}]
    assert len(trained_on) == len(spy.steps) == 5
    assert all(torch.equal(a, step.batch.inputs) for a, step in zip(trained_on, spy.steps, strict=True))


def test_a_view_may_hold_more_than_the_items(lesson, teacher):
    trained = train(lesson(teacher, epochs=1), Doubled())
    assert (trained.items, trained.student_forwards, trained.teacher_forwards) == (140, 280, 280)


def test_a_teacher_is_run_once_where_its_view_is_steady(lesson, teacher, monkeypatch):
    steady, spied = Spy(), Spy()
    once = train(lesson(teacher, epochs=3), steady)
    assert (once.teacher_forwards, once.student_forwards, once.backwards) == (140, 420, 420)
    assert train(lesson(teacher, epochs=3, augment=["crop"]), Spy()).teacher_forwards == 420
    monkeypatch.setattr(forward, "REMEMBERED_BYTES", 140 * 10 * 4 - 1)
    again = train(lesson(teacher, epochs=3), spied)
    assert again.teacher_forwards == 420
    for a, b in zip(steady.steps, spied.steps, strict=True):
        torch.testing.assert_close(a.teacher.logits, b.teacher.logits, rtol=1e-5, atol=1e-5)


def test_a_teacher_is_run_once_for_each_of_two_views_where_that_pays(lesson, teacher):
    assert train(lesson(teacher, epochs=3, augment=["flip"]), Spy()).teacher_forwards == 280
    assert train(lesson(teacher, epochs=1, augment=["flip"]), Spy()).teacher_forwards == 140


@pytest.mark.parametrize(("augment", "epochs"), [([], 1), (["flip"], 2)])
def test_what_is_remembered_are_the_batchs_own_features(lesson, teacher, augment, epochs):
    class Tapped(Spy):
        def taps(self, student, teacher):
            return ["stage1"], ["stage2", "pool"]

    spy = Tapped()
    train(lesson(teacher, epochs=epochs, augment=augment), spy)
    for step in spy.steps:
        with forward.looked_into(teacher, ["stage2", "pool"], "fp32") as run:
            fresh = run(step.batch.inputs)
        for name, feature in fresh.features.items():
            torch.testing.assert_close(step.teacher.features[name], feature, rtol=1e-4, atol=1e-5)
        assert set(step.student.features) == {"stage1"}


def test_adapters_learn_within_two_steps_and_do_not_ship(lesson, teacher, dataset):
    class Watched(FitNet):
        def prepare(self, setting):
            made = super().prepare(setting)
            self.before = {name: parameter.clone() for name, parameter in made.named_parameters()}
            return made

    method = Watched()
    small = replace(dataset, train=type(dataset.train)(dataset.train.inputs[:64], dataset.train.targets[:64]))
    trained = train(lesson(teacher, epochs=1, data=small), method)
    assert trained.steps == 2
    for name, parameter in method.regressor.named_parameters():
        if name != "conv.bias":  # the batch norm behind it takes a bias away, and with it the gradient
            assert not torch.equal(parameter, method.before[name]), name
    assert list(trained.network.state_dict()) == list(lesson().new_student().state_dict())
    assert trained.extra_params > 0


def test_what_a_method_deploys_is_validated_and_shipped(lesson):
    class Constant(nn.Module):
        def __init__(self, student):
            super().__init__()
            self.student = student

        def forward(self, inputs):
            return self.student(inputs) * 0 + torch.eye(10)[3]

    class Ships(Scratch):
        def deployed(self, student):
            return Constant(student)

    made = lesson()
    trained = train(made, Ships())
    assert isinstance(trained.network, Constant)
    share = float((made.dataset.validation.targets == 3).mean())
    assert trained.curves["validation_accuracy"][-1] == (2, share)


def test_what_ships_says_as_much_as_the_task_wants(lesson):
    class Narrow(Scratch):
        def deployed(self, student):
            return nn.Sequential(student, nn.Linear(10, 3))

    class Nothing(Scratch):
        def deployed(self, student):
            return "network"

    empty = type(lesson().dataset.train)(lesson().dataset.train.inputs[:0], lesson().dataset.train.targets[:0])
    blind = replace(lesson().dataset, validation=empty)
    for method, message in (
        (Narrow(), r"gives \[2, 3\] for two items, expected \[2, ..., 10\]"),
        (Nothing(), "gives a str"),
    ):
        with pytest.raises(StageError, match=message):
            train(lesson(data=blind), method)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_names_epoch_and_term(lesson, bad):
    def losses(step):
        return {"label": step.label_loss(), "hint": step.student.logits.sum() * 0 + (bad if step.epoch == 1 else 0.0)}

    with pytest.raises(StageError) as error:
        train(lesson(epochs=3), Wrong(losses))
    assert error.value.reason.startswith(f"loss term 'hint' is {bad} in epoch 2 of 3 of phase 'distil'; try a lower")


@pytest.mark.parametrize(
    ("losses", "phases", "message"),
    [
        (lambda step: step.label_loss(), None, r"of phase 'distil' are named scalar tensors, such as .*; found Tensor"),
        (lambda step: {"a": 1.0}, None, "named scalar tensors, such as .*; found 'a': float"),
        (lambda step: {"a": step.label_loss().detach()}, None, "no loss term of phase 'distil' has a gradient"),
        (lambda step: {"a": step.student.logits.sum(1)}, None, r"loss term 'a' has shape \[32\], expected a scalar"),
        (lambda step: {}, None, r"the method's loss terms in phase 'distil' are \(\)"),
        (lambda step: {str(step.batch.index[0].item()): step.label_loss()}, None, "before they were"),
        (lambda step: {"a": step.label_loss()}, (Phase("a", 0.5),), "the student learns sum to 0.5, expected 1"),
        (
            lambda step: {"a": step.label_loss()},
            (Phase("a", 0.1), Phase("b", 0.1), Phase("c", 0.8)),
            "phase 'c' finds none of the 2 epochs left",
        ),
        (lambda step: {"a": step.label_loss()}, (Phase("a", student=False), Phase("b")), "nothing learns in phase 'a'"),
    ],
)
def test_a_method_that_breaks_its_word_is_told_which(lesson, losses, phases, message):
    with pytest.raises(StageError, match=message):
        train(lesson(), Wrong(losses, phases))


class Stretched(Scratch):
    def __init__(self, factor, phases=None):
        self.factor, self._phases, self.told = factor, phases or super().phases(), None

    def phases(self):
        return self._phases

    def stretch(self, student, teacher):
        self.told = (student, teacher)
        return self.factor


@pytest.mark.parametrize(("factor", "epochs"), [(1.0, 4), (2.5, 10), (1.1, 4), (1.2, 5), (0.5, 2), (0.01, 1)])
def test_a_method_may_stretch_the_students_epochs(lesson, factor, epochs):
    trained = train(lesson(epochs=4, batch_size=140), Stretched(factor))
    assert (trained.epochs, trained.student_steps) == (epochs, epochs)


def test_stretching_knows_the_cost_of_both_networks(lesson, teacher):
    for made, cost in (
        (lesson(teacher, epochs=1), count_macs(teacher, torch.zeros(1, 1, 8, 8))),
        (replace(lesson(epochs=1), teacher_macs=77), 77),
        (lesson(epochs=1), 0),
    ):
        method = Stretched(1.0)
        train(made, method)
        assert method.told == (count_macs(made.new_student(), torch.zeros(1, 1, 8, 8)), cost)


def test_a_stretch_by_one_changes_no_bit(lesson, bits):
    assert bits(train(lesson(), Stretched(1.0)).network) == bits(train(lesson(), Scratch()).network)


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), float("inf")])
def test_a_stretch_by_no_positive_number_is_refused(lesson, factor):
    with pytest.raises(StageError, match="the method stretches the epochs by .*, expected a positive number"):
        train(lesson(), Stretched(factor))


def test_the_shares_of_a_stretched_training_sum_to_one_too(lesson):
    halves = tuple(Phase(name, 0.5) for name in "ab")
    assert train(lesson(epochs=4, batch_size=140), Stretched(1.5, halves)).epochs == 6
    with pytest.raises(StageError, match="the student learns sum to 0.5, expected 1"):
        train(lesson(), Stretched(2.0, halves[:1]))


def test_a_phase_without_the_teacher_does_not_run_it(lesson, teacher):
    class Weaned(Spy):
        def phases(self):
            return Phase("taught", 0.5), Phase("alone", 0.5, teacher=False)

        def losses(self, step):
            self.steps.append(step)
            return {"label": step.label_loss()}

    spy = Weaned()
    trained = train(lesson(teacher, augment=["flip"]), spy)
    assert [set(step.outputs) for step in spy.steps] == [{"student", "teacher"}] * 5 + [{"student"}] * 5
    assert trained.teacher_forwards == 140


def test_passes_of_a_methods_own_networks_are_counted_and_those_of_adapters_are_not(lesson):
    class Elder(Noisy):
        def prepare(self, setting):
            self.elder = setting.new_student()
            return nn.ModuleList([super().prepare(setting), self.elder])

        def losses(self, step):
            with torch.set_grad_enabled(step.phase == "first"):
                term = self.elder(step.batch.inputs).square().mean()
            return super().losses(step) | {"elder": term}

    trained = train(lesson(), Elder())
    assert (trained.steps, trained.student_steps) == (15, 10)
    assert (trained.student_forwards, trained.own_forwards, trained.backwards) == (280, 420, 420)


@pytest.mark.parametrize(("precision", "inside"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_a_methods_own_networks_compute_in_the_recipes_precision_and_answer_in_float32(lesson, precision, inside):
    class Spied(DML):
        def prepare(self, setting):
            peer = super().prepare(setting)
            self.computed, self.answered = set(), set()
            peer.linear.register_forward_hook(lambda _module, _inputs, output: self.computed.add(output.dtype))
            return peer

        def losses(self, step):
            losses = super().losses(step)
            self.answered.add(self.peer(step.batch.inputs).dtype)
            self.autocast = torch.is_autocast_enabled("cpu")
            return losses

    spied = Spied()
    trained = train(lesson(precision=precision), spied)
    assert (spied.computed, spied.answered, spied.autocast) == ({inside}, {torch.float32}, False)
    assert trained.own_forwards == 2 * trained.student_forwards
    assert {parameter.dtype for parameter in spied.peer.parameters()} == {torch.float32}


def test_a_methods_own_networks_may_be_called_by_keyword_hold_each_other_and_break_off(lesson):
    class Around(nn.Module):
        stages = ("inner",)

        def __init__(self, inner):
            super().__init__()
            self.inner, self.after = inner, nn.Linear(10, 10)

        def forward(self, *, inputs):
            logits = self.inner(inputs=inputs)
            if logits.dtype == torch.float32 and self.breaks:
                raise ValueError
            self.seen.add(self.after(logits).dtype)
            return logits

    class Nested(Scratch):
        def prepare(self, setting):
            self.own = Around(setting.new_student())
            self.own.breaks, self.own.seen = False, set()
            return self.own

        def losses(self, step):
            self.own.breaks = True
            with pytest.raises(ValueError, match="^$"):
                self.own(inputs=step.batch.inputs)
            self.own.breaks = False
            self.own(inputs=step.batch.inputs)
            assert not torch.is_autocast_enabled("cpu")
            return super().losses(step)

    nested = Nested()
    trained = train(lesson(precision="bf16"), nested)
    assert nested.own.seen == {torch.bfloat16}
    assert trained.own_forwards == 3 * trained.student_forwards


def test_three_thirds_of_the_epochs_are_all_of_them(lesson):
    thirds = tuple(Phase(name, 1 / 3) for name in "abc")
    trained = train(lesson(epochs=10, batch_size=140), Wrong(lambda step: {"x": step.label_loss()}, thirds))
    assert trained.epochs == 10
    assert [len(trained.curves[f"{name}.x"]) for name in "abc"] == [3, 4, 3]


def test_a_short_recipe_leaves_each_phase_an_epoch(lesson):
    phases = (Phase("a", 0.1), Phase("own", 0.1, student=False), Phase("b", 0.9))
    made = Noisy()
    made.phases = lambda: phases
    made.losses = lambda step: {"own": made.other(step.batch.inputs.flatten(1)).square().mean()}
    trained = train(lesson(epochs=3, batch_size=140), made)
    assert [len(trained.curves[f"{phase.name}.own"]) for phase in phases] == [1, 1, 2]


@pytest.mark.parametrize("recipe", [{"optimizer": "adamw", "lr": 0.01}, {"precision": "bf16"}, {"nesterov": True}])
def test_a_recipe_decides_bits(lesson, bits, teacher, recipe):
    made = [train(lesson(teacher, **recipe), method_from("kd", {})) for _ in range(2)]
    assert bits(made[0].network) == bits(made[1].network)
    assert bits(made[0].network) != bits(train(lesson(teacher), method_from("kd", {})).network)
    assert all(parameter.dtype == torch.float32 for parameter in made[0].network.parameters())


def test_the_optimisers_are_those_of_the_recipe(lesson):
    """One full batch of plain descent, written out: w - lr (g + decay w)."""
    made = lesson(epochs=1, batch_size=140, lr=0.3, momentum=0.0, weight_decay=0.01)
    with seeded(0, "student", "init"):
        student = made.new_student().train()
    order = torch.randperm(140, generator=stream(0, "student", "order"))
    targets = torch.from_numpy(made.dataset.train.targets)[order]
    functional.cross_entropy(student(train_inputs(lesson)[order]), targets).backward()
    trained = train(made, Scratch()).network
    for old, new in zip(student.parameters(), trained.parameters(), strict=True):
        torch.testing.assert_close(new, old - 0.3 * (old.grad + 0.01 * old), rtol=1e-5, atol=1e-6)


def test_progress_is_told_once_an_epoch(lesson):
    told = []
    train(lesson(epochs=2), Scratch(), tell=lambda done, text: told.append((done, text)))
    assert [done for done, _ in told] == [0.5, 1.0]
    assert told[1][1].startswith("epoch 2/2 loss ")


def test_a_device_that_is_not_there_is_refused_before_training(lesson, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="training device 'cuda'"):
        train(lesson(), Scratch(), device="cuda")
