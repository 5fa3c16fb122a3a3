"""Every function of the dialect with what is told of it: for the reference page, for editors, and for the tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from server.sql.binder import aggregates, columnexpr, groups, rowfunctions, rowtables, samples, tables, when
from server.sql.functions import families
from server.sql.notes import Note


def reference() -> Iterator[tuple[str, Sequence[Note]]]:
    """Titles of the parts, each with its functions; those whose names begin with ``_`` are left out."""
    for title, builtins in families():
        yield title, [one for one in builtins if not one.name.startswith("_")]
    yield "Aggregates: over the rows of a group", aggregates.NOTES
    yield "Of the row", rowfunctions.NOTES
    yield "Of the group", groups.NOTES
    yield "Of the column, in COLUMN EXPR", columnexpr.NOTES
    yield "Of the value, in WHEN", when.NOTES
    yield "Tables, in FROM", [*tables.NOTES, *samples.NOTES, *rowtables.NOTES]
