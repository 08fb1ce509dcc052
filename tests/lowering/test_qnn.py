"""Without Qualcomm's SDK nothing of its backend is touched, which would download one."""

import subprocess
import sys

import pytest
import torch
from torch import nn

import kdbench as package
from kdbench.errors import StageError
from kdbench.lowering import qnn


def test_without_the_sdk_it_says_so_and_touches_nothing(monkeypatch):
    monkeypatch.delenv("QNN_SDK_ROOT", raising=False)
    needs = "it needs Qualcomm's AI Engine Direct SDK; install it and set QNN_SDK_ROOT"
    assert qnn.INT8.missing() == needs
    for lower in (
        lambda: package.lower(nn.Linear(4, 4).eval(), torch.ones(1, 4), "qnn-fp16"),
        lambda: qnn.FP16.lower(nn.Linear(4, 4).eval(), (torch.ones(1, 4),)),
    ):
        with pytest.raises(StageError, match=f"^cannot lower to qnn-fp16: {needs}$") as caught:
            lower()
        assert caught.value.status == "not-applicable"
    assert not any(name.startswith("executorch.backends.qualcomm") for name in sys.modules)


def test_a_folder_without_an_sdk_is_none(monkeypatch, tmp_path):
    monkeypatch.setenv("QNN_SDK_ROOT", str(tmp_path))
    assert qnn.INT8.missing() == f"QNN_SDK_ROOT={tmp_path} holds no SDK: it has no folder lib"
    (tmp_path / "lib").mkdir()
    assert qnn.INT8.missing() == ""


def test_a_broken_sdk_is_a_failed_step_or_import_and_no_download(tmp_path):
    (tmp_path / "lib").mkdir()
    code = (
        "import os, socket, sys, torch\n"
        "def refuse(*_args, **_named):\n    print('network'); sys.exit(9)\n"
        "socket.socket.connect = refuse\n"
        "from kdbench.lowering import qnn\n"
        "try:\n    qnn.FP16.lower(torch.nn.Linear(4, 4).eval(), (torch.ones(1, 4),))\n"
        "except Exception as error:\n    print(type(error).__name__)\n"
    )
    environment = {"PATH": "/usr/bin:/bin", "QNN_SDK_ROOT": str(tmp_path), "HOME": str(tmp_path)}
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "network" not in done.stdout
    assert done.stdout.strip().splitlines()[-1].endswith("Error")
    assert not (tmp_path / ".cache").exists()
