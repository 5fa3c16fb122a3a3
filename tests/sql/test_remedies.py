"""What errors tell people to write instead exists, and what they wrote does not."""

from __future__ import annotations

import re

from server.sql import remedies
from server.sql.binder.aggregates import AGGREGATES
from server.sql.binder.rowfunctions import NOTES
from server.sql.functions import BUILTINS
from server.sql.parser.expressions import LEVELS

FUNCTIONS = {
    *BUILTINS,
    *AGGREGATES,
    *(note.name for note in NOTES),
    "merge",
    "row_dataset",
    "sample",
    "value_timestamp",
    "groupKeyElement",
}


def test_functions_of_other_dialects_are_none_of_this() -> None:
    placed = {"value_timestamp", "groupKeyElement"}  # which exist, elsewhere
    assert remedies.FUNCTIONS.keys() & FUNCTIONS == placed
    assert not remedies.WORDS.keys() & LEVELS.keys()


def test_remedies_name_what_exists() -> None:
    tables = (remedies.WORDS, remedies.OPERATORS, remedies.CHARACTERS, remedies.STATEMENTS, remedies.FUNCTIONS)
    texts = [text for table in tables for text in table.values()]
    called = {name for text in texts for name in re.findall(r"(\w+)\(", text)}
    assert called - FUNCTIONS == set()
