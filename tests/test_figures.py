import numpy as np
import pytest

from kdbench.errors import MeasureError, UsageError
from kdbench.figures import ITEMS, given_inputs, made_inputs, measure_everywhere, measure_file
from kdbench.lowering.program import ProgramFacts, TensorMeta, read_program
from kdbench.session import REFERENCE
from kdbench.spec import Protocol
from kdbench.store import Store

SHORT = Protocol(
    processes=2, warmup_runs=1, warmup_seconds=0, min_runs=20, min_seconds=0, block_ms=0.001, memory_processes=1
)


def facts(*inputs):
    return ProgramFacts(
        sha256="", size_bytes=0, download_bytes=0, weight_bytes=0, constants={}, arena_bytes=0, method="forward",
        delegates={}, operators={}, inputs=tuple(TensorMeta(*each) for each in inputs), outputs=(),
    )  # fmt: skip


def saved(path, array):
    np.save(path, array)
    return path


def test_every_figure_of_a_program(tiny_program):
    found = measure_file(tiny_program.path, protocol=SHORT)
    whole = len(tiny_program.path.read_bytes())
    assert found.metrics["size_bytes"] == whole
    assert 0 < found.metrics["weight_bytes"] < whole
    assert 0 < found.metrics["download_bytes"] < whole
    assert found.metrics["quantized_share"] == 0
    times = [found.metrics[name] for name in ("latency_ms", "latency_p90_ms", "load_program_ms", "load_method_ms")]
    assert all(time > 0 for time in times)
    assert found.metrics["latency_p90_ms"] >= found.metrics["latency_ms"]
    assert found.metrics["peak_rss_bytes"] > 0
    assert found.metrics["rss_anon_bytes"] > 0
    assert found.metrics["rss_file_bytes"] > 0
    assert 1e6 < found.metrics["runtime_bytes"] < 1e8
    assert "libexecutorch_backend_xnnpack" in {name.partition(".")[0] for name in found.speed.runtime_files}
    assert (found.processes, found.speed.samples >= 40, found.speed.threads) == (2, True, 1)
    assert found.reasons == {
        "latency_p99_ms": f"needs 1,000 samples, there are {found.speed.samples}",
        "latency_ref": "the reference program is not in the store; kdbench doctor puts it there",
        "energy_mj": "not asked for: --energy, or energy of a suite's [protocol]: rapl or meter",
    }
    assert all(found.metrics[name] is None for name in found.reasons)
    assert found.facts.delegates == {"XnnpackBackend": 1}


def test_with_enough_samples_and_a_reference_nothing_is_left_out(tiny_program, tmp_path):
    """The program itself stands in the reference's place: its ratio to itself is about 1."""
    store = Store(tmp_path)
    with store.making(REFERENCE.kind, REFERENCE.key({}), {}, {}) as out:
        (out / "program.pte").write_bytes(tiny_program.path.read_bytes())
        np.save(out / "input.npy", tiny_program.items[0])
    many = SHORT.model_copy(update={"min_runs": 500})
    found = measure_file(tiny_program.path, protocol=many, store=store)
    assert set(found.reasons) == {"energy_mj"}
    assert found.metrics["latency_p99_ms"] >= found.metrics["latency_p90_ms"]
    assert 0.2 < found.metrics["latency_ref"] < 5
    assert len(found.sitting.again_ms) == 2


def test_threads_are_set_and_read_back(tiny_program):
    assert measure_file(tiny_program.path, protocol=SHORT.model_copy(update={"threads": 2})).speed.threads == 2


def test_given_items_are_fed(tiny_program, tmp_path):
    one = saved(tmp_path / "one.npy", tiny_program.items[0])
    several = saved(tmp_path / "several.npy", tiny_program.items)
    assert measure_file(tiny_program.path, protocol=SHORT, inputs=[one]).inputs == "1 from one.npy"
    assert measure_file(tiny_program.path, protocol=SHORT, inputs=[several]).inputs == "4 from several.npy"


def test_made_up_items_are_the_same_at_every_call():
    wanted = facts(("float32", (1, 3, 2)), ("int64", (1,)), ("bool", (2, 2)), ("float16", (1,)))
    first, second = made_inputs(wanted), made_inputs(wanted)
    assert [array.dtype.name for array in first] == ["float32", "int64", "bool", "float16"]
    assert [array.shape for array in first] == [(ITEMS, 1, 3, 2), (ITEMS, 1), (ITEMS, 2, 2), (ITEMS, 1)]
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert first[0].std() > 0.5
    assert not first[1].any()
    assert not first[2].any()


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ([], "method 'forward' takes no inputs; only methods that do can be timed"),
        (
            [("bfloat16", (1,))],
            "input 0 of method 'forward' is bfloat16; known are tensors of float16, float32, float64, ",
        ),
        ([("float32", (1,)), ("int", ())], "input 1 of method 'forward' is int; known are tensors of "),
    ],
)
def test_what_cannot_be_made_up(inputs, said):
    with pytest.raises(UsageError) as error:
        made_inputs(facts(*inputs))
    assert str(error.value).startswith(said)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (
            np.zeros((1, 3, 4), np.float64),
            "a.npy is float64 [1, 3, 4]; the program takes float32 [1, 3, 4], or several ",
        ),
        (np.zeros((5, 1, 3), np.float32), "a.npy is float32 [5, 1, 3]; the program takes float32 [1, 3, 4]"),
        (np.zeros((0, 1, 3, 4), np.float32), "a.npy is float32 [0, 1, 3, 4]; the program takes float32 [1, 3, 4]"),
        (np.array([{}]), "a.npy is not a .npy file of numbers: "),
    ],
)
def test_inputs_that_do_not_fit(array, said, tmp_path):
    with pytest.raises(UsageError) as error:
        given_inputs(facts(("float32", (1, 3, 4))), [saved(tmp_path / "a.npy", array)])
    assert str(error.value).removeprefix(f"{tmp_path}/").startswith(said)


def test_input_files_that_are_none(tmp_path):
    wanted = facts(("float32", (1,)))
    (tmp_path / "text.npy").write_text("1 2 3", encoding="utf-8")
    (tmp_path / "empty.npy").touch()
    np.savez(tmp_path / "many.npz", a=np.zeros(1))
    for name, said in {
        "text.npy": "is not a .npy file of numbers: ",
        "empty.npy": "is not a .npy file of numbers: ",
        "many.npz": "holds several arrays; expected one .npy file an input",
    }.items():
        with pytest.raises(UsageError) as error:
            given_inputs(wanted, [tmp_path / name])
        assert str(error.value).startswith(f"{tmp_path / name} {said}")
    with pytest.raises(UsageError, match=r"^cannot read .*none.npy: No such file or directory$"):
        given_inputs(wanted, [tmp_path / "none.npy"])


def test_inputs_are_as_many_as_the_method_has_and_equally_long(tmp_path):
    wanted = facts(("float32", (1,)), ("int64", (2,)))
    a = saved(tmp_path / "a.npy", np.zeros((3, 1), np.float32))
    b = saved(tmp_path / "b.npy", np.zeros((4, 2), np.int64))
    with pytest.raises(UsageError, match=r"^method 'forward' has 2 inputs, --input was given 1 times$"):
        given_inputs(wanted, [a])
    with pytest.raises(UsageError, match=r"number of items: a.npy has 3, b.npy has 4$"):
        given_inputs(wanted, [a, b])


def test_a_method_that_is_not_there(tiny_program):
    with pytest.raises(UsageError, match=r"tiny fp32.pte has no method 'backward'; it has 'forward'$"):
        measure_file(tiny_program.path, method="backward")
    assert read_program(tiny_program.path, "forward") == read_program(tiny_program.path)


def test_a_program_that_does_not_run_here(broken_program):
    with pytest.raises(MeasureError) as error:
        measure_file(broken_program.path, protocol=SHORT)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"{broken_program.path} does not run on host (failed): cannot load ")
    assert str(error.value).endswith("; it needs MissingBackend")


def test_a_program_with_an_operator_that_is_not_linked(portable_program, tmp_path):
    data = portable_program.path.read_bytes()
    assert b"aten::convolution" in data
    (tmp_path / "mine.pte").write_bytes(data.replace(b"aten::convolution", b"mine::convolution"))
    with pytest.raises(
        MeasureError, match=r"mine.pte does not run on host .*OperatorMissing; it needs .*mine::convolution"
    ):
        measure_file(tmp_path / "mine.pte", protocol=SHORT)


def test_an_unknown_device(tiny_program):
    with pytest.raises(UsageError, match=r"^unknown device 'hots'; did you mean 'host'\?$"):
        measure_file(tiny_program.path, device="hots")


def test_each_number_of_threads_is_a_place_of_its_own(tiny_program):
    told = []
    found = measure_everywhere(
        tiny_program.path,
        devices=["host"],
        threads=[1, 2],
        protocol=SHORT,
        tell=lambda share, text: told.append((share, text)),
    )
    assert [(each.speed.device, each.speed.threads, each.speed.status) for each in found] == [
        ("host", 1, "ok"),
        ("host", 2, "ok"),
    ]
    assert [share for share, _ in told] == sorted(share for share, _ in told)
    assert told[0] == (0.0, "host: process 1 of 2")
    assert 0.5 <= told[-1][0] < 1


def test_a_program_that_runs_nowhere_has_a_reason_everywhere(broken_program):
    found = measure_everywhere(broken_program.path, devices=["host"], threads=[1, 2], protocol=SHORT)
    assert [each.speed.status for each in found] == ["failed", "failed"]
    for each in found:
        assert each.metrics["size_bytes"] > 0
        assert each.metrics["latency_ms"] is None
        assert each.reasons["latency_ms"].startswith("cannot load ")
