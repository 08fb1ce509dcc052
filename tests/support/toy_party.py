"""Toy stages that share work: each notes, before every step, who else is under way in its worker."""

import os
import signal
from contextlib import contextmanager

from kdbench.errors import StageError

VERSION = 1
LIBRARIES = ("numpy",)
CONTENT = ("text",)


def run(spec, inputs, out, tell):
    with together(1) as steps:
        list(steps(spec, inputs, out, tell))


@contextmanager
def together(count):
    under_way = []

    def steps(spec, inputs, out, tell):
        under_way.append(spec["text"])
        for place in range(2):
            yield place, True
            tell((place + 1) / 2, "step")
            if spec.get("do") == "fail":
                raise StageError("it would not")
            if spec.get("do") == "die":
                os.kill(os.getpid(), signal.SIGKILL)
        (out / "text").write_text(f"{count}: {' '.join(sorted(under_way))}")

    yield steps
