"""FitNets: hints from the middle of the teacher."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from kdbench.methods.feature import MAP, chosen, pooled
from kdbench.methods.method import Method, Setting, Shapes, Step
from kdbench.methods.option import Weight


class FitNet(Method):
    """Hints: the student's middle features, regressed onto the teacher's (Romero et al. 2015).

    L = CE(z_s, y) + b mean((r(f_s) - f_t)^2), the mean over items, channels and positions, of the features f_s
    [B, C_s, H_s, W_s] and f_t [B, C_t, H_t, W_t] of one stage each, averaged down to the smaller resolution. The
    regressor r, a 1x1 convolution to C_t channels with batch norm and ReLU, is trained with the student and dropped.

    Romero, Ballas, Kahou, Chassang, Gatta and Bengio 2015 ("FitNets: Hints for Thin Deep Nets"), equation 3, in the
    form of the literature's comparisons (Tian et al. 2020 and their code): in one training with the labels instead of
    as a first phase, and as a mean instead of half a sum, with b = 100 and the hint in the middle of five stages
    (``stage2`` of a CIFAR ResNet). Their regressor has a strided or transposed convolution where the resolutions
    differ; here both sides are pooled instead, so that any two networks fit.
    """

    def __init__(self, beta: Weight = 100.0, student_stage: str = "", teacher_stage: str = "") -> None:
        """``beta``: the hint's weight; the stages by name, empty for the middle one of each network."""
        self.beta = beta
        self.student_stage = student_stage
        self.teacher_stage = teacher_stage

    def taps(self, student: Shapes, teacher: Shapes) -> tuple[Sequence[str], Sequence[str]]:
        """One stage of each network."""
        self.student_stage = chosen(student, self.student_stage, "student")
        self.teacher_stage = chosen(teacher, self.teacher_stage, "teacher")
        return [self.student_stage], [self.teacher_stage]

    def prepare(self, setting: Setting) -> nn.Module:
        """The regressor."""
        ours = setting.student_shapes[self.student_stage]
        theirs = setting.teacher_shapes[self.teacher_stage]
        assert len(ours) == len(theirs) == MAP
        self.size = (min(ours[1], theirs[1]), min(ours[2], theirs[2]))
        self.regressor = nn.Sequential(
            OrderedDict(conv=nn.Conv2d(ours[0], theirs[0], 1), norm=nn.BatchNorm2d(theirs[0]), relu=nn.ReLU()),
        )
        return self.regressor

    def losses(self, step: Step) -> dict[str, Tensor]:
        """``label`` and ``hint``, with their weights."""
        student = self.regressor(pooled(step.student.features[self.student_stage], self.size))
        teacher = pooled(step.teacher.features[self.teacher_stage], self.size)
        return {"label": step.label_loss(), "hint": self.beta * functional.mse_loss(student, teacher)}
