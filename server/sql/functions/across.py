"""``horizontal_…``: over the atoms of one row value (sql-dialect.md §8.8), LATEST, nulls skipped.

A row of known columns becomes plain arithmetic; of open rows and vectors, list functions over their cells.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from server.sql import coerce
from server.sql.bound import (
    NEVER_SQL,
    Atom,
    Embedding,
    MultiValue,
    Open,
    Rest,
    Row,
    Ts,
    Value,
    enumerate_elements,
    is_constant,
)
from server.sql.duck import outer_references
from server.sql.functions.openaggregates import AGGREGATES, by_path
from server.sql.functions.registry import Bind, Builtin, number_argument
from server.sql.notes import Null
from server.sql.routines import CELLS, Routine
from server.sql.scope import Scope
from server.sql.tree import Call
from server.values.batches import Cell
from server.values.kinds import Kind

_INLINE = 32  # more columns than these are put into a list: expressions must not nest too deeply


def _atoms(value: Value) -> list[Atom] | None:
    """The atoms of a value in column order, None where only the data tell them (or where they are many)."""
    match value:
        case Atom() | MultiValue():
            return [coerce.atom(value)]
        case Embedding(shape=shape) if shape is None or math.prod(shape) > _INLINE:
            return None
        case Embedding():
            return [element for _, element in enumerate_elements(value)]
        case Row(rests=()):
            found: list[Atom] = []
            for _, leaf in coerce.sorted_leaves(value):
                inner = _atoms(leaf)
                if inner is None:
                    return None
                found.extend(inner)
            return found
    return None


def _cells(value: Value, scope: Scope) -> str:
    """The value's cells, one for each path."""
    return scope.stage(f"m_latest_cells({coerce.to_cells(value)})")


# ── count, sum, avg, string_agg ──────────────────────────────────────────────────────────────────────────────


def _present(atom: Atom) -> str:
    return "FALSE" if atom.kind is Kind.NULL else f"{atom.sql} IS NOT NULL"


def _newest(atoms: list[Atom]) -> Ts:
    """The newest timestamp of the atoms that are not null."""

    def build() -> str:
        times = [atom.ts() for atom in atoms]
        if set(times) <= {NEVER_SQL}:
            return NEVER_SQL
        parts = [f"CASE WHEN {_present(atom)} THEN {time} END" for atom, time in zip(atoms, times, strict=True)]
        return f"coalesce(greatest({', '.join(parts)}, NULL::DOUBLE), {NEVER_SQL})"

    return build


def _count(atoms: list[Atom], name: str) -> tuple[str, Kind]:
    return "(" + (" + ".join(f"CAST({_present(atom)} AS BIGINT)" for atom in atoms) or "0::BIGINT") + ")", Kind.INTEGER


def _sum(atoms: list[Atom], name: str) -> tuple[str, Kind]:
    numbers = [number_argument(atom, name) for atom in atoms if atom.kind is not Kind.NULL]
    if len(numbers) > _INLINE:
        return f"coalesce(list_sum([{', '.join(numbers)}]), 0)", Kind.NUMBER
    return "(" + (" + ".join(f"coalesce({number}, 0)" for number in numbers) or "0::DOUBLE") + ")", Kind.NUMBER


def _avg(atoms: list[Atom], name: str) -> tuple[str, Kind]:
    return f"({_sum(atoms, name)[0]} / nullif({_count(atoms, name)[0]}, 0))", Kind.NUMBER


_FOLDS: dict[str, Callable[[list[Atom], str], tuple[str, Kind]]] = {
    "horizontal_count": _count, "horizontal_sum": _sum, "horizontal_avg": _avg,
}  # fmt: skip
_LIST_FOLDS = {
    "horizontal_count": ("len(list_filter({l}, lambda c: c.v IS NOT NULL))", Kind.INTEGER),
    "horizontal_sum": ("coalesce(list_sum({n}), 0)", Kind.NUMBER),
    "horizontal_avg": ("list_avg({n})", Kind.NUMBER),
}  # fmt: skip


# The same as aggregates over cells, and what there is without any cell.
_AGGREGATES = {
    "horizontal_count": ("count(s.v)", "0"), "horizontal_sum": ("sum({n})", "0::DOUBLE"),
    "horizontal_avg": ("avg({n})", "NULL"),
}  # fmt: skip


def _fold(node: Call, args: list[Value], scope: Scope) -> Value:
    value, constant = args[0], is_constant(args[0])
    atoms = _atoms(value)
    if atoms is not None:
        sql, kind = _FOLDS[node.name](atoms, node.name)
        return Atom(sql, kind, _newest(atoms), constant)
    template, kind = _LIST_FOLDS[node.name]
    if isinstance(value, Embedding) and value.kind in coerce.NUMERIC and node.name != "horizontal_count":
        return Atom(template.format(n=coerce.as_double_list(value)), kind, value.ts, constant)
    match value:
        case Row(columns={}, rests=(Rest(prefix=(), sql=sql),)) if not value.columns:
            aggregate, empty = _AGGREGATES[node.name]
            found = scope.folded(sql, aggregate, f"m_num_of(s.v, '{node.name}')")
            newest = scope.folded(sql, "max(s.t) FILTER (WHERE s.v IS NOT NULL)")
            if found is not None and newest is not None:
                return Atom(f"coalesce({found}, {empty})", kind, lambda: f"coalesce({newest}, {NEVER_SQL})")
    cells = _cells(value, scope)
    numbers = f"list_transform({cells}, lambda c: m_num_of(c.v, '{node.name}'))"
    return Atom(template.format(l=cells, n=numbers), kind, _newest_cell(cells), constant)


def _newest_cell(cells: str) -> Ts:
    return lambda: f"coalesce(m_newest(list_filter({cells}, lambda c: c.v IS NOT NULL)), {NEVER_SQL})"


def _string_agg(node: Call, args: list[Value], scope: Scope) -> Value:
    separator = f"coalesce({coerce.to_text(args[1])}, '')" if len(args) == 2 else "''"
    constant = all(map(is_constant, args))
    atoms = _atoms(args[0])
    if atoms is not None:
        texts = ", ".join(coerce.to_text(atom) for atom in atoms) or "NULL"
        return Atom(f"concat_ws({separator}, {texts})", Kind.STRING, _newest(atoms), constant)
    cells = _cells(args[0], scope)
    texts = f"list_filter(list_transform(u_natural_cells({cells}), lambda c: m_text(c.v)), lambda x: x IS NOT NULL)"
    if outer_references(separator):  # DuckDB's own function wants a constant
        joined = f"list_reduce({texts}, lambda x, y: x || {separator} || y)"
        sql = f"CASE WHEN len({texts}) = 0 THEN '' ELSE {joined} END"
    else:
        sql = f"array_to_string({texts}, {separator})"
    return Atom(sql, Kind.STRING, _newest_cell(cells), constant)


# ── min, max, earliest, latest ───────────────────────────────────────────────────────────────────────────────

_ORDERED = {Kind.STRING, Kind.TIMESTAMP, Kind.INTEGER, Kind.BOOLEAN}


def _extreme(node: Call, args: list[Value], scope: Scope) -> Value:
    smallest = node.name == "horizontal_min"
    value, constant = args[0], is_constant(args[0])
    atoms = _atoms(value)
    kind = Kind.ANY if atoms is None else coerce.unify(atoms)
    if atoms is None or kind not in {*_ORDERED, Kind.NUMBER, Kind.NULL}:
        cells = scope.stage(f"m_keyed_cells({_cells(value, scope)})")
        best = f"m_least_cell({cells})" if smallest else f"m_greatest_cell({cells})"
        return Atom(f"{best}.k.a", Kind.ANY, lambda: _winner_ts(best, smallest), constant)
    atoms = [atom for atom in atoms if atom.kind is not Kind.NULL]
    if not atoms:
        return Atom("NULL", Kind.NULL, constant=constant)
    values = [coerce.as_kind(atom, kind) for atom in atoms]
    return Atom(_extreme_sql(values, kind, smallest), kind, _winner(atoms, values, kind, smallest), constant)


def _winner_ts(best: str, smallest: bool) -> str:
    """The newest timestamp of those that are equal."""
    return f"coalesce(-({best}.t), {NEVER_SQL})" if smallest else f"coalesce({best}.t, {NEVER_SQL})"


def _extreme_sql(values: list[str], kind: Kind, smallest: bool) -> str:
    """NaN is less than every number (§7.3), unlike in DuckDB."""
    listed = ", ".join(values)
    if kind is not Kind.NUMBER:
        return f"{'least' if smallest else 'greatest'}({listed})"
    if smallest:
        return f"CASE WHEN isnan(greatest({listed})) THEN 'nan'::DOUBLE ELSE least({listed}) END"
    numbers = ", ".join(f"CASE WHEN isnan({value}) THEN NULL ELSE {value} END" for value in values)
    return f"coalesce(greatest({numbers}), least({listed}))"


def _winner(atoms: list[Atom], values: list[str], kind: Kind, smallest: bool) -> Ts:
    """The timestamp of the value that was chosen, the newest if several are equal."""

    def build() -> str:
        times = [atom.ts() for atom in atoms]
        if len(set(times)) == 1:
            return times[0]
        sign, function = ("-", "min") if smallest else ("", "max")
        pairs = [
            f"CASE WHEN {value} IS NOT NULL THEN struct_pack({_key(value, kind)}, t := {sign}({time})) END"
            for value, time in zip(values, times, strict=True)
        ]
        return f"coalesce({sign}(list_{function}([{', '.join(pairs)}]).t), {NEVER_SQL})"

    return build


def _key(value: str, kind: Kind) -> str:
    """Members of a struct by which values are ordered: NaN is less than every number."""
    return f"n := NOT isnan({value}), v := {value}" if kind is Kind.NUMBER else f"v := {value}"


def _by_time(node: Call, args: list[Value], scope: Scope) -> Value:
    """The oldest or newest atom; nulls take part."""
    cells = _cells(args[0], scope)
    newest = node.name == "horizontal_latest"
    best = f"m_latest({cells})" if newest else f"m_earliest({cells})"
    lacking = isinstance(args[0], Atom | MultiValue) or (isinstance(args[0], Row | Open) and args[0].named)  # a null
    empty = NEVER_SQL if newest or lacking else "'inf'::DOUBLE"
    sign = "-" if newest else ""
    return Atom(f"{best}.v", Kind.ANY, lambda: f"coalesce({sign}({best}.t), {empty})", is_constant(args[0]))


def latest_cells(cells: list[Cell]) -> list[Cell]:
    """One cell for each path: the newest, of those the smallest (§2.4)."""
    latest = AGGREGATES["latest"]
    return [group[0] if len(group) == 1 else latest(path, group) for path, group in by_path(cells).items()]


ROUTINES = [Routine("u_latest_cells", (CELLS,), CELLS, latest_cells)]

MACROS = """
m_latest_cells(l) := CASE WHEN len(l) = len(list_distinct(list_transform(l, lambda c: c.p))) THEN l
    ELSE u_latest_cells(l) END
m_keyed_cells(l) := list_transform(list_filter(l, lambda c: c.v IS NOT NULL),
    lambda c: struct_pack(k := m_sort_key(c.v), t := c.t))
m_least_cell(l) := list_sort(list_transform(l, lambda c: struct_pack(k := c.k, t := -c.t)))[1]
m_greatest_cell(l) := list_sort(l, 'DESC', 'NULLS LAST')[1]
"""


def _builtin(name: str, bind: Bind, summary: str, answer: str, type: str, null: Null) -> Builtin:
    name = f"horizontal_{name}"
    example = f"{name}({{a: 3, b: 1, c: NULL}})", answer
    return Builtin(f"{name}(row: any) → {type}", summary, example, bind=bind, null=null)


BUILTINS = [
    _builtin(
        "count",
        _fold,
        "How many atoms of a row are not null.",
        "2",
        "integer",
        ("NULLs are not counted", ("horizontal_count(NULL)", "0")),
    ),
    _builtin(
        "sum",
        _fold,
        "The sum of a row's numbers; 0 for none.",
        "4",
        "number",
        ("NULLs are left out; 0 when nothing is left", ("horizontal_sum({a: NULL})", "0")),
    ),
    _builtin(
        "avg",
        _fold,
        "The mean of a row's numbers; null for none.",
        "2",
        "number",
        ("NULLs are left out; NULL when nothing is left", ("horizontal_avg({a: NULL})", "null")),
    ),
    _builtin(
        "min",
        _extreme,
        "The smallest atom of a row, in the order of values.",
        "1",
        "atom",
        ("NULLs are left out; NULL when nothing is left", ("horizontal_min({a: NULL})", "null")),
    ),
    _builtin(
        "max",
        _extreme,
        "The greatest atom of a row, in the order of values.",
        "3",
        "atom",
        ("NULLs are left out; NULL when nothing is left", ("horizontal_max({a: NULL})", "null")),
    ),
    _builtin(
        "earliest",
        _by_time,
        "The atom of a row with the oldest timestamp.",
        "1",
        "atom",
        ("a NULL counts like any atom", ("horizontal_earliest({NULL @ 1 AS a, 2 @ 2 AS b})", "null")),
    ),
    _builtin(
        "latest",
        _by_time,
        "The atom of a row with the newest timestamp.",
        "1",
        "atom",
        ("a NULL counts like any atom", ("horizontal_latest({1 @ 1 AS a, NULL @ 2 AS b})", "null")),
    ),
    Builtin(
        "horizontal_string_agg(row: any[, separator: text]) → text",
        "The texts of a row's atoms joined, in the order of the columns.",
        ("horizontal_string_agg({a: 'x', b: 1}, '-')", '"x-1"'),
        bind=_string_agg,
        null=(
            "NULLs are left out; a separator that is NULL is empty",
            ("horizontal_string_agg({a: 'x', b: NULL, c: 'y'}, '-')", '"x-y"'),
        ),
    ),
]
