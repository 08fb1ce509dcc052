import made_up
import pytest
from click.testing import CliRunner

from kdbench.cli.baseline import command
from kdbench.errors import MeasureError, NoBaselineError, UsageError
from kdbench.store import Store


@pytest.fixture
def place(tmp_path):
    store = Store(tmp_path / "store")
    run = made_up.with_programs(made_up.run(broken=False), store)
    made_up.on_disk(tmp_path / "results", run)
    made_up.on_disk(tmp_path / "results", run.model_copy(update={"id": "20261125T000000Z-0001"}))
    return tmp_path


def invoke(place, *words):
    places = ["--results", str(place / "results")]
    places += ["--store", str(place / "store")] if words[0] != "show" else []
    return CliRunner().invoke(command, [*words, *places], standalone_mode=False)


def test_save_show_verify_and_update(place):
    folder = place / "results" / "baselines" / "made"
    saved = invoke(place, "save", "made~1")
    assert saved.output == f"{folder}: run 20261124T040506Z-00ab, 40 cases, 6 programs here, 1.88 MB\n"
    verified = invoke(place, "verify", "made")
    assert verified.return_value == 0
    assert verified.output == f"{folder} is whole: 8 files, 6 programs\n"
    updated = invoke(place, "update", "made", "--reason", "  a wider\nstudent ", "--programs", "store")
    assert "run 20261125T000000Z-0001, 40 cases, 6 programs in the store, " in updated.output
    lines = invoke(place, "show", "made").output.splitlines()
    assert lines[0].startswith(f"{folder}: made v1, 40 cases, 6 programs in the store, 0.")
    assert [line.partition("  run ")[2] for line in lines[1:3]] == [
        "20261124T040506Z-00ab  commit 0123456789  the first",
        "20261125T000000Z-0001  commit 0123456789  a wider student",
    ]
    assert lines[3].endswith(
        "313,008 bytes in the store  for 1 cases: digits:resnet8-dscnn/teacher/xnnpack-fp32/s0/host"
    )
    assert len(lines) == 3 + 6
    assert invoke(place, "show", str(folder)).output.splitlines() == lines


def test_a_baseline_made_elsewhere_is_adopted_without_a_store(place):
    invoke(place, "save", "made~1")
    elsewhere = place / "elsewhere"
    (place / "results" / "baselines").rename(elsewhere)
    invoke(place, "save", "made")
    words = ["update", str(elsewhere / "made"), "--reason", "from the job", "--results", str(place / "results")]
    adopted = CliRunner().invoke(command, [*words, "--store", str(place / "none")], standalone_mode=False)
    assert "run 20261124T040506Z-00ab, 40 cases, 6 programs here, " in adopted.output
    assert invoke(place, "verify", "made").return_value == 0


def test_damage_is_told_and_exits_2(place):
    invoke(place, "save", "made")
    folder = place / "results" / "baselines" / "made"
    (folder / "correct.npz").unlink()
    damaged = invoke(place, "verify", "made")
    assert (damaged.return_value, damaged.output) == (2, "correct.npz is lost\n")


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (("save", "nothing"), UsageError, "no run 'nothing' in "),
        (("show", "made"), NoBaselineError, "no baseline "),
        (("update", "made", "--reason", " "), UsageError, "--reason is empty: say why the baseline is replaced"),
        (
            ("save", "made", "--store", "/nowhere/at/all"),
            MeasureError,
            "the store /nowhere/at/all lacks the program of",
        ),
    ],
)
def test_what_goes_wrong_is_one_line(place, words, error, message):
    if "--store" in words:
        shown = CliRunner().invoke(command, [*words, "--results", str(place / "results")], standalone_mode=False)
    else:
        shown = invoke(place, *words)
    assert isinstance(shown.exception, error)
    assert str(shown.exception).startswith(message)
