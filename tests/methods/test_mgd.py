from dataclasses import replace

import numpy as np
import pytest
import torch
from lessons import two_steps

from kdbench.errors import UsageError
from kdbench.methods.build import method_from
from kdbench.methods.mgd import MGD

STUDENT = {"stem": (3, 8, 8), "last": (5, 8, 8), "pool": (5,)}
TEACHER = {"stem": (4, 8, 8), "one": (4, 8, 8), "two": (6, 4, 4), "pool": (6,)}


def prepared(setting, student=STUDENT, seed=0, **options):
    method = MGD(**options)
    taps = method.taps(student, TEACHER)
    torch.manual_seed(0)
    made = replace(setting(student, TEACHER), generator=torch.Generator().manual_seed(seed))
    return method, taps, method.prepare(made).double()


def conv3x3(layer, maps):
    weight, (h, w) = layer.weight.detach().numpy(), maps.shape[2:]
    padded = np.pad(maps, ((0, 0), (0, 0), (1, 1), (1, 1)))
    out = np.zeros((len(maps), len(weight), h, w))
    for y in range(h):
        for x in range(w):
            out[:, :, y, x] = np.einsum("ocij,bcij->bo", weight, padded[:, :, y : y + 3, x : x + 3])
    return out + layer.bias.detach().numpy()[:, None, None]


@pytest.mark.parametrize(("mask", "shape"), [("channels", (4, 6, 1, 1)), ("positions", (4, 1, 4, 4))])
def test_value_and_gradient(draw, step, setting, mask, shape):
    method, taps, _ = prepared(setting, beta=3.0, masked=0.4, mask=mask)
    assert taps == (["last"], ["two"])
    kept = torch.rand(shape, generator=torch.Generator().manual_seed(0)).numpy() >= 0.4
    assert 0 < kept.mean() < 1
    f_s, f_t, z = draw(4, 5, 8, 8, grad=True), draw(4, 6, 4, 4), draw(4, 4)
    losses = method.losses(step(z, z, None, {"last": f_s}, {"two": f_t}))
    losses["generation"].backward()

    def generation(features):
        small = features.reshape(4, 5, 4, 2, 4, 2).mean(axis=(3, 5))
        weight, bias = method.align.weight.detach().numpy()[:, :, 0, 0], method.align.bias.detach().numpy()
        maps = kept * (np.einsum("oc,bchw->bohw", weight, small) + bias[:, None, None])
        maps = conv3x3(method.generate.conv2, np.maximum(conv3x3(method.generate.conv1, maps), 0))
        return 3 * ((maps - f_t.numpy()) ** 2).mean()

    features = f_s.detach().numpy()
    assert losses["generation"].item() == pytest.approx(generation(features), rel=1e-10)
    for place in [(0, 0, 0, 0), (3, 2, 3, 5)]:
        up, down = features.copy(), features.copy()
        up[place] += 1e-6
        down[place] -= 1e-6
        numeric = (generation(up) - generation(down)) / 2e-6
        assert f_s.grad[place].item() == pytest.approx(numeric, rel=1e-5, abs=1e-9)


def test_the_mask_is_new_in_each_step_and_of_the_methods_own_stream(draw, step, setting):
    f_s, f_t, z = draw(4, 5, 8, 8), draw(4, 6, 4, 4), draw(4, 4)
    made = step(z, z, None, {"last": f_s}, {"two": f_t})
    one, two, other = (prepared(setting, seed=seed, masked=0.5)[0] for seed in (0, 0, 1))
    values = [one.losses(made)["generation"].item() for _ in range(2)]
    assert values[0] != values[1]
    assert [two.losses(made)["generation"].item() for _ in range(2)] == values
    assert other.losses(made)["generation"].item() not in values


def test_nothing_is_masked_at_zero_and_the_share_is_kept(draw, step, setting):
    f_s, f_t, z = draw(4, 5, 8, 8), draw(4, 6, 4, 4), draw(4, 4)
    made = step(z, z, None, {"last": f_s}, {"two": f_t})
    method = prepared(setting, masked=0.0)[0]
    assert method.losses(made)["generation"] == method.losses(made)["generation"]


def test_equal_widths_need_no_alignment(draw, step, setting):
    method, _, networks = prepared(setting, STUDENT | {"last": (6, 2, 2)})
    assert not list(method.align.parameters())
    z = draw(4, 4)
    losses = method.losses(step(z, z, None, {"last": draw(4, 6, 2, 2)}, {"two": draw(4, 6, 4, 4)}))
    losses["generation"].backward()
    assert all(parameter.grad is not None for parameter in networks.parameters())


def test_the_adapters_learn_in_two_steps():
    changed = two_steps(MGD(), epochs=1)
    assert changed.before
    assert changed.still == []
    assert changed.trained.steps == 2


def test_defaults_and_bounds():
    mgd = MGD()
    assert (mgd.masked, mgd.mask) == (0.15, "channels")
    assert mgd.beta == pytest.approx(1.756, abs=1e-3)
    for bad in ({"beta": -1.0}, {"masked": 1.0}, {"mask": "items"}):
        with pytest.raises(UsageError, match="option"):
            method_from("mgd", bad)
