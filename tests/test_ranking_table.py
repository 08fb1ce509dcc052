import json

import made_up
import pytest
from test_ranking import validated

from kdbench.ranking import rankings
from kdbench.ranking_table import frame, render, table, verdict

GOLDEN = made_up.GOLDEN.parent / "rankings"


def made(**options):
    return rankings([validated(made_up.run(**options), kd=0.8, fitnet=0.9)])


@pytest.mark.parametrize(
    ("name", "form"), [("terminal.txt", "terminal"), ("markdown.md", "markdown"), ("rank.csv", "csv")]
)
def test_rankings_look_as_they_did(name, form):
    assert render(made(), form, width=140) == (GOLDEN / name).read_text(encoding="utf-8")


def test_a_method_whose_options_were_searched_is_noted():
    run = made_up.run(broken=False)
    tuned = {"suite": "made v1", "trials": 20, "seconds": 60}
    methods = [method | ({"tuned": tuned} if method["label"] == "kd" else {}) for method in run.suite["methods"]]
    found = render(rankings([run.model_copy(update={"suite": run.suite | {"methods": methods}})]), "markdown")
    assert "kd: options as declared, chosen among 20 trials by validation on made v1, 60 s of training" in found


def test_the_verdict_names_who_is_ahead_beyond_chance():
    told = verdict(made(broken=False)[0])
    assert told == "ahead of scratch beyond chance: kd by +7.22 ±1.38 pt, fitnet by +3.52 ±1.44 pt"


def without(run, *methods):
    return run.model_copy(update={"records": tuple(r for r in run.records if r.method not in methods)})


def test_the_verdict_says_what_the_seeds_could_have_shown_where_nobody_wins():
    run = without(made_up.run(broken=False), "kd")
    for record in run.records:
        if record.method == "fitnet":
            base = next(r for r in run.records if r.case == record.case.replace("/fitnet/", "/scratch/"))
            accuracy = base.metrics["accuracy"] + (2 - record.seed) / made_up.N
            run = made_up.with_record(run, record.case, metrics={"accuracy": accuracy})
    told = verdict(rankings([run])[0])
    assert told.startswith("no method is shown to beat scratch: nearest is fitnet, +0.28 ±0.69 pt (p = 0.23 of 1 ")
    assert "its 3 seeds would have shown" in told
    assert told.endswith("seeds")


def test_the_nearest_is_a_method_and_not_a_control():
    run = made_up.run(broken=False)
    methods = [m | {"use": "longer-scratch"} if m["label"] == "kd" else m for m in run.suite["methods"]]
    run = run.model_copy(update={"suite": run.suite | {"methods": methods}})
    for record in run.records:
        if record.seed == 0 and record.method in ("kd", "fitnet"):
            run = made_up.with_record(run, record.case, metrics={"accuracy": 0.5})
    assert "nearest is fitnet" in verdict(rankings([run])[0])


def test_the_verdict_says_what_is_lacking():
    assert verdict(rankings([without(made_up.run(), "scratch")])[0]).startswith("no scratch was run")
    two = made_up.run()
    two = two.model_copy(update={"records": tuple(r for r in two.records if r.seed < 2)})
    assert verdict(rankings([two])[0]).startswith("no method shares 3 seeds with scratch")


def test_json_has_a_row_a_method_and_rival_and_null_where_there_is_none():
    found = json.loads(render(made(), "json"))
    assert len(found["verdicts"]) == 4
    (own,) = [row for row in found["rows"][:9] if row["method"] == row["rival"] == "scratch"]
    assert (own["lead"], own["paired"]) == (None, 0)
    assert len(frame(made())) == 4 * 3 * 3


def test_a_section_a_pair_and_target_with_its_verdict_below_the_title():
    laid = table(made())
    assert [section.title.split(" · ")[2] for section in laid.sections] == ["xnnpack-fp32", "xnnpack-int8"] * 2
    assert all("scratch" in section.source for section in laid.sections)


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for file, kind in (("terminal.txt", "terminal"), ("markdown.md", "markdown"), ("rank.csv", "csv")):
        (GOLDEN / file).write_text(render(made(), kind, width=140), encoding="utf-8")
