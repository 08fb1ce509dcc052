import torch

from kdbench.data.dataset import Split
from kdbench.methods.method import Method, Phase
from kdbench.training.feed import Feed

CPU = torch.device("cpu")


def seen(lesson, phases=None, **keywords):
    feed = Feed(lesson(**keywords), Method(), CPU)
    return [batch for phase in phases or Method().phases() for batch, _ in feed.epoch(phase)]


def test_an_epoch_has_every_item_once_in_a_new_order(lesson):
    phase = Phase("distil")
    feed = Feed(lesson(), Method(), CPU)
    epochs = [torch.cat([batch.index for batch, _ in feed.epoch(phase)]) for _ in range(2)]
    assert [items for _, items in feed.epoch(phase)] == [32, 32, 32, 32, 12]
    assert all(torch.equal(epoch.sort().values, torch.arange(140)) for epoch in epochs)
    assert not torch.equal(*epochs)


def test_inputs_targets_and_index_belong_together(lesson, dataset):
    made = lesson()
    for batch in seen(lesson):
        inputs = torch.from_numpy(dataset.train.inputs[batch.index.numpy()])
        assert torch.equal(batch.inputs, made.task.collate(dataset, inputs))
        assert torch.equal(batch.targets, torch.from_numpy(dataset.train.targets[batch.index.numpy()]))


def test_a_last_batch_of_one_item_is_left_out(lesson, dataset):
    train = Split(dataset.train.inputs[:65], dataset.train.targets[:65])
    data = type(dataset)(**{**vars(dataset), "train": train})
    assert [len(batch.index) for batch in seen(lesson, data=data)] == [32, 32]
    assert [len(batch.index) for batch in seen(lesson, data=data, batch_size=65)] == [65]


def test_a_crop_is_padded_with_black_not_with_the_mean(lesson, dataset):
    (batch, *_) = seen(lesson, augment=["crop"], crop_padding=8, batch_size=140)
    black = (0 - dataset.mean[0]) / dataset.std[0]
    assert abs(batch.inputs.min().item() - black) < 1e-6


def test_phases_without_the_student_take_nothing_from_its_streams(lesson):
    alone = seen(lesson, augment=["crop"])
    after = seen(lesson, phases=(Phase("first", student=False), Phase("distil")), augment=["crop"])
    assert len(after) == 2 * len(alone)
    assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(alone, after[len(alone) :], strict=True))
    assert not torch.equal(after[0].index, after[len(alone)].index)


def test_seeds_and_roles_see_items_in_their_own_order(lesson):
    orders = [seen(lesson, **keywords)[0].index for keywords in ({}, {"seed": 1}, {"role": "teacher"})]
    assert not torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])
