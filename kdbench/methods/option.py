"""Types of method options with their bounds, for the signatures of methods; ``build`` checks values against them."""

from typing import Annotated

from pydantic import Field

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""The factor of a loss term: 0 turns the term off."""

Temperature = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""What logits are divided by before the softmax."""

Times = Annotated[float, Field(ge=1, allow_inf_nan=False)]
"""How many times as long or as much."""

Share = Annotated[float, Field(ge=0, le=1)]
"""A part of a whole."""
