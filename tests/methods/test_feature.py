import pytest
import torch
from torch.nn import functional

from kdbench.errors import UsageError
from kdbench.methods.feature import deepest, last, levelled, paired, pooled

MAP = (4, 8, 8)


def stages(count):
    return {"stem": MAP, **{f"s{i}": MAP for i in range(1, count + 1)}, "pool": (4,)}


@pytest.mark.parametrize(
    ("ours", "theirs", "pairs"),
    [
        (3, 3, [("s1", "s1"), ("s2", "s2"), ("s3", "s3")]),
        (2, 4, [("s1", "s2"), ("s2", "s4")]),
        (3, 1, [("s3", "s1")]),
        (3, 4, [("s1", "s1"), ("s2", "s3"), ("s3", "s4")]),
    ],
)
def test_stages_are_paired_from_the_deepest_and_spread(ours, theirs, pairs):
    assert paired(stages(ours), stages(theirs)) == pairs


def test_a_lone_map_is_kept_and_none_is_refused():
    assert paired({"stem": MAP, "pool": (4,)}, stages(3)) == [("stem", "s3")]
    with pytest.raises(UsageError, match=r"the teacher has no stage with maps \[C, H, W\]"):
        paired(stages(3), {"pool": (4,)})


def test_the_deepest_map_is_the_last(draw):
    assert deepest(stages(3), "student") == "s3"
    with pytest.raises(UsageError, match=r"the student has no stage with maps \[C, H, W\]"):
        deepest({"pool": (4,)}, "student")


@pytest.mark.parametrize("size", [(4, 4), (8, 2), (3, 5), (1, 1)])
def test_pooling_is_the_mean_of_the_covered_cells(draw, size):
    maps = draw(2, 3, 8, 8)
    torch.testing.assert_close(pooled(maps, size), functional.adaptive_avg_pool2d(maps, size))


@pytest.mark.parametrize("side", [7, 14, 5])
def test_pooling_that_does_not_divide_is_exact_too(draw, side):
    maps = draw(2, 3, side, side, grad=True)
    for count in range(1, side):
        ours, theirs = pooled(maps, (count, 4)), functional.adaptive_avg_pool2d(maps, (count, 4))
        torch.testing.assert_close(ours, theirs)
        (grad,) = torch.autograd.grad(ours.square().sum(), maps)
        (wanted,) = torch.autograd.grad(theirs.square().sum(), maps)
        torch.testing.assert_close(grad, wanted)


def test_each_side_gives_way_where_it_is_larger(draw):
    student, teacher = levelled(draw(2, 3, 8, 2), draw(2, 5, 4, 4))
    assert student.shape == (2, 3, 4, 2)
    assert teacher.shape == (2, 5, 4, 2)


def test_the_last_stage_may_be_any():
    assert last(stages(2), "student") == "pool"
    assert last({"stem": MAP}, "student") == "stem"
    with pytest.raises(UsageError, match="the teacher names no stages, and the method needs one"):
        last({}, "teacher")
