"""From a method's name and options to the method, every option checked before anything is trained."""

from __future__ import annotations

import inspect
import typing
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, Field, ValidationError, create_model

from kdbench.catalog import find, suggestion
from kdbench.errors import UsageError
from kdbench.methods.method import Method

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails


def method_from(use: str, options: Mapping[str, Any], where: str = "") -> Method:
    """A new object of the method called ``use`` with these options; ``where`` tells in errors where they were read.

    Raises:
        UsageError: no such method, an unknown option (with the nearest ones), or a value that the option does not
            allow: one line with the option, what was found and what is expected.
    """
    made = _class(use, where)
    checked = _checked(made, use, options, where)
    try:
        return made(**checked)
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(f"method {use!r}{_space(where)} cannot be made: {type(error).__name__}: {error}") from error


def option_types(use: str) -> dict[str, tuple[Any, Any]]:
    """Each option of the method called ``use``: its type, with its bounds, and its default; ``...`` without one.

    Raises:
        UsageError: no such method.
    """
    return _options(_class(use, ""), use)


def _class(use: str, where: str) -> type[Method]:
    made = find("methods", use, where).load()
    if not (isinstance(made, type) and issubclass(made, Method)):
        raise UsageError(f"method {use!r}{_space(where)} is not a subclass of kdbench.methods.method.Method")
    return made


def _checked(made: type[Method], use: str, options: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The options, checked against the types and bounds in the signature of the method's ``__init__``."""
    known = _options(made, use)
    for option in options:
        if option not in known:
            hint = suggestion(option, list(known)) if known else "it has none"
            raise UsageError(f"method {use!r}{_space(where)} has no option {option!r}; {hint}")
    # The fields are numbered: an option may be called as pydantic calls something of its own.
    fields: dict[str, Any] = {
        f"option{i}": (annotation, Field(default, alias=name))
        for i, (name, (annotation, default)) in enumerate(known.items())
    }
    model = create_model(
        "Options", __config__=ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False), **fields
    )
    try:
        checked = model.model_validate(dict(options))
    except ValidationError as error:
        raise UsageError(f"method {use!r}{_space(where)} {_explained(error.errors()[0])}") from None
    return {name: getattr(checked, f"option{i}") for i, name in enumerate(known)}


def _options(made: type[Method], use: str) -> dict[str, tuple[Any, Any]]:
    """Each option's type (with its bounds) and default; ``...`` where there is no default."""
    if made.__init__ is object.__init__:
        return {}
    try:
        hints = typing.get_type_hints(made.__init__, include_extras=True)
    except NameError as error:
        raise UsageError(f"method {use!r}: {error} in the types of its options; import it at run time") from None
    parameters = list(inspect.signature(made.__init__).parameters.values())[1:]
    return {
        parameter.name: (
            hints.get(parameter.name, Any),
            ... if parameter.default is inspect.Parameter.empty else parameter.default,
        )
        for parameter in parameters
        if parameter.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    }


def _explained(error: ErrorDetails) -> str:
    option = error["loc"][0]
    if error["type"] == "missing":
        return f"option {option!r}: missing"
    message = error["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return f"option {option!r}: found {error['input']!r}, expected {message}"


def _space(where: str) -> str:
    return f" {where}" if where else ""
