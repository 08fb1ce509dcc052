from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from kdbench.data.dataset import Split
from kdbench.training.feed import ASIDE, Feed, Items
from kdbench.training.lesson import Lesson

CPU = torch.device("cpu")


def feed_of(lesson, aside=""):
    return Feed(lesson, Items.of(lesson, CPU), aside)


def seen(lesson, epochs=1, aside="", **keywords):
    feed = feed_of(lesson(**keywords), aside)
    return [feed.batch(place) for place in range(epochs * len(feed))]


def test_an_epoch_has_every_item_once_in_a_new_order(lesson):
    batches = seen(lesson, epochs=2)
    assert [len(batch.index) for batch in batches] == 2 * [32, 32, 32, 32, 12]
    epochs = [torch.cat([batch.index for batch in part]) for part in (batches[:5], batches[5:])]
    assert all(torch.equal(epoch.sort().values, torch.arange(140)) for epoch in epochs)
    assert not torch.equal(*epochs)


def test_a_batch_is_made_once_and_in_turn(lesson):
    feed = feed_of(lesson(augment=["crop"]))
    first = feed.batch(0)
    assert feed.batch(0) is first
    assert feed.batch(1) is not first
    for place in (0, 3):
        with pytest.raises(AssertionError, match="in their order"):
            feed.batch(place)


def test_inputs_targets_and_index_belong_together(lesson, dataset):
    made = lesson()
    for batch in seen(lesson):
        inputs = torch.from_numpy(dataset.train.inputs[batch.index.numpy()])
        assert torch.equal(batch.inputs, made.task.collate(dataset, inputs))
        assert torch.equal(batch.targets, torch.from_numpy(dataset.train.targets[batch.index.numpy()]))


def test_a_mirrored_batch_tells_which_of_the_views_it_holds(lesson):
    made = lesson(augment=["flip"])
    views = torch.cat(list(Items.of(made, CPU).parts()))
    assert len(views) == 280
    for batch in seen(lesson, augment=["flip"]):
        assert torch.equal(batch.inputs, views[batch.view])
        assert torch.equal(batch.view % 140, batch.index)
        assert 0 < (batch.view >= 140).sum() < len(batch.index)


def test_where_views_are_many_none_has_a_place(lesson):
    assert seen(lesson, augment=["crop", "flip"])[0].view is None
    assert list(Items.of(lesson(augment=["crop", "flip"]), CPU).parts()) == []


def test_few_items_come_several_times_an_epoch(lesson):
    feed = feed_of(replace(lesson(batch_size=100), items=350))
    assert len(feed) == 4
    index = torch.cat([feed.batch(place).index for place in range(4)])
    assert len(index) == 350
    assert set(index.bincount(minlength=140).tolist()) == {2, 3}
    assert torch.equal(index[:140].sort().values, torch.arange(140))
    assert not torch.equal(index[:140], index[140:280])


def test_a_last_batch_of_one_item_is_left_out(lesson, dataset):
    train = Split(dataset.train.inputs[:65], dataset.train.targets[:65])
    data = type(dataset)(**{**vars(dataset), "train": train})
    assert [len(batch.index) for batch in seen(lesson, data=data)] == [32, 32]
    assert [len(batch.index) for batch in seen(lesson, data=data, batch_size=65)] == [65]


def test_a_crop_is_padded_with_black_not_with_the_mean(lesson, dataset):
    (batch, *_) = seen(lesson, augment=["crop"], crop_padding=8, batch_size=140)
    black = (0 - dataset.mean[0]) / dataset.std[0]
    assert abs(batch.inputs.min().item() - black) < 1e-6


def test_phases_without_the_student_have_streams_of_their_own(lesson):
    ours, aside = (seen(lesson, aside=aside, augment=["crop"]) for aside in ("", ASIDE))
    assert not torch.equal(ours[0].index, aside[0].index)
    feed = feed_of(lesson(augment=["crop"]), ASIDE)
    assert torch.equal(feed.batch(0).inputs, aside[0].inputs)


def test_all_of_an_epoch_is_drawn_when_it_begins(lesson, monkeypatch):
    streams = []
    stream = Lesson.stream

    def watched(self, purpose):
        streams.append(stream(self, purpose))
        return streams[-1]

    monkeypatch.setattr(Lesson, "stream", watched)
    feed = feed_of(lesson(augment=["crop", "flip"]))
    drawn = []
    for place in range(len(feed) + 1):
        feed.batch(place)
        drawn.append([generator.get_state() for generator in streams])
    same = [all(map(torch.equal, one, other)) for one, other in pairwise(drawn)]
    assert same == [True] * (len(feed) - 1) + [False]


def test_seeds_and_roles_see_items_in_their_own_order(lesson):
    orders = [seen(lesson, **keywords)[0].index for keywords in ({}, {"seed": 1}, {"role": "teacher"})]
    assert not torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])
