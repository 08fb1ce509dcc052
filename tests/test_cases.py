import made_up
import pytest

from kdbench.cases import again, find_case, matching
from kdbench.errors import UsageError

KNOWN = [record.case for record in made_up.run().records]
KD = "digits:resnet8-dscnn/kd/xnnpack-int8/s0/host"


@pytest.fixture
def results(tmp_path):
    made_up.on_disk(tmp_path, made_up.run())
    return tmp_path


@pytest.mark.parametrize(
    "name", [KD, "resnet8-dscnn/kd/xnnpack-int8/s0", "digits:resnet8-dscnn/kd/int8/s0".replace("int8", "xnnpack-int8")]
)
def test_a_case_is_found_by_its_id_and_by_its_parts(name):
    assert matching(name, KNOWN) == [KD]


def test_an_id_is_itself_whatever_else_begins_so():
    assert matching("d:t-s/kd", ["d:t-s/kd", "d:t-s/kd/s0"]) == ["d:t-s/kd"]


def test_parts_are_whole_parts():
    known = ["d:t-s/kd/x/s0/host", "d:t-s/dkd/x/s0/host", "d:t-s/kd/x/s1/host"]
    assert matching("kd/s0", known) == known[:1]
    assert matching("kd", known) == [known[0], known[2]]
    assert matching("s0/kd", known) == []


def test_a_pair_s_name_is_a_part_whatever_its_data_set_is_called():
    from kdbench.cases import _has

    case = "imagefolder:pets@32:resnet8-dscnn/kd/xnnpack-int8/s0/host"
    assert _has(case, ["resnet8-dscnn", "kd"])
    assert _has(case, ["imagefolder:pets@32:resnet8-dscnn"])
    assert not _has(case, ["dscnn"])


def test_where_no_part_fits_a_piece_of_the_id_will_do():
    known = ["d:t-s/kd/xnnpack-fp32/s0/host", "d:t-s/kd/xnnpack-int8/s0/host"]
    assert matching("int8", known) == known[1:]
    assert matching("", known) == []
    assert matching("/", known) == known  # a piece of every id


def test_several_cases_are_listed(results):
    with pytest.raises(UsageError) as error:
        find_case("resnet8-dscnn/kd/xnnpack-int8", results)
    assert str(error.value) == (
        "'resnet8-dscnn/kd/xnnpack-int8' may be any of 3 cases of run 20261124T040506Z-00ab: "
        "digits:resnet8-dscnn/kd/xnnpack-int8/s0/host, digits:resnet8-dscnn/kd/xnnpack-int8/s1/host, "
        "digits:resnet8-dscnn/kd/xnnpack-int8/s2/host"
    )


def test_a_long_list_is_cut(results):
    with pytest.raises(UsageError, match=r"may be any of 40 cases of run .* and 28 more$"):
        find_case("host", results)


def test_an_unknown_case_names_the_nearest(results):
    with pytest.raises(
        UsageError, match=r"no case 'digits:resnet8-dscnn/kdd/xnnpack-int8/s0/host' in the 1 runs"
    ) as error:
        find_case("digits:resnet8-dscnn/kdd/xnnpack-int8/s0/host", results)
    assert f"did you mean {KD!r}" in str(error.value)


def test_a_case_like_no_other_is_told_how_they_are_named(results):
    with pytest.raises(UsageError) as error:
        find_case("zzz", results, "made")
    assert str(error.value) == (
        "no case 'zzz' in run made; cases are named like digits:resnet8-dscnn/teacher/xnnpack-fp32/s0/host"
    )


def test_without_runs_there_is_no_case(tmp_path):
    with pytest.raises(
        UsageError,
        match=r"no case 'kd': there are no runs in .*; --results names another folder, kdbench run digits makes one$",
    ):
        find_case("kd", tmp_path)


def test_the_newest_run_is_taken_quick_ones_last_and_broken_ones_never(results):
    made_up.on_disk(results, made_up.run(id="20261125T000000Z-0001"))
    quick = made_up.suite(name="made@quick").model_dump(mode="json")
    made_up.on_disk(results, made_up.run(id="20261126T000000Z-0002", suite=quick))
    assert find_case(KD, results)[0].id == "20261125T000000Z-0001"
    next(results.glob("scratch/*/made/*0001/run.json")).write_text("{", encoding="utf-8")
    assert find_case(KD, results)[0].id == "20261124T040506Z-00ab"
    assert find_case(KD, results, "made@quick")[0].id == "20261126T000000Z-0002"
    next(results.glob("scratch/*/made/*00ab/run.json")).write_text("{", encoding="utf-8")
    assert find_case(KD, results)[0].id == "20261126T000000Z-0002"


def record(whole, case=KD):
    return next(each for each in whole.records if each.case == case)


def test_the_command_that_makes_a_case_again():
    whole = made_up.run()
    only = "--only pair=digits:resnet8-dscnn,method=kd,target=xnnpack-int8,seed=0"
    assert again(whole, record(whole)) == f"make it again with: kdbench run made {only}"


def test_the_command_remembers_what_the_run_was_told():
    table = made_up.suite(name="made@quick").model_dump(mode="json")
    words = "kdbench run made --seeds 0-9 --tuned kd --jobs 1 -o alpha=0.5 --only target=xnnpack-int8 --method=a.py:A"
    command = (*words.split(), "--method", "my method.py:KD")
    told = made_up.run().provenance.model_copy(update={"command": command})
    whole = made_up.run(suite=table, provenance=told)
    said = again(whole, record(whole))
    added = "--tuned kd -o alpha=0.5 --method=a.py:A --method 'my method.py:KD'"
    assert f"kdbench run made --quick {added} --seeds 0 --only pair=" in said
    teacher = record(whole, "digits:resnet8-dscnn/teacher/xnnpack-int8/s0/host")
    assert "--seeds" not in again(whole, teacher)
