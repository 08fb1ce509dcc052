"""The student in front of the teacher's classifier."""

import copy
from collections import OrderedDict
from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from kdbench.errors import UsageError
from kdbench.methods.feature import deepest, pooled
from kdbench.methods.method import Method, Setting, Shapes, Step
from kdbench.methods.option import Weight
from kdbench.models.network import classifier


class SimKD(Method):
    """The teacher's classifier kept, and the student's last maps projected onto what it reads (Chen et al. 2022).

    L = b mean((r(f_s) - f_t)^2), the mean over items, channels and positions, of the last maps f_s [B, C_s, H_s, W_s]
    and f_t [B, C_t, H_t, W_t], averaged down to the smaller resolution. The projector r has three convolutions without
    bias (1x1 to C_t / q channels, 3x3, 1x1 to C_t), each with batch norm and ReLU. There is no label term. What ships
    is the student up to its last maps, the projector, and the teacher's pooling and classifier: its size and speed are
    those of all four, more than the student's own.

    Chen, Mei, Zhang, Wang, Feng and Chen 2022 ("Knowledge Distillation with the Reused Teacher Classifier"), equation
    4, with q = 2 and b = 1 as in their code. What a student has between its last maps and its classifier, such as
    MobileNetV2's last 1x1 convolution, does not ship, as in their code.
    """

    needs_labels: ClassVar[bool] = False

    def __init__(self, beta: Weight = 1.0, factor: Annotated[int, Field(ge=1)] = 2) -> None:
        """``beta``: b; ``factor``: q."""
        self.beta = beta
        self.factor = factor

    def taps(self, student: Shapes, teacher: Shapes) -> tuple[Sequence[str], Sequence[str]]:
        """The last maps of each.

        Raises:
            UsageError: a network has no maps, or does not pool them in a stage of its own.
        """
        self.student_stage, self.student_pool = _end(student, "student")
        self.teacher_stage, self.teacher_pool = _end(teacher, "teacher")
        return [self.student_stage], [self.teacher_stage]

    def prepare(self, setting: Setting) -> nn.Module:
        """The projector."""
        ours = setting.student_shapes[self.student_stage]
        theirs = setting.teacher_shapes[self.teacher_stage]
        self.size = (min(ours[1], theirs[1]), min(ours[2], theirs[2]))
        self.teacher = setting.teacher
        self.projector = Projector(ours[0], max(theirs[0] // self.factor, 1), theirs[0], self.size)
        return self.projector

    def losses(self, step: Step) -> dict[str, Tensor]:
        """``feature``, with its weight."""
        student = self.projector(step.student.features[self.student_stage])
        teacher = pooled(step.teacher.features[self.teacher_stage], self.size)
        return {"feature": self.beta * functional.mse_loss(student, teacher)}

    def deployed(self, student: nn.Module) -> nn.Module:
        """A copy of the student with the projector behind its last maps, then the teacher's pooling and classifier."""
        assert self.teacher is not None
        network = copy.deepcopy(student)
        stage, projector = network.get_submodule(self.student_stage), copy.deepcopy(self.projector)
        network.set_submodule(self.student_stage, nn.Sequential(OrderedDict(stage=stage, projector=projector)))
        for ours, theirs in ((self.student_pool, self.teacher_pool), (classifier(network), classifier(self.teacher))):
            network.set_submodule(ours, copy.deepcopy(self.teacher.get_submodule(theirs)))
        return network


class Projector(nn.Module):
    """Maps [B, C, H, W] averaged down to ``size`` and projected to ``outputs`` channels."""

    def __init__(self, channels: int, width: int, outputs: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size
        self.body = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(channels, width, 1, bias=False),
                norm1=nn.BatchNorm2d(width),
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(width, width, 3, padding=1, bias=False),
                norm2=nn.BatchNorm2d(width),
                relu2=nn.ReLU(),
                conv3=nn.Conv2d(width, outputs, 1, bias=False),
                norm3=nn.BatchNorm2d(outputs),
                relu3=nn.ReLU(),
            ),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """The projected maps."""
        projected: Tensor = self.body(pooled(maps, self.size))
        return projected


def _end(shapes: Shapes, whose: str) -> tuple[str, str]:
    """The last stage with maps, and the stage after it that pools them."""
    stage, last = deepest(shapes, whose), list(shapes)[-1]
    if len(shapes[last]) != 1:
        raise UsageError(f"simkd needs a {whose} whose last stage is the pooled features [D]; {last!r} has maps")
    return stage, last
