import pytest

from kdbench.catalog import entries
from kdbench.errors import UsageError
from kdbench.methods.build import method_from
from kdbench.methods.kd import KD

PLUGIN = """
from __future__ import annotations
from typing import TYPE_CHECKING
from kdbench.methods.method import Method
if TYPE_CHECKING:
    from fractions import Fraction

class Needs(Method):
    def __init__(self, weight: float, copy: int = 2): self.weight, self.copy = weight, copy
class Hidden(Method):
    def __init__(self, weight: Fraction = 1): pass
class Loose(Method):
    def __init__(self, anything=3): self.anything = anything
NotAMethod = 3
"""


@pytest.fixture
def plugin(tmp_path):
    (tmp_path / "plugin.py").write_text(PLUGIN)
    return str(tmp_path / "plugin.py")


@pytest.mark.parametrize("name", ["scratch", "label-smoothing", "kd", "fitnet", "at", "dkd"])
def test_every_method_of_the_package_is_built_with_its_defaults(name):
    assert name in entries("methods")
    assert method_from(name, {}) is not method_from(name, {})


def test_options_reach_the_method_and_whole_numbers_are_numbers():
    method = method_from("kd", {"temperature": 2, "alpha": 0.5})
    assert isinstance(method, KD)
    assert (method.temperature, method.alpha) == (2.0, 0.5)


@pytest.mark.parametrize(
    ("use", "options", "message"),
    [
        ("kd", {"temprature": 2}, "method 'kd' in x.toml has no option 'temprature'; did you mean 'temperature'?"),
        ("scratch", {"beta": 2}, "method 'scratch' in x.toml has no option 'beta'; it has none"),
        ("kd", {"temperature": 0}, "method 'kd' in x.toml option 'temperature': found 0, expected greater than 0"),
        ("kd", {"alpha": 1.5}, "method 'kd' in x.toml option 'alpha': found 1.5, expected less than or equal to 1"),
        ("kd", {"alpha": "a"}, "method 'kd' in x.toml option 'alpha': found 'a', expected a valid number"),
        ("kd", {"alpha": True}, "method 'kd' in x.toml option 'alpha': found True, expected a valid number"),
        ("dkd", {"beta": float("inf")}, "method 'dkd' in x.toml option 'beta': found inf, expected a finite number"),
        ("at", {"power": 0.5}, "method 'at' in x.toml option 'power': found 0.5, expected greater than or equal to 1"),
        (
            "fitnet",
            {"student_stage": 2},
            "method 'fitnet' in x.toml option 'student_stage': found 2, expected a valid string",
        ),
        ("fitnets", {}, "unknown method 'fitnets' in x.toml; did you mean 'fitnet'?"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(use, options, message):
    with pytest.raises(UsageError) as error:
        method_from(use, options, "in x.toml")
    assert str(error.value) == message


def test_plug_ins_are_checked_alike(plugin):
    needs = method_from(f"{plugin}:Needs", {"weight": 3})
    assert (needs.weight, needs.copy) == (3.0, 2)
    assert method_from(f"{plugin}:Loose", {"anything": [1]}).anything == [1]
    for name, options, words in [
        ("Needs", {}, "option 'weight': missing"),
        ("Needs", {"weight": 1, "copy": 1.5}, "option 'copy': found 1.5, expected a valid integer"),
        ("Hidden", {}, "name 'Fraction' is not defined in the types of its options; import it at run time"),
        ("NotAMethod", {}, "is not a subclass of kdbench.methods.method.Method"),
    ]:
        with pytest.raises(UsageError) as error:
            method_from(f"{plugin}:{name}", options)
        assert str(error.value).endswith(words)
