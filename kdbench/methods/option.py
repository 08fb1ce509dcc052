"""Types of method options for signatures: bounds for ``build`` to check, ranges for ``space`` to search."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


@dataclass(frozen=True, slots=True)
class Around:
    """A search tries from the option's default / ``times`` to ``times`` the default, evenly in the logarithm."""

    times: float


@dataclass(frozen=True, slots=True)
class Between:
    """A search tries from ``low`` to ``high``, evenly."""

    low: float
    high: float


class Axis(BaseModel):
    """What a search may try of one option: from ``low`` to ``high``, with ``log`` evenly in the logarithm.

    ``default`` is what the method has without a search.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    low: float
    high: float
    log: bool
    default: float


Weight = Annotated[float, Field(ge=0, allow_inf_nan=False), Around(10)]
"""The factor of a loss term: 0 turns the term off."""

Temperature = Annotated[float, Field(gt=0, allow_inf_nan=False), Around(4)]
"""What logits are divided by before the softmax."""

Times = Annotated[float, Field(ge=1, allow_inf_nan=False)]
"""How many times as long or as much; not searched, since it is what a student costs."""

Share = Annotated[float, Field(ge=0, le=1), Between(0, 1)]
"""A part of a whole."""
