"""Vertical aggregates (sql-dialect.md §9): each a DuckDB aggregate per column, with its timestamp beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from server.errors import MldbError
from server.sql import coerce, comparison
from server.sql.binder.base import bind
from server.sql.bound import (
    NAN_SQL,
    NEVER_SQL,
    Atom,
    Embedding,
    MultiValue,
    Open,
    Rest,
    Row,
    RowBuilder,
    Ts,
    Value,
    fixed,
    impossible,
    is_open,
    never,
    possible,
    presence,
    spelled,
)
from server.sql.duck import literal, outer_references
from server.sql.functions.openaggregates import AGGREGATES as OVER_CELLS
from server.sql.notes import Example, Note
from server.sql.scope import Scope
from server.sql.tree import Call
from server.values.kinds import CELL_TYPE, Kind

if TYPE_CHECKING:
    from server.sql.binder.groups import GroupRelation


class Grouping(Protocol):
    """Where aggregates are computed. ``arguments``: SQL that may fail, and the aggregate it is in (``calling``)."""

    arguments: dict[str, Call | None]
    calling: Call | None

    def aggregate(self, sql: str, over: str = "") -> str:
        """The reference to the result of a DuckDB aggregate. Rows where ``over`` is NULL say nothing to it."""


class _InPlace:
    """Aggregates are written where they are used: in a GROUP BY of our own."""

    def __init__(self) -> None:
        self.arguments: dict[str, Call | None] = {}
        self.calling: Call | None = None

    def aggregate(self, sql: str, over: str = "") -> str:
        return sql


Aggregate = Callable[[Grouping, Atom], Atom]


def _newest(group: Grouping, atom: Atom) -> Ts:
    return lambda: group.aggregate(f"max({atom.ts()}) FILTER (WHERE {atom.sql} IS NOT NULL)", atom.sql)


def _counting(distinct: str) -> Aggregate:
    def build(group: Grouping, atom: Atom) -> Atom:
        argument = "NULL" if atom.kind is Kind.NULL else atom.sql
        sql = group.aggregate(f"count({distinct}{argument})", argument)
        return Atom(sql, Kind.INTEGER, _newest(group, atom), may_be_null=impossible)

    return build


def _numeric(function: str, empty: str) -> Aggregate:
    def build(group: Grouping, atom: Atom) -> Atom:
        number = coerce.to_double(atom)
        group.arguments.setdefault(number, group.calling)
        sql = group.aggregate(f"coalesce({function}({number}), {empty})", atom.sql)
        return Atom(sql, Kind.NUMBER, _newest(group, atom), may_be_null=impossible)

    return build


def _extreme(function: str) -> Aggregate:
    """min and max: native for plain kinds, by sort key where the kinds mix."""

    def build(group: Grouping, atom: Atom) -> Atom:
        if atom.kind is Kind.NULL:
            return replace(atom, ts=never)
        key = f"m_sort_key({atom.sql})" if atom.kind is Kind.ANY else atom.sql
        by = f"arg_{function}"
        text = f"{function}({atom.sql})" if key == atom.sql else f"{by}({atom.sql}, {key})"
        newest = lambda: group.aggregate(f"{by}({atom.ts()}, {key})", atom.sql)  # noqa: E731
        return Atom(group.aggregate(text, atom.sql), atom.kind, newest)

    return build


def _temporal(sign: str) -> Aggregate:
    """earliest and latest: by timestamp, then the smaller value."""

    def build(group: Grouping, atom: Atom) -> Atom:
        if atom.kind is Kind.NULL:
            return replace(atom, ts=lambda: NEVER_SQL if sign else "'inf'::DOUBLE")
        present = f"FILTER (WHERE {atom.sql} IS NOT NULL)"
        key = f"struct_pack(t := {sign}({atom.ts()}), v := {atom.sql})"
        sql = group.aggregate(f"arg_min({atom.sql}, {key}) {present}", atom.sql)
        function = "max" if sign else "min"
        return Atom(sql, atom.kind, lambda: group.aggregate(f"{function}({atom.ts()}) {present}", atom.sql))

    return build


_PLAIN: dict[str, Aggregate] = {
    "count": _counting(""),
    "count_distinct": _counting("DISTINCT "),
    "sum": _numeric("sum", "0"),
    "avg": _numeric("avg", NAN_SQL),
    "variance": _numeric("var_samp", NAN_SQL),
    "stddev": _numeric("stddev_samp", NAN_SQL),
    "min": _extreme("min"),
    "max": _extreme("max"),
    "earliest": _temporal(""),
    "latest": _temporal("-"),
}
_PLAIN.update({f"vertical_{name}": one for name, one in list(_PLAIN.items()) if name != "count_distinct"})
_CHOOSING = {"min", "max", "earliest", "latest"}
_FOLDING = {"count", "count_distinct", "sum", "avg"}  # of which the order of the values does not matter
AGGREGATES = {*_PLAIN, "string_agg", "vertical_string_agg", "pivot", "likelihood_ratio"}


def _over(call: str, *values: str) -> str:
    return f"SELECT {call} AS x FROM row_dataset([{', '.join(values)}])"


def _vertical(example: Example) -> Example:
    return None if example is None else (example[0].replace("SELECT ", "SELECT vertical_", 1), example[1])


_ROWS = " Of a row: for each column, in a row."
_PLAIN_NOTES = [
    Note("count(x: any | *) → integer", "How many values are not null; `count(*)`: how many rows." + _ROWS,
         (_over("count(value)", "5", "6"), "2"),
         ("NULLs are not counted; 0 without values", (_over("count(value)", "5", "NULL"), "1"))),
    Note("sum(x: number | row) → number | row", "The sum." + _ROWS, (_over("sum(value)", "5", "6"), "11"),
         ("NULLs are left out; 0 without values", (_over("sum(value)", "NULL"), "0"))),
    Note("avg(x: number | row) → number | row", "The mean." + _ROWS, (_over("avg(value)", "5", "6"), "5.5"),
         ("NULLs are left out; NaN without values", (_over("avg(value)", "NULL"), '"NaN"'))),
    Note("variance(x: number | row) → number | row", "The variance of a sample." + _ROWS,
         (_over("variance(value)", "5", "7"), "2"),
         ("NULLs are left out; NaN for fewer than two values", (_over("variance(value)", "5", "NULL"), '"NaN"'))),
    Note("stddev(x: number | row) → number | row", "The standard deviation of a sample." + _ROWS,
         (_over("stddev(value)", "5", "5"), "0"),
         ("NULLs are left out; NaN for fewer than two values", (_over("stddev(value)", "5", "NULL"), '"NaN"'))),
    Note("min(x: any) → atom | row", "The smallest value, in the order of values." + _ROWS,
         (_over("min(value)", "5", "'a'"), "5"),
         ("NULLs are left out; NULL without values", (_over("min(value)", "5", "NULL"), "5"))),
    Note("max(x: any) → atom | row", "The greatest value, in the order of values." + _ROWS,
         (_over("max(value)", "5", "'a'"), '"a"'),
         ("NULLs are left out; NULL without values", (_over("max(value)", "5", "NULL"), "5"))),
    Note("earliest(x: any) → atom | row", "The value with the oldest timestamp." + _ROWS,
         ("SELECT earliest(value) AS x FROM row_dataset({a: 1 @ 5, b: 2 @ 4})", "2"),
         ("NULLs are left out; NULL without values", (_over("earliest(value)", "NULL"), "null"))),
    Note("latest(x: any) → atom | row", "The value with the newest timestamp." + _ROWS,
         ("SELECT latest(value) AS x FROM row_dataset({a: 1 @ 5, b: 2 @ 4})", "1"),
         ("NULLs are left out; NULL without values", (_over("latest(value)", "NULL"), "null"))),
    Note("string_agg(x: atom, separator: text[, sort: any]) → text", "The texts joined, in the order of "
         "`sort`, or of the texts.", (_over("string_agg(value, '-')", "'b'", "'a'"), '"a-b"'),
         ("NULLs are left out; an empty text without values", (_over("string_agg(value, '-')", "NULL"), '""'))),
]  # fmt: skip
NOTES = [
    *_PLAIN_NOTES,
    Note("count_distinct(x: any) → integer | row", "How many different values there are." + _ROWS,
         (_over("count_distinct(value)", "5", "6", "5"), "2"),
         ("NULLs are not counted", (_over("count_distinct(value)", "5", "NULL"), "1"))),
    Note("pivot(name: atom, value: any) → row", "A row with a column for each row of the group.",
         ("SELECT pivot(value, value + 1) AS x FROM row_dataset([5, 6])", '{"5": 6, "6": 7}'),
         ("a name that is NULL is empty", None)),
    Note("likelihood_ratio(x: row, truth: any) → row", "For each column the logarithm of its share "
         "among the rows where `truth` holds over that among the others.",
         ("SELECT likelihood_ratio({value}, value > 5) AS x FROM row_dataset([5, 6])", '{"value": 0}'),
         ("a column that is NULL is not there", None)),
    *(replace(note, signature=f"vertical_{note.signature}",
              summary=f"The same as `{note.name}`.", example=_vertical(note.example),
              null=(note.null[0], _vertical(note.null[1]))) for note in _PLAIN_NOTES),
]  # fmt: skip


def aggregate(call: Call, scope: Scope, group: GroupRelation) -> Value:
    """A call of an aggregate, its arguments bound over the ungrouped rows."""
    if call.star:
        return Atom(group.aggregate("count(*)"), Kind.INTEGER, may_be_null=impossible)
    args = [bind(argument, scope) for argument in call.args]
    group.calling = call
    if call.name in ("string_agg", "vertical_string_agg"):
        return _string_agg(call, args, group)
    if call.name == "pivot":
        return _pivot(args, group)
    if call.name == "likelihood_ratio":
        return _likelihood_ratio(args, group)
    if len(args) != 1:
        raise MldbError(f"function {call.name} expected 1 argument, got {len(args)}")
    return _spread(call.name, args[0], group, scope)


def _spread(name: str, value: Value, group: GroupRelation, scope: Scope) -> Value:
    """One aggregate per column of a row."""
    build = _PLAIN[name]
    match value:
        case Atom() | MultiValue():
            return build(group, coerce.atom(value))
        case Embedding():
            return _row(name, Row({(): value}), group, scope)
        case Row():
            return _row(name, value, group, scope)
        case Open():
            return _open(name, value, group)


def _open(name: str, value: Open, group: GroupRelation) -> Open:
    """Without rows there is nothing that tells whether the values are atoms; then they are taken for such."""
    found, rows = _cells(name, value.cells, group), group.aggregate("count(*)")
    nothing = OVER_CELLS[name.removeprefix("vertical_")]((), [])
    sql, kind = literal(nothing.value)
    none = coerce.to_cells(Atom(sql, kind, fixed(f"'{nothing.timestamp}'::DOUBLE")))
    return Open(f"CASE WHEN {rows} = 0 THEN {none} ELSE {found} END")


def _row(name: str, row: Row, group: GroupRelation, scope: Scope) -> Row:
    build = _PLAIN[name]
    builder = RowBuilder()
    row = spelled(row)
    for path, leaf in row.columns.items():
        one = build(group, coerce.atom(leaf))
        if there := presence(leaf):
            # A column that no row of the group has is absent from the result.
            present = group.aggregate(f"coalesce(bool_or({there}), FALSE)")
            # Where the rows have only nulls, what chooses among them is a null that is there.
            full = name.removeprefix("vertical_") not in _CHOOSING or (isinstance(leaf, Atom) and not leaf.there)
            one = replace(one, may_be_null=impossible if full else possible).where(present)
        builder.add(path, one)
    for rest in row.rests:
        builder.rests.append(Rest(rest.prefix, _cells(name, rest.sql, group)))
    return builder.build()


def _cells(name: str, sql: str, group: GroupRelation) -> str:
    """An aggregate over open rows: by column where the dataset can, else all cells of the group at once."""
    one = _PLAIN[name](_InPlace(), Atom("s.v", Kind.ANY, lambda: "s.t"))
    value, ts = coerce.to_any(one), f"coalesce({one.ts()}, {NEVER_SQL})"
    if not group.keys:
        found = group.inner.by_name(sql, value, ts, group.where)
        if found is not None:
            return found
    listed = group.aggregate(f"flatten(list(coalesce(m_latest_cells({sql}), []::{CELL_TYPE}[])))")
    plain = name.removeprefix("vertical_")
    if plain not in _FOLDING:
        return f"u_aggregate_cells('{plain}', {listed})"
    cells = f"SELECT c.p, c.v, c.t FROM (SELECT unnest({listed}) AS c)"
    columns = f"SELECT s.p, {value} AS v, {ts} AS t, count(s.v) AS full FROM ({cells}) AS s GROUP BY s.p"
    every = "list(struct_pack(p := g.p, v := g.v, t := g.t))"
    # Rows among which some were null have no column of that.
    found = f"CASE WHEN count(*) > 1 THEN {every} FILTER (WHERE g.p <> '' OR g.full > 0) ELSE {every} END"
    return group.stage(f"(SELECT coalesce({found}, []) FROM ({columns}) AS g)")


def _string_agg(call: Call, args: list[Value], group: GroupRelation) -> Atom:
    if len(args) not in (2, 3):
        raise MldbError(f"function {call.name} expected between 2 and 3 arguments, got {len(args)}")
    value, separator = coerce.atom(args[0]), coerce.atom(args[1])
    text, between = coerce.to_text(value), f"coalesce({coerce.to_text(separator)}, '')"
    terms = comparison.sort_terms(args[2], False) if len(args) == 3 else []
    order = ", ".join([*terms, text, *((between,) if outer_references(between) else ())])
    present = f"FILTER (WHERE {value.sql} IS NOT NULL)"
    if not outer_references(between):
        sql = group.aggregate(f"string_agg({text}, {between} ORDER BY {order}) {present}")
    else:
        texts = group.aggregate(f"list({text} ORDER BY {order}) {present}")
        separators = group.aggregate(f"list({between} ORDER BY {order}) {present}")
        sql = f"u_join_texts({texts}, {separators})"
    return Atom(f"coalesce({sql}, '')", Kind.STRING, _newest(group, value))


def _pivot(args: list[Value], group: GroupRelation) -> Open:
    if len(args) != 2:
        raise MldbError(f"function pivot expected 2 arguments, got {len(args)}")
    name, value = coerce.atom(args[0]), args[1]
    element = f"m_quote(coalesce({coerce.to_text(name)}, ''))"
    if isinstance(value, Row | Embedding | Open):
        listed = group.aggregate(f"flatten(list(m_prefixed({coerce.to_cells(value)}, {element})))")
        return Open(f"coalesce({listed}, [])")
    one = coerce.atom(value)
    cell = f"struct_pack(p := {element}, v := {coerce.to_any(one)}, t := {one.ts()})"
    return Open(f"coalesce({group.aggregate(f'list({cell})')}, [])")


def _likelihood_ratio(args: list[Value], group: GroupRelation) -> Value:
    """For each column the logarithm of its share among true rows over its share among false ones."""
    if len(args) != 2:
        raise MldbError(f"function likelihood_ratio expected 2 arguments, got {len(args)}")
    row, truth = args[0], coerce.truth(args[1])
    if is_open(row):
        return _open_likelihood_ratio(coerce.to_cells(row), truth, group)
    if not isinstance(row, Row):
        raise MldbError("function likelihood_ratio needs a row as its first argument")
    builder = RowBuilder()
    for path, leaf in row.columns.items():
        one = coerce.atom(leaf)
        there = "FALSE" if one.kind is Kind.NULL else f"{one.sql} IS NOT NULL"
        shares = [
            group.aggregate(f"avg(CAST({there} AS DOUBLE)) FILTER (WHERE {condition})")
            for condition in (truth, f"NOT {truth}")
        ]
        builder.add(path, Atom(f"ln({shares[0]} / {shares[1]})", Kind.NUMBER, _newest(group, one)))
    return builder.build()


def _open_likelihood_ratio(cells: str, truth: str, group: GroupRelation) -> Open:
    there = f"list_distinct(list_transform(list_filter({cells}, lambda c: c.v IS NOT NULL), lambda c: c.p))"
    given: list[str] = []
    for condition in (truth, f"NOT {truth}"):
        listed = group.aggregate(f"flatten(list({there}) FILTER (WHERE {condition}))")
        given += [f"coalesce({listed}, []::VARCHAR[])", group.aggregate(f"count(*) FILTER (WHERE {condition})")]
    return Open(f"u_likelihood_ratio({', '.join(given)})")
