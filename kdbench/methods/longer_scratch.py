"""Training on labels alone for as long as a teacher would have cost: the control of compute."""

from kdbench.errors import StageError
from kdbench.methods.option import Times
from kdbench.methods.scratch import Scratch


class LongerScratch(Scratch):
    """Labels alone, for longer: the student is given the teacher's share of the compute.

    L = CE(z, y) as in ``scratch``, over round(f x epochs) epochs; the recipe's schedule runs once over all of them. A
    step of ``kd`` is a forward of the teacher, M_t multiply-accumulates an item, and a forward and a backward of the
    student, M_s and 2 M_s (a backward multiplies twice: for the gradients of the activations and of the weights). The
    same compute without a teacher pays for

    f = 1 + M_t / (3 M_s) times the epochs, but at most ``limit``.

    What is saved where a teacher's outputs are kept from one epoch to the next is not taken off: few recipes allow it.

    The limit of 4 is ours. It leaves f whole for every teacher of up to 9 times its student's compute: f is 2.0 from
    resnet56 to resnet20 and 3.0 from resnet32x4 to resnet8x4. Students far smaller would be trained for f = 30 (the
    digits pair) and more, where a suite's epochs are such that doubling them gains hardly anything; one control would
    then cost more than all methods together. At the limit the row is a lower bound of what the compute would have
    bought, and the table says how long the student learnt.
    """

    weighs_teacher = True

    def __init__(self, limit: Times = 4.0, factor: Times | None = None) -> None:
        """``limit``: the most that f may be; ``factor``: f itself, whatever the networks and the limit.

        With a ``factor`` the teacher has no part in the student, who is trained once for all teachers.
        """
        self.limit = limit
        self.factor = factor
        self.weighs_teacher = factor is None

    def stretch(self, student: int, teacher: int) -> float:
        """The factor f.

        Raises:
            StageError: there is no teacher to weigh, and no fixed factor.
        """
        if self.factor is not None:
            return self.factor
        if not teacher:
            raise StageError("the method weighs the teacher against the student, and is not told what a teacher costs")
        return min(1 + teacher / (3 * student), self.limit)
