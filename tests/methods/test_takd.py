from dataclasses import replace

import numpy as np
import pytest
import torch
from lessons import lesson, teacher

from kdbench.errors import UsageError
from kdbench.methods.build import method_from
from kdbench.methods.takd import LADDER, TAKD, between
from kdbench.models.network import build
from kdbench.training.loop import train

THIN = {"assistant": "resnet8", "assistant_options": {"widths": [4, 4, 4, 4]}}


class Watched(TAKD):
    """Keeps the assistant's state after every step, and what it taught."""

    def __init__(self, **options):
        super().__init__(**options)
        self.states, self.shown = [], []

    def prepare(self, setting):
        made = super().prepare(setting)
        self.first = {name: tensor.clone() for name, tensor in made.state_dict().items()}
        return made

    def losses(self, step):
        losses = super().losses(step)
        state = {name: tensor.clone() for name, tensor in self.assistant.state_dict().items()}
        self.states.append((step.phase, state))
        self.shown.append((step, losses))
        return losses


def softmax(z):
    e = np.exp(z)
    return e / e.sum(axis=1, keepdims=True)


def divergence(taught, learnt, temperature):
    p, q = softmax(taught / temperature), softmax(learnt / temperature)
    return temperature**2 * (p * np.log(p / q)).sum() / len(p)


@pytest.fixture(scope="module")
def watched():
    method = Watched(**THIN, temperature=3.0, alpha=0.7)
    return method, train(lesson(teacher(), epochs=2), method)


def test_the_assistant_learns_first_and_is_fixed_while_it_teaches(watched):
    method, _ = watched
    assert [phase for phase, _ in method.states] == ["assistant"] * 4 + ["student"] * 4
    final = method.states[4][1]
    for name, _ in method.assistant.named_parameters():
        assert not torch.equal(final[name], method.first[name]), name
    for _, state in method.states[5:]:
        assert all(torch.equal(tensor, final[name]) for name, tensor in state.items())


def test_the_student_follows_the_assistant_and_the_teacher_is_not_run(watched):
    method, trained = watched
    for step, losses in method.shown[4:]:
        assert set(step.outputs) == {"student"}
        assistant = method.assistant.eval()(step.batch.inputs).detach().double().numpy()
        student = step.student.logits.detach().double().numpy()
        assert losses["kd"].item() == pytest.approx(0.7 * divergence(assistant, student, 3.0), rel=1e-4)
        assert losses["label"].item() == pytest.approx(0.3 * step.label_loss().item(), rel=1e-5)
    augmented = train(lesson(teacher(), epochs=2, augment=["flip"]), TAKD(**THIN))
    assert augmented.teacher_forwards == 128
    assert trained.teacher_forwards == 64


def test_the_assistant_follows_the_teacher(draw, step):
    method = TAKD("resnet8", temperature=3.0, alpha=0.7)
    z_t, logits = draw(6, 4).float(), draw(6, 4).float().requires_grad_()
    method.assistant = lambda _inputs: logits
    made = step(draw(6, 4), z_t)
    made = replace(made, outputs={"teacher": made.teacher}, phase="assistant")
    losses = method.losses(made)
    losses["kd"].backward()
    mine, theirs = logits.detach().double().numpy(), z_t.double().numpy()
    assert losses["kd"].item() == pytest.approx(0.7 * divergence(theirs, mine, 3.0), rel=1e-5)
    label = -np.mean([np.log(softmax(mine)[i, target]) for i, target in enumerate(made.batch.targets.tolist())])
    assert losses["label"].item() == pytest.approx(0.3 * label, rel=1e-5)
    gradient = 0.7 * 3 * (softmax(mine / 3) - softmax(theirs / 3)) / 6
    np.testing.assert_allclose(logits.grad.numpy(), gradient, rtol=1e-4, atol=1e-6)


def test_the_assistants_training_is_a_phase_of_its_own_on_top(watched):
    _, trained = watched
    assert {"assistant.label", "assistant.kd", "student.label", "student.kd"} <= set(trained.curves)
    assert (trained.epochs, trained.steps, trained.student_steps, trained.items) == (4, 8, 4, 128)
    assert (trained.student_forwards, trained.own_forwards, trained.backwards) == (128, 256, 256)


def test_an_assistant_of_other_width_and_depth_is_built_as_the_suite_says(watched):
    method, trained = watched
    wanted = build("resnet8", 10, (1, 8, 8), {"widths": [4, 4, 4, 4]})
    assert trained.extra_params == sum(parameter.numel() for parameter in wanted.parameters())
    assert list(method.assistant.state_dict()) == list(wanted.state_dict())


@pytest.mark.parametrize(
    ("ours", "theirs", "assistant"),
    [
        (("dscnn", {"width": 5}), ("resnet8", {}), ("resnet8", {"widths": [4, 4, 8, 16]})),
        (("dscnn", {"width": 8}), ("resnet56", {}), ("resnet8", {"widths": [8, 8, 16, 32]})),
        (("resnet20", {}), ("resnet56", {}), ("resnet32", {})),
        (("resnet20", {}), ("resnet110", {}), ("resnet44", {})),
        (("resnet8x4", {}), ("resnet32x4", {}), ("resnet110", {})),
    ],
)
def test_unnamed_it_is_the_rung_nearest_to_the_middle_by_size(setting, ours, theirs, assistant):
    def new(what):
        with torch.device("meta"):
            return build(what[0], 4, (1, 8, 8), what[1])

    made = replace(setting({}, {}), teacher=new(theirs), new_student=lambda: new(ours))
    state = torch.get_rng_state()
    assert between(made) == assistant
    assert torch.equal(torch.get_rng_state(), state)
    assert assistant in LADDER


def test_the_default_trains(setting):
    method = Watched()
    trained = train(lesson(teacher(), items=40), method)
    assert trained.steps == 4
    assert method.assistant.stem[0].weight.shape[0] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"assistant": "resnet21"}, "unknown model 'resnet21' of method 'takd'; did you mean"),
        (
            {"assistant": "resnet8", "assistant_options": {"width": 3}},
            "model 'resnet8' of method 'takd' has no option 'width'; did you mean 'widths'?",
        ),
        (
            {"assistant": "resnet8", "assistant_options": {"widths": "wide"}},
            "model 'resnet8' of method 'takd' option 'widths': found 'wide', expected a valid array",
        ),
        ({"assistant_options": {"width": 3}}, "assistant_options of method 'takd': found {'width': 3} without an"),
        ({"temperature": 0}, "method 'takd' option 'temperature': found 0, expected greater than 0"),
        ({"assistant_options": 3}, "method 'takd' option 'assistant_options': found 3, expected a valid dictionary"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(options, message):
    with pytest.raises(UsageError) as error:
        method_from("takd", options)
    assert str(error.value).startswith(message)


def test_defaults_are_those_of_kd():
    assert TAKD.needs_teacher
    assert (TAKD().temperature, TAKD().alpha) == (4.0, 0.9)
