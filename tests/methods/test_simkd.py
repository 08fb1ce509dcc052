import copy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lessons import two_steps
from torch.nn import functional

from kdbench.errors import UsageError
from kdbench.lowering.portable import FP32
from kdbench.methods.build import method_from
from kdbench.methods.simkd import SimKD
from kdbench.models.network import build, shapes, stages

STUDENT = {"stem": (3, 8, 8), "last": (3, 8, 8), "pool": (3,)}
TEACHER = {"stem": (4, 8, 8), "one": (4, 8, 8), "two": (6, 4, 4), "pool": (6,)}


def prepared(setting, student=STUDENT, teacher=TEACHER, network=None, **options):
    method = SimKD(**options)
    taps = method.taps(student, teacher)
    torch.manual_seed(0)
    return method, taps, method.prepare(replace(setting(student, teacher), teacher=network))


def layer(convolution, maps):
    """A convolution without bias, batch norm of the batch and ReLU."""
    weight = convolution.weight.detach().numpy()
    side, (h, w) = weight.shape[2], maps.shape[2:]
    padded = np.pad(maps, ((0, 0), (0, 0), (side // 2,) * 2, (side // 2,) * 2))
    out = np.zeros((len(maps), len(weight), h, w))
    for y in range(h):
        for x in range(w):
            out[:, :, y, x] = np.einsum("ocij,bcij->bo", weight, padded[:, :, y : y + side, x : x + side])
    mean, variance = out.mean(axis=(0, 2, 3), keepdims=True), out.var(axis=(0, 2, 3), keepdims=True)
    return np.maximum((out - mean) / np.sqrt(variance + 1e-5), 0)


@pytest.mark.parametrize(("ours", "theirs"), [(8, 4), (4, 8), (4, 4)])
def test_value_and_gradient(draw, step, setting, ours, theirs):
    student, teacher = STUDENT | {"last": (3, ours, ours)}, TEACHER | {"two": (6, theirs, theirs)}
    method, taps, projector = prepared(setting, student, teacher, beta=2.0)
    projector.double()
    assert taps == (["last"], ["two"])
    f_s, f_t, z = draw(4, 3, ours, ours, grad=True), draw(4, 6, theirs, theirs), draw(4, 4)
    losses = method.losses(step(z, z, None, {"last": f_s}, {"two": f_t}))
    assert list(losses) == ["feature"]
    losses["feature"].backward()

    def small(maps):
        b, c, h, w = maps.shape
        return maps.reshape(b, c, 4, h // 4, 4, w // 4).mean(axis=(3, 5))

    def feature(maps):
        maps = small(maps)
        for convolution in (projector.body.conv1, projector.body.conv2, projector.body.conv3):
            maps = layer(convolution, maps)
        return 2 * ((maps - small(f_t.numpy())) ** 2).mean()

    features = f_s.detach().numpy()
    assert losses["feature"].item() == pytest.approx(feature(features), rel=1e-10)
    for place in [(0, 0, 0, 0), (3, 2, 3, 1)]:
        up, down = features.copy(), features.copy()
        up[place] += 1e-6
        down[place] -= 1e-6
        numeric = (feature(up) - feature(down)) / 2e-6
        assert f_s.grad[place].item() == pytest.approx(numeric, rel=1e-4, abs=1e-8)


@pytest.fixture
def networks():
    torch.manual_seed(1)
    return build("dscnn", 4, (1, 8, 8), {"width": 3}).eval(), build(
        "resnet8", 4, (1, 8, 8), {"widths": [4, 4, 6, 9]}
    ).eval()


def deployable(setting, networks):
    ours, theirs = (shapes(network, (1, 8, 8), stages(network)) for network in networks)
    return prepared(setting, ours, theirs, networks[1])[0]


def test_what_ships_is_the_trunk_the_projector_and_the_teachers_classifier(setting, networks):
    student, teacher = networks
    method = deployable(setting, networks)
    before = copy.deepcopy(student.state_dict())
    shipped, items = method.deployed(student).eval(), torch.randn(5, 1, 8, 8)
    maps = student.stage3(student.stage2(student.stage1(student.stem(items))))
    wanted = teacher.linear(method.projector.eval()(maps).mean(dim=(2, 3)))
    torch.testing.assert_close(shipped(items), wanted)
    parts = (student, method.projector, teacher.linear)
    count = sum(p.numel() for part in parts for p in part.parameters()) - sum(
        p.numel() for p in student.linear.parameters()
    )
    assert sum(p.numel() for p in shipped.parameters()) == count
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
    assert stages(shipped) == stages(student)


def test_its_state_decides_all_and_fits_one_made_from_untrained_networks(setting, networks):
    shipped = deployable(setting, networks).deployed(networks[0]).eval()
    torch.manual_seed(9)
    other = build("dscnn", 4, (1, 8, 8), {"width": 3}), build("resnet8", 4, (1, 8, 8), {"widths": [4, 4, 6, 9]})
    restored = deployable(setting, other).deployed(other[0]).eval()
    items = torch.randn(5, 1, 8, 8)
    assert not torch.equal(restored(items), shipped(items))
    restored.load_state_dict(shipped.state_dict())
    assert torch.equal(restored(items), shipped(items))


def test_it_lowers_where_resolutions_do_not_divide(setting):
    """A teacher of 3x3 last maps for a student of 4x4 ones: the averaging ships too."""
    student, teacher = (
        build("dscnn", 4, (1, 14, 14), {"width": 3}),
        build("resnet8", 4, (1, 9, 9), {"widths": [4, 4, 6, 9]}),
    )
    ours, theirs = shapes(student, (1, 14, 14), stages(student)), shapes(teacher, (1, 9, 9), stages(teacher))
    assert (ours["stage3"], theirs["stage3"]) == ((3, 4, 4), (9, 3, 3))
    method = prepared(setting, ours, theirs, teacher)[0]
    shipped, items = method.deployed(student).eval(), torch.randn(5, 1, 14, 14)
    student.eval()
    maps = functional.adaptive_avg_pool2d(student.stage3(student.stage2(student.stage1(student.stem(items)))), 3)
    torch.testing.assert_close(shipped(items), teacher.linear(method.projector.eval().body(maps).mean(dim=(2, 3))))
    assert FP32.lower(shipped, (torch.zeros(1, 1, 14, 14),)).buffer


def test_the_projector_learns_and_the_teachers_classifier_does_not():
    method = SimKD()
    changed = two_steps(method, epochs=1)
    assert changed.before
    assert changed.still == []
    assert torch.equal(changed.trained.network.linear.weight, method.teacher.linear.weight)
    assert changed.curves["validation_accuracy"]


def test_a_student_with_a_convolution_before_its_classifier_ships_the_teachers_pooling():
    torch.manual_seed(0)
    student, teacher = (build(name, 10, (1, 16, 16), {}) for name in ("shufflenetv2", "resnet8"))
    shape = (1, 16, 16)
    method, (ours, theirs) = SimKD(), (shapes(network, shape, stages(network)) for network in (student, teacher))
    method.taps(ours, theirs)
    made = SimpleNamespace(student_shapes=ours, teacher_shapes=theirs, teacher=teacher)
    method.prepare(made)
    network = method.deployed(student).eval()
    assert not any("head" in name for name in network.pool.state_dict())
    assert network(torch.zeros(2, *shape)).shape == (2, 10)


def test_a_network_without_pooled_features_is_refused():
    with pytest.raises(UsageError) as error:
        SimKD().taps(STUDENT, {name: shape for name, shape in TEACHER.items() if name != "pool"})
    assert str(error.value) == ("simkd needs a teacher whose last stage is the pooled features [D]; 'two' has maps")


def test_defaults_and_bounds():
    assert (SimKD().beta, SimKD().factor) == (1.0, 2)
    for bad in ({"beta": -1.0}, {"factor": 0}):
        with pytest.raises(UsageError, match="option"):
            method_from("simkd", bad)
