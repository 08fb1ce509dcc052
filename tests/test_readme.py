"""The README tells the truth: its table is a kept run's, its commands exist, its code runs."""

import re
import types
from pathlib import Path

import click
import torch

from kdbench.cli.main import cli
from kdbench.formats import inserted, render
from kdbench.frame import frame, summary
from kdbench.records import read_run
from kdbench.results import stored

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_is_that_of_the_newest_kept_digits_run_that_is_whole():
    kept = [place for place in stored(ROOT / "results") if place.kept and place.suite == "digits"]
    whole = [run for run in (read_run(place.folder) for place in kept) if not run.partial]
    assert whole, "keep one with `tox -e digits`"
    run = whole[-1]
    table = render(summary(frame([run])), "markdown")
    assert inserted(README, table, "README.md") == README
    assert len({record.method for record in run.records}) >= 7
    assert len({record.seed for record in run.records}) >= 3
    assert len({record.target for record in run.records}) >= 2


def test_every_command_and_option_that_it_names_exists():
    named = re.findall(r"`kdbench ([a-z]+)([^`]*)`|^\$ kdbench ([a-z]+)(.*)$", README, re.MULTILINE)
    assert len(named) >= 10
    for inline, rest, block, more in named:
        command = cli.commands[inline or block]
        words = (rest + more).split()
        if isinstance(command, click.Group) and words:
            command = command.commands[words[0]]
        options = {option for parameter in command.params for option in parameter.opts}
        for option in re.findall(r"(?<!\S)(--?[a-z][a-z-]*)", rest + more):
            assert option in options | {"-h"}, f"kdbench {command.name} {option}"


def test_its_method_runs():
    code = re.search(r"```python\n# my_method\.py\n(.*?)```", README, re.DOTALL)[1]
    space = {}
    exec(code, space)
    method = space["MyKD"](weight=0.5)
    outputs = [types.SimpleNamespace(logits=torch.tensor([[value, 0.0]])) for value in (1.0, 3.0)]
    step = types.SimpleNamespace(student=outputs[0], teacher=outputs[1], label_loss=lambda: torch.tensor(0.25))
    assert method.losses(step) == {"label": torch.tensor(0.25), "match": torch.tensor(1.0)}
    assert space["MyKD"].__mro__[1].__module__ == "kdbench.methods.method"


def test_its_three_lines_lower_a_network(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = re.search(r"```python\n(import kdbench\n.*?)```", README, re.DOTALL)[1]
    torch.manual_seed(0)
    exec(code, {"model": torch.nn.Sequential(torch.nn.Linear(8, 4)), "example": torch.ones(1, 8)})
    size, error = capsys.readouterr().out.split()
    assert int(size) == (tmp_path / "model.pte").stat().st_size
    assert float(error) < 0.01
