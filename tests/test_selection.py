import pytest

from kdbench.errors import UsageError
from kdbench.selection import wanted

KNOWN = {"method": ["kd", "dkd"], "target": ["xnnpack-fp32"]}


def test_an_axis_named_twice_admits_either_value():
    assert wanted("method=kd, method=dkd,target=xnnpack-fp32", KNOWN, "this suite") == {
        "method": {"kd", "dkd"},
        "target": {"xnnpack-fp32"},
    }


@pytest.mark.parametrize(
    ("only", "line"),
    [
        ("kd", "--only 'kd': expected AXIS=VALUE such as method=kd"),
        ("seed=0", "--only 'seed=0': unknown axis 'seed'; known: method, target"),
        ("method=at", "--only 'method=at': the run has no method 'at'; known: kd, dkd"),
    ],
)
def test_what_is_not_there_is_one_line(only, line):
    with pytest.raises(UsageError) as refused:
        wanted(only, KNOWN, "the run")
    assert str(refused.value) == line
