import json

import made_up
import pytest

from kdbench.errors import MeasureError, UsageError
from kdbench.methods.option import Axis
from kdbench.spec import Tuned, suite_of
from kdbench.tuning import Trial, Tuning, read_tuning, tuning_file, with_tuned, write_tuning


def trial(number, quality, reason="", **options):
    return Trial(number=number, options=options, quality=quality, by_student={}, seconds=10.0, reason=reason)


def tuning(*trials, quality="accuracy"):
    return Tuning(
        suite="made", version=1, method="kd", use="kd", options={"alpha": 0.5}, quality=quality, seeds=(1000,),
        setting_sha256="", space={"temperature": Axis(low=1, high=16, log=True, default=4)}, trials=trials,
    )  # fmt: skip


FOUND = tuning(trial(0, 0.8, temperature=4), trial(1, None, "loss is nan"), trial(2, 0.9, temperature=2), trial(3, 0.9))


def test_the_best_trial_comes_first_and_of_equal_ones_the_earlier():
    assert [one.number for one in FOUND.ranked()] == [2, 3, 0]


def test_where_less_is_better_the_least_comes_first():
    assert [one.number for one in tuning(trial(0, 0.8), trial(1, 0.7), quality="latency_ms").ranked()] == [1, 0]


def test_a_search_of_which_nothing_came_says_why():
    with pytest.raises(MeasureError, match="no trial of kd ended well: loss is nan"):
        tuning(trial(0, None, "loss is nan")).chosen()


def test_what_was_chosen_says_what_it_cost():
    chosen = FOUND.chosen()
    assert (chosen.label, chosen.use, chosen.options) == ("kd-tuned", "kd", {"alpha": 0.5, "temperature": 2})
    assert chosen.tuned == Tuned(suite="made v1", trials=4, seconds=40.0)
    told = "options alpha=0.5 temperature=2, chosen among 4 trials by validation on made v1, 40 s of training"
    assert chosen.tuned.told(chosen.options) == told


def test_a_tuning_comes_back_from_its_file(tmp_path):
    path = tuning_file(tmp_path, "made", "kd")
    write_tuning(FOUND, path)
    assert read_tuning(path) == FOUND
    assert [file.name for file in path.parent.iterdir()] == ["kd.json"]


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({**FOUND.model_dump(mode="json"), "schema_version": 2})])
def test_a_file_that_is_no_tuning_is_refused(tmp_path, text):
    (tmp_path / "kd.json").write_text(text)
    with pytest.raises(UsageError, match="kd.json is not a tuning"):
        read_tuning(tmp_path / "kd.json")


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "tunings").write_text("")
    with pytest.raises(MeasureError, match="cannot write the tuning to .*: (Not a directory|File exists)"):
        write_tuning(FOUND, tuning_file(tmp_path, "made", "kd"))


def test_a_suite_gets_the_tuned_rows_beside_its_own(tmp_path):
    suite = suite_of(made_up.suite())
    write_tuning(FOUND, tuning_file(tmp_path, suite.name, "kd"))
    more = with_tuned(suite, ("kd",), tmp_path)
    assert [method.label for method in more.methods] == [*(method.label for method in suite.methods), "kd-tuned"]
    assert with_tuned(suite, (str(tuning_file(tmp_path, "made", "kd")),), tmp_path / "elsewhere") == more
    with pytest.raises(UsageError, match="--tuned kd: the suite has a method 'kd-tuned' already"):
        with_tuned(suite, ("kd", "kd"), tmp_path)


def test_what_was_never_tuned_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"--tuned at: no tuning .*at.json; kdbench tune at --suite made makes one"):
        with_tuned(suite_of(made_up.suite()), ("at",), tmp_path)
