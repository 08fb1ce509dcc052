import numpy as np
import pytest
import torch
from lessons import two_steps
from torch.nn import functional

from kdbench.errors import UsageError
from kdbench.methods.build import method_from
from kdbench.methods.reviewkd import ReviewKD, hierarchical

STUDENT = {"stem": (3, 8, 8), "one": (3, 8, 8), "two": (5, 4, 4), "pool": (5,)}
TEACHER = {"stem": (4, 8, 8), "a": (4, 8, 8), "b": (6, 4, 4), "c": (7, 8, 8), "pool": (7,)}


def prepared(setting, student=STUDENT, teacher=TEACHER, **options):
    method = ReviewKD(**options)
    taps = method.taps(student, teacher)
    torch.manual_seed(0)
    return method, taps, method.prepare(setting(student, teacher)).double()


def normed(convolution, maps):
    """A convolution without bias by shifted sums, then batch norm of the batch."""
    weight = convolution[0].weight.detach().numpy()
    side = weight.shape[2]
    padded = np.pad(maps, ((0, 0), (0, 0), (side // 2,) * 2, (side // 2,) * 2))
    h, w = maps.shape[2:]
    out = sum(
        np.einsum("oc,bchw->bohw", weight[:, :, y, x], padded[:, :, y : y + h, x : x + w])
        for y in range(side)
        for x in range(side)
    )
    mean, variance = out.mean(axis=(0, 2, 3), keepdims=True), out.var(axis=(0, 2, 3), keepdims=True)
    return (out - mean) / np.sqrt(variance + 1e-5)


def blocks(maps, side):
    b, c, h, w = maps.shape
    return maps.reshape(b, c, side, h // side, side, w // side).mean(axis=(3, 5))


def hcl(o, f):
    total, weights, weight = ((o - f) ** 2).mean(), 1.0, 1.0
    for side in [side for side in (4, 2, 1) if side < o.shape[2]]:
        weight = weight / 2
        total += weight * ((blocks(o, side) - blocks(f, side)) ** 2).mean()
        weights += weight
    return total / weights


def test_stages_and_shapes_come_from_the_dry_run(setting):
    _, taps, fusions = prepared(setting)
    assert taps == (["one", "two", "pool"], ["b.pre", "c.pre", "pool"])
    assert [tuple(fusion.reduce.conv.weight.shape[:2]) for fusion in fusions] == [(5, 3), (5, 5), (5, 5)]
    assert [fusion.expand.conv.weight.shape[0] for fusion in fusions] == [6, 7, 7]
    assert [fusion.attention is None for fusion in fusions] == [False, False, True]
    narrow = prepared(setting, width=2)[2]
    assert [fusion.reduce.conv.weight.shape[0] for fusion in narrow] == [2, 2, 2]


def test_value_and_gradient(draw, step, setting):
    method, _, fusions = prepared(setting, beta=3.0, warmup=0.5)
    ours = {"one": draw(4, 3, 8, 8, grad=True), "two": draw(4, 5, 4, 4), "pool": draw(4, 5)}
    theirs = {"b.pre": draw(4, 6, 4, 4), "c.pre": draw(4, 7, 8, 8), "pool": draw(4, 7)}
    z = draw(4, 4)
    losses = method.losses(step(z, z, None, ours, theirs, epoch=1, epochs=10))
    losses["review"].backward()

    def review(one):
        total, deeper = 0.0, None
        levels = [
            (ours["pool"].numpy()[:, :, None, None], theirs["pool"].numpy()[:, :, None, None]),
            (ours["two"].numpy(), blocks(theirs["c.pre"].numpy(), 4)),
            (one, theirs["b.pre"].numpy()),
        ]
        for fusion, (mine, its) in zip(reversed(fusions), levels, strict=True):
            carried = normed(fusion.reduce, mine)
            if deeper is not None:
                factor = carried.shape[2] // deeper.shape[2]
                deeper = deeper.repeat(factor, axis=2).repeat(factor, axis=3)
                weight, bias = (p.detach().numpy() for p in fusion.attention.parameters())
                logits = np.einsum("oc,bchw->bohw", weight[:, :, 0, 0], np.concatenate([carried, deeper], axis=1))
                shares = 1 / (1 + np.exp(-(logits + bias[:, None, None])))
                carried = carried * shares[:, :1] + deeper * shares[:, 1:]
            deeper = blocks(carried, its.shape[2])
            total += hcl(normed(fusion.expand, deeper), its)
        return 3.0 * 2 / 5 * total

    one = ours["one"].detach().numpy()
    assert losses["review"].item() == pytest.approx(review(one), rel=1e-9)
    for place in [(0, 0, 0, 0), (3, 2, 7, 4)]:
        up, down = one.copy(), one.copy()
        up[place] += 1e-5
        down[place] -= 1e-5
        numeric = (review(up) - review(down)) / 2e-5
        assert ours["one"].grad[place].item() == pytest.approx(numeric, rel=1e-4, abs=1e-9)


def test_deeper_levels_learn_from_the_shallow_teacher(draw, step, setting):
    method, _, _ = prepared(setting)
    ours = {"one": draw(4, 3, 8, 8), "two": draw(4, 5, 4, 4), "pool": draw(4, 5, grad=True)}
    theirs = {"b.pre": draw(4, 6, 4, 4), "c.pre": draw(4, 7, 8, 8), "pool": draw(4, 7)}
    z, gradients = draw(4, 4), []
    for shallow in (theirs["b.pre"], -theirs["b.pre"]):
        ours["pool"].grad = None
        method.losses(step(z, z, None, ours, theirs | {"b.pre": shallow}))["review"].backward()
        gradients.append(ours["pool"].grad)
    assert not torch.equal(*gradients)


def test_maps_of_seven_are_averaged_where_nothing_divides(draw):
    o, f = draw(2, 3, 7, 7), draw(2, 3, 7, 7)
    means = [
        functional.mse_loss(*(functional.adaptive_avg_pool2d(maps, side) for maps in (o, f))) for side in (4, 2, 1)
    ]
    wanted = (functional.mse_loss(o, f) + means[0] / 2 + means[1] / 4 + means[2] / 8) / 1.875
    torch.testing.assert_close(hierarchical(o, f), wanted)
    assert hierarchical(o, o) == 0


def test_networks_without_pooled_features_are_reviewed_from_the_last_maps(setting):
    maps = {name: shape for name, shape in STUDENT.items() if name != "pool"}
    _, taps, fusions = prepared(setting, maps, TEACHER)
    assert taps == (["one", "two"], ["b.pre", "c.pre"])
    assert [fusion.attention is None for fusion in fusions] == [False, True]


def test_the_adapters_learn_in_two_steps():
    changed = two_steps(ReviewKD(), epochs=1)
    assert changed.before
    assert changed.still == []
    assert changed.trained.steps == 2


def test_defaults_and_bounds():
    review = ReviewKD()
    assert (review.beta, review.warmup * 240, review.width) == (1.0, 20.0, 512)
    for bad in ({"beta": -1.0}, {"warmup": 1.5}, {"width": 0}):
        with pytest.raises(UsageError, match="option"):
            method_from("reviewkd", bad)
