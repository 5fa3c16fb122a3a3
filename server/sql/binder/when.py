"""WHEN: cells are kept or dropped by their timestamps before SELECT sees the row (sql-dialect.md §5)."""

from __future__ import annotations

from server.sql import coerce
from server.sql.binder.base import bind
from server.sql.bound import Atom, Embedding, Leaf, Open, Rest, Row, Several, Value
from server.sql.scope import Scope
from server.sql.tree import Call, Expression
from server.values.kinds import Kind
from server.values.paths import Path


class _CellScope(Scope):
    """The scope of the predicate: as outside, with ``value_timestamp()``."""

    def __init__(self, outer: Scope, moment: str) -> None:
        super().__init__(outer.context)
        self.outer = outer
        self.moment = moment

    def column(self, path: Path) -> Value:
        return self.outer.column(path)

    def everything(self) -> Row:
        return self.outer.everything()

    def parameter(self, name: str) -> Value:
        return self.outer.parameter(name)

    def call(self, call: Call) -> Value | None:
        if call.name == "value_timestamp" and not call.args:
            return Atom(self.moment, Kind.TIMESTAMP)
        return self.outer.call(call)


class WhenScope(Scope):
    """A scope in which only the cells that pass the predicate are there."""

    def __init__(self, inner: Scope, predicate: Expression) -> None:
        super().__init__(inner.context)
        self.inner = inner
        self.predicate = predicate

    def _passes(self, moment: str) -> str:
        return f"coalesce({coerce.truth(bind(self.predicate, _CellScope(self.inner, moment)))}, FALSE)"

    def _filter(self, value: Value) -> Value:
        match value:
            case Atom(kind=Kind.NULL):
                return value
            case Atom(sql=sql, kind=kind, ts=ts):
                return Atom(f"CASE WHEN {self._passes(ts())} THEN {sql} END", kind, ts, sparse=True)
            case Several(sql, kind):
                return Several(f"list_filter({sql}, lambda c: {self._passes('c.t')})", kind)
            case Embedding(sql=sql, ts=ts):
                kept = f"CASE WHEN {self._passes(ts())} THEN {sql} END"
                return Embedding(kept, value.kind, value.shape, ts, value.names)
            case Open(sql):
                return Open(f"list_filter({sql}, lambda c: {self._passes('c.t')})")
            case Row():
                return self._filter_row(value)

    def _filter_row(self, row: Row) -> Row:
        columns: dict[Path, Leaf] = {}
        for path, leaf in row.columns.items():
            kept = self._filter(leaf)
            assert isinstance(kept, Atom | Several | Embedding)
            columns[path] = kept
        rests = (Rest(rest.prefix, f"list_filter({rest.sql}, lambda c: {self._passes('c.t')})") for rest in row.rests)
        return Row(columns, tuple(rests))

    def column(self, path: Path) -> Value:
        return self._filter(self.inner.column(path))

    def everything(self) -> Row:
        return self._filter_row(self.inner.everything())

    def qualified(self, prefix: Path) -> Row | None:
        row = self.inner.qualified(prefix)
        return None if row is None else self._filter_row(row)

    def call(self, call: Call) -> Value | None:
        return self.inner.call(call)

    def parameter(self, name: str) -> Value:
        return self.inner.parameter(name)

    def stage(self, sql: str) -> str:
        return self.inner.stage(sql)
