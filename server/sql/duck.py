"""Spelling of DuckDB SQL: literals, macros, and which columns a piece of SQL reads."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import cache

from server.storage.database import text_literal
from server.values.atoms import Atom, Interval, PathValue, Timestamp, collapse
from server.values.kinds import INTERVAL_TYPE, Kind
from server.values.paths import format_path

_COLUMN = r'\.(\w+|"(?:[^"]|"")*")'
_REFERENCE = re.compile(r"\br(\d+)" + _COLUMN)
_RELATION = re.compile(r"\bAS r(\d+)\b")
_CALLS = re.compile(r"\b(?:m|u|s|any)_\w+\(")
_NESTED_CALLS = 3
QUERY = "(SELECT "  # how our sub-queries begin
_LITERAL = re.compile(r"'(?:[^']|'')*'")


def literal_text(text: str) -> str:
    """A string literal. A NUL cannot be in DuckDB SQL text, so it is spliced in by chr()."""
    quoted = text_literal(text)
    return quoted if "\0" not in text else "(" + quoted.replace("\0", "' || chr(0) || '") + ")"


def literal_number(number: float) -> str:
    if math.isnan(number):
        return "'nan'::DOUBLE"
    if math.isinf(number):
        return "'inf'::DOUBLE" if number > 0 else "'-inf'::DOUBLE"
    return f"'{number!r}'::DOUBLE"


def literal(value: Atom) -> tuple[str, Kind]:
    """An atom as a SQL literal, and its kind."""
    match value:
        case None:
            return "NULL", Kind.NULL
        case bool() | int():
            return _literal_integer(int(value))
        case float():
            exact = collapse(value)
            return _literal_integer(exact) if isinstance(exact, int) else (literal_number(value), Kind.NUMBER)
        case str():
            return literal_text(value), Kind.STRING
        case Timestamp(seconds):
            return literal_number(seconds), Kind.TIMESTAMP
        case Interval(months, days, seconds):
            fields = f"{{'months': {months}, 'days': {days}, 'seconds': {literal_number(seconds)}}}"
            return f"CAST({fields} AS {INTERVAL_TYPE})", Kind.INTERVAL
        case bytes():
            return f"unhex('{value.hex()}')", Kind.BLOB
        case PathValue(path):
            return literal_text(format_path(path)), Kind.PATH


def select_list(columns: Mapping[str, str]) -> str:
    """What stands behind SELECT, of SQL by name; a query of no columns has rows all the same."""
    return ", ".join(f"{sql} AS {name}" for name, sql in columns.items()) or "1 AS one"


def where_clause(conditions: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def order_clause(terms: Sequence[str]) -> str:
    return f" ORDER BY {', '.join(terms)}" if terms else ""


def macro(name: str, *arguments: str) -> str:
    """A call of one of our macros, which spell their arguments several times.

    Where an argument is itself made of such calls it is computed before, in a list of one: or the text would grow
    with every level of nesting, and DuckDB's planning with it. Then sub-queries, which no lambda may hold, are too.
    """
    nested = [number for number, text in enumerate(arguments) if len(_CALLS.findall(text)) >= _NESTED_CALLS]
    if not nested:
        return f"{name}({', '.join(arguments)})"
    nested += [number for number, text in enumerate(arguments) if QUERY in text and number not in nested]
    fields = ", ".join(f"a{number} := {arguments[number]}" for number in nested)
    bound = ", ".join(f"z.a{number}" if number in nested else text for number, text in enumerate(arguments))
    return f"list_transform([struct_pack({fields})], lambda z: {name}({bound}))[1]"


def _literal_integer(number: int) -> tuple[str, Kind]:
    if -(2**63) <= number < 2**63:
        return f"'{number}'::BIGINT", Kind.INTEGER
    if 0 <= number < 2**64:
        return f"'{number}'::UBIGINT", Kind.UNSIGNED
    return literal_number(float(number)), Kind.NUMBER


def references(sql: str, number: int) -> set[str]:
    """The columns that SQL reads from the compiler's own relation ``r<number>``.

    What only looks like a reference, as part of a literal may, makes the relation offer a column too many, no more.
    """
    return set(_reference(number).findall(sql))


@cache
def _reference(number: int) -> re.Pattern[str]:
    return re.compile(f"r{number}{_COLUMN}")  # with nothing before it: text is then searched ten times as fast


def outer_references(sql: str) -> dict[int, set[str]]:
    """The columns that SQL reads from relations around it: without what its own sub-queries read of each other."""
    bare = _LITERAL.sub("''", sql)
    own = set(map(int, _RELATION.findall(bare)))
    found: dict[int, set[str]] = {}
    for number, column in _REFERENCE.findall(bare):
        if int(number) not in own:
            found.setdefault(int(number), set()).add(column)
    return found
