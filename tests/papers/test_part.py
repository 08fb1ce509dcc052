import made_up
import pytest

from kdbench.errors import UsageError
from kdbench.papers.part import part


def test_a_part_holds_what_lies_in_it_on_every_axis_that_is_asked():
    some = part([made_up.run()], "method=kd,method=teacher,target=xnnpack-int8")
    assert some.holds(method="kd", target="xnnpack-int8", pair="any", device="host")
    assert some.holds(pair="any")
    assert not some.holds(method="fitnet", target="xnnpack-int8")
    assert not some.holds(method="kd", target="xnnpack-fp32")
    assert part([made_up.run()], "").holds(method="fitnet")


@pytest.mark.parametrize(
    ("only", "line"),
    [
        ("method=at", "--only 'method=at': what is shown has no method 'at'; known: teacher, scratch, kd, fitnet"),
        ("seed=0", "--only 'seed=0': unknown axis 'seed'; known: pair, method, target, device"),
    ],
)
def test_what_the_runs_do_not_have_is_one_line(only, line):
    with pytest.raises(UsageError) as refused:
        part([made_up.run()], only)
    assert str(refused.value) == line
