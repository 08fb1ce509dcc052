"""Knowledge distillation by softened logits."""

from torch import Tensor
from torch.nn import functional

from kdbench.methods.method import Method, Step
from kdbench.methods.option import Share, Temperature


class KD(Method):
    """Softened logits: KL to the teacher at a temperature (Hinton et al. 2015).

    L = (1 - a) CE(z_s, y) + a T^2 KL(softmax(z_t / T) || softmax(z_s / T)), of the logits z_s and z_t [B, K]; both
    terms are means over the batch in nats. Hinton, Vinyals and Dean 2015 ("Distilling the Knowledge in a Neural
    Network"), section 2: T^2 keeps the size of the soft gradient whatever the temperature. Defaults T = 4, a = 0.9: the
    CIFAR-100 setting of the literature's comparisons (Tian, Krishnan and Isola 2020, "Contrastive Representation
    Distillation", and its code).
    """

    def __init__(self, temperature: Temperature = 4.0, alpha: Share = 0.9) -> None:
        """``temperature``: T; ``alpha``: the weight of the teacher's term against the labels'."""
        self.temperature = temperature
        self.alpha = alpha

    def losses(self, step: Step) -> dict[str, Tensor]:
        """``label`` and ``kd``, with their weights."""
        return softened(step.label_loss(), step.student.logits, step.teacher.logits, self.temperature, self.alpha)


def softened(label: Tensor, student: Tensor, teacher: Tensor, temperature: float, alpha: float) -> dict[str, Tensor]:
    """The two terms of ``KD`` with their weights, of the label loss and the logits of whoever learns and teaches."""
    divergence = soft_divergence(student, teacher, temperature)
    return {"label": (1 - alpha) * label, "kd": alpha * temperature**2 * divergence}


def soft_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL(softmax(teacher / T) || softmax(student / T)) of logits [..., K]: a scalar, the mean over items, in nats."""
    classes = student.shape[-1]
    log_q = functional.log_softmax(student.reshape(-1, classes) / temperature, dim=1)
    log_p = functional.log_softmax(teacher.reshape(-1, classes) / temperature, dim=1)
    return functional.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
