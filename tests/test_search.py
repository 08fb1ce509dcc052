import pytest

pytest.importorskip("optuna")

from kdbench.errors import UsageError
from kdbench.search import SEEDS, begun, further, proposals
from kdbench.spec import MethodSpec
from kdbench.store import Store
from kdbench.suite_file import read_suite, suite_path
from kdbench.tuning import Trial, write_tuning

KD = MethodSpec(label="kd", use="kd")


@pytest.fixture(scope="module")
def suite():
    return read_suite(suite_path("tiny"))


@pytest.fixture
def fresh(suite, tmp_path):
    return begun(suite, KD, SEEDS, tmp_path / "kd.json")


def told(tuning, score, count):
    """``tuning`` with ``count`` trials more, as if each had scored ``score`` of its options."""
    while len(tuning.trials) < count:
        proposed = proposals(tuning, 4)
        trials = [
            Trial(number=len(tuning.trials) + i, options=options, quality=score(options), by_student={}, seconds=1)
            for i, options in enumerate(proposed)
        ]
        tuning = tuning.model_copy(update={"trials": (*tuning.trials, *trials)})
    return tuning


def test_the_first_trial_is_the_method_as_it_is_and_the_others_lie_in_its_space(fresh):
    proposed = proposals(fresh, 4)
    assert proposed[0] == {"temperature": 4.0, "alpha": 0.9}
    assert all(1 <= one["temperature"] <= 16 and 0 <= one["alpha"] <= 1 for one in proposed)
    assert len({tuple(one.values()) for one in proposed}) == 4
    assert all(float(f"{value:.4g}") == value for one in proposed for value in one.values())


def test_proposals_follow_from_the_trials_that_are_there_alone(fresh):
    after = told(fresh, lambda options: -options["alpha"], 12)
    assert proposals(after, 4) == proposals(after, 4) != proposals(fresh, 4)


def test_a_search_goes_where_the_quality_is(fresh):
    after = told(fresh, lambda options: -abs(options["alpha"] - 0.3), 40)
    late = [trial.options["alpha"] for trial in after.trials[20:]]
    assert sum(abs(alpha - 0.3) < 0.15 for alpha in late) > len(late) / 2
    assert abs(after.ranked()[0].options["alpha"] - 0.3) < 0.05


def test_a_trial_that_failed_teaches_nothing_and_stops_nothing(fresh):
    assert len(proposals(told(fresh, lambda options: None, 12), 2)) == 2


def test_another_setting_is_not_mixed_into_a_file(suite, fresh, tmp_path):
    path = tmp_path / "kd.json"
    write_tuning(fresh, path)
    assert begun(suite, KD, SEEDS, path) == fresh
    for changed in (
        (suite.model_copy(update={"version": 9}), KD, SEEDS),
        (suite, KD.model_copy(update={"options": {"alpha": 0.5}}), SEEDS),
        (suite, KD, (7,)),
    ):
        with pytest.raises(UsageError, match=r"kd.json holds trials of another setting.*move it away to begin anew"):
            begun(*changed, path)


def test_students_are_trained_for_trials_and_judged_on_the_validation_split(suite, fresh, tmp_path):
    events = []
    store = Store(tmp_path / "store")
    found = further(fresh, suite, KD, 3, store, 1, events.append)
    assert [trial.number for trial in found.trials] == [0, 1, 2]
    assert all(trial.by_student == {f"{suite.pairs[0].id}/s1000": trial.quality} for trial in found.trials)
    assert all(0 < trial.quality <= 1 and trial.seconds > 0 for trial in found.trials)
    assert {event.stage for event in events} == {"network"}  # nothing is lowered, run or judged on the test set
    again = further(fresh, suite, KD, 3, store, 1, events.append)
    assert again == found
    assert sum(event.kind == "made" for event in events) == 4  # a teacher and three students, once
