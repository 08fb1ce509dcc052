import made_up
import pytest
from click.testing import CliRunner

from kdbench.cli.rank import command
from kdbench.errors import UsageError


@pytest.fixture
def results(tmp_path):
    made_up.on_disk(tmp_path / "results", made_up.run())
    return tmp_path / "results"


def invoke(*words, results):
    given = [*words, "--results", str(results)]
    return CliRunner().invoke(command, given, standalone_mode=False, env={"COLUMNS": "140"})


def test_a_suite_is_ranked_by_its_newest_run(results):
    shown = invoke("made", "--target", "xnnpack-fp32", results=results)
    assert shown.exception is None
    assert shown.output.count("made v1") == 2
    assert "ahead of scratch beyond chance: kd by" in shown.output


def test_the_lead_to_be_shown_is_in_points(results):
    shown = invoke("made", "--difference", "2", results=results)
    assert "seeds needed: to show 2 pt" in shown.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["made", "--target", "xnnpack-int4"], "--target 'xnnpack-int4': the runs have no such target; did you mean"),
        (["made", "--difference", "0"], "--difference '0': expected points of quality such as 0.5"),
        (["made", "--difference", "half"], "--difference 'half': expected points"),
        (["made", "--difference", "nan"], "--difference 'nan': expected points"),
        (["nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_one_line(results, words, message):
    shown = invoke(*words, results=results)
    assert isinstance(shown.exception, UsageError)
    assert message in str(shown.exception)
    assert "\n" not in str(shown.exception)
