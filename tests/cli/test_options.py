import os

import pytest
from click.testing import CliRunner

from kdbench.cli import doctor, export, measure, run
from kdbench.devices.runner.build import cache_folder


@pytest.mark.parametrize(
    ("module", "words"),
    [(run, ["digits"]), (measure, ["x.pte"]), (export, ["case", "--to", "out"]), (doctor, [])],
    ids=["run", "measure", "export", "doctor"],
)
@pytest.mark.parametrize("before", [None, "elsewhere"])
def test_the_runner_is_kept_beside_the_store_that_a_command_is_given(tmp_path, monkeypatch, module, words, before):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KDBENCH_STORE", raising=False)
    if before:
        monkeypatch.setenv("KDBENCH_STORE", before)
    kept = []
    monkeypatch.setattr(module.command, "callback", lambda **_options: kept.append(cache_folder()))
    CliRunner().invoke(module.command, [*words, "--store", "mine"], standalone_mode=False, catch_exceptions=False)
    assert kept == [tmp_path / "mine" / "runner"]
    assert os.environ.get("KDBENCH_STORE") == before
