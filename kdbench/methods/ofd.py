"""The overhaul of feature distillation."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kdbench.methods.feature import connectors, levelled, paired
from kdbench.methods.method import Method, Setting, Shape, Shapes, Step
from kdbench.methods.option import Weight
from kdbench.models.network import PRE, features

_NEGATIVE = 1e-3
"""A channel that is below zero less often than this has so few examples that its margin is 3 standard deviations."""


class OFD(Method):
    """Features before the ReLU, with a margin for the teacher's negative ones (Heo et al. 2019b).

    L = CE(z_s, y) + b sum_l 2^(l - n) mean_i sum(d(r_l(f_s^l), max(f_t^l, m_l))), the inner sum over channels and
    positions, the mean over items, over stages l = 1 ... n, of the features before each stage's last ReLU, f_s
    [B, C_s, H_s, W_s] and f_t [B, C_t, H_t, W_t]. The connector r is a 1x1 convolution to C_t channels with batch norm,
    trained with the student and dropped. The partial distance d(s, t) is 0 where s <= t <= 0, else (s - t)^2. The
    margin m of a channel is its mean below zero, E[f | f < 0].

    Heo, Kim, Yun, Park, Kwak and Choi 2019 ("A Comprehensive Overhaul of Feature Distillation"), equations 3 to 6;
    b = 1e-3 is the CIFAR-100 setting of their code. As there, a channel that comes out of a batch norm with factor g
    and shift h counts as normal with mean h and deviation |g|, which gives
    m = h - |g| phi(h / g) / Phi(-h / |g|), or -3 |g| where Phi(-h / |g|) <= 0.001. Here batch norms are found in a dry
    run: where several are added (a block with a convolution on its shortcut) their means and variances are, where the
    authors take the main branch's; what else is added (a shortcut without a norm) has no share, as theirs. Without a
    batch norm before the ReLU, m is the channel's mean below zero in the batch. Where the resolutions differ both sides
    are averaged down, the teacher's after its margin. Depths: ``kdbench.methods.feature.paired``.
    """

    def __init__(self, beta: Weight = 1e-3) -> None:
        """``beta``: b."""
        self.beta = beta
        self.pairs: list[tuple[str, str]] = []

    def taps(self, student: Shapes, teacher: Shapes) -> tuple[Sequence[str], Sequence[str]]:
        """Every stage with maps but the stem, before its last activation."""
        self.pairs = paired(student, teacher)
        return [ours + PRE for ours, _ in self.pairs], [theirs + PRE for _, theirs in self.pairs]

    def prepare(self, setting: Setting) -> nn.Module:
        """A connector a stage; also the teacher's margins."""
        self.connectors = connectors(self.pairs, setting.student_shapes, setting.teacher_shapes)
        self.margins: dict[str, Tensor | None] = {theirs + PRE: None for _, theirs in self.pairs}
        if setting.teacher is not None:
            self.margins = margins(setting.teacher, setting.shape, list(self.margins))
        return self.connectors

    def losses(self, step: Step) -> dict[str, Tensor]:
        """``label`` and ``overhaul``, with their weights."""
        terms = []
        for level, (ours, theirs) in enumerate(self.pairs, start=1):
            taught = step.teacher.features[theirs + PRE]
            margin = self.margins[theirs + PRE]
            taught = taught.maximum(mean_below_zero(taught) if margin is None else margin[:, None, None])
            student, teacher = levelled(self.connectors[level - 1](step.student.features[ours + PRE]), taught)
            terms.append(2.0 ** (level - len(self.pairs)) * partial_distance(student, teacher))
        return {"label": step.label_loss(), "overhaul": self.beta * torch.stack(terms).sum()}


def partial_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """The sum of d over channels and positions of features [B, C, H, W]: a scalar, the mean over items."""
    counts = (student > teacher) | (teacher > 0)
    return torch.where(counts, student - teacher, 0).square().sum() / len(student)


def mean_below_zero(maps: Tensor) -> Tensor:
    """E[f | f < 0] of each channel of maps [B, C, H, W], as [C, 1, 1]; 0 of a channel that is never below zero."""
    below = maps < 0
    total = torch.where(below, maps, 0).sum(dim=(0, 2, 3))
    return (total / below.sum(dim=(0, 2, 3)).clamp(min=1))[:, None, None]


def normal_margin(mean: Tensor, deviation: Tensor) -> Tensor:
    """E[x | x < 0] of normal x, elementwise; -3 deviations where x is below zero too seldom."""
    deviation = deviation.clamp(min=torch.finfo(deviation.dtype).tiny)
    ratio = mean / deviation
    share = torch.special.ndtr(-ratio)
    density = torch.exp(-ratio.square() / 2) / math.sqrt(2 * math.pi)
    margin = mean - deviation * density / share.clamp(min=_NEGATIVE)
    return torch.where(share > _NEGATIVE, margin, -3 * deviation)


def margins(teacher: nn.Module, shape: Shape, names: Sequence[str]) -> dict[str, Tensor | None]:
    """The margins [C] of the named features from the batch norms that they are the sum of; None where there is none."""
    norms: dict[object, nn.BatchNorm2d] = {}

    def keep(module: nn.Module, _inputs: object, output: Tensor) -> None:
        assert isinstance(module, nn.BatchNorm2d)
        if module.affine:
            norms[output.grad_fn] = module

    handles = [module.register_forward_hook(keep) for module in teacher.modules() if isinstance(module, nn.BatchNorm2d)]
    device = next((parameter.device for parameter in teacher.parameters()), torch.device("cpu"))
    items = torch.zeros(2, *shape, device=device, requires_grad=True)
    try:
        with torch.enable_grad(), features(teacher, names) as seen:
            teacher(items)
            found = {name: _added(seen[name].grad_fn, norms) for name in names}
    finally:
        for handle in handles:
            handle.remove()
    return {name: _margin(parts) if parts else None for name, parts in found.items()}


def _added(node: torch.autograd.graph.Node | None, norms: dict[object, nn.BatchNorm2d]) -> list[nn.BatchNorm2d]:
    """The batch norms whose outputs are added up in a node of the graph; only sums and copies are looked through."""
    if node is None:
        return []
    if node in norms:
        return [norms[node]]
    if not node.name().startswith(("AddBackward", "CloneBackward")):
        return []
    return [norm for following, _ in node.next_functions for norm in _added(following, norms)]


def _margin(norms: Sequence[nn.BatchNorm2d]) -> Tensor:
    mean = torch.stack([norm.bias.detach() for norm in norms]).sum(dim=0)
    deviation = torch.stack([norm.weight.detach() for norm in norms]).square().sum(dim=0).sqrt()
    return normal_margin(mean, deviation)
