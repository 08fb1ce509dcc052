"""Losses of torchdistill 1.1.5 and their gradients on fixed tensors: writes values.npz, which test_torchdistill.py reads.

It needs an environment of its own, without kdbench::

    python3.11 -m venv ENV                                # any empty folder outside the repository
    ENV/bin/python -m pip install torch==2.13.0 numpy==2.4.6 cython pyyaml scipy pillow
    ENV/bin/python -m pip install --no-deps torchvision==0.28.0 torchdistill==1.1.5
    ENV/bin/python tests/methods/torchdistill/make.py

torchdistill needs torchvision only to import. Beside a torch for the CPU alone torchvision's own operators cannot be
loaded, so their schemas are declared first. All is computed on the CPU in float64.

Inputs and weights come from ``numpy.random.default_rng``, seeded with the bytes of the case's name, rounded to 1/256 (so
that they are exact in float32 too) and stored. A case is one vector of float64, all its tensors one after the other:
``student/NAME`` and ``teacher/NAME`` (features and logits), ``weights/NAME`` (parameters and buffers of a trained part),
``gradient/student/NAME`` and ``gradient/weights/NAME`` (of the loss), ``loss``, and ``kept/NAME`` for what else a test
compares. ``about`` is JSON: the versions, the settings of each case, and the names and shapes of its tensors in order.
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import nn

_VISION = torch.library.Library("torchvision", "DEF")
for _schema in (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align(Tensor input, Tensor rois, float scale, int height, int width, int ratio, bool aligned) -> Tensor",
):
    _VISION.define(_schema)

from torchdistill.losses import mid_level  # noqa: E402  after torchvision's schemas
from torchdistill.models import wrapper  # noqa: E402
from torchdistill.models.adaptation import ConvReg  # noqa: E402

ITEMS = 6
CLASSES = 5


class Case:
    """What one loss is computed from, drawn and remembered under its name."""

    def __init__(self, name):
        self.random = np.random.default_rng(list(name.encode()))
        self.arrays = {}
        self.leaves = {}

    def student(self, name, *shape):
        """Features or logits [6, *shape] of the student, which want a gradient."""
        return self._leaf(f"student/{name}", self._normal((ITEMS, *shape)))

    def teacher(self, name, *shape):
        tensor = self._normal((ITEMS, *shape))
        self.arrays[f"teacher/{name}"] = tensor
        return tensor

    def targets(self):
        return self.keep("targets", torch.from_numpy(self.random.integers(CLASSES, size=ITEMS)))

    def weights(self, prefix, module):
        """The module in float64, with every parameter and buffer drawn; its parameters want a gradient."""
        for name, tensor in module.double().state_dict(keep_vars=True).items():
            if isinstance(tensor, nn.Parameter):
                tensor.data.copy_(0.5 * self._normal(tensor.shape))
                self._leaf(f"weights/{prefix}.{name}", tensor)
            elif tensor.is_floating_point():
                tensor.copy_(self._normal(tensor.shape).abs() + 0.5)
                self.arrays[f"weights/{prefix}.{name}"] = tensor.clone()
        return module

    def keep(self, name, tensor):
        self.arrays[f"kept/{name}"] = tensor.detach().clone()
        return tensor

    def record(self, loss):
        """All arrays by their names, with the loss and the gradients."""
        loss.backward()
        gradients = {f"gradient/{name}": leaf.grad for name, leaf in self.leaves.items() if leaf.grad is not None}
        found = {"loss": loss, **self.arrays, **gradients}
        return {name: tensor.detach().numpy() for name, tensor in found.items()}

    def _leaf(self, name, tensor):
        self.arrays[name] = self.leaves[name] = tensor.requires_grad_()
        return tensor

    def _normal(self, shape):
        return torch.from_numpy(np.rint(256 * self.random.standard_normal(tuple(shape))) / 256)


def io(**outputs):
    """torchdistill's table of what modules gave."""
    return {name: {"output": output, "input": output} for name, output in outputs.items()}


def at_output(path):
    return {"io": "output", "path": path}


def pairs(**weights):
    return {
        name: {"student": at_output(name), "teacher": at_output(name), "weight": weight}
        for name, weight in weights.items()
    }


def logits(loss, case):
    """The value of a loss between logits; ``loss`` made for the module ``logits`` of both."""
    s, t = case.student("logits", CLASSES), case.teacher("logits", CLASSES)
    return loss(io(logits=s), io(logits=t), case.targets())


def features(loss, case, ours, theirs):
    """The value of a loss between the output of the module ``f`` of both, of these shapes."""
    return loss(io(f=case.student("f", *ours)), io(f=case.teacher("f", *theirs)))


def kd(case, temperature, alpha, beta):
    return logits(mid_level.KDLoss("logits", "output", "logits", "output", temperature, alpha, beta), case)


def lskd(case, temperature, alpha, beta, eps):
    return logits(mid_level.LogitStdKDLoss("logits", "output", "logits", "output", temperature, eps, alpha, beta), case)


def dist(case, beta, gamma, tau):
    return logits(mid_level.DISTLoss("logits", "output", "logits", "output", beta, gamma, tau), case)


def at(case, mode):
    loss = mid_level.ATLoss(pairs(one=1, two=1), mode)
    ours = io(one=case.student("one", 3, 4, 4), two=case.student("two", 4, 2, 2))
    return loss(ours, io(one=case.teacher("one", 4, 4, 4), two=case.teacher("two", 5, 2, 2)))


def fitnet(case):
    regressor = case.weights("regressor", ConvReg(3, 4, kernel_size=1, stride=1, padding=0))
    target = {"is_from_teacher": True, "module_path": "f", "io": "output"}
    loss = mid_level.SimpleLossWrapper(nn.MSELoss(), input={**target, "is_from_teacher": False}, target=target)
    s, t = case.student("f", 3, 4, 4), case.teacher("f", 4, 4, 4)
    return loss(io(f=regressor(s)), io(f=t), None)


def fsp(case, first):
    """Of two stages, the first ``first`` pixels wide and the second 2; also keeps the matrices of both networks."""
    stages = {"first": ("stem", 3, first, first), "second": ("one", 4, 2, 2)}
    ends = {f"{whose}_{place}": at_output(place) for whose in ("student", "teacher") for place in stages}
    loss = mid_level.FSPLoss({"pair": ends})
    ours = {place: case.student(*stage) for place, stage in stages.items()}
    theirs = {place: case.teacher(*stage) for place, stage in stages.items()}
    case.keep("student", loss.compute_fsp_matrix(*ours.values()))
    case.keep("teacher", loss.compute_fsp_matrix(*theirs.values()))
    return loss(io(**ours), io(**theirs))


def pkt(case, eps):
    return features(mid_level.PKTLoss("f", "output", "f", "output", eps), case, (5,), (7,))


def rkd(case, dist_factor, angle_factor):
    return features(mid_level.RKDLoss("f", "f", dist_factor, angle_factor, "mean"), case, (5,), (7,))


def sp(case, reduction):
    return features(mid_level.SPKDLoss("f", "f", reduction), case, (3, 2, 2), (4, 2, 2))


def cc(case, width, kernel):
    loss = mid_level.CCKDLoss("linear", "linear", {"type": kernel}, "batchmean")
    ours, theirs = (case.weights(whose, nn.Linear(d, width)) for whose, d in (("student", 5), ("teacher", 7)))
    return loss(io(linear=ours(case.student("f", 5))), io(linear=theirs(case.teacher("f", 7))))


def vid(case, eps, init_pred_var):
    shapes = {"one": (3, 4, 4, 4), "two": (4, 5, 2, 2)}
    ours, theirs = {}, {}
    for name, (c_s, c_t, *size) in shapes.items():
        regressor = case.weights(name, wrapper.Regressor4VID(c_s, c_t, c_t, eps, init_pred_var))
        ours[name], theirs[name] = regressor(case.student(name, c_s, *size)), case.teacher(name, c_t, *size)
    return mid_level.VIDLoss(pairs(one=1, two=1))(io(**ours), io(**theirs))


def ft(case, stage, rate, uses_bn):
    """Stage 1, the paraphraser learns to give the teacher's features back; stage 2, transfer.

    In the second the paraphraser is as after ``eval()``, as torchdistill has every teacher.
    """
    channels = {"student": 3, "teacher": 4}
    paraphraser = wrapper.Paraphraser4FactorTransfer(
        rate, channels["teacher"], uses_bn=uses_bn, uses_decoder=stage == 1
    )
    factors = int(channels["teacher"] * rate)
    translator = wrapper.Translator4FactorTransfer(channels["student"], factors, uses_bn=uses_bn)
    case.weights("paraphraser", paraphraser)
    case.weights("translator", translator)
    s, t = (getattr(case, whose)("f", count, 2, 2) for whose, count in channels.items())
    if stage == 2:
        with torch.no_grad():
            factor = paraphraser.eval()(t)
        return mid_level.FTLoss(p=1)(io(translator=translator(s)), io(paraphraser=factor))
    source = {"is_from_teacher": True, "io": "output"}
    loss = mid_level.SimpleLossWrapper(
        nn.MSELoss(), input={**source, "module_path": "paraphraser"}, target={**source, "module_path": "f"}
    )
    return loss({}, io(paraphraser=paraphraser(t), f=t), None)


def ab(case, margin, weights):
    shapes = {"one": (3, 4, 4, 4), "two": (4, 5, 2, 2)}
    ours, theirs = {}, {}
    for name, (c_s, c_t, *size) in shapes.items():
        connector = wrapper.Connector4DAB.build_connector(
            {"in_channels": c_s, "out_channels": c_t, "kernel_size": 1, "bias": False}, {"num_features": c_t}
        )
        case.weights(name, connector)
        ours[name], theirs[name] = connector(case.student(name, c_s, *size)), case.teacher(name, c_t, *size)
    loss = mid_level.AltActTransferLoss(pairs(**weights), margin, "mean")
    return loss(io(**ours), io(**theirs))


def crd(case, width, items, negatives, temperature, momentum, eps):
    """Two steps, the sum of both losses: the first sets Z and moves the banks, the second finds them so.

    The contrasts are given, because torchdistill's own draw looks up an attribute that it does not have.
    """
    loss = mid_level.CRDLoss(
        "normalizer", "empty", "normalizer", width, items, negatives, items, temperature, momentum, eps
    ).double()
    loss.params[1] = temperature  # its buffer rounded it to float32
    loss.memory_v1.copy_(case.keep("bank_student", case._normal(loss.memory_v1.shape)))
    loss.memory_v2.copy_(case.keep("bank_teacher", case._normal(loss.memory_v2.shape)))
    ours, theirs = (
        case.weights(whose, wrapper.Normalizer4CRD(nn.Linear(d, width)))
        for whose, d in (("student", 5), ("teacher", 7))
    )
    total = 0
    for step in ("first", "second"):
        index = torch.from_numpy(case.random.permutation(items)[:ITEMS])
        others = torch.from_numpy(case.random.integers(items - 1, size=(ITEMS, negatives)))
        others += others >= index[:, None]  # any item but the own one
        contrast = case.keep(f"{step}_contrast", torch.cat([index[:, None], others], dim=1))
        given = {"pos_idx": index, "contrast_idx": contrast}
        s, t = ours(case.student(step, 5)), theirs(case.teacher(step, 7))
        value = loss({**io(normalizer=s), "empty": {"input": given}}, io(normalizer=t))
        total = total + case.keep(f"{step}_loss", value.squeeze())
    case.keep("z", loss.params[2:4])
    case.keep("bank_student_after", loss.memory_v1)
    case.keep("bank_teacher_after", loss.memory_v2)
    return total


def reviewkd(case, width, sizes):
    """Levels of these sizes, shallow to deep; 1: the pooled features, which torchdistill takes as maps of 1x1."""
    channels = {1: (4, 5), 2: (4, 5), 4: (3, 4), 8: (2, 3)}
    fusions, ours, theirs = [], {}, {}
    for n in sizes:
        c_s, c_t = channels[n]
        shape = (n, n) if n > 1 else ()
        fusions.append({"kwargs": {"in_channels": c_s, "mid_channels": width, "out_channels": c_t}, **at_output(n)})
        ours[n] = {"output": case.student(f"size{n}", c_s, *shape).view(ITEMS, c_s, n, n)}
        theirs[n] = {"output": case.teacher(f"size{n}", c_t, *shape).view(ITEMS, c_t, n, n)}
    review = wrapper.Student4KnowledgeReview(nn.Identity(), fusions, "cpu", None, False, sizes[::-1])
    case.weights("review", review.abf_modules)
    for n, fusion in zip(sizes[::-1], review.abf_modules, strict=True):
        fusion.register_forward_hook(lambda _module, _inputs, fused, n=n: ours.update({f"fused{n}": {"output": fused}}))
    review.secondary_forward(ours)
    levels = [mid_level.HierarchicalContextLoss(f"fused{n}", "output", n, "output") for n in sizes]
    return sum(level(ours, theirs) for level in levels)


CRD = {"width": 4, "items": 12, "negatives": 8, "temperature": 0.07, "momentum": 0.5}
CASES = {
    "kd": (kd, {"temperature": 4.0, "alpha": 0.1, "beta": 0.9}),
    "lskd": (lskd, {"temperature": 2.0, "alpha": 0.1, "beta": 9.0, "eps": 1e-7}),
    "dist": (dist, {"beta": 1.0, "gamma": 2.0, "tau": 4.0}),
    "at": (at, {"mode": "code"}),
    "at-paper": (at, {"mode": "paper"}),
    "fitnet": (fitnet, {}),
    "fsp": (fsp, {"first": 2}),
    "fsp-sizes": (fsp, {"first": 4}),
    "pkt": (pkt, {"eps": 1e-7}),
    "pkt-without-eps": (pkt, {"eps": 0.0}),
    "rkd": (rkd, {"dist_factor": 25.0, "angle_factor": 50.0}),
    "sp": (sp, {"reduction": "batchmean"}),
    "cc": (cc, {"width": 4, "kernel": "bilinear"}),
    "vid": (vid, {"eps": 1e-5, "init_pred_var": 5.0}),
    "ft-paraphraser": (ft, {"stage": 1, "rate": 0.5, "uses_bn": False}),
    "ft": (ft, {"stage": 2, "rate": 0.5, "uses_bn": False}),
    "ab": (ab, {"margin": 1.0, "weights": {"one": 0.0015, "two": 0.003}}),
    "crd": (crd, {**CRD, "eps": 1e-7}),
    "crd-without-eps": (crd, {**CRD, "eps": 0.0}),
    "reviewkd": (reviewkd, {"width": 4, "sizes": [8, 4, 2]}),
    "reviewkd-pooled": (reviewkd, {"width": 4, "sizes": [4, 2, 1]}),
}


def main():
    about = {library: version(library) for library in ("torchdistill", "torch", "torchvision", "numpy")}
    about["settings"] = {name: settings for name, (_, settings) in CASES.items()}
    about["shapes"], vectors = {}, {}
    for name, (loss, settings) in CASES.items():
        case = Case(name)
        made = case.record(loss(case, **settings).squeeze())
        about["shapes"][name] = {key: list(array.shape) for key, array in made.items()}
        vectors[name] = np.concatenate([array.astype(np.float64).ravel() for array in made.values()])
    path = Path(__file__).with_name("values.npz")
    np.savez_compressed(path, about=json.dumps(about), **vectors)
    print(f"{path}: {len(CASES)} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
