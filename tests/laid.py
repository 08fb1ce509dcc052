"""Tables of the made-up run, and their cells by column."""

import made_up

from kdbench.frame import frame, summary
from kdbench.tables import table_of


def table(run=None, columns=(), **options):
    return table_of(summary(frame([run or made_up.run()]), **options), columns)


def cells(laid, method, target, section=0):
    ids = [column.id for column in laid.columns]
    (found,) = [
        dict(zip(ids, row, strict=True))
        for row in laid.sections[section].rows
        if (row[0].text, row[1].text) == (method, target)
    ]
    return found
