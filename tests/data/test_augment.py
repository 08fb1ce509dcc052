from __future__ import annotations

import hashlib

import pytest
import torch

from kdbench.data import augment as module
from kdbench.data.augment import draw


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def augment(inputs, names, padding, source):
    return module.augment(inputs, names, padding, draw(names, padding, len(inputs), source))


def items(batch: int = 64, dtype: torch.dtype = torch.uint8) -> torch.Tensor:
    return torch.randint(1, 200, (batch, 2, 5, 6), generator=generator(9)).to(dtype)


def windows(item: torch.Tensor, padding: int) -> list[torch.Tensor]:
    """Every crop of a padded item, cut out one by one."""
    channels, height, width = item.shape
    padded = torch.zeros(channels, height + 2 * padding, width + 2 * padding, dtype=item.dtype)
    padded[:, padding : padding + height, padding : padding + width] = item
    places = range(2 * padding + 1)
    return [padded[:, top : top + height, left : left + width] for top in places for left in places]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_crop_is_a_window_of_the_padded_item_and_every_window_occurs(dtype):
    inputs = items(256, dtype)[:1].expand(256, -1, -1, -1)
    cropped = augment(inputs, ["crop"], 1, generator())
    assert cropped.dtype == dtype
    assert cropped.is_contiguous()
    expected = windows(inputs[0], 1)
    found = [[i for i, window in enumerate(expected) if torch.equal(item, window)] for item in cropped]
    assert all(len(places) == 1 for places in found)
    assert {places[0] for places in found} == set(range(9))


def test_each_item_of_a_batch_is_cropped_from_itself():
    inputs = items()
    for item, cropped in zip(inputs, augment(inputs, ["crop"], 2, generator()), strict=True):
        assert any(torch.equal(cropped, window) for window in windows(item, 2))


def test_a_flip_mirrors_about_half_of_the_items_left_to_right():
    inputs = items(200)
    flipped = augment(inputs, ["flip"], 4, generator())
    turned = [torch.equal(new, old.flip(-1)) for old, new in zip(inputs, flipped, strict=True)]
    kept = [torch.equal(new, old) for old, new in zip(inputs, flipped, strict=True)]
    assert all(a != b for a, b in zip(turned, kept, strict=True))
    assert 70 < sum(turned) < 130


def test_the_input_stays_as_it_is():
    inputs = items()
    before = inputs.clone()
    augment(inputs, ["crop", "flip"], 2, generator())
    assert torch.equal(inputs, before)


def test_nothing_named_changes_nothing_and_draws_nothing():
    drawn = generator()
    inputs = items()
    assert torch.equal(augment(inputs, [], 4, drawn), inputs)
    assert torch.equal(drawn.get_state(), generator().get_state())


def test_one_generator_decides_every_bit():
    inputs = items()
    torch.manual_seed(1)
    first = augment(inputs, ["crop", "flip"], 4, generator(5))
    state = torch.get_rng_state()
    torch.manual_seed(2)
    second = augment(inputs, ["crop", "flip"], 4, generator(5))
    assert torch.equal(first, second)
    assert not torch.equal(first, augment(inputs, ["crop", "flip"], 4, generator(6)))
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_bits_are_pinned():
    augmented = augment(items(), ["crop", "flip"], 4, generator(5))
    assert hashlib.sha256(augmented.numpy().tobytes()).hexdigest()[:16] == "1c33c7656f60ee8a"


def test_what_is_drawn_comes_item_by_item():
    inputs = items()
    drawn = draw(["crop", "flip"], 4, len(inputs), generator(5))
    assert [tuple(numbers.shape) for numbers in drawn] == [(64, 2), (64,)]
    parts = [
        module.augment(inputs[at], ["crop", "flip"], 4, [numbers[at] for numbers in drawn])
        for at in (slice(40), slice(40, 64))
    ]
    assert torch.equal(torch.cat(parts), module.augment(inputs, ["crop", "flip"], 4, drawn))


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="unknown augmentation 'cutout'; known: crop, flip"):
        augment(items(), ["cutout"], 4, generator())
