"""Factor transfer."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from kdbench.methods.feature import deepest, levelled
from kdbench.methods.method import Method, Phase, Setting, Shapes, Step
from kdbench.methods.option import Weight

_FIRST = 30 / 240
"""The reference first phase, 30 epochs, as a share of the student's 240."""

_SLOPE = 0.1
"""The slope of the leaky ReLUs below zero."""


class FT(Method):
    """Factors: the teacher's features paraphrased, the student's translated into the same terms (Kim et al. 2018).

    First, without the student, a paraphraser learns the teacher's last maps f_t [B, C_t, H_t, W_t] by heart:

    L = mean((d(p(f_t)) - f_t)^2), the mean over items, channels and positions.

    Its encoder p has three 3x3 convolutions, the second down to k C_t channels, its decoder d three transposed ones
    back, each with a leaky ReLU (slope 0.1). Then, with p fixed and a translator t of the student's last maps f_s
    (three such convolutions to k C_t channels, trained with the student and dropped),

    L = CE(z_s, y) + b mean(|n(t(f_s)) - n(p(f_t))|), where n divides each item's factor, as one vector, by its L2 norm.

    Kim, Park and Kwak 2018 ("Paraphrasing Complex Network"), equations 2 to 4 with p = 1; k = 0.5 and b = 500 as in the
    authors' code. The first phase has 30 epochs there and in Tian et al. 2020, whose own form is another: factors
    averaged over channels first, with b = 200. Here the phase is 30 / 240 of the student's epochs on top of them, and
    the recipe's schedule runs over it. Where the resolutions differ factors are averaged down to the smaller. Batch
    norm is nowhere used, as in the authors' code.
    """

    def __init__(
        self,
        beta: Weight = 500.0,
        rate: Annotated[float, Field(gt=0, le=1)] = 0.5,
        first: Annotated[float, Field(gt=0, allow_inf_nan=False)] = _FIRST,
    ) -> None:
        """``beta``: b; ``rate``: k; ``first``: the paraphraser's epochs as a share of the student's, on top of them."""
        self.beta = beta
        self.rate = rate
        self.first = first

    def taps(self, student: Shapes, teacher: Shapes) -> tuple[Sequence[str], Sequence[str]]:
        """The last maps of each."""
        self.student_stage, self.teacher_stage = deepest(student, "student"), deepest(teacher, "teacher")
        return [self.student_stage], [self.teacher_stage]

    def prepare(self, setting: Setting) -> nn.Module:
        """The paraphraser, in its two halves, and the translator."""
        ours = setting.student_shapes[self.student_stage][0]
        theirs = setting.teacher_shapes[self.teacher_stage][0]
        factors = max(round(self.rate * theirs), 1)
        self.encoder = nn.Sequential(*_line(nn.Conv2d, (theirs, theirs, factors, factors)))
        self.decoder = nn.Sequential(*_line(nn.ConvTranspose2d, (factors, factors, theirs, theirs)))
        self.translator = nn.Sequential(*_line(nn.Conv2d, (ours, ours, factors, factors)))
        return nn.ModuleList([self.encoder, self.decoder, self.translator])

    def phases(self) -> Sequence[Phase]:
        """The paraphraser's, then the student's."""
        return Phase("paraphraser", share=self.first, student=False), Phase("transfer")

    def losses(self, step: Step) -> dict[str, Tensor]:
        """``reconstruction``; then ``label`` and ``factor``, with their weights."""
        features = step.teacher.features[self.teacher_stage]
        if step.phase == "paraphraser":
            return {"reconstruction": functional.mse_loss(self.decoder(self.encoder(features)), features)}
        with torch.no_grad():
            wanted = self.encoder(features)
        found, wanted = levelled(self.translator(step.student.features[self.student_stage]), wanted)
        return {"label": step.label_loss(), "factor": self.beta * functional.l1_loss(_unit(found), _unit(wanted))}


def _line(layer: type[nn.Conv2d | nn.ConvTranspose2d], channels: Sequence[int]) -> list[nn.Module]:
    """3x3 convolutions through these numbers of channels, each with a leaky ReLU."""
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        layers += [layer(before, after, 3, padding=1), nn.LeakyReLU(_SLOPE)]
    return layers


def _unit(factors: Tensor) -> Tensor:
    return functional.normalize(factors.flatten(1), dim=1)
