"""Tables as HTML, for notebooks and reports: names from files are text there, never markup."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

if TYPE_CHECKING:
    from kdbench.tables import Table


@cache
def pages() -> Environment:
    """The templates that make HTML, everything in them escaped."""
    return Environment(
        loader=PackageLoader("kdbench", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def as_html(table: Table) -> str:
    """The table as a piece of HTML: one ``<table>`` a section, the notes and the legend below."""
    return pages().get_template("table.html.in").render(table=table)
