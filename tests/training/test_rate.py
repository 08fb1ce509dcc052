import pytest
import torch
from torch.optim import lr_scheduler

from kdbench.spec import Recipe
from kdbench.training.rate import rate


def recipe(**table):
    return Recipe.model_validate({"kind": "fast", "epochs": 10, "batch_size": 8, "lr": 0.5} | table)


def rates(made, steps):
    """The rate of every step of the recipe, with ``steps`` of them an epoch."""
    return [rate(made, i / steps, 1 / steps) for i in range(made.epochs * steps)]


def torchs(scheduler, count):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.5)
    made = scheduler(optimizer)
    found = []
    for _ in range(count):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        made.step()
    return found


def test_cosine_is_torchs():
    wanted = torchs(lambda o: lr_scheduler.CosineAnnealingLR(o, 50), 50)
    assert rates(recipe(schedule="cosine"), 5) == pytest.approx(wanted, rel=1e-9)


def test_multistep_is_torchs():
    wanted = torchs(lambda o: lr_scheduler.MultiStepLR(o, [3, 7], 0.2), 10)
    assert rates(recipe(schedule="multistep", milestones=[3, 7], gamma=0.2), 1) == pytest.approx(wanted, rel=1e-12)


def test_multistep_keeps_its_milestones_when_a_phase_is_stretched():
    made = recipe(schedule="multistep", milestones=[3, 6], gamma=0.1)
    length = 10 / (30 * 7)
    stretched = [rate(made, i * length, length) for i in range(30 * 7)]
    assert [i / 7 for i in range(1, 210) if stretched[i] < stretched[i - 1]] == [9, 18]


def test_onecycle_is_torchs_but_for_where_a_step_stands():
    steps = 200
    wanted = torchs(lambda o: lr_scheduler.OneCycleLR(o, 0.5, total_steps=10 * steps, cycle_momentum=False), 10 * steps)
    found = rates(recipe(schedule="onecycle"), steps)
    assert max(abs(a - b) for a, b in zip(found, wanted, strict=True)) < 0.002
    assert found[0] == pytest.approx(0.5 / 25)
    assert max(found) == pytest.approx(0.5)


def test_warm_up_grows_by_equal_steps_to_the_rate_and_the_rest_follows():
    found = rates(recipe(schedule="cosine", warmup_epochs=2), 2)
    assert found[:5] == pytest.approx([0.125, 0.25, 0.375, 0.5, 0.5])
    assert found[4:] == sorted(found[4:], reverse=True)


def test_a_recipe_of_nothing_but_warm_up_is_one():
    assert rates(recipe(schedule="onecycle", warmup_epochs=20), 1) == pytest.approx([0.05 * i for i in range(1, 11)])
