import dataclasses
import random

import numpy as np
import pytest
import torch
from executorch.exir._serialize._program import deserialize_pte_binary
from lowering.conftest import items
from torch import nn
from torchao.quantization import IntxWeightOnlyConfig, quantize_

from kdbench.errors import StageError
from kdbench.lowering import xnnpack
from kdbench.lowering.export import Steps, calm, export, finish
from kdbench.lowering.parity import BOUNDS, Bounds, compare, prove, refusal, run_program
from kdbench.lowering.stage import batches_of_one, calibration_items, parity_items
from kdbench.lowering.xnnpack_precisions import partitioner
from kdbench.models.network import features
from kdbench.training.network import restore

RNG = np.random.default_rng(0)
SAID = RNG.normal(size=(32, 10))


def off_by(error, step=None):
    return compare((SAID + error,), (SAID,), (SAID,), step)


def test_figures_of_equal_outputs_are_zero():
    parity = off_by(0.0, step=0.5)
    assert (parity.items, parity.graph_error, parity.graph_steps, parity.network_error) == (32, 0, 0, 0)
    assert parity.cosine == pytest.approx(1)


def test_figures_by_hand():
    parity = compare((SAID + 0.25,), (SAID + 0.125,), (SAID,), 0.0625)
    assert parity.graph_error == pytest.approx(0.125 / np.abs(SAID + 0.125).max())
    assert parity.graph_steps == pytest.approx(2)
    assert parity.network_error == pytest.approx(0.25 / np.sqrt(np.mean((SAID - SAID.mean(axis=0)) ** 2)))
    assert parity.network_max_error == pytest.approx(0.25)


def test_constant_outputs_cost_the_whole_spread():
    constant = np.broadcast_to(SAID.mean(axis=0), SAID.shape)
    parity = compare((constant,), (constant,), (SAID,))
    assert parity.network_error == pytest.approx(1)
    assert "the program is not its network: off by 1 of the outputs' spread" in refusal(parity, BOUNDS["int8"])


def test_a_network_that_says_the_same_of_every_item_is_measured_by_its_range():
    same = np.tile(np.linspace(-1, 1, 10), (8, 1))
    assert compare((same + 0.01,), (same + 0.01,), (same,)).network_error == pytest.approx(0.01 * 16 / 2)


def test_refusals_name_figure_and_bound():
    bounds = Bounds(graph_error=1e-4, graph_steps=2, network_error=0.35)
    assert refusal(off_by(0.0), bounds) == ""
    assert refusal(off_by(0.0, step=1.0), bounds) == ""
    assert refusal(off_by(1e9), bounds).startswith("the program is not its graph: off by 2.65e+08 ")
    assert refusal(off_by(1e9), bounds).endswith("of the largest output, at most 0.0001 is rounding")
    assert refusal(off_by(7.0, step=1.0), bounds) == (
        "the program is not its graph: off by 7 quantisation steps, at most 2 is rounding"
    )
    assert refusal(off_by(2.0, step=1.0), bounds).startswith("the program is not its network")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_refused(value):
    bad = SAID.copy()
    bad[3:5, 0] = value
    with pytest.raises(StageError, match="^the program says NaN or infinity of 2 of 32 items$") as caught:
        compare((bad,), (SAID,), (SAID,))
    assert caught.value.status == "parity-failed"


def test_shapes_are_compared():
    with pytest.raises(StageError, match=r"shapes \[\(32, 9\)\], those of the graph \[\(32, 10\)\]"):
        compare((SAID[:, :9],), (SAID,), (SAID,))


def test_flips_are_counted_by_the_tasks_predictions(fp32):
    told = prove(fp32.lowered, fp32.network, items(8), xnnpack.FP32, lambda outputs: outputs.argmax(axis=1))
    assert told.flips == 0.0


def planted(made, seed, *, width):
    """The program with a wrong top byte in one weight of the last layer, which weighs the liveliest feature."""
    file = deserialize_pte_binary(made.lowered.buffer)
    weight = made.network.linear.weight
    blobs = [bytes(each) for each in file.named_data.buffers]
    blob = next(blob for blob in blobs if len(blob) == weight.numel() * width and len(set(blob)) > 16)
    start = made.lowered.buffer.find(blob)
    assert start > 0
    with calm(), features(made.network, ("pool",)) as seen:
        made.network(torch.cat([item for (item,) in items(32, seed=2)]))
        liveliest = int(seen["pool"].abs().mean(0).argmax())
    place = seed * weight.shape[1] + liveliest
    bad = bytearray(made.lowered.buffer)
    bad[start + place * width + width - 1] ^= 0x80 if width == 1 else 0x7F
    return dataclasses.replace(made.lowered, buffer=bytes(bad))


@pytest.mark.parametrize("seed", range(4))
def test_a_wrong_byte_in_a_float_weight_is_caught(fp32, seed):
    with pytest.raises(StageError, match="^the program (is not its|says NaN|does not run)") as caught:
        prove(planted(fp32, seed, width=4), fp32.network, items(32, seed=2), xnnpack.FP32)
    assert caught.value.status == "parity-failed"


@pytest.mark.parametrize("seed", range(4))
def test_a_wrong_byte_in_a_half_weight_is_caught(fp16, seed):
    with pytest.raises(StageError, match="^the program (is not its|says NaN|does not run)"):
        prove(planted(fp16, seed, width=2), fp16.network, items(32, seed=2), xnnpack.FP16)


@pytest.mark.parametrize("seed", range(4))
def test_a_wrong_bit_in_an_integer_weight_is_caught(int8, seed):
    with pytest.raises(StageError, match="^the program is not its graph: off by .* quantisation steps"):
        prove(planted(int8, seed, width=1), int8.network, items(32, seed=2), xnnpack.INT8)


@pytest.mark.parametrize(("target", "width"), [(xnnpack.FP32, 4), (xnnpack.INT8, 1)])
def test_every_one_of_twenty_faults_that_flip_a_test_item_is_caught_by_outputs(target, width, trained, data, task):
    network, proof = restore(trained), parity_items(data, task)
    healthy = target.lower(network, proof[0], calibration_items(data, task, 64, 0))
    test = batches_of_one(data, task, data.test, np.arange(len(data.test)))
    right = run_program(healthy.buffer, test)[0].argmax(-1)
    blobs = [bytes(each) for each in deserialize_pte_binary(healthy.buffer).named_data.buffers]
    draw, faults = random.Random(0), []
    while len(faults) < 20:
        blob = draw.choices(blobs, weights=[len(each) for each in blobs])[0]
        place = healthy.buffer.find(blob) + draw.randrange(len(blob) // width) * width + width - 1
        bad = bytearray(healthy.buffer)
        bad[place] ^= 0x80 if width == 1 else 0x7F
        try:
            flips = (run_program(bytes(bad), test)[0].argmax(-1) != right).any()
        except StageError:
            continue  # it says infinity, which nobody needs to prove
        if flips:
            faults.append(bytes(bad))
    prove(healthy, network, proof, target)
    for fault in faults:
        with pytest.raises(StageError, match="^the program (is not its|says NaN)"):
            prove(dataclasses.replace(healthy, buffer=fault), network, proof, target)


def test_a_program_that_cannot_be_loaded_is_refused(fp32):
    with pytest.raises(StageError, match="^the program does not run: ") as caught:
        run_program(fp32.lowered.buffer[:100], items(1))
    assert caught.value.status == "parity-failed"


def test_healthy_calibration_passes_and_calibration_without_normalisation_does_not(trained, data, task, program_json):
    assert program_json["parity"]["network_error"] < 0.15
    network, proof = restore(trained), parity_items(data, task)
    mean, std = data.mean[0], data.std[0]
    raw = [((inputs[0] * std + mean) * data.scale,) for inputs in calibration_items(data, task, 64, 0)]
    lowered = xnnpack.INT8.lower(network, proof[0], raw)
    with pytest.raises(StageError, match="^the program is not its network: off by 0.[4-9]"):
        prove(lowered, network, proof, xnnpack.INT8, task.predictions)


def test_weight_only_quantisation_is_garbage_on_xnnpack_and_is_caught():
    network = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10)).eval()
    quantize_(network, IntxWeightOnlyConfig(weight_dtype=torch.int8))
    example = (torch.randn(1, 32),)
    with calm():
        exported = export(network, example)
        lowered = finish(Steps("weight-only"), exported, exported.module(), [partitioner("int8")], "int8")
    fed = items(8, shape=(1, 32))
    with pytest.raises(StageError, match="^the program is not its graph"):
        prove(lowered, network, fed, xnnpack.INT8)
