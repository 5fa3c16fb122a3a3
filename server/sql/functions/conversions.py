"""What conversions of values call at run time: macros for what SQL can say, and routines for the rest.

``server.sql.coerce`` writes SQL that calls the macros: ``any_…`` make an ``ANY`` of a kind, ``m_…`` convert one, look
into lists of cells, and order and compare. What they cannot do they leave to a routine ``u_…``.
"""

from __future__ import annotations

from server.errors import MldbError
from server.sql.routines import ANYS, CELLS, NUMBERS, Routine
from server.values.atoms import (
    Atom,
    Interval,
    PathValue,
    Timestamp,
    atom_text,
    number_text,
    parse_timestamp,
    timestamp_text,
)
from server.values.cells import Cell
from server.values.kinds import Kind
from server.values.paths import natural_key, quote_element

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


def fail(message: str) -> None:
    raise MldbError(message)


def _join_path(elements: list[Atom]) -> str:
    return ".".join(quote_element(atom_text(element)) for element in elements)


def _numbers(cells: list[Cell]) -> list[float]:
    return [as_number(cell.value) for cell in sorted(cells, key=lambda cell: natural_key(cell.path))]


ROUTINES = [
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
]

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
m_quote_json(x) := CASE WHEN contains(x, '"') OR contains(x, '.') THEN '"' || replace(x, '"', '""') || '"' ELSE x END
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
