"""Sub-queries within expressions of which nothing may be computed elsewhere."""

from __future__ import annotations

from dataclasses import replace

from server.sql import coerce
from server.sql.bound import Atom, Open, Value, is_constant
from server.sql.duck import QUERY, references
from server.sql.relations import NoTable
from server.sql.scope import Context


class Aside:
    """Computes the sub-queries of an expression beside what is made of them, as DuckDB takes none in lambdas.

    The whole then stands in one scalar sub-query, that of ``whole`` and ``value``.
    """

    def __init__(self, context: Context) -> None:
        self._relation = NoTable(context.number())

    def stage(self, sql: str) -> str:
        return self._relation.stage(sql) if QUERY in sql else sql

    def whole(self, sql: str) -> str:
        """SQL over what has been staged as SQL that can stand anywhere."""
        if not self._relation.staged or not references(sql, self._relation.number):
            return sql
        return f"(SELECT {sql} FROM {self._relation.render(sql, ordered=False)})"

    def value(self, value: Value) -> Value:
        """As ``whole``, for a value."""
        if not self._relation.staged:
            return value
        if isinstance(value, Atom):
            return replace(value, sql=self.whole(value.sql), ts=lambda: self.whole(value.ts()))
        return Open(self.whole(coerce.to_cells(value)), is_constant(value))
