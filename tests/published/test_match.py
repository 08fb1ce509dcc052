import math

import made_up
import pytest

from kdbench.formats import rows_of
from kdbench.published.match import COLUMNS, beside, matches

PAIR = "resnet56-resnet20"


def found(method="kd", **options):
    return matches(made_up.standard_run(**options))[f"{options.get('data', 'cifar100')}:{PAIR}", method]


def told(known):
    return {key: (match.published_note, match.published_flags) for key, match in known.items()}


def with_methods(**uses):
    run = made_up.standard_run()
    labels = dict(zip(("scratch", "kd", "dkd"), uses, strict=False))
    methods = [{"label": label, "use": use, "options": {}} for label, use in uses.items()]
    records = tuple(
        record.model_copy(update={"method": labels.get(record.method, record.method)}) for record in run.records
    )
    return matches(run.model_copy(update={"suite": run.suite | {"methods": methods}, "records": records}))


def test_of_the_same_pair_method_rule_and_recipe_the_items_to_learn_from_differ_alone():
    match = found()
    assert (match.published, match.published_rule, match.published_flags) == (0.7066, "last", "data")
    assert match.published_note == (
        "published: RepDistiller README, last epoch, 240 epochs; ours learns from nine tenths of the training items and "
        "validates on the others, theirs from all"
    )
    assert match.published_url == "https://github.com/HobbitLong/RepDistiller"
    assert (match.published_epochs, math.isnan(match.published_spread)) == (240, True)
    assert found("teacher").published == 0.7234
    assert found("scratch").published == 0.6906


@pytest.mark.parametrize(
    ("method", "options", "flags", "said"),
    [
        (
            "dkd",
            {},
            "epoch-rule",
            "240 epochs (weight chosen for each pair); ours is the last epoch, usually about 0.3",
        ),
        ("kd", {"kind": "fast"}, "recipe", "ours is a fast recipe"),
        ("teacher", {"kind": "fast"}, "recipe", "ours is a fast recipe"),
        ("kd", {"epochs": 120}, "epochs", "240 epochs; ours trains for 120"),
        ("kd", {"options": {"kd": {"temperature": 2.0}}}, "options", "ours has temperature = 2.0"),
        ("scratch", {"options": {"kd": {"temperature": 2.0}}}, "", "last epoch"),
        ("dkd", {"kind": "fast", "epochs": 9}, "epoch-rule,recipe,epochs", "ours is the last epoch"),
        ("kd", {"student_recipe": {"epochs": 9}}, "epochs", "ours trains for 9"),
        ("teacher", {"student_recipe": {"epochs": 9}}, "", "last epoch"),
        ("kd", {"student_recipe": {"lr": 0.01}}, "", "last epoch"),
    ],
)
def test_what_differs_is_flagged_and_said(method, options, flags, said):
    match = found(method, **options)
    assert match.published > 0
    assert match.published_flags == ",".join(filter(None, (flags, "data")))
    assert said in match.published_note


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"data": "cifar10-jpeg"}, "none of cifar10-jpeg, and those of CIFAR-10 are of other pictures"),
        ({"data": "cifar10"}, "none of data set cifar10"),
        ({"data": "fashion-mnist"}, "none of data set fashion-mnist"),
        ({"data": "imagenet"}, "none of resnet56-resnet20 on imagenet"),
        ({"student_options": {"width": 2}}, "none of a pair with student_options"),
        ({"teacher_options": {"widths": [1]}, "labelled": 5}, "none of a pair with teacher_options, labelled"),
        ({"start": "scratch"}, "none of a pair with start"),
    ],
)
def test_of_another_comparison_there_is_nothing_and_a_reason(options, reason):
    for method in ("teacher", "scratch", "kd"):
        match = found(method, **options)
        assert math.isnan(match.published)
        assert match.published_note == f"published: {reason}"
        assert (match.published_rule, match.published_flags, match.published_source) == ("", "", "")


def test_a_method_is_known_by_what_it_is_and_not_by_its_label():
    known = with_methods(mine="dkd", kd="my.py:KD", simkd="simkd")
    of_pair = {method: match for (pair, method), match in known.items() if pair == f"cifar100:{PAIR}"}
    assert of_pair["mine"].published == 0.7197
    assert of_pair["kd"].published_note == "published: none of a method of your own"
    assert of_pair["simkd"].published_note == "published: none of this method for this pair"


def test_a_pair_is_known_by_its_networks_and_not_by_its_name():
    run = made_up.standard_run()
    pairs = [pair | {"name": f"p{number}"} for number, pair in enumerate(run.suite["pairs"])]
    records = tuple(r.model_copy(update={"pair": f"cifar100:p{int(r.teacher == 'vgg13')}"}) for r in run.records)
    known = matches(run.model_copy(update={"suite": run.suite | {"pairs": pairs}, "records": records}))
    assert [known[f"cifar100:p{number}", "kd"].published for number in (0, 1)] == [0.7066, 0.6737]


def test_of_several_figures_that_of_the_last_epoch_leads_and_the_others_are_told():
    known = with_methods(lskd="lskd", dkd="dkd", dist="dist")
    lskd, dist = known["cifar100:vgg13-mobilenetv2", "lskd"], known[f"cifar100:{PAIR}", "dist"]
    assert (lskd.published, lskd.published_flags) == (0.6909, "data")
    assert lskd.published_note.endswith("; also 68.61 (LSKD README, best epoch on the test set)")
    assert (dist.published_spread, dist.published_rule, dist.published_flags) == (0.003, "unknown", "epoch-rule,data")
    assert "which epoch is not said, ±0.30 (± as printed there); ours is the last epoch" in dist.published_note
    assert not dist.published_note.endswith("best")


def test_a_suite_of_before_pairs_could_have_more_keys_is_matched_too():
    run = made_up.standard_run()
    pairs = [{key: pair[key] for key in ("teacher", "student", "data", "name")} for pair in run.suite["pairs"]]
    assert told(matches(run.model_copy(update={"suite": run.suite | {"pairs": pairs}}))) == told(matches(run))
    strange = [pair | {"unheard_of": 1} for pair in pairs]
    match = matches(run.model_copy(update={"suite": run.suite | {"pairs": strange}}))[f"cifar100:{PAIR}", "kd"]
    assert match.published_note == "published: none of a pair with unheard_of"


@pytest.mark.parametrize("per_seed", [False, True])
def test_rows_of_several_runs_each_get_their_own(per_seed):
    slow, quick = made_up.standard_run(), made_up.standard_run(kind="fast").model_copy(update={"id": "other"})
    plain = rows_of([slow, quick], per_seed=per_seed)
    rows = beside(plain, [slow, quick])
    assert list(rows.columns) == [*plain.columns, *COLUMNS]
    assert set(rows.loc[(rows["run"] == slow.id) & (rows["method"] == "kd"), "published_flags"]) == {"data"}
    assert set(rows.loc[(rows["run"] == "other") & (rows["method"] == "kd"), "published_flags"]) == {"recipe,data"}
    assert rows["published"].dtype == "float64"
    assert rows.loc[rows["pair"] == f"cifar100:{PAIR}", "published"].tolist().count(0.7066) == (12 if per_seed else 4)
