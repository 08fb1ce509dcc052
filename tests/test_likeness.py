import made_up
import pytest

from kdbench.gate import compare
from kdbench.likeness import apart, moved_structures, suspects_of

KD8 = "digits:resnet8-dscnn/kd/xnnpack-int8/s0/host"


def base(**changes):
    return made_up.run(broken=False, **changes)


def test_suspects_are_recipes_lowering_machines_and_uncommitted_changes():
    old = base()
    recipe = made_up.suite().recipes["student"].model_copy(update={"epochs": 31})
    recipes = {"teacher": recipe, "student": recipe}
    new = base(suite=made_up.suite(recipes=recipes, lowering={"calibration_items": 64}).model_dump(mode="json"))
    machine = old.provenance.machine.model_copy(update={"fingerprint": "0" * 64, "slug": "arm", "python": "3.12.1"})
    new = new.model_copy(update={"provenance": old.provenance.model_copy(update={"machine": machine, "dirty": True})})
    assert suspects_of(old, new) == (
        "python 3.11.9 -> 3.12.1",
        "the teacher's recipe: epochs 30 -> 31",
        "the student's recipe: epochs 30 -> 31",
        "lowering: calibration_items 256 -> 64",
        "machine amd-epyc-linux-x86-64 -> arm",
        "uncommitted changes",
    )


def test_what_an_older_kdbench_did_not_know_of_a_protocol_is_the_default():
    table = made_up.suite().model_dump(mode="json")
    older = {**table, "protocol": {key: value for key, value in table["protocol"].items() if key != "cold_cache"}}
    cold = {**table, "protocol": {**table["protocol"], "cold_cache": True}}
    assert apart(older, table) == apart(table, older) == ""
    assert apart(older, cold) == "the measuring protocols differ in cold_cache"


def test_only_structures_that_changed_may_run_otherwise():
    assert moved_structures(base(), base()) == {}
    new = made_up.with_record(base(), KD8, structure="f" * 64)
    old = made_up.structure("dscnn", "xnnpack-int8")
    assert list(moved_structures(base(), new)) == [(old, "f" * 64, "host")]
    assert compare(base(), new).notes == (
        "speed and memory of 1 changed structures are not judged; 6 others are the base's, so they run alike",
    )
    libraries = base().provenance.libraries | {"executorch": "1.6.0"}
    upgraded = base(provenance=base().provenance.model_copy(update={"libraries": libraries}))
    assert len(moved_structures(base(), upgraded)) == 6


@pytest.mark.parametrize(
    ("metric", "retrained", "moved"),
    [
        ("arena_bytes", False, True),
        ("arena_bytes", True, True),
        ("size_bytes", False, True),
        ("size_bytes", True, False),
    ],
)
def test_a_program_that_was_written_otherwise_may_run_otherwise(metric, retrained, moved):
    changes = {"checkpoint_sha256": "0" * 64} if retrained else {}
    new = made_up.with_record(base(), KD8, metrics={metric: 9_999.0}, **changes)
    structure = made_up.structure("dscnn", "xnnpack-int8")
    assert list(moved_structures(base(), new)) == [(structure, structure, "host")] * moved


def test_what_ran_the_programs_counts_where_both_sides_say_it():
    timeless = base(speeds=())
    assert moved_structures(timeless, base()) == moved_structures(base(), timeless) == {}
    old, new = (base(speeds=(), runtimes={"host": name}) for name in ("native executorch-1.5.1", "python 1.5.1"))
    assert moved_structures(old, old) == {}
    assert len(moved_structures(old, new)) == len(moved_structures(old, base())) == 6


def test_what_changed_of_a_board_is_suspect():
    board = {"cpu": "A72", "cores": 4, "kernel": "6.1", "governor": "ondemand"}
    whole = made_up.run()
    case, device = whole.records[0].case, whole.records[0].device
    old = made_up.with_record(whole, case, details={"machine": board})
    new = made_up.with_record(whole, case, details={"machine": {**board, "kernel": "6.6", "cores": 2}})
    assert suspects_of(old, new) == (f"{device} cores 4 -> 2", f"{device} kernel 6.1 -> 6.6")
    assert suspects_of(old, old) == suspects_of(old, whole) == ()
