"""What operators and the binder itself call: casts, names, rows as cells, group keys."""

from __future__ import annotations

import json
import math
from collections import Counter
from itertools import groupby
from typing import Any

import orjson

from server.errors import MldbError
from server.sql.bound import Atom as BoundAtom
from server.sql.bound import Value, is_constant
from server.sql.functions.arithmetic import divide
from server.sql.functions.conversions import as_integer, as_number
from server.sql.functions.openaggregates import AGGREGATES, by_path
from server.sql.functions.registry import Builtin, executing
from server.sql.routines import ANYS, CELLS, ITEMS, NUMBERS, TEXTS, Routine
from server.sql.scope import Scope
from server.sql.tree import Call
from server.values.atoms import (
    NEVER,
    Atom,
    Interval,
    PathValue,
    Timestamp,
    atom_text,
    atom_to_json,
    collapse,
    number_text,
    timestamp_text,
)
from server.values.batches import Cell
from server.values.kinds import Kind
from server.values.paths import Path, format_path, natural_key, natural_key_of, parse_path, quote_element

# ── casts (§1.4) ─────────────────────────────────────────────────────────────────────────────────────────────


def parse_number(text: str) -> int | float | None:
    """A whole text as int64, uint64 or double, as the C library reads them."""
    body = text.lstrip(" \t\n\v\f\r")
    if not body or body[-1].isspace() or "_" in body or not body.isascii():  # int() takes more digits than C
        return None
    try:
        number = int(body)
        if -(2**63) <= number < 2**64:
            return number
    except ValueError:
        pass
    try:
        return collapse(float.fromhex(body) if "x" in body.lower() else float(body))
    except (ValueError, OverflowError):
        return None


def cast_number(value: Atom) -> int | float | None:
    match value:
        case str():
            return parse_number(value)
        case Timestamp(seconds):
            return collapse(seconds)
        case int() | float():
            return value
    return None


def cast_integer(value: Atom) -> int | None:
    if isinstance(value, str):
        value = parse_number(value)
    if isinstance(value, Timestamp):
        value = value.seconds
    if not isinstance(value, int | float) or not -(2.0**63) <= value < 2.0**63:
        return None
    return int(value)


def cast_boolean(value: Atom) -> bool | None:
    match value:
        case str():
            word = {"true": True, "false": False}.get(value.lower())
            number = parse_number(value) if word is None else None
            return word if number is None else number != 0
        case Timestamp(seconds):
            return math.isfinite(seconds)
        case Interval(months, days, seconds):
            return bool(months or days or seconds)
        case PathValue(path):
            return bool(path)
        case int() | float():
            return value != 0
    return None


def cast_blob(value: Atom) -> bytes:
    return value if isinstance(value, bytes) else atom_text(value).encode()


# ── names, rows and groups ───────────────────────────────────────────────────────────────────────────────────


def natural_cells(cells: list[Cell]) -> list[Cell]:
    return sorted(cells, key=lambda cell: natural_key(cell.path))


def row_items(cells: list[Cell]) -> list[tuple[Path, list[Cell]]]:
    """The top-level columns of a row, in natural order, each with its cells."""
    ordered = sorted(cells, key=lambda cell: natural_key(cell.path[:1]))
    groups = groupby(ordered, key=lambda cell: cell.path[:1])
    return [(first, [Cell(c.path[1:], c.value, c.timestamp) for c in below]) for first, below in groups]


def _compact(value: Any) -> str:
    return orjson.dumps(_with_digits(value)).decode()


def _with_digits(value: Any) -> Any:
    """JSON data in which numbers have MLDB's digits: ``1e300`` and ``0.00001``."""
    match value:
        case float():
            return orjson.Fragment(number_text(value))
        case list():
            return [_with_digits(one) for one in value]
    return value


def key_json(value: Atom) -> str:
    return _compact(atom_to_json(value))


def keys_json(values: list[Atom], shape: list[float]) -> str:
    """An embedding-valued group key, as nested arrays."""
    nested: list[Any] = [atom_to_json(value) for value in values]
    for size in map(int, reversed(shape[1:])):
        nested = [nested[at : at + size] for at in range(0, len(nested), size)]
    return _compact(nested)


def cells_json(cells: list[Cell]) -> str:
    """A row-valued group key: ``[[name,[value,timestamp]],…]``."""
    nested: dict[str, list[Cell]] = {}
    for cell in natural_cells(cells):
        if not cell.path:
            return key_json(cell.value)
        nested.setdefault(cell.path[0], []).append(Cell(cell.path[1:], cell.value, cell.timestamp))
    items = []
    for name, below in nested.items():
        newest = max(cell.timestamp for cell in below)
        items.append([name, [json.loads(cells_json(below)), timestamp_text(newest)]])
    return _compact(items)


def path_element(text: str, index: int) -> str | None:
    path = parse_path(text)
    return path[index] if -len(path) <= index < len(path) else None


def named_column(value: Atom) -> str:
    """The column that a NAMED_COLUMNS row names: its text as one element."""
    if value is None:
        raise MldbError("Column names in NAMED_COLUMNS SQL can't be null")
    if isinstance(value, PathValue):
        return format_path(value.path)
    text = atom_text(value)
    if not text:
        raise MldbError("Empty or null column names cannot be returned from NAMED_COLUMNS sql query")
    return quote_element(text)


def join_texts(texts: list[str], separators: list[str | None]) -> str:
    """Texts joined, each separator being that of the element before it; a NULL one is empty."""
    parts = [part or "" for pair in zip(texts, separators, strict=True) for part in pair]
    return "".join(parts[:-1])


def aggregate_cells(name: str, cells: list[Cell]) -> list[Cell]:
    """An aggregate over the cells of a group's open rows: one result per column."""
    groups = by_path(cells)
    if len(groups) > 1 and all(cell.value is None for cell in groups.get((), ())):
        groups.pop((), None)  # rows among which some were null
    return [AGGREGATES[name](path, group) for path, group in groups.items()]


def likelihood_ratio(among: list[str], rows: int, others: list[str], other_rows: int) -> list[Cell]:
    """For each column the logarithm of its share among some rows over that among others; NULL where there are none.

    A column's name is listed once for each row that has it.
    """
    counts, other_counts = Counter(among), Counter(others)
    found: list[Cell] = []
    for name in dict.fromkeys([*among, *others]):
        ratio = None
        if rows and other_rows:
            share = divide(counts[name] / rows, other_counts[name] / other_rows)
            ratio = math.log(share) if share else -math.inf
        found.append(Cell(parse_path(name), None if ratio is None else collapse(ratio), NEVER))
    return found


def number_of(value: Atom, function: str) -> float:
    """A number, or the error that names the function it was given to."""
    return executing(function, as_number)(value)  # type: ignore[no-any-return]


def _signed_64(value: Atom) -> int:
    number = as_integer(value)
    if number < 2**63:
        return number
    raise MldbError(f"Can't convert value '{number}' of type 'UNSIGNED' to a signed integer: it is too large")


def integer_of(value: Atom, function: str) -> int:
    return executing(function, _signed_64)(value)  # type: ignore[no-any-return]


ROUTINES = [
    Routine("u_num_of", (Kind.ANY, Kind.STRING), Kind.NUMBER, number_of),
    Routine("u_int_of", (Kind.ANY, Kind.STRING), Kind.INTEGER, integer_of),
    Routine("u_cast_number", (Kind.ANY,), Kind.ANY, cast_number),
    Routine("u_cast_integer", (Kind.ANY,), Kind.INTEGER, cast_integer),
    Routine("u_cast_boolean", (Kind.ANY,), Kind.BOOLEAN, cast_boolean),
    Routine("u_cast_blob", (Kind.ANY,), Kind.BLOB, cast_blob),
    Routine("u_natural_key", (Kind.STRING,), Kind.BLOB, natural_key_of),
    Routine("u_natural_cells", (CELLS,), CELLS, natural_cells),
    Routine("u_row_items", (CELLS,), ITEMS, row_items),
    Routine("u_key_json", (Kind.ANY,), Kind.STRING, key_json),
    Routine("u_cells_json", (CELLS,), Kind.STRING, cells_json),
    Routine("u_keys_json", (ANYS, NUMBERS), Kind.STRING, keys_json),
    Routine("u_path_element", (Kind.STRING, Kind.INTEGER), Kind.STRING, path_element),
    Routine("u_path_length", (Kind.STRING,), Kind.INTEGER, lambda text: len(parse_path(text))),
    Routine("u_named_column", (Kind.ANY,), Kind.STRING, named_column, strict=False),
    Routine("u_join_texts", (TEXTS, TEXTS), Kind.STRING, join_texts),
    Routine("u_likelihood_ratio", (TEXTS, Kind.INTEGER, TEXTS, Kind.INTEGER), CELLS, likelihood_ratio),
    Routine("u_aggregate_cells", (Kind.STRING, CELLS), CELLS, aggregate_cells),
]

MACROS = r"""
m_row_cells(l) := CASE WHEN len(list_filter(l, lambda c: c.p = '')) = 0 THEN l
    WHEN m_atom(l) IS NOT NULL THEN u_fail_cells('Expression with AS * must return a row')
    ELSE list_filter(l, lambda c: c.p <> '') END
m_only_row(l) := CASE WHEN l IS NULL OR (len(l) > 0 AND len(list_filter(l, lambda c: c.p <> '')) = 0)
    THEN u_fail_cells('Argument to row_dataset must be a row, not a scalar or NULL') ELSE l END
m_num_of(a, f) := CASE m_tag(a) WHEN 'n' THEN union_extract(a, 'n') WHEN 'i' THEN CAST(union_extract(a, 'i') AS DOUBLE)
    WHEN 'u' THEN CAST(union_extract(a, 'u') AS DOUBLE) ELSE u_num_of(a, f) END
m_cast_integer(s) := CASE WHEN regexp_full_match(s, '-?[0-9]{1,18}') THEN TRY_CAST(s AS BIGINT)
    ELSE u_cast_integer(any_s(s)) END
m_cast_number(s) := CASE WHEN regexp_full_match(s, '-?[0-9]{1,15}(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,2})?')
    THEN any_n(TRY_CAST(s AS DOUBLE)) ELSE u_cast_number(any_s(s)) END
m_single(p) := p <> '' AND (NOT contains(p, '.') OR regexp_full_match(p, '"([^"]|"")*"'))
m_like_text(a) := CASE m_tag(a) WHEN 's' THEN union_extract(a, 's')
    ELSE CASE WHEN a IS NULL THEN NULL ELSE u_fail_text('LIKE expression must have string on left side') END END
m_cells_path(l) := CASE WHEN coalesce(len(l), 0) = 0 THEN NULL
    WHEN len(list_filter(l, lambda c: c.p = '')) > 0 THEN list_transform([m_atom(l)], lambda a: m_path(a))[1]
    ELSE u_join_path(list_transform(u_natural_cells(l), lambda c: c.v)) END
m_need_ts(t) := CASE WHEN t IS NULL THEN u_fail_number('couldn''t parse a date for @; use a timestamp or ISO 8601 text')
    ELSE t END
m_need_name(p) := CASE WHEN p IS NULL THEN u_fail_text('Can''t create a row with a null name.') ELSE p END
m_need_column(p) := CASE WHEN p IS NULL THEN u_fail_text('Cannot have a NULL column name') ELSE p END
m_starts(p, x) := starts_with(p, x) OR starts_with(p, '"' || x)
m_starting(l, x) := list_filter(l, lambda c: starts_with(c.p, x) OR starts_with(c.p, '"' || x))
"""


def _isconst(node: Call, args: list[Value], scope: Scope) -> Value:
    return BoundAtom("'1'::BIGINT" if is_constant(args[0]) else "'0'::BIGINT", Kind.INTEGER, constant=True)


BUILTINS = [
    Builtin("__isconst(x: any) → boolean", "Whether x is known before any row is read.", bind=_isconst),
]
