"""Rounding in mind: the grid of 8-bit integers in the forward pass, floats that go on learning behind it."""

import copy
import inspect
import re
from dataclasses import replace

import pytest
import torch
from lessons import lesson, teacher
from torch import nn

from kdbench.catalog import entries
from kdbench.errors import UsageError
from kdbench.methods.build import method_from
from kdbench.suite_file import method_spec
from kdbench.training.loop import train
from kdbench.training.rounded import rounded


def network():
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    made.classifier = "4"
    return made


def test_weights_are_on_the_grid_of_their_channel_and_the_parameters_behind_are_the_same_objects():
    made = network()
    before = dict(made.named_parameters())
    with rounded(made):
        for layer in (made[0], made[4]):
            steps = layer.weight / (layer.parametrizations.weight.original.flatten(1).abs().amax(1) / 127).reshape(
                -1, *[1] * (layer.weight.ndim - 1)
            )
            assert torch.allclose(steps, steps.round(), atol=1e-4)
            assert steps.flatten(1).abs().amax(1).round().tolist() == [127] * len(layer.weight)
        inside = {id(parameter) for parameter in made.parameters()}
    after = dict(made.named_parameters())
    assert inside == {id(parameter) for parameter in before.values()}
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)
    assert set(made.state_dict()) == set(network().state_dict())


def test_what_it_says_has_at_most_256_values_and_ranges_stay_in_eval_mode():
    made, inputs = network(), torch.randn(64, 1, 8, 8)
    plain = made.eval()(inputs)
    with rounded(made):
        made.train()
        for _ in range(3):
            made(inputs)
        made.eval()
        first = made(inputs)
        made(100 * inputs)
        assert torch.equal(made(inputs), first)
    assert len(first.unique()) <= 256 < len(plain.unique())
    assert torch.allclose(made.eval()(inputs), made(inputs))


def test_gradients_pass_through_as_if_nothing_were_rounded():
    made, inputs = nn.Sequential(nn.Linear(3, 2, bias=False)), torch.tensor([[1.0, -0.5, 0.25]])
    made.train()
    made.classifier = "0"
    with rounded(made):
        made(inputs).sum().backward()
    (gradient,) = [parameter.grad for parameter in made.parameters()]
    # Rounded inputs are what the weights are multiplied with; the extremes of the range lie on the grid.
    torch.testing.assert_close(gradient, inputs.expand(2, 3), atol=0.01, rtol=0)


@pytest.mark.parametrize("name", ["scratch", "kd", "fitnet", "dml", "simkd"])
def test_any_method_goes_on_learning_and_its_last_epochs_alone_are_rounded(name):
    taught = replace(lesson(teacher(), items=64, epochs=3), qat_epochs=1)
    plain, aware, always = (train(replace(taught, qat_epochs=epochs), method_from(name, {})) for epochs in (0, 1, 9))
    loss = next(term for term in plain.curves if term not in ("learning_rate", "validation_accuracy"))
    one, two, three = (dict(result.curves)[loss] for result in (plain, aware, always))
    assert one[:2] == two[:2]
    assert one[2] != two[2]
    assert one[0] != three[0]
    assert set(plain.network.state_dict()) == set(aware.network.state_dict())
    assert not any("parametriz" in key for key in aware.network.state_dict())
    assert aware.student_steps == plain.student_steps


def test_bf16_learns_too_and_the_same_twice():
    taught = replace(lesson(teacher(), items=64, epochs=2, precision="bf16"), qat_epochs=1)
    first, again = (train(taught, method_from("kd", {})).network.state_dict() for _ in range(2))
    assert all(torch.equal(first[key], again[key]) for key in first)


def test_what_ships_with_another_classifier_is_not_clipped_by_the_range_of_the_students():
    """As SimKD's: a copy of the student that is validated while it learns, with the teacher's classifier."""
    made, inputs = network(), torch.randn(64, 1, 8, 8)
    with rounded(made):
        made.train()(inputs)
        shipped = copy.deepcopy(made)
        shipped[4] = nn.Linear(144, 5)
        outputs = shipped.eval()(inputs)
    assert len(outputs.unique()) == outputs.numel()


def test_a_method_of_a_suite_says_in_how_many_epochs():
    spec = method_spec("qat+kd", {"use": "kd", "qat_epochs": 3, "temperature": 2.0}, "in x.toml [methods]")
    assert (spec.use, spec.qat_epochs, spec.options) == ("kd", 3, {"temperature": 2.0})
    for bad in (-1, 2.5, "3", True):
        line = f"in x.toml [methods] qat+kd: qat_epochs is {bad!r}, expected how many of the last epochs, such as 3"
        with pytest.raises(UsageError, match="^" + re.escape(line)):
            method_spec("qat+kd", {"use": "kd", "qat_epochs": bad}, "in x.toml [methods]")
    options = {name for entry in entries("methods").values() for name in inspect.signature(entry.load()).parameters}
    assert "temperature" in options
    assert "qat_epochs" not in options
