"""KD from a teacher that has learnt nothing: the control for what soft targets give without knowledge."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kdbench.errors import UsageError
from kdbench.methods.kd import soft_divergence
from kdbench.methods.method import Method, Phase, Setting, Step
from kdbench.methods.option import Share, Temperature

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class RandomTeacher(Method):
    """KD from an untrained network of the teacher's architecture: the control for the teacher's knowledge.

    L = (1 - a) CE(z_s, y) + a T^2 KL(softmax(z_r / T) || softmax(z_s / T)), means over the batch in nats, of the logits
    z_s of the student and z_r [B, K] of the untrained network. It is ``kd`` (Hinton et al. 2015, section 2) with the
    same defaults T = 4 and a = 0.9; what ``kd`` gains beyond this control is owed to what its teacher learnt. That an
    untrained teacher can teach something is the finding of Sarnthein, Bachmann, Anagnostidis and Hofmann 2023 ("Random
    Teachers are Good Teachers").

    The network is a copy of the teacher whose parts draw new weights by their own ``reset_parameters`` (torch's
    defaults: a method is not told how an architecture starts). Batch norm then expects means of 0 and variances of 1,
    under which deep networks fade or blow up, so its statistics are taken once, from the training's first batch. From
    then on the network is fixed, as a teacher is: in eval mode, part of no program. The trained teacher is
    never run.
    """

    def __init__(self, temperature: Temperature = 4.0, alpha: Share = 0.9) -> None:
        """``temperature``: T; ``alpha``: the weight of the untrained network's term against the labels'."""
        self.temperature = temperature
        self.alpha = alpha
        self._settled = False

    def prepare(self, setting: Setting) -> nn.Module:
        """The untrained network, whose forwards count as the method's own although nothing trains it."""
        assert setting.teacher is not None
        self.network = untrained(setting.teacher)
        return self.network

    def phases(self) -> Sequence[Phase]:
        """One, without the trained teacher."""
        return (Phase("distil", teacher=False),)

    def losses(self, step: Step) -> dict[str, Tensor]:
        """``label`` and ``kd``, with their weights."""
        if not self._settled:
            settle(self.network, step.batch.inputs)
            self._settled = True
        with torch.no_grad():
            taught = self.network(step.batch.inputs)
        return {
            "label": (1 - self.alpha) * step.label_loss(),
            "kd": self.alpha * self.temperature**2 * soft_divergence(step.student.logits, taught, self.temperature),
        }


def untrained(network: nn.Module) -> nn.Module:
    """A copy of the network on the CPU, in eval mode, with new weights from torch's global generator.

    Raises:
        UsageError: a part has weights and no ``reset_parameters`` to draw them anew.
    """
    fresh = copy.deepcopy(network).cpu().eval().requires_grad_(requires_grad=False)
    for name, module in fresh.named_modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
        elif next(module.parameters(recurse=False), None) is not None:
            part = repr(name) if name else "itself"
            raise UsageError(
                f"random-teacher: part {part} of the teacher ({type(module).__name__}) has weights and no method"
                " reset_parameters to draw them anew"
            )
    return fresh


@torch.no_grad()
def settle(network: nn.Module, inputs: Tensor) -> None:
    """Set the statistics of every batch norm to those of the inputs [B, ...]; the network ends in eval mode."""
    network.eval()
    norms = [module for module in network.modules() if isinstance(module, _NORMS)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all forwards: of the one that follows
        norm.train()
    if norms:
        network(inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
