import pytest

from kdbench.catalog import entries
from kdbench.errors import UsageError
from kdbench.methods.build import method_from
from kdbench.methods.option import Axis
from kdbench.methods.space import space_of

PLUGIN = """
from typing import Annotated
from pydantic import Field
from kdbench.methods.method import Method
from kdbench.methods.option import Between, Weight

class Mine(Method):
    def __init__(self, weight: Weight, off: Weight = 0.0, margin: Annotated[float, Field(ge=0), Between(0, 3)] = 5.0,
                 plain: float = 1.0, layer: Annotated[str, Between(0, 1)] = ""):
        pass
class Bare(Method):
    def __init__(self, width: int = 3): pass
"""


@pytest.fixture
def plugin(tmp_path):
    (tmp_path / "plugin.py").write_text(PLUGIN)
    return str(tmp_path / "plugin.py")


def test_the_types_of_options_say_what_is_searched():
    assert space_of("kd", {}) == {
        "temperature": Axis(low=1, high=16, log=True, default=4),
        "alpha": Axis(low=0, high=1, log=False, default=0.9),
    }


def test_a_suite_s_own_options_are_what_is_searched_around():
    assert space_of("kd", {"temperature": 2})["temperature"] == Axis(low=0.5, high=8, log=True, default=2)


def test_what_has_no_number_to_search_around_is_left_alone_and_a_default_is_never_outside(plugin):
    assert space_of(f"{plugin}:Mine", {}) == {"margin": Axis(low=0, high=5, log=False, default=5)}
    assert space_of(f"{plugin}:Mine", {"weight": 3})["weight"] == Axis(low=0.3, high=30, log=True, default=3)


@pytest.mark.parametrize("use", ["scratch", "longer-scratch"])
def test_a_method_without_such_options_is_refused(use):
    with pytest.raises(UsageError, match=f"method '{use}' has no option that can be searched; kdbench.methods.option"):
        space_of(use, {})


def test_a_plug_in_without_such_options_is_refused(plugin):
    with pytest.raises(UsageError, match="Bare' has no option that can be searched"):
        space_of(f"{plugin}:Bare", {})


@pytest.mark.parametrize("name", sorted(set(entries("methods")) - {"scratch", "longer-scratch"}))
@pytest.mark.parametrize("end", ["low", "high"])
def test_every_method_takes_both_ends_of_its_space(name, end):
    assert method_from(name, {option: getattr(axis, end) for option, axis in space_of(name, {}).items()})
