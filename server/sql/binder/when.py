"""WHEN: cells are kept or dropped by their timestamps before SELECT sees the row (sql-dialect.md §5)."""

from __future__ import annotations

from dataclasses import replace

from server.sql import coerce
from server.sql.binder.base import bind_truth
from server.sql.binder.rowfunctions import asked, count_of_columns
from server.sql.bound import NEVER_SQL, Atom, Embedding, Leaf, MultiValue, Open, Rest, Row, Ts, Value
from server.sql.hoisted import HoistedQueries
from server.sql.notes import Note
from server.sql.relations import Relation
from server.sql.scope import NestedScope, Scope
from server.sql.tree import Between, Binary, Call, Constant, Expression, Unary
from server.values.atoms import Timestamp, parse_timestamp
from server.values.kinds import Kind
from server.values.paths import Path

_CELL = "c.t"  # the timestamp of the cell that a lambda looks at
_MOMENT = Call("value_timestamp", ())
NOTES = [
    Note("value_timestamp() → timestamp", "In WHEN: the timestamp of the value that is kept or not. "
         "A text that it is compared with is read as a time.",
         ("SELECT a AS x FROM (SELECT 1 @ '2015-01-03' AS a) WHEN value_timestamp() > '2015-01-01'", "1")),
]  # fmt: skip
_COMPARISONS = frozenset(("=", "!=", "<", "<=", ">", ">="))


class _CellScope(NestedScope):
    """The scope of the predicate: as outside, with ``value_timestamp()``."""

    def __init__(self, outer: Scope, moment: str) -> None:
        super().__init__(outer)
        self.moment = moment
        self.hoisted = HoistedQueries(outer.context)
        self.asked = False  # whether the predicate calls value_timestamp()

    def column(self, path: Path) -> Value:
        return self.outer.column(path)

    def everything(self) -> Row:
        return self.outer.everything()

    def call(self, call: Call) -> Value | None:
        if call.name == "value_timestamp" and not call.args:
            self.asked = True
            return Atom(self.moment, Kind.TIMESTAMP)
        return self.outer.call(call)

    def in_cells(self) -> bool:
        return self.moment == _CELL or self.outer.in_cells()

    def stage(self, sql: str) -> str:
        return sql if self.in_cells() else self.hoisted.stage(sql)


def dated(predicate: Expression) -> Expression:
    """The predicate with the texts that ``value_timestamp()`` is compared with read as times: ``'2013-04-21'``.

    Elsewhere a timestamp comes after every text, whatever it says; here nobody can mean that.
    """
    match predicate:
        case Binary(op=op, left=left, right=right) if op in _COMPARISONS:
            if left == _MOMENT:
                return replace(predicate, right=_as_time(right))
            return replace(predicate, left=_as_time(left)) if right == _MOMENT else predicate
        case Binary(op="and" | "or", left=left, right=right):
            return replace(predicate, left=dated(left), right=dated(right))
        case Unary(op="not", operand=operand):
            return replace(predicate, operand=dated(operand))
        case Between(operand=operand, low=low, high=high) if operand == _MOMENT:
            return replace(predicate, low=_as_time(low), high=_as_time(high))
    return predicate


def _as_time(expression: Expression) -> Expression:
    if not isinstance(expression, Constant) or not isinstance(expression.value, str):
        return expression
    seconds = parse_timestamp(expression.value)
    return expression if seconds is None else replace(expression, value=Timestamp(seconds))


class WhenScope(NestedScope):
    """A scope in which only the cells that pass the predicate are there."""

    def __init__(self, outer: Scope, predicate: Expression) -> None:
        super().__init__(outer)
        self.predicate = dated(predicate)
        self._known: dict[str, str] = {}  # the predicate by the timestamp that it asks about: columns often share it

    @property
    def source(self) -> Relation | None:
        return self.outer.source

    def _passes(self, moment: str) -> str:
        known = self._known.get(moment)
        if known is None:
            scope = _CellScope(self.outer, moment)
            sql = f"coalesce({scope.hoisted.around(bind_truth(self.predicate, scope))}, FALSE)"
            # Without a question about the timestamp it is the same for all cells of a row.
            known = self._known[moment] = sql if scope.asked else self.once(sql)
        return known

    def _moment(self, ts: Ts) -> Ts:
        """The timestamp of a cell, or of its absence."""
        return lambda: f"CASE WHEN {self._passes(ts())} THEN {ts()} ELSE {NEVER_SQL} END"

    def _filter(self, value: Value) -> Value:
        match value:
            case Open():
                return Open(self._filter_cells(value.cells))
            case Row():
                return self._filter_row(value)
        return self._filter_leaf(value)

    def _filter_leaf(self, leaf: Leaf) -> Leaf:
        match leaf:
            case Atom(ts=ts):
                return leaf.where(self._passes(ts()), self._moment(ts))
            case MultiValue(sql, kind):
                return MultiValue(self._filter_cells(sql), kind)
            case Embedding(sql=sql, ts=ts):
                kept = f"CASE WHEN {self._passes(ts())} THEN {sql} END"
                return Embedding(kept, leaf.kind, leaf.shape, self._moment(ts), leaf.names)

    def _filter_cells(self, cells: str) -> str:
        return f"list_filter({cells}, lambda c: {self._passes(_CELL)})"

    def _filter_row(self, row: Row) -> Row:
        columns = {path: self._filter_leaf(leaf) for path, leaf in row.columns.items()}
        return Row(columns, tuple(Rest(rest.prefix, self._filter_cells(rest.sql)) for rest in row.rests))

    def column(self, path: Path) -> Value:
        return self._filter(self.outer.column(path))

    def everything(self) -> Row:
        return self._filter_row(self.outer.everything())

    def beginning(self, prefix: Path) -> Row:
        return self._filter_row(self.outer.beginning(prefix))

    def qualified(self, prefix: Path) -> Row | None:
        row = self.outer.qualified(prefix)
        return None if row is None else self._filter_row(row)

    def call(self, call: Call) -> Value | None:
        if call.name == "columnCount" and self.source is not None:
            row = self._filter_row(asked(self.source, call).row())
            return count_of_columns(coerce.to_cells(row))
        return self.outer.call(call)
