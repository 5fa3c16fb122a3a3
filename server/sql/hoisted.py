"""Sub-queries hoisted out of an expression, as DuckDB takes none in lambdas."""

from __future__ import annotations

from dataclasses import replace

from server.sql import coerce
from server.sql.bound import Atom, Open, Value, is_constant
from server.sql.duck import QUERY, references
from server.sql.relations import NoTable
from server.sql.scope import Context


class HoistedQueries:
    """The sub-queries of one expression, which may not be staged on a relation: nothing of it is computed elsewhere.

    They become columns of a table of one row; the expression reads that in a scalar sub-query of its own.
    """

    def __init__(self, context: Context) -> None:
        self._table = NoTable(context.number())

    def stage(self, sql: str) -> str:
        """The reference to a part of the expression that has sub-queries; other parts stay as they are."""
        return self._table.stage(sql) if QUERY in sql else sql

    def around(self, sql: str) -> str:
        """The expression, with what has been hoisted out of it, as SQL that can stand anywhere."""
        if not self._table.staged or not references(sql, self._table.number):
            return sql
        return f"(SELECT {sql} FROM {self._table.render(sql, ordered=False)})"

    def around_value(self, value: Value) -> Value:
        """As ``around``, for a value."""
        if not self._table.staged:
            return value
        if isinstance(value, Atom):
            return replace(value, sql=self.around(value.sql), ts=lambda: self.around(value.ts()))
        return Open(self.around(coerce.to_cells(value)), is_constant(value))
