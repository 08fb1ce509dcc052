import made_up
import numpy as np
import pytest
from scipy import stats as scipy_stats

from kdbench import stats
from kdbench.frame import frame, summary
from kdbench.records import Curve
from kdbench.reports.evidence import (
    commands,
    groups_of,
    history,
    in_reach,
    in_view,
    learning,
    matrices,
    rows_of,
    summary_line,
    unbeaten,
)

PAIR = "digits:resnet8-dscnn"


@pytest.fixture(scope="module")
def cases():
    whole = frame([made_up.run(broken=False)])
    return whole[whole["pair"] == PAIR]


def test_leads_are_antisymmetric_paired_and_adjusted_for_all_pairs(cases):
    first, second = matrices(cases)
    assert (first.target, second.target) == made_up.TARGETS
    assert first.methods == ("scratch", "kd", "fitnet")
    assert first.leads[1][0].text == f"{100 * (24 + 26 + 28) / 3 / 360:+.2f}"
    assert first.leads[0][1].text == first.leads[1][0].text.replace("+", "-")
    right = made_up.RIGHT
    pairs = [("scratch", "kd"), ("scratch", "fitnet"), ("kd", "fitnet")]
    adjusted = stats.holm([scipy_stats.ttest_rel(right[a], right[b]).pvalue for a, b in pairs])
    for (a, b), value in zip(pairs, adjusted, strict=True):
        lead = first.leads[first.methods.index(a)][first.methods.index(b)]
        assert f"p {value:.2g} (Holm)" in lead.told
        assert lead.clear == (value < 0.05)
    assert first.leads[0][0].text == ""


def test_two_seeds_have_a_lead_and_no_test(cases):
    lead = matrices(cases[cases["seed"] < 2])[0].leads[1][0]
    assert "over 2 paired seeds, not tested below 3" in lead.told
    assert not lead.clear


def test_under_the_null_a_matrix_marks_anything_in_at_most_one_run_of_twenty(cases):
    """Family-wise: four methods that differ by seed noise alone, 1,500 simulated runs of five seeds."""
    generator = np.random.default_rng(1)
    marked = 0
    for _ in range(1500):
        scores = generator.normal(0, 1, (4, 5))
        p = [stats.paired_t_p(scores[i], scores[j]) for i in range(4) for j in range(i)]
        marked += bool((stats.holm(p) < 0.05).any())
    assert scipy_stats.binomtest(marked, 1500, 0.05, alternative="greater").pvalue > 0.001


def test_the_summary_says_what_is_best_and_whether_that_is_clear(cases):
    rows = rows_of(summary(cases))
    line = summary_line(rows)
    assert line.startswith("kd on xnnpack-fp32 has the best mean accuracy: 90.93 % ±")
    assert "of the teacher's, in 4.0% of the teacher's bytes" in line
    nothing = summary_line([row | {"seeds": 0} for row in rows])
    assert nothing == "No student has a figure for its quality; the table says why."


def test_rows_are_grouped_by_pair_and_device():
    rows = rows_of(summary(frame([made_up.run()])))
    assert list(groups_of(rows)) == [(pair, "host") for pair in made_up.PAIRS]


def test_history_is_of_the_same_suite_version_protocol_and_machine(tmp_path):
    run = made_up.run()
    made_up.on_disk(tmp_path, run)
    made_up.on_disk(tmp_path, made_up.run(id="20261125T000000Z-0000"))
    made_up.on_disk(tmp_path, made_up.run(id="20261125T010000Z-0000", partial=True))
    raised = made_up.suite(version=2).model_dump(mode="json")
    made_up.on_disk(tmp_path, made_up.run(id="20261126T000000Z-0000", suite=raised))
    threads = made_up.suite(protocol={"threads": 2}).model_dump(mode="json")
    made_up.on_disk(tmp_path, made_up.run(id="20261127T000000Z-0000", suite=threads))
    larger = run.provenance.machine.model_copy(update={"fingerprint": "f" * 64})
    elsewhere = run.provenance.model_copy(update={"machine": larger})
    made_up.on_disk(tmp_path, made_up.run(id="20261128T000000Z-0000", provenance=elsewhere))
    broken = tmp_path / "scratch" / run.provenance.machine.slug / "made" / "20261123T000000Z-0000"
    broken.mkdir(parents=True)
    (broken / "run.json").write_text("{")
    past = history(run, tmp_path)
    assert [each.run for each in past] == ["20261124T040506Z-00ab", "20261125T000000Z-0000"]
    assert (past[0].ok, past[0].failed, past[0].shown[1]) == (39, 1, "11.7 kB")
    assert [each.run for each in history(run, tmp_path / "elsewhere")] == [run.id]


def test_every_case_has_the_command_that_makes_it_again():
    run = made_up.run()
    told = commands(run)
    assert len(told) == len(run.records)
    assert all(words.startswith("kdbench run made --only pair=") for _, _, words in told)
    assert [status for _, status, _ in told].count("crashed") == 1


def test_the_front_is_what_none_beats_in_both(cases):
    rows = rows_of(summary(cases))
    front = unbeaten(rows, "latency_ms")
    assert [(row["method"], row["target"]) for row in front] == [
        ("kd", "xnnpack-fp32"),
        ("teacher", "xnnpack-int8"),
        ("teacher", "xnnpack-fp32"),
    ]


def test_the_view_leaves_out_what_is_far_behind_on_the_worse_side_alone():
    values = [88.0, 89.0, 89.5, 90.0, 31.0]
    assert in_view(values, "higher") == pytest.approx((88 - 0.3, 90 + 0.3))
    assert in_view(values, "lower")[0] < 31
    assert in_view([*values, 140.0], "lower")[1] < 140


def test_what_is_not_much_further_off_than_the_view_is_wide_is_in_reach():
    values = [90.0] * 6 + [92.0]
    assert in_view([*values, 88.0], "higher")[0] > 88
    assert in_reach([*values, 88.0], "higher") == [*values, 88.0]
    assert in_reach([*values, 31.0], "higher") == values


def test_what_was_learnt_is_told_by_epoch_a_value_a_seed(cases):
    run = made_up.run(broken=False)
    (known,) = run.networks
    students = {r.seed: r.checkpoint_sha256 for r in run.records if (r.pair, r.method) == (PAIR, "kd")}
    networks = tuple(
        known.model_copy(
            update={
                "checkpoint_sha256": checkpoint,
                "curves": (Curve(name="validation_accuracy", values=(0.5, 0.5 + seed / 4), epochs=(2, 4)),),
            }
        )
        for seed, checkpoint in students.items()
    )
    found = learning(run.model_copy(update={"networks": networks}), rows_of(summary(cases)))
    assert found == {"kd": {2: [0.5, 0.5, 0.5], 4: [0.5, 0.75, 1.0]}}
