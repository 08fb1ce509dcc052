import math

import made_up
import numpy as np
import pytest
from scipy import stats as scipy_stats

from kdbench.errors import UsageError
from kdbench.ranking import LEVEL, Standing, leads_on, rankings
from kdbench.records import Curve
from kdbench.spec import MethodSpec

FIRST = "digits:resnet8-dscnn"


def standing(method, quality):
    return Standing(method, method, dict(enumerate(quality)), 0, math.nan, math.nan, math.nan, {})


def validated(whole, **shares):
    """The run with these validation accuracies of its students in the last epoch, by method."""
    (known,) = whole.networks
    networks = [
        known.model_copy(
            update={
                "checkpoint_sha256": rec.checkpoint_sha256,
                "curves": (Curve(name="validation_accuracy", values=(0.99, shares[rec.method])),),
            }
        )
        for rec in whole.records
        if rec.method in shares and rec.checkpoint_sha256
    ]
    return whole.model_copy(update={"networks": tuple(networks)})


def test_methods_stand_by_their_mean_and_are_paired_by_seed():
    ranking = rankings([made_up.run(broken=False)])[0]
    assert (ranking.pair, ranking.target, ranking.rivals) == (FIRST, "xnnpack-fp32", ("scratch", "kd"))
    assert [one.method for one in ranking.standings] == ["kd", "fitnet", "scratch"]
    lead = ranking.standings[0].leads["scratch"]
    gains = np.subtract(made_up.RIGHT["kd"], made_up.RIGHT["scratch"]) / made_up.N
    expected = scipy_stats.ttest_rel(gains, np.zeros(3))
    assert (lead.n, lead.interval.estimate) == (3, pytest.approx(gains.mean()))
    assert (lead.p, lead.interval.low) == (
        pytest.approx(expected.pvalue),
        pytest.approx(expected.confidence_interval()[0]),
    )
    other = ranking.standings[1].leads["scratch"]
    assert sorted([lead.adjusted, other.adjusted]) == [
        pytest.approx(2 * min(lead.p, other.p)),
        pytest.approx(max(lead.p, other.p, 2 * min(lead.p, other.p))),
    ]
    assert lead.shown


def test_the_best_reference_is_chosen_by_validation_and_not_by_the_test_set():
    run = validated(made_up.run(broken=False), kd=0.8, fitnet=0.9, scratch=0.95)
    for ranking in rankings([run]):
        assert ranking.best == "fitnet"
        assert ranking.rivals == ("scratch", "kd", "fitnet")
    assert rankings([made_up.run()])[0].best == ""  # one network of many says how it validated


def test_a_method_of_ones_own_is_no_reference_method():
    run = validated(made_up.run(broken=False), kd=0.8, fitnet=0.9)
    methods = [m | {"use": "mine.py:Mine"} if m["label"] == "fitnet" else m for m in run.suite["methods"]]
    assert rankings([run.model_copy(update={"suite": run.suite | {"methods": methods}})])[0].best == "kd"


def test_runs_of_a_suite_add_their_methods_and_the_last_of_a_case_counts():
    whole = made_up.run(broken=False)
    parts = [
        whole.model_copy(
            update={"id": f"2026112{i}T000000Z-0000", "records": tuple(r for r in whole.records if r.method in methods)}
        )
        for i, methods in enumerate((("scratch", "teacher", "kd"), ("fitnet",)))
    ]
    together = rankings(parts)[0]
    assert together.runs == tuple(part.id for part in parts)
    alone = rankings([whole])[0]
    assert together.standings == alone.standings
    better = made_up.with_record(whole, f"{FIRST}/fitnet/xnnpack-fp32/s0/host", metrics={"accuracy": 0.99})
    found = {one.method: one.quality[0] for one in rankings([whole, better])[0].standings}
    assert found["fitnet"] == 0.99


def test_other_recipes_and_other_versions_are_refused():
    whole = made_up.run()
    recipes = {**whole.suite["recipes"], "student": whole.suite["recipes"]["student"] | {"epochs": 31}}
    other = whole.model_copy(update={"id": "20261125T000000Z-0000", "suite": whole.suite | {"recipes": recipes}})
    with pytest.raises(UsageError, match="20261124T040506Z-00ab and 20261125T000000Z-0000 .*: their recipes differ"):
        rankings([whole, other])
    other = whole.model_copy(update={"suite": whole.suite | {"version": 2}})
    with pytest.raises(UsageError, match="went from version 1 to 2"):
        rankings([whole, other])


def test_a_run_without_students_is_refused():
    whole = made_up.run()
    with pytest.raises(UsageError, match="the runs hold no students"):
        rankings([whole.model_copy(update={"records": tuple(r for r in whole.records if r.method == "teacher")})])


def test_failed_seeds_are_counted_and_two_seeds_are_not_tested():
    ranking = rankings([made_up.run()])[1]
    (fitnet,) = [one for one in ranking.standings if one.method == "fitnet"]
    assert (len(fitnet.quality), fitnet.failed, fitnet.leads["scratch"].n) == (2, 1, 2)
    assert math.isnan(fitnet.leads["scratch"].p)
    assert not fitnet.leads["scratch"].shown


def test_two_equal_leads_of_an_item_prove_nothing():
    scratch, other = standing("scratch", [0.9, 0.9, 0.9]), standing("kd", [0.901, 0.901, 0.901])
    lead = leads_on(scratch, [scratch, other], 0.005, resolution=0.001)["kd"]
    assert not lead.shown
    assert math.isfinite(lead.detectable)


@pytest.mark.parametrize("seeds", [3, 5])
def test_where_no_method_differs_one_is_shown_no_more_often_than_the_level(seeds):
    generator, runs, methods = np.random.default_rng(0), 1000, 8
    shown = 0
    for _ in range(runs):
        drawn = 0.9 + 0.003 * generator.standard_normal(seeds) + 0.004 * generator.standard_normal((methods, seeds))
        field = [standing(f"m{i}", row) for i, row in enumerate(drawn)]
        shown += any(lead.shown for lead in leads_on(field[0], field, 0.005).values())
    assert scipy_stats.binomtest(shown, runs, LEVEL, alternative="greater").pvalue > 0.01


def test_a_lead_that_the_seeds_can_show_is_shown_as_often_as_they_say():
    generator, runs, seeds, sigma = np.random.default_rng(1), 400, 5, 0.004
    shown, claimed = 0, []
    scratch = standing("scratch", [0.9] * seeds)
    exact = leads_on(scratch, [scratch, standing("kd", 0.9 + sigma * np.array([1, -1, 1, -1, 0]))], 0.005)["kd"]
    for _ in range(runs):
        lead = leads_on(
            scratch, [scratch, standing("kd", 0.9 + exact.detectable + sigma * generator.standard_normal(seeds))], 0.005
        )["kd"]
        shown += lead.shown and lead.interval.estimate > 0
        claimed.append(lead.detectable)
    assert 0.74 < shown / runs < 0.86
    assert exact.seeds is None or exact.seeds > seeds or exact.detectable <= 0.005


def test_more_seeds_show_smaller_leads():
    scratch = standing("scratch", [0.9, 0.91, 0.89, 0.9])
    kd = standing("kd", [0.91, 0.91, 0.905, 0.902])
    few, many = (leads_on(scratch, [scratch, kd], wanted)["kd"].seeds for wanted in (0.02, 0.005))
    assert few < many
    assert leads_on(scratch, [scratch, kd], 1e-5)["kd"].seeds is None


def test_less_is_better_where_the_metric_says_so(monkeypatch):
    whole = made_up.run(broken=False)
    lower = tuple(rec.model_copy(update={"details": rec.details | {"quality": "kl_teacher"}}) for rec in whole.records)
    ranking = rankings([whole.model_copy(update={"records": lower})])[0]
    assert ranking.metric == "kl_teacher"
    assert ranking.standings[0].method == "kd"
    assert ranking.standings[0].leads["scratch"].interval.estimate > 0


def test_labels_are_looked_up_in_the_suite():
    table = made_up.suite(methods=(MethodSpec(label="twice", use="longer-scratch", options={"factor": 2.0}),))
    run = made_up.run(suite=table.model_dump(mode="json"))
    records = tuple(r.model_copy(update={"method": "twice"}) for r in run.records if r.method == "scratch")
    ranking = rankings([validated(run.model_copy(update={"records": records}), twice=0.9)])[0]
    assert ranking.standings[0].use == "longer-scratch"
    assert (ranking.best, ranking.rivals) == ("", ())
