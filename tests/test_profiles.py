"""Where a program's time goes: what ExecuTorch's tracer says, laid out as one inference."""

import numpy as np
import pytest
import torch
from torch import nn

import kdbench as package
from kdbench.errors import MeasureError, UsageError
from kdbench.profiles import KERNEL, REST, profile


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """One network whole in a delegate, in no delegate, and with a kernel before, between and after two of them."""
    folder = tmp_path_factory.mktemp("profile")

    class Split(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(64, 64), nn.Linear(64, 64)

        def forward(self, x):
            return self.last(self.first(x).cumsum(1)).cumsum(1)

    network, example = Split().eval(), torch.ones(1, 64)
    whole = nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 8)).eval()
    package.lower(network, example, "xnnpack-fp32").save(folder / "split.pte")
    package.lower(whole, example, "portable-fp32").save(folder / "portable.pte")
    package.lower(whole, example, "xnnpack-fp32").save(folder / "delegated.pte")
    return folder


def test_the_steps_are_those_of_an_inference_and_sum_to_it(programs):
    found = profile(programs / "split.pte", seconds=0)
    steps = [(each.where, each.name) for each in found.operators]
    assert [where for where, _ in steps] == [
        *["XnnpackBackend"] * 2, KERNEL, *["XnnpackBackend"] * 2, KERNEL, "runtime",
    ]  # fmt: skip
    assert [name for where, name in steps if where == KERNEL] == ["cumsum.out"] * 2
    assert all("Fully Connected" in steps[place][1] for place in (0, 3))
    assert [name for _, name in steps].count(REST) == 3
    assert sum(each.mean_us for each in found.operators) == pytest.approx(found.mean_us)
    assert (found.runs, found.threads) == (100, 1)


def test_kernels_have_their_names_and_the_largest_takes_most(programs):
    frame = profile(programs / "portable.pte", seconds=0).frame()
    assert list(frame.columns) == ["operator", "where", "mean_us", "share"]
    assert frame["share"].sum() == pytest.approx(1)
    products = frame[frame["operator"] == "addmm.out"]
    assert list(products["where"]) == [KERNEL] * 2
    assert products["mean_us"].iloc[0] > 2 * products["mean_us"].iloc[1]  # it has eight times the weights


def test_more_seconds_are_more_runs_and_given_items_are_fed(programs, tmp_path):
    np.save(tmp_path / "x.npy", np.ones((3, 1, 64), np.float32))
    found = profile(programs / "delegated.pte", inputs=[tmp_path / "x.npy"], seconds=0.2)
    assert found.fed == "x.npy"
    assert found.runs > 200


def test_what_does_not_run_or_fit_is_one_line(programs, tmp_path, broken_program):
    with pytest.raises(MeasureError, match="^the program does not run here: .*; it needs "):
        profile(broken_program.path, seconds=0)
    with pytest.raises(UsageError, match="^cannot read "):
        profile(tmp_path / "none.pte")
    with pytest.raises(UsageError, match="has no method 'backward'; it has 'forward'"):
        profile(programs / "split.pte", method="backward")
    np.save(tmp_path / "y.npy", np.ones((1, 63), np.float32))
    with pytest.raises(UsageError, match=r"y\.npy is float32 \[1, 63\]; the program takes float32 \[1, 64\]"):
        profile(programs / "split.pte", inputs=[tmp_path / "y.npy"])
