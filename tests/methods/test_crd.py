from dataclasses import replace

import numpy as np
import pytest
import torch
from lessons import two_steps

from kdbench.errors import UsageError
from kdbench.methods.build import method_from
from kdbench.methods.crd import CRD, Others

STUDENT = {"stem": (3, 8, 8), "maps": (5, 4, 4)}
TEACHER = {"stem": (4, 8, 8), "one": (4, 8, 8), "pool": (6,)}
CLASSES = torch.tensor([0, 1, 0, 2, 1, 0])


def prepared(setting, **options):
    method = CRD(**options)
    taps = method.taps(STUDENT, TEACHER)
    torch.manual_seed(0)
    heads = method.prepare(replace(setting(STUDENT, TEACHER), targets=CLASSES)).double()
    for bank in (method.student_bank, method.teacher_bank):
        bank.rows = bank.rows.double()
    return method, taps, heads


def unit(vectors):
    return vectors / np.sqrt((vectors**2).sum(axis=-1, keepdims=True))


def embedded(head, features):
    return unit(features @ head.weight.detach().numpy().T + head.bias.detach().numpy())


def contrast(anchors, bank, drawn, temperature, scale=None):
    """C and Z, item by item and negative by negative, from the definition."""
    count, negatives = len(bank), drawn.shape[1] - 1
    e = np.array([[np.exp(a @ bank[j] / temperature) for j in row] for a, row in zip(anchors, drawn, strict=True)])
    z = count * e.mean() if scale is None else scale
    total = 0.0
    for row in e / z:
        h = row / (row + negatives / count)
        total -= np.log(h[0]) + sum(np.log(1 - p) for p in h[1:])
    return total / len(anchors), z


def test_two_steps_by_hand(draw, step, setting):
    method, taps, heads = prepared(setting, negatives=9, width=4, momentum=0.3, beta=0.5, temperature=0.2)
    assert taps == (["maps"], ["pool"])
    drawn = []
    original = method.others.draw
    method.others.draw = lambda index, count: drawn.append(original(index, count)) or drawn[-1]
    banks = {"s": method.student_bank.rows.numpy().copy(), "t": method.teacher_bank.rows.numpy().copy()}
    scales = {"s": None, "t": None}
    index = np.arange(3)
    for turn in range(3):
        f_s, f_t, z = draw(3, 5, 4, 4, grad=True), draw(3, 6), draw(3, 4)
        losses = method.losses(step(z, z, None, {"maps": f_s}, {"pool": f_t}))
        losses["contrast"].backward()
        rows = np.concatenate([index[:, None], drawn[turn].numpy()], axis=1)
        theirs = embedded(heads["teacher"], f_t.numpy())

        def total(features, scales, theirs=theirs, rows=rows):
            mine = embedded(heads["student"], features.mean(axis=(2, 3)))
            c_s, z_s = contrast(mine, banks["t"], rows, 0.2, scales["s"])
            c_t, z_t = contrast(theirs, banks["s"], rows, 0.2, scales["t"])
            return 0.5 * (c_s + c_t), mine, z_s, z_t

        features = f_s.detach().numpy()
        value, mine, z_s, z_t = total(features, scales)
        scales = {"s": z_s, "t": z_t}
        assert losses["contrast"].item() == pytest.approx(value, rel=1e-9), turn
        for place in [(0, 0, 0, 0), (2, 4, 3, 1)]:
            up, down = features.copy(), features.copy()
            up[place] += 1e-6
            down[place] -= 1e-6
            numeric = (total(up, scales)[0] - total(down, scales)[0]) / 2e-6  # Z is no function of the features
            assert f_s.grad[place].item() == pytest.approx(numeric, rel=1e-5, abs=1e-9)
        for name, new in (("s", mine), ("t", theirs)):
            banks[name][index] = unit(0.3 * banks[name][index] + 0.7 * new)


def test_gradients_reach_both_heads_and_the_student_but_not_the_teacher_or_the_banks(draw, step, setting):
    method, _, heads = prepared(setting)
    f_s, f_t, z = draw(2, 5, 4, 4, grad=True), draw(2, 6), draw(2, 4)
    method.losses(step(z, z, None, {"maps": f_s}, {"pool": f_t}))["contrast"].backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in heads.parameters())
    assert f_s.grad.abs().sum() > 0
    assert not method.student_bank.rows.requires_grad
    assert not method.teacher_bank.rows.requires_grad


def test_a_vector_knows_no_length(draw, step, setting):
    heads = prepared(setting, negatives=5)[2]
    with torch.no_grad():
        for head in heads.values():
            head.bias.zero_()
    f_s, f_t, z = draw(3, 5, 4, 4), draw(3, 6), draw(3, 4)
    values = []
    for scale in (1.0, 7.0):
        again, _, other = prepared(setting, negatives=5)
        other.load_state_dict(heads.state_dict())
        values.append(again.losses(step(z, z, None, {"maps": scale * f_s}, {"pool": scale * f_t}))["contrast"])
    torch.testing.assert_close(*values)


@pytest.mark.parametrize("count", [1, 7, 3000])
def test_negatives_are_all_of_other_classes_and_equally_likely(count):
    labels = torch.tensor([7, 2, 2, -1, 7, 7, 2, 0])
    others = Others(labels, torch.Generator().manual_seed(0))
    index = torch.arange(8)
    drawn = others.draw(index, count)
    assert drawn.shape == (8, count)
    assert (labels[drawn] != labels[:, None]).all()
    if count > 1000:
        for item in range(8):
            allowed = labels != labels[item]
            shares = drawn[item].bincount(minlength=8)[allowed] / count
            assert (shares * allowed.sum() - 1).abs().max() < 0.2


def test_draws_come_from_the_generator_alone():
    drawn = [Others(CLASSES, torch.Generator().manual_seed(seed)).draw(torch.arange(6), 50) for seed in (1, 1, 2)]
    torch.rand(3)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    others = Others(CLASSES, torch.Generator().manual_seed(1))
    assert not torch.equal(others.draw(torch.arange(6), 50), others.draw(torch.arange(6), 50))


def test_far_embeddings_stay_finite(step, setting):
    method, _, _ = prepared(setting, temperature=0.001, negatives=4)
    method.heads.float()
    for bank in (method.student_bank, method.teacher_bank):
        bank.rows = bank.rows.float()
    f_s, z = torch.zeros(2, 5, 4, 4, requires_grad=True), torch.zeros(2, 4)
    loss = method.losses(step(z, z, None, {"maps": f_s}, {"pool": torch.zeros(2, 6)}))["contrast"]
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(f_s.grad).all()


def test_labels_of_one_class_or_no_stages_are_refused(setting):
    method = CRD()
    method.taps(STUDENT, TEACHER)
    with pytest.raises(UsageError, match="crd draws negatives of other classes, and all training items are of one"):
        method.prepare(setting(STUDENT, TEACHER))
    with pytest.raises(UsageError, match="the teacher names no stages"):
        method.taps(STUDENT, {})


def test_more_negatives_than_items_and_the_heads_learn():
    method = CRD(negatives=100)
    changed = two_steps(method, epochs=1)
    assert changed.before
    assert changed.still == []
    assert changed.trained.steps == 2
    assert method.student_bank.rows.norm(dim=1).sub(1).abs().max() < 1e-5


def test_defaults_and_bounds():
    crd = CRD()
    assert (crd.beta, crd.negatives, crd.temperature, crd.momentum, crd.width) == (0.8, 16384, 0.07, 0.5, 128)
    for bad in ({"negatives": 0}, {"momentum": 1.0}, {"temperature": 0.0}, {"width": 0}, {"beta": -1.0}):
        with pytest.raises(UsageError, match="option"):
            method_from("crd", bad)
