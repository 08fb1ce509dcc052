import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from kdbench.data.dataset import Split
from kdbench.data.digits import digits
from kdbench.errors import UsageError
from kdbench.methods.build import method_from
from kdbench.methods.random_teacher import RandomTeacher, settle, untrained
from kdbench.models.network import build
from kdbench.spec import Recipe
from kdbench.tasks.classification import Classification
from kdbench.training.lesson import Lesson
from kdbench.training.loop import train


def resnet(name="resnet8", seed=0):
    torch.manual_seed(seed)
    return build(name, 4, (1, 8, 8), {"widths": [4, 4, 8, 8]}).eval()


def softmax(z):
    e = np.exp(z)
    return e / e.sum(axis=-1, keepdims=True)


def same(first, second):
    first, second = first.state_dict(), second.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture
def seen(step):
    """A function to a step in which the trained teacher said nothing."""

    def make(z, inputs, targets=None):
        made = step(z, targets=targets)
        return replace(made, batch=replace(made.batch, inputs=inputs))

    return make


def prepared(setting, teacher, seed=1, **options):
    method = RandomTeacher(**options)
    torch.manual_seed(seed)
    assert method.prepare(replace(setting({}, {}), teacher=teacher)) is method.network
    return method


def test_value_and_gradient(draw, seen, setting):
    method = prepared(setting, resnet(), temperature=2.0, alpha=0.7)
    z, x, targets = draw(6, 4, grad=True), draw(6, 1, 8, 8).float(), torch.tensor([0, 1, 2, 3, 3, 0])
    losses = method.losses(seen(z, x, targets))
    sum(losses.values()).backward()
    s, t = z.detach().numpy(), method.network(x).double().numpy()
    p, q, hard = softmax(t / 2), softmax(s / 2), np.eye(4)[targets.numpy()]
    assert list(losses) == ["label", "kd"]
    assert losses["label"].item() == pytest.approx(-0.3 * (hard * np.log(softmax(s))).sum() / 6, rel=1e-10)
    assert losses["kd"].item() == pytest.approx(0.7 * 4 * (p * np.log(p / q)).sum() / 6, rel=1e-5)
    np.testing.assert_allclose(
        z.grad.numpy(), (0.3 * (softmax(s) - hard) + 0.7 * 2 * (q - p)) / 6, rtol=1e-5, atol=1e-7
    )


def test_all_weights_are_new_and_follow_from_the_seed(setting):
    teacher = resnet()
    for module in teacher.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    one, again, other = (prepared(setting, teacher, seed).network for seed in (1, 1, 2))
    assert same(one, again)
    for first, second, old in zip(one.parameters(), other.parameters(), teacher.parameters(), strict=True):
        assert not torch.equal(first, old)
        assert first.ndim < 2 or not torch.equal(first, second)


def test_the_trained_teacher_is_neither_looked_at_nor_changed(draw, seen, setting):
    teacher = resnet()
    before = copy.deepcopy(teacher)
    method = prepared(setting, teacher)
    method.losses(seen(draw(6, 4, grad=True), draw(6, 1, 8, 8).float()))["kd"].backward()
    assert same(teacher, before)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in teacher.parameters())
    assert not any(parameter.requires_grad for parameter in method.network.parameters())


@pytest.mark.parametrize("name", ["resnet8", "resnet56"])
def test_its_outputs_differ_between_items_at_any_depth(draw, seen, setting, name):
    method = prepared(setting, resnet(name))
    method.losses(seen(draw(32, 4), draw(32, 1, 8, 8).float()))
    with torch.no_grad():
        spread = method.network(draw(32, 1, 8, 8).float()).std(dim=0).mean()
    assert 0.02 < spread < 2


def test_after_the_first_batch_it_is_fixed_and_sees_each_item_alone(draw, seen, setting):
    method = prepared(setting, resnet())
    z, x = draw(6, 4), draw(6, 1, 8, 8).float()
    method.losses(seen(z, x))
    before, random = copy.deepcopy(method.network), torch.get_rng_state()
    method.losses(seen(z, 3 * x + 1))
    assert same(method.network, before)
    assert torch.equal(torch.get_rng_state(), random)
    with torch.no_grad():
        torch.testing.assert_close(method.network(x[:1]), method.network(x)[:1])


def test_statistics_are_those_of_the_inputs_and_nothing_else_is_switched_on(draw):
    network = nn.Sequential(nn.BatchNorm1d(3, momentum=0.3), nn.Dropout(0.5)).eval()
    x, random = 4 * draw(9, 3).float() + 2, torch.get_rng_state()
    settle(network, x)
    torch.testing.assert_close(network[0].running_mean, x.mean(dim=0))
    torch.testing.assert_close(network[0].running_var, x.var(dim=0))
    assert network[0].momentum == 0.3
    assert not any(module.training for module in network.modules())
    assert torch.equal(torch.get_rng_state(), random)
    other = nn.Linear(3, 2)
    settle(other, x)
    assert not other.training


def test_a_part_that_cannot_be_drawn_anew_is_named():
    class Scaled(nn.Linear):
        def __init__(self):
            super().__init__(2, 2)
            self.inner = nn.ParameterList([torch.ones(2)])

    with pytest.raises(UsageError) as error:
        untrained(nn.Sequential(Scaled()))
    assert str(error.value) == (
        "random-teacher: part '0.inner' of the teacher (ParameterList) has weights and no method reset_parameters"
        " to draw them anew"
    )


def test_in_a_training_it_is_no_part_of_the_program_and_follows_from_the_seed():
    whole = digits()
    data = replace(whole, train=Split(whole.train.inputs[:66], whole.train.targets[:66]))
    recipe = Recipe.model_validate({"kind": "fast", "epochs": 2, "batch_size": 32, "lr": 0.05})
    torch.manual_seed(0)
    teacher = build("resnet8", 10, data.shape, {"widths": [4, 4, 8, 8]})
    before = copy.deepcopy(teacher)

    def student():
        return build("dscnn", 10, data.shape, {"width": 4})

    def trained(method, teacher):
        return train(Lesson(Classification(), data, student, teacher, recipe, 0), method_from(method, {}))

    one = trained("random-teacher", teacher)
    assert same(teacher, before)
    other = build("resnet8", 10, data.shape, {"widths": [4, 4, 8, 8]})
    assert same(trained("random-teacher", other).network, one.network)
    assert not same(trained("kd", teacher).network, one.network)
    assert one.extra_params == sum(parameter.numel() for parameter in teacher.parameters())
    # Each item of both epochs, and the first batch once more for the statistics.
    assert (one.teacher_forwards, one.own_forwards) == (0, 2 * 66 + 32)
    assert one.backwards == 2 * 66
    assert one.network.state_dict().keys() == student().state_dict().keys()


def test_defaults_are_those_of_kd_and_options_are_bounded():
    method = method_from("random-teacher", {})
    assert isinstance(method, RandomTeacher)
    assert (method.temperature, method.alpha) == (4.0, 0.9)
    for option, value in {"temperature": 0, "alpha": 1.5}.items():
        with pytest.raises(UsageError, match=f"method 'random-teacher' option '{option}': found {value}, expected"):
            method_from("random-teacher", {option: value})
