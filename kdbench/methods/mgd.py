"""Masked generative distillation."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from kdbench.methods.chance import local
from kdbench.methods.feature import deepest, pooled
from kdbench.methods.method import Method, Setting, Shapes, Step
from kdbench.methods.option import Weight

REFERENCE = 7e-5 * 512 * 7 * 7
"""The authors' weight of a sum over ResNet-18's last maps on ImageNet, as the weight of a mean."""


class MGD(Method):
    """The teacher's features generated from the student's with parts masked out (Yang et al. 2022).

    L = CE(z_s, y) + b mean((g(m a(f_s)) - f_t)^2), the mean over items, channels and positions, of the last maps f_s
    [B, C_s, H_s, W_s] and f_t [B, C_t, H_t, W_t], averaged down to the smaller resolution. The alignment a is a 1x1
    convolution to C_t channels (none where they are equal); the mask m, drawn anew for each item and step, is 0 for a
    share l of the channels (``mask = "positions"``: of the positions) and else 1; the generator g is a 3x3 convolution,
    ReLU and a 3x3 convolution. Both are trained with the student and dropped.

    Yang, Li, Shao, Shi, Yuan and Yuan 2022 ("Masked Generative Distillation"), equations 3 to 5. The defaults are those
    of the authors' code for classification: channels are masked, with l = 0.15. The paper masks positions (its equation
    3; l = 0.5 for classification, 0.65 for detection). Theirs is the sum over channels and positions with a weight of
    7e-5; a mean fits maps of any size, and b = 1.76 is the same for the 512 x 7 x 7 of their ImageNet pairs.
    """

    def __init__(
        self,
        beta: Weight = REFERENCE,
        masked: Annotated[float, Field(ge=0, lt=1)] = 0.15,
        mask: Literal["channels", "positions"] = "channels",
    ) -> None:
        """``beta``: b; ``masked``: l; ``mask``: what is masked."""
        self.beta = beta
        self.masked = masked
        self.mask = mask

    def taps(self, student: Shapes, teacher: Shapes) -> tuple[Sequence[str], Sequence[str]]:
        """The last maps of each."""
        self.student_stage, self.teacher_stage = deepest(student, "student"), deepest(teacher, "teacher")
        return [self.student_stage], [self.teacher_stage]

    def prepare(self, setting: Setting) -> nn.Module:
        """The alignment and the generator."""
        ours = setting.student_shapes[self.student_stage]
        theirs = setting.teacher_shapes[self.teacher_stage]
        self.size = (min(ours[1], theirs[1]), min(ours[2], theirs[2]))
        self.draw = local(setting.generator, setting.device)
        self.align = nn.Conv2d(ours[0], theirs[0], 1) if ours[0] != theirs[0] else nn.Identity()
        self.generate = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(theirs[0], theirs[0], 3, padding=1),
                relu=nn.ReLU(),
                conv2=nn.Conv2d(theirs[0], theirs[0], 3, padding=1),
            ),
        )
        return nn.ModuleList([self.align, self.generate])

    def losses(self, step: Step) -> dict[str, Tensor]:
        """``label`` and ``generation``, with their weights."""
        aligned = self.align(pooled(step.student.features[self.student_stage], self.size))
        teacher = pooled(step.teacher.features[self.teacher_stage], self.size)
        items, channels, height, width = aligned.shape
        shape = (items, channels, 1, 1) if self.mask == "channels" else (items, 1, height, width)
        kept = (torch.rand(shape, generator=self.draw, device=self.draw.device) >= self.masked).to(aligned)
        generated = self.generate(kept * aligned)
        return {"label": step.label_loss(), "generation": self.beta * functional.mse_loss(generated, teacher)}
