"""What compiled queries call at run time: DuckDB macros, and Python functions over Arrow vectors.

Macros (``any_…``, ``m_…``) are DuckDB SQL and cost nothing to call. Python functions (``u_…``) are for what SQL
cannot say; they see whole vectors. ``install`` defines both, once per database.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import duckdb
import pyarrow as pa
from duckdb.func import FunctionNullHandling, PythonUDFType

from server.declarations import Progress
from server.errors import MldbError
from server.sql import tasks
from server.values.arrow_types import ARROW_TYPES, CELLS_ARROW
from server.values.atoms import (
    NEVER,
    Atom,
    Interval,
    PathValue,
    Timestamp,
    atom_text,
    number_text,
    parse_timestamp,
    timestamp_text,
)
from server.values.batches import one_array
from server.values.cells import any_array, atoms_of, cells_array, cells_of, rows_array, same_in_all
from server.values.kinds import ANY_TYPE, CELL_TYPE, Kind
from server.values.paths import format_path, natural_key, quote_element

MACROS = r"""
any_n(x) := CASE WHEN x IS NULL THEN NULL ELSE CAST(union_value(n := x) AS any_value_t) END
any_i(x) := CASE WHEN x IS NULL THEN NULL WHEN x BETWEEN -9007199254740992 AND 9007199254740992
    THEN CAST(union_value(n := CAST(x AS DOUBLE)) AS any_value_t) ELSE CAST(union_value(i := x) AS any_value_t) END
any_u(x) := CASE WHEN x IS NULL THEN NULL WHEN x <= 9223372036854775807 THEN any_i(TRY_CAST(x AS BIGINT))
    ELSE CAST(union_value(u := x) AS any_value_t) END
any_s(x) := CASE WHEN x IS NULL THEN NULL ELSE CAST(union_value(s := x) AS any_value_t) END
any_t(x) := CASE WHEN x IS NULL THEN NULL ELSE CAST(union_value(t := x) AS any_value_t) END
any_v(x) := CASE WHEN x IS NULL THEN NULL ELSE CAST(union_value(v := x) AS any_value_t) END
any_b(x) := CASE WHEN x IS NULL THEN NULL ELSE CAST(union_value(b := x) AS any_value_t) END
any_p(x) := CASE WHEN x IS NULL THEN NULL ELSE CAST(union_value(p := x) AS any_value_t) END
m_tag(a) := CASE WHEN a IS NULL THEN NULL ELSE CAST(union_tag(a) AS VARCHAR) END
m_quote(x) := CASE WHEN x <> '' AND NOT regexp_matches(x, '[\x00-\x1f".]') THEN x
    ELSE '"' || replace(x, '"', '""') || '"' END
m_numtext(x) := CASE WHEN x = trunc(x) AND abs(x) < 1e15 THEN CAST(CAST(x AS BIGINT) AS VARCHAR)
    WHEN abs(x) >= 1e-4 AND abs(x) < 1e15 THEN CAST(x AS VARCHAR) ELSE u_numtext(x) END
m_parse_ts(s) := CASE WHEN regexp_full_match(s, '[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}:[0-9]{2}Z?)?')
    THEN coalesce(epoch(TRY_CAST(s AS TIMESTAMP)), u_parse_ts(s)) ELSE u_parse_ts(s) END
m_tstext(x) := CASE WHEN isfinite(x) AND x = floor(x) AND x BETWEEN -62135596800 AND 253402300799
    THEN strftime(make_timestamp(CAST(x AS BIGINT) * 1000000), '%Y-%m-%dT%H:%M:%SZ') ELSE u_tstext(x) END
m_num(a) := CASE m_tag(a) WHEN 'n' THEN union_extract(a, 'n') WHEN 'i' THEN CAST(union_extract(a, 'i') AS DOUBLE)
    WHEN 'u' THEN CAST(union_extract(a, 'u') AS DOUBLE) ELSE u_num(a) END
m_int(a) := CASE WHEN m_tag(a) = 'i' THEN union_extract(a, 'i')
    WHEN m_tag(a) = 'n' AND union_extract(a, 'n') = trunc(union_extract(a, 'n')) AND abs(union_extract(a, 'n')) < 1e15
    THEN CAST(union_extract(a, 'n') AS BIGINT) ELSE u_int(a) END
m_text(a) := CASE m_tag(a) WHEN 's' THEN union_extract(a, 's') WHEN 'n' THEN m_numtext(union_extract(a, 'n'))
    WHEN 'p' THEN union_extract(a, 'p') ELSE u_text(a) END
m_ts(a) := CASE m_tag(a) WHEN 't' THEN union_extract(a, 't') WHEN 'n' THEN union_extract(a, 'n')
    WHEN 's' THEN m_parse_ts(union_extract(a, 's')) ELSE NULL END
m_path(a) := CASE m_tag(a) WHEN 'p' THEN union_extract(a, 'p') WHEN 's' THEN m_quote(union_extract(a, 's'))
    ELSE m_quote(m_text(a)) END
m_truth(a) := CASE m_tag(a) WHEN 'n' THEN union_extract(a, 'n') <> 0 WHEN 's' THEN union_extract(a, 's') <> ''
    WHEN 'p' THEN union_extract(a, 'p') <> '' WHEN 't' THEN isfinite(union_extract(a, 't'))
    WHEN 'v' THEN union_extract(a, 'v').months <> 0 OR union_extract(a, 'v').days <> 0
        OR union_extract(a, 'v').seconds <> 0
    WHEN 'b' THEN octet_length(CAST(union_extract(a, 'b') AS BLOB)) > 0
    WHEN 'i' THEN TRUE WHEN 'u' THEN TRUE ELSE NULL END
m_cells_truth(l) := CASE WHEN l IS NULL THEN NULL WHEN len(l) = 0 THEN FALSE
    WHEN len(list_filter(l, lambda c: c.p <> '')) > 0 THEN TRUE
    ELSE list_transform([m_atom(l)], lambda a: m_truth(a))[1] END
m_sort_key(a) := CASE WHEN a IS NULL THEN NULL ELSE struct_pack(
    k := CASE m_tag(a) WHEN 'n' THEN CASE WHEN isnan(union_extract(a, 'n')) THEN 0 ELSE 1 END WHEN 'i' THEN 1
        WHEN 'u' THEN 1 WHEN 's' THEN 2 WHEN 't' THEN 3 WHEN 'v' THEN 4 WHEN 'b' THEN 5 ELSE 6 END,
    d := CASE m_tag(a) WHEN 'n' THEN union_extract(a, 'n') WHEN 'i' THEN CAST(union_extract(a, 'i') AS DOUBLE)
        WHEN 'u' THEN CAST(union_extract(a, 'u') AS DOUBLE) ELSE 0 END, a := a) END
m_greater(a, b) := CASE WHEN a IS NULL OR b IS NULL THEN NULL WHEN isnan(a) THEN FALSE WHEN isnan(b) THEN TRUE
    ELSE a > b END
m_compare(a, b) := CASE WHEN a IS NULL OR b IS NULL THEN NULL WHEN a = b THEN 0
    WHEN m_sort_key(a) < m_sort_key(b) THEN -1 ELSE 1 END
m_latest(l) := list_sort(list_transform(l, lambda c: struct_pack(t := -c.t, v := c.v)))[1]
m_only_latest(l) := CASE WHEN len(l) > 1
    THEN list_transform([m_latest(l)], lambda c: struct_pack(v := c.v, t := -c.t)) ELSE l END
m_earliest(l) := list_sort(list_transform(l, lambda c: struct_pack(t := c.t, v := c.v)))[1]
m_prefixed(l, x) := list_transform(l, lambda c: struct_pack(
    p := CASE WHEN c.p = '' THEN x ELSE x || '.' || c.p END, v := c.v, t := c.t))
m_under(l, x) := list_transform(
    list_filter(l, lambda c: c.p = x OR starts_with(c.p, x || '.')),
    lambda c: struct_pack(p := substr(c.p, length(x) + 2), v := c.v, t := c.t))
m_input(l, x) := CASE WHEN len(list_filter(l, lambda c: c.p = '')) > 0 THEN l ELSE m_under(l, x) END
m_atom(l) := m_latest(list_filter(l, lambda c: c.p = '')).v
m_one_value(l) := CASE WHEN l[1].p <> '' AND len(list_filter(l, lambda c: c.p = '')) = 0
    THEN u_fail_any('Cannot convert value of type ''structured'' to ''atomic value''; name one of its columns')
    ELSE m_atom(l) END
m_newest(l) := list_max(list_transform(l, lambda c: c.t))
m_vector_cells(l, x, w) := list_transform(l, lambda e, i: struct_pack(
    p := CASE WHEN x = '' THEN '' ELSE x || '.' END || CAST(i - 1 AS VARCHAR), v := e, t := w))
m_named_cells(l, n, x, w) := list_transform(l, lambda e, i: struct_pack(
    p := CASE WHEN x = '' THEN '' ELSE x || '.' END || n[i], v := e, t := w))
m_sort_cells(l) := list_sort(list_transform(list_filter(l, lambda c: c.p <> '' OR c.v IS NOT NULL),
    lambda c: struct_pack(p := c.p, k := c.v IS NOT NULL, v := m_sort_key(c.v))))
m_sort_numbers(l) := list_transform(l, lambda e: struct_pack(
    k := CASE WHEN e IS NULL THEN 0 WHEN isnan(e) THEN 1 ELSE 2 END, v := e))
m_sort_anys(l) := list_transform(l, lambda e: struct_pack(k := e IS NOT NULL, v := m_sort_key(e)))
m_sort_values(l) := list_transform(l, lambda e: struct_pack(k := e IS NOT NULL, v := e))
m_or_null(l) := CASE WHEN coalesce(len(l), 0) = 0
    THEN [struct_pack(p := '', v := NULL::any_value_t, t := '-inf'::DOUBLE)] ELSE l END
m_one_atom(l) := CASE WHEN len(list_filter(l, lambda c: c.p = '')) < 2 THEN l ELSE list_concat(
    list_transform([m_latest(list_filter(l, lambda c: c.p = ''))], lambda c: struct_pack(p := '', v := c.v, t := -c.t)),
    list_filter(l, lambda c: c.p <> '')) END
m_null_cells(l) := l IS NULL OR (len(l) > 0 AND len(list_filter(l, lambda c: c.p <> '' OR c.v IS NOT NULL)) = 0)
m_compare_cells(a, b) := CASE WHEN m_null_cells(a) OR m_null_cells(b) THEN NULL
    WHEN m_sort_cells(a) = m_sort_cells(b) THEN 0 WHEN m_sort_cells(a) < m_sort_cells(b) THEN -1 ELSE 1 END
m_sorted_cells(l) := list_sort(l)
m_timeless_cells(l) := list_sort(list_transform(l, lambda c: struct_pack(p := c.p, v := c.v)))
"""

# Between the text of an error that a routine raises and its details as JSON: DuckDB passes texts only.
DETAILS_MARK = "\x1e"
CODE_MEMBER = "httpCode"  # among them, the code where it is not 400

# Marks an argument or result as a list of cells, of ANY, …; other entries are kinds.
CELLS = "cells"
ANYS = "anys"
NUMBERS = "numbers"
TEXTS = "texts"
ITEMS = "items"  # top-level columns: path and cells
DATED = "dated"  # as a result: cells of one time, from a ``DatedRow``

Shape = Kind | str

_DUCK_TYPES = {
    CELLS: f"{CELL_TYPE}[]", DATED: f"{CELL_TYPE}[]", ANYS: f"{ANY_TYPE}[]", NUMBERS: "DOUBLE[]", TEXTS: "VARCHAR[]",
    ITEMS: f"STRUCT(p VARCHAR, c {CELL_TYPE}[])[]",
}  # fmt: skip


@dataclass(frozen=True)
class Routine:
    """A Python function that compiled SQL may call: on whole vectors underneath, on Python values in ``body``.

    ``arguments`` and ``result`` are kinds or list shapes; cells arrive as ``list[Cell]``, which rows may share, atoms
    as in ``server.values.atoms``. With ``strict`` a NULL in any argument gives NULL without a call. The body of a
    ``whole`` one takes the arguments of all rows at once, a list for each, and gives a list. A row of a ``slow`` one
    (``s_…``) may take so long that between rows it is asked whether the query is over: SQL gives it ``TASK_SQL`` first.
    """

    name: str
    arguments: tuple[Shape, ...]
    result: Shape
    body: Callable[..., Any]
    strict: bool = True
    volatile: bool = False
    whole: bool = False
    slow: bool = False

    @property
    def function(self) -> str:
        """The name without its prefix."""
        return self.name[2:]


def duck_type(shape: Shape) -> str:
    return shape.duck if isinstance(shape, Kind) else _DUCK_TYPES[shape]


def install(connection: duckdb.DuckDBPyConnection, routines: Sequence[Routine], macros: Sequence[str]) -> None:
    """Define the routines and the macros (which call them); each macro text holds lines ``name(args) := SQL``.

    Macros go to the disk, all or none of them, and only when they are not what it has: a full disk can be read.
    """
    there = {name for (name,) in connection.execute("SELECT function_name FROM duckdb_functions()").fetchall()}
    for routine in (*_CORE, *routines):
        if routine.name in there:
            continue
        arguments = (Kind.INTEGER, *routine.arguments) if routine.slow else routine.arguments
        connection.create_function(
            routine.name,
            _vectorised(routine),
            [connection.type(duck_type(shape)) for shape in arguments],
            connection.type(duck_type(routine.result)),
            type=PythonUDFType.ARROW,
            null_handling=FunctionNullHandling.SPECIAL,
            side_effects=routine.volatile,
        )
    definitions = [f"CREATE OR REPLACE MACRO {macro}" for text in (MACROS, *macros) for macro in split_macros(text)]
    digest = blake2b("\n".join(definitions).encode(), digest_size=8).hexdigest()
    if "mldb_macros" in there and connection.execute("SELECT mldb_macros()").fetchall() == [(digest,)]:
        return
    connection.execute("BEGIN")
    try:
        connection.execute(";\n".join([*definitions, f"CREATE OR REPLACE MACRO mldb_macros() AS '{digest}'"]))
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def split_macros(text: str) -> list[str]:
    """The definitions in a macro text: a line that is not indented begins one."""
    texts: list[str] = []
    for line in text.strip().splitlines():
        if ":=" in line and not line.startswith(" "):
            texts.append(line.replace(":=", "AS", 1))
        else:
            texts[-1] += "\n" + line
    return texts


def _vectorised(routine: Routine) -> Callable[..., pa.Array]:
    def call(*columns: pa.Array | pa.ChunkedArray) -> pa.Array:
        task, columns = _task_of(columns) if routine.slow else (None, columns)
        if tasks.is_over(task):
            # The rows of a query that has been interrupted are not looked at; an error could be caught by try().
            return to_arrow([None] * len(columns[0]), routine.result)
        values = [from_arrow(column, shape) for column, shape in zip(columns, routine.arguments, strict=True)]
        if routine.whole:
            return to_arrow(routine.body(*values), routine.result)
        rows = zip(*values, strict=True) if values else iter([()])
        body, strict = routine.body, routine.strict
        results = [None if (strict and None in row) or tasks.is_over(task) else body(*row) for row in rows]
        return to_arrow(results, routine.result)

    return _ARITIES[len(routine.arguments) + routine.slow](call)


def _task_of(columns: tuple[Any, ...]) -> tuple[Progress | None, tuple[Any, ...]]:
    """The task whose number stands in the first column, and the other columns."""
    number, *others = columns
    return tasks.find(number[0].as_py() if len(number) else None), tuple(others)


# DuckDB wants a function of as many parameters as it declares.
_ARITIES: list[Callable[[Callable[..., pa.Array]], Callable[..., pa.Array]]] = [
    lambda call: lambda: call(),
    lambda call: lambda a: call(a),
    lambda call: lambda a, b: call(a, b),
    lambda call: lambda a, b, c: call(a, b, c),
    lambda call: lambda a, b, c, d: call(a, b, c, d),
    lambda call: lambda a, b, c, d, e: call(a, b, c, d, e),
    lambda call: lambda a, b, c, d, e, f: call(a, b, c, d, e, f),
    lambda call: lambda a, b, c, d, e, f, g: call(a, b, c, d, e, f, g),
]


def from_arrow(column: pa.Array | pa.ChunkedArray, shape: Shape) -> list[Any]:
    """An Arrow vector as Python values of a shape."""
    array = one_array(column)
    if isinstance(shape, Kind):
        return atoms_of(array, shape)
    if shape == CELLS:
        if same_in_all(array):
            return cells_of(array.slice(0, 1)) * len(array)
        cells = cells_of(array)
        return [None if null else row for null, row in zip(array.is_null().to_pylist(), cells, strict=True)]
    if shape == ANYS:
        return _lists_of(array)
    return list(array.to_pylist())


def _lists_of(array: pa.Array) -> list[Any]:
    flat = atoms_of(array.flatten(), Kind.ANY)
    lists: list[list[Atom] | None] = []
    at = 0
    for length in array.value_lengths().to_pylist():
        lists.append(None if length is None else flat[at : at + length])
        at += length or 0
    return lists


def to_arrow(values: list[Any], shape: Shape) -> pa.Array:
    """Python values as an Arrow vector of a shape."""
    if shape == CELLS:
        return _nullable_lists(values, lambda rows: cells_array(rows), CELLS_ARROW)
    if shape == DATED:
        return rows_array([({}, NEVER) if value is None else value for value in values])
    if shape == ANYS:
        return _nullable_lists(values, _any_lists, pa.list_(ARROW_TYPES[Kind.ANY]))
    if shape == NUMBERS:
        return pa.array(values, pa.list_(pa.float64()))
    if shape == TEXTS:
        return pa.array(values, pa.list_(pa.string()))
    if shape == ITEMS:
        return _items(values)
    if shape in (Kind.ANY, Kind.NULL):
        return any_array(values)
    return pa.array([_plain(value) for value in values], ARROW_TYPES[shape])  # type: ignore[index]


def _nullable_lists(values: list[Any], build: Callable[[list[Any]], pa.Array], type_: pa.DataType) -> pa.Array:
    built = build([value if value is not None else [] for value in values])
    if None not in values:
        return built
    mask = pa.array([value is None for value in values])
    return pa.ListArray.from_arrays(built.offsets, built.values, mask=mask).cast(type_)


def _any_lists(rows: list[list[Atom]]) -> pa.Array:
    offsets = [0]
    for row in rows:
        offsets.append(offsets[-1] + len(row))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), any_array([a for row in rows for a in row]))


def _items(rows: list[Any]) -> pa.Array:
    flat = [item for row in rows for item in row or ()]
    offsets = [0]
    for row in rows:
        offsets.append(offsets[-1] + len(row or ()))
    texts = pa.array([format_path(path) for path, _ in flat], pa.string())
    items = pa.StructArray.from_arrays([texts, cells_array([cells for _, cells in flat])], names=["p", "c"])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), items)


def _plain(value: Any) -> Any:
    match value:
        case Timestamp(seconds):
            return seconds
        case Interval(months, days, seconds):
            return {"months": months, "days": days, "seconds": seconds}
        case PathValue(path):
            return format_path(path)
    return value


# ── the routines that conversions need ───────────────────────────────────────────────────────────────────────

LONGEST_QUOTED = 200  # characters of a value in a message
_CLASS_NAMES = {
    type(None): "EMPTY", bool: "INTEGER", int: "INTEGER", float: "FLOAT", Timestamp: "TIMESTAMP",
    Interval: "TIMEINTERVAL", bytes: "BLOB", PathValue: "PATH",
}  # fmt: skip


def storage_class(value: Atom) -> str:
    """Upstream's name of an atom's storage class, as messages quote it."""
    if isinstance(value, str):
        return "ASCII_STRING" if value.isascii() else "UTF8_STRING"
    return _CLASS_NAMES[type(value)]


def unconverted(value: Atom, target: str) -> MldbError:
    """The error of a value that is not of a type; of a long one the beginning is quoted."""
    text = atom_text(value)
    text = text if len(text) < LONGEST_QUOTED else f"{text[:LONGEST_QUOTED]}... (trimmed)"
    return MldbError(f"Can't convert value '{text}' of type '{storage_class(value)}' to {target}")


def as_number(value: Atom) -> float:
    if isinstance(value, int | float):
        return float(value)
    raise unconverted(value, "double")


def as_integer(value: Atom) -> int:
    if isinstance(value, int):
        return value
    raise unconverted(value, "integer")


def _signed_integer(value: Atom) -> int:
    if isinstance(value, int) and value < 2**63:
        return value
    raise unconverted(value, "integer")


def _text_or_null(value: Atom) -> str | None:
    """The text form of an atom; of a blob only if it is UTF-8."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None
    return atom_text(value)


def carrying(error: MldbError) -> MldbError:
    """The error with its details and its code in its text, for ``server.sql.engine_errors``."""
    details = error.details | ({CODE_MEMBER: error.code} if error.code != MldbError.code else {})
    return MldbError(f"{error.message}{DETAILS_MARK}{json.dumps(details)}") if details else error


def fail(message: str) -> None:
    raise MldbError(message)


def _join_path(elements: list[Atom]) -> str:
    return ".".join(quote_element(atom_text(element)) for element in elements)


def _numbers(cells: list[Any]) -> list[float]:
    return [as_number(cell.value) for cell in sorted(cells, key=lambda cell: natural_key(cell.path))]


_CORE = (
    Routine("u_numtext", (Kind.NUMBER,), Kind.STRING, number_text),
    Routine("u_tstext", (Kind.TIMESTAMP,), Kind.STRING, lambda moment: timestamp_text(moment.seconds)),
    Routine("u_num", (Kind.ANY,), Kind.NUMBER, as_number),
    Routine("u_int", (Kind.ANY,), Kind.INTEGER, _signed_integer),
    Routine("u_text", (Kind.ANY,), Kind.STRING, _text_or_null),
    # Not DuckDB's error(), which counts as volatile and so cannot stand inside TRY. One for each type needed.
    Routine("u_fail_text", (Kind.STRING,), Kind.STRING, fail),
    Routine("u_fail_integer", (Kind.STRING,), Kind.INTEGER, fail),
    Routine("u_fail_number", (Kind.STRING,), Kind.NUMBER, fail),
    Routine("u_fail_any", (Kind.STRING,), Kind.ANY, fail),
    Routine("u_fail_cells", (Kind.STRING,), CELLS, fail),
    Routine("u_parse_ts", (Kind.STRING,), Kind.TIMESTAMP, parse_timestamp),
    Routine("u_join_path", (ANYS,), Kind.STRING, _join_path),
    Routine("u_numbers", (CELLS,), NUMBERS, _numbers),
)
