import numpy as np
import pytest
import torch
from lessons import lesson

from kdbench.errors import UsageError
from kdbench.methods.build import method_from
from kdbench.methods.self_kd import SelfKD
from kdbench.training.loop import train


class Watched(SelfKD):
    """Keeps the elder's state after every step, and what it taught."""

    def __init__(self, **options):
        super().__init__(**options)
        self.states, self.shown = [], []

    def prepare(self, setting):
        made = super().prepare(setting)
        self.first = {name: tensor.clone() for name, tensor in made.state_dict().items()}
        return made

    def losses(self, step):
        losses = super().losses(step)
        state = {name: tensor.clone() for name, tensor in self.elder.state_dict().items()}
        self.states.append((step.phase, state))
        if step.phase == "student":
            self.shown.append((step, losses))
        return losses


def softmax(z):
    e = np.exp(z)
    return e / e.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def watched():
    method = Watched(temperature=3.0, alpha=0.7)
    return method, train(lesson(epochs=2), method)


def test_the_elder_learns_first_and_is_fixed_while_it_teaches(watched):
    method, _ = watched
    phases = [phase for phase, _ in method.states]
    assert phases == ["elder"] * 4 + ["student"] * 4
    final = method.states[4][1]
    for name, _ in method.elder.named_parameters():
        assert not torch.equal(final[name], method.first[name]), name
    for _, state in method.states[5:]:
        assert all(torch.equal(tensor, final[name]) for name, tensor in state.items())


def test_value_of_the_second_phase(watched):
    method, _ = watched
    for step, losses in method.shown:
        elder = method.elder.eval()(step.batch.inputs).detach().double().numpy()
        student, targets = step.student.logits.detach().double().numpy(), step.batch.targets.tolist()
        label = -np.mean([np.log(softmax(student)[i, target]) for i, target in enumerate(targets)])
        p, q = softmax(elder / 3), softmax(student / 3)
        assert losses["label"].item() == pytest.approx(0.3 * label, rel=1e-5)
        assert losses["kd"].item() == pytest.approx(0.7 * 9 * (p * np.log(p / q)).sum() / len(p), rel=1e-4)


def test_gradients_reach_who_learns_and_nobody_else(step):
    method = SelfKD()
    method.elder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1, 4))
    logits = torch.randn(6, 4, requires_grad=True)
    made = step(logits)
    method.losses(made)["kd"].backward()
    assert logits.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in method.elder.parameters())
    first = type(made)(made.task, made.batch, {}, 0, 1, "elder")
    method.losses(first)["label"].backward()
    assert all(parameter.grad is not None for parameter in method.elder.parameters())


def test_the_elder_comes_on_top_and_its_passes_are_counted(watched):
    _, trained = watched
    assert set(trained.curves) == {
        "elder.label", "student.label", "student.kd", "learning_rate", "validation_accuracy",
    }  # fmt: skip
    assert (trained.epochs, trained.steps, trained.student_steps, trained.items) == (4, 8, 4, 128)
    assert (trained.student_forwards, trained.own_forwards, trained.backwards) == (128, 256, 256)


def test_needs_no_teacher_and_defaults_are_those_of_kd():
    assert not SelfKD.needs_teacher
    assert (SelfKD().temperature, SelfKD().alpha) == (4.0, 0.9)
    with pytest.raises(UsageError, match="option 'alpha': found 2, expected less than or equal to 1"):
        method_from("self-kd", {"alpha": 2})
