import io

from kdbench.cli import progress
from kdbench.cli.progress import Progress
from kdbench.conduct import Event


def told(done):
    return Event("told", "train kd s0", "network", done, 43, 0.5, "epoch 3/6")


def test_where_there_is_no_terminal_a_line_is_said_now_and_then(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    with Progress(stream) as listen:
        listen(told(1))
        assert stream.getvalue() == ""
        now[0] = 31.0
        listen(told(12))
        now[0] = 59.0
        listen(told(13))
        now[0] = 62.0
        listen(told(14))
    assert stream.getvalue() == "12/43 stages; train kd s0 epoch 3/6\n14/43 stages; train kd s0 epoch 3/6\n"
