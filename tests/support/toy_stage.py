"""A real stage module, as small as they come: writes a text, or does what its spec says instead."""

import os
import signal
import time

from kdbench.errors import StageError, UsageError

VERSION = 1
LIBRARIES = ("numpy",)
CONTENT = ("text",)


def run(spec, inputs, out, tell):
    tell(0.5, "half way")
    (out / "half-written").write_text("x")
    match spec.get("do"):
        case "fail":
            raise StageError("it would not", status="parity-failed")
        case "usage":
            raise UsageError("no such stage")
        case "bug":
            raise ValueError("a bug\nof two lines")
        case "die":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "memory":
            raise MemoryError
        case "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            (out.parent.parent / "hanging").write_text("")
            time.sleep(600)
        case "hang":
            (out.parent.parent / "hanging").write_text("")
            time.sleep(600)
        case "time":
            (out / "seconds").write_text(str(time.time_ns()))
    (out / "half-written").unlink()
    before = "".join(artefact.path("text").read_text() for artefact in inputs.values())
    (out / "text").write_text(before + spec["text"])
