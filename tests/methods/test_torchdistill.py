"""Our losses against torchdistill's, an implementation by other hands: the same value and the same gradients.

torchdistill/make.py made the values, with torchdistill itself, and says what each holds. Where the two differ by intent,
the test's first lines name the difference and its factor; nothing else is let through, at nine digits.
"""

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

from kdbench.methods import dist, pkt
from kdbench.methods.ab import AB
from kdbench.methods.at import AT, attention
from kdbench.methods.cc import CC
from kdbench.methods.crd import CRD
from kdbench.methods.fitnet import FitNet
from kdbench.methods.fsp import FSP, flows
from kdbench.methods.ft import FT
from kdbench.methods.kd import KD
from kdbench.methods.lskd import LSKD
from kdbench.methods.reviewkd import ReviewKD
from kdbench.methods.rkd import RKD
from kdbench.methods.sp import SP, similarities
from kdbench.methods.vid import VID

with np.load(Path(__file__).parent / "torchdistill" / "values.npz") as _stored:
    VALUES = {name: _stored[name] for name in _stored}
ABOUT = json.loads(str(VALUES["about"]))


class Case:
    """One loss of torchdistill's: its settings, its inputs and what came out."""

    def __init__(self, name):
        self.settings = ABOUT["settings"][name]
        shapes = ABOUT["shapes"][name]
        parts = np.split(VALUES[name], np.cumsum([math.prod(shape) for shape in shapes.values()])[:-1])
        self.arrays = {
            key: torch.from_numpy(part.reshape(shapes[key])) for key, part in zip(shapes, parts, strict=True)
        }
        self.student, self.teacher, self.kept = (self.part(folder) for folder in ("student", "teacher", "kept"))
        self.leaves = {f"student/{name}": leaf.requires_grad_() for name, leaf in self.student.items()}

    def part(self, folder):
        """The arrays of a folder, under the rest of their names."""
        start = folder + "/"
        return {key.removeprefix(start): array for key, array in self.arrays.items() if key.startswith(start)}

    def shapes(self, whose):
        return {name: tuple(array.shape[1:]) for name, array in self.part(whose).items()}

    def fill(self, module, renamed=None):
        """Our module with their weights, all of them: in the same order, or by their names for ours."""
        state = module.double().state_dict()
        ours = [name for name in state if not name.endswith("num_batches_tracked")]
        theirs = list(self.part("weights"))
        names = dict(zip(ours, map(renamed, ours) if renamed else theirs, strict=True))
        assert sorted(names.values()) == sorted(theirs)
        filled = {mine: self.arrays[f"weights/{its}"].reshape(state[mine].shape) for mine, its in names.items()}
        module.load_state_dict({**state, **filled})
        self.leaves |= {f"weights/{names[name]}": leaf for name, leaf in module.named_parameters()}

    def agrees(self, loss, digits=9):
        """Our loss is theirs, and so are its gradients in features, logits and filled weights."""
        torch.testing.assert_close(loss.detach(), self.arrays["loss"], rtol=10.0**-digits, atol=0)
        loss.backward()
        self.gradients_agree(digits)

    def gradients_agree(self, digits):
        gradients = self.part("gradient")
        largest = max(float(gradient.abs().max()) for gradient in gradients.values())
        assert largest > 0
        assert gradients.keys() == {name for name, leaf in self.leaves.items() if leaf.grad is not None}
        for name, gradient in gradients.items():
            error = float((self.leaves[name].grad.reshape(gradient.shape) - gradient).abs().max())
            # Some are zero but for rounding: of a bias before batch norm, which takes the mean away again.
            assert error <= 10.0**-digits * float(gradient.abs().max()) + 1e-13 * largest, name


@pytest.fixture
def losses(step, setting):
    """A function from a method and a case to our loss terms of the case, with the case's weights."""

    def told(method, case, phase="distil", renamed=None):
        ours, theirs = case.shapes("student"), case.shapes("teacher")
        if len(ours) > 1:  # methods take the first of several stages for the stem
            ours, theirs = {"stem": (3, 4, 4), **ours}, {"stem": (3, 4, 4), **theirs}
        taps = method.taps(ours, theirs)
        networks = method.prepare(setting(ours, theirs))
        if networks is not None:
            case.fill(networks, renamed)
        nothing = torch.zeros(6, 5, dtype=torch.float64)
        logits = [given.get("logits", nothing) for given in (case.student, case.teacher)]
        features = [
            {tap: given[tap.removesuffix(".pre")] for tap in tapped}
            for tapped, given in zip(taps, (case.student, case.teacher), strict=True)
        ]
        targets = case.kept["targets"].long() if "targets" in case.kept else None
        return method.losses(replace(step(*logits, targets, *features), phase=phase))

    return told


def test_the_values_are_torchdistills():
    assert ABOUT["torchdistill"] == "1.1.5"


def test_kd(losses):
    """Their alpha is the labels' weight, ours the teacher's."""
    case = Case("kd")
    assert case.settings == {"temperature": 4.0, "alpha": 0.1, "beta": 0.9}
    case.agrees(sum(losses(KD(temperature=4.0, alpha=0.9), case).values()))


def test_at(losses):
    case = Case("at")
    assert case.settings == {"mode": "code"}
    case.agrees(losses(AT(beta=1.0), case)["attention"])


def test_at_as_the_paper_has_it_differs_in_its_reduction_alone():
    """Equation 2 has the norm of each item's difference; the authors' code, the literature and kdbench its mean square."""
    case = Case("at-paper")
    norms = [
        (attention(case.student[name], 2.0) - attention(case.teacher[name], 2.0)).norm(dim=1) for name in case.student
    ]
    case.agrees(torch.stack(norms).sum() / 6)


def test_lskd(losses):
    case = Case("lskd")
    assert case.settings == {"temperature": 2.0, "alpha": 0.1, "beta": 9.0, "eps": 1e-7}
    case.agrees(sum(losses(LSKD(temperature=2.0, weight=9.0, label=0.1), case).values()))


@pytest.mark.parametrize(("epsilon", "digits"), [(0.0, 9), (1e-8, 5)])
def test_dist(losses, monkeypatch, epsilon, digits):
    """1e-8 is added to the product of the norms, as in the authors' code; theirs is the least that each norm may be."""
    case = Case("dist")
    assert case.settings == {"beta": 1.0, "gamma": 2.0, "tau": 4.0}
    if epsilon != dist.EPSILON:
        monkeypatch.setattr(dist, "EPSILON", epsilon)
    terms = losses(dist.DIST(beta=1.0, gamma=2.0, temperature=4.0), case)
    case.agrees(terms["inter"] + terms["intra"], digits)


def test_fitnet(losses):
    case = Case("fitnet")
    case.agrees(losses(FitNet(beta=1.0), case)["hint"])


def test_fsp_differs_in_its_reduction_alone(losses):
    """Theirs is the sum of the norms of a difference's columns, over B; the paper and kdbench take its mean square."""
    case, method = Case("fsp"), FSP(beta=1.0)
    (ours,), (theirs,) = (flows(list(features.values())) for features in (case.student, case.teacher))
    case.agrees((ours - theirs).norm(dim=1).sum() / 6)
    mean = losses(method, case)["flow"]
    torch.testing.assert_close(mean, (case.kept["student"] - case.kept["teacher"]).square().mean(), rtol=1e-9, atol=0)


def test_fsp_of_two_resolutions_takes_means_where_theirs_takes_maxima():
    """As the literature's comparisons have it; the paper has maxima. With maxima taken before, the matrices are theirs."""
    case = Case("fsp-sizes")
    (ours,), (theirs,) = (
        flows([functional.max_pool2d(features["stem"], 2), features["one"]])
        for features in (case.student, case.teacher)
    )
    case.agrees((ours - theirs).norm(dim=1).sum() / 6)


@pytest.mark.parametrize(("name", "epsilon", "digits"), [("pkt-without-eps", 0.0, 9), ("pkt", 1e-7, 5)])
def test_pkt(losses, monkeypatch, name, epsilon, digits):
    """Both add 1e-7 inside the logarithms; theirs also to the norms, which moves the seventh digit."""
    case = Case(name)
    assert case.settings == {"eps": epsilon}
    if epsilon != pkt.EPSILON:
        monkeypatch.setattr(pkt, "EPSILON", epsilon)
    case.agrees(losses(pkt.PKT(beta=1.0), case)["neighbours"], digits)


def test_rkd(losses):
    """Theirs takes distances from inner products, which changes their rounding alone."""
    case = Case("rkd")
    assert case.settings == {"dist_factor": 25.0, "angle_factor": 50.0}
    terms = losses(RKD(distance=25.0, angle=50.0), case)
    case.agrees(terms["distance"] + terms["angle"])


def test_sp_differs_in_the_norm_of_a_row_alone(losses):
    """Equation 2 of the paper divides each row by its L2 norm, and so does kdbench; theirs divides by its L1 norm."""
    case = Case("sp")
    assert case.settings == {"reduction": "batchmean"}
    ours, theirs = (similarities(given["f"]) for given in (case.student, case.teacher))
    loss = losses(SP(beta=1.0), case)["similarity"]
    torch.testing.assert_close(loss, (ours - theirs).square().sum() / 36, rtol=1e-12, atol=0)
    case.agrees((functional.normalize(ours, p=1) - functional.normalize(theirs, p=1)).square().sum() / 36)


def test_vid(losses):
    """As wide between its convolutions as the teacher, which theirs leaves to the user."""
    case = Case("vid")
    assert case.settings == {"eps": 1e-5, "init_pred_var": 5.0}
    case.agrees(losses(VID(beta=1.0), case)["information"])


def test_cc_shares_its_embeddings_alone(losses):
    """Theirs is the paper's, the distance of two kernel matrices over B^2; kdbench's that of the authors' code."""
    case, method = Case("cc"), CC(beta=1.0, width=4)
    assert not torch.isclose(losses(method, case)["correlation"], case.arrays["loss"], rtol=0.1)
    ours, theirs = method.embeddings["student"](case.student["f"]), method.embeddings["teacher"](case.teacher["f"])
    case.agrees((ours @ ours.T - theirs @ theirs.T).norm() / 36)


def test_ft(losses):
    """Theirs has batch norm unless told otherwise, and kdbench has none."""
    case = Case("ft")
    assert case.settings == {"stage": 2, "rate": 0.5, "uses_bn": False}
    case.agrees(losses(FT(beta=1.0, rate=0.5), case)["factor"])


def test_ft_learns_its_paraphraser(losses):
    case = Case("ft-paraphraser")
    assert case.settings == {"stage": 1, "rate": 0.5, "uses_bn": False}
    case.agrees(losses(FT(rate=0.5), case, "paraphraser")["reconstruction"])


def test_ab(losses):
    """The weights of the levels are given to theirs: 0.003 and half of it, as the code of Tian et al. 2020 has them."""
    case = Case("ab")
    assert case.settings == {"margin": 1.0, "weights": {"one": 0.0015, "two": 0.003}}
    case.agrees(losses(AB(beta=1.0, margin=1.0), case)["boundary"])


@pytest.mark.parametrize(("name", "digits"), [("crd-without-eps", 9), ("crd", 6)])
def test_crd(step, setting, name, digits):
    """Theirs adds 1e-7 inside the logarithms; both are given the same negatives, banks and weights.

    There are two steps: the first sets Z, and the second reads what the first has left in the banks.
    """
    case = Case(name)
    given = case.settings
    method = CRD(1.0, given["negatives"], given["temperature"], given["momentum"], given["width"])
    method.taps({"pool": (5,)}, {"pool": (7,)})
    labels = torch.arange(given["items"]) % 2
    case.fill(method.prepare(replace(setting({"pool": (5,)}, {"pool": (7,)}), targets=labels)))
    banks = {"student": method.student_bank, "teacher": method.teacher_bank}
    for whose, bank in banks.items():
        bank.rows = case.kept[f"bank_{whose}"].clone()
    nothing = torch.zeros(6, 5, dtype=torch.float64)
    for turn in ("first", "second"):
        contrast = case.kept[f"{turn}_contrast"].long()
        method.others = SimpleNamespace(draw=lambda _index, _count, drawn=contrast[:, 1:]: drawn)
        shown = step(nothing, nothing, None, {"pool": case.student[turn]}, {"pool": case.teacher[turn]})
        loss = method.losses(replace(shown, batch=replace(shown.batch, index=contrast[:, 0])))["contrast"]
        torch.testing.assert_close(loss.detach(), case.kept[f"{turn}_loss"], rtol=10.0**-digits, atol=0)
        loss.backward()
    scales = torch.stack([method.teacher_bank.scale, method.student_bank.scale])
    torch.testing.assert_close(given["items"] * scales.exp(), case.kept["z"], rtol=1e-9, atol=0)
    for whose, bank in banks.items():
        bank._settle()
        torch.testing.assert_close(bank.rows, case.kept[f"bank_{whose}_after"], rtol=1e-9, atol=1e-12)
    case.gradients_agree(digits)


def abf(name):
    """The name in their list of fusions, deepest first, for one in ours of three, shallow to deep."""
    level, part, rest = name.split(".", 2)
    part = {"reduce": "conv1", "attention": "attention_conv", "expand": "conv2"}[part]
    place = "1" if "norm" in rest else "0"
    return f"review.{2 - int(level)}.{part}.{place}.{rest.rpartition('.')[2]}"


@pytest.mark.parametrize("name", ["reviewkd", "reviewkd-pooled"])
def test_reviewkd(losses, name):
    """Of three levels of maps, or of two and the pooled features; theirs has no warm-up."""
    case = Case(name)
    case.agrees(losses(ReviewKD(beta=1.0, warmup=0.0), case, renamed=abf)["review"])
