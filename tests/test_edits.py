import made_up

from kdbench.edits import SHOWN, edits_of


def edited(**changes):
    """The made-up run, with another table for one key of its suite."""
    run = made_up.run(broken=False)
    return run.model_copy(update={"suite": run.suite | changes})


def test_a_suite_that_nobody_touched_has_no_edits():
    assert edits_of(edited(), edited()) == []


def test_options_are_told_by_their_pair_or_method_and_their_old_and_new_values():
    suite = edited().suite
    pairs = [pair | {"student_options": {"width": 6}} for pair in suite["pairs"][:1]] + suite["pairs"][1:]
    methods = [method | ({"options": {"alpha": 0.5}} if method["label"] == "kd" else {}) for method in suite["methods"]]
    name = pairs[0]["name"]
    assert edits_of(edited(), edited(pairs=pairs, methods=methods)) == [
        f"{name}: student_options width none -> 6",
        "kd: options alpha none -> 0.5",
    ]


def test_what_an_older_kdbench_did_not_write_is_no_edit_and_a_method_that_is_new_is_a_case_of_its_own():
    methods = [{key: value for key, value in method.items() if key != "tuned"} for method in edited().suite["methods"]]
    assert edits_of(edited(methods=methods), edited()) == []
    assert edits_of(edited(methods=methods[1:]), edited()) == []


def test_the_source_of_a_method_is_told_by_its_file():
    run = made_up.run(broken=False)
    methods = [method | ({"use": "mine.py:Mine"} if method["label"] == "kd" else {}) for method in run.suite["methods"]]

    def with_source(sha256):
        records = [
            record.model_copy(update={"details": record.details | {"method_sha256": sha256}})
            if record.method == "kd"
            else record
            for record in run.records
        ]
        return run.model_copy(update={"records": tuple(records), "suite": run.suite | {"methods": methods}})

    assert edits_of(with_source("a" * 64), with_source("b" * 64)) == ["the source of mine.py:Mine"]
    assert edits_of(with_source("a" * 64), with_source("a" * 64)) == []


def test_many_edits_are_counted():
    recipe = edited().suite["recipes"]["student"] | {"epochs": 1, "lr": 0.5, "batch_size": 8, "weight_decay": 0.1}
    recipes = {"student": recipe, "teacher": recipe}
    found = edits_of(edited(), edited(recipes=recipes))
    assert len(found) == SHOWN
    assert found[-1] == "5 more edits of the suite"
