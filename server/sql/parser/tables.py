"""What follows FROM: datasets, sub-selects, table functions and joins (sql-dialect.md §4.3, §6)."""

from __future__ import annotations

from typing import Literal as OneOf
from typing import cast

from server.sql.parser.select import SelectParser
from server.sql.tokens import NAME
from server.sql.tree import DatasetRef, Join, RowLiteral, RowTable, SubSelect, Table, TableCall

JoinKind = OneOf["inner", "left", "right", "full"]

_JOINS: dict[tuple[str, ...], JoinKind] = {
    ("join",): "inner",
    ("inner", "join"): "inner",
    ("left", "join"): "left",
    ("left", "outer", "join"): "left",
    ("right", "join"): "right",
    ("right", "outer", "join"): "right",
    ("full", "join"): "full",
    ("full", "outer", "join"): "full",
    ("outer", "join"): "full",
}
_JOIN_WORDS = frozenset(("join", "inner", "left", "right", "full", "outer"))


class Parser(SelectParser):
    """The whole grammar."""

    __slots__ = ()

    def table(self) -> Table:
        """A table and its joins. The right operand takes the joins after it until it meets an ON (§6.3)."""
        self.descend()
        first = self.at
        left = self._plain_table()
        while (kind := self._take_join()) is not None:
            self.chained += 1
            right = self.table()
            on = self.expression() if self.take("on") else None
            left = Join(left, right, kind, on, span=self.span_from(first))
        self.depth -= 1
        return left

    def _take_join(self) -> JoinKind | None:
        words: tuple[str, ...] = ()
        while self.keys[self.at] in _JOIN_WORDS:
            words += (self.keys[self.at],)
            self.at += 1
            if words[-1] == "join":
                break
        if not words:
            return None
        if words not in _JOINS:
            self.fail("Expected JOIN: [INNER] JOIN, or LEFT, RIGHT or FULL [OUTER] JOIN")
        return _JOINS[words]

    def _plain_table(self) -> Table:
        first = self.at
        if self.take("("):
            return self._parenthesised_table(first)
        if self.kinds[first] != NAME:
            self.fail("Expected table expression")
        if self.keys[first + 1] == "(":
            return self._table_call(first)
        name = self.identifier("Expected table expression")
        alias = self._alias("Expected identifier after the AS clause")
        return DatasetRef(name, alias, span=self.span_from(first))

    def _alias(self, message: str) -> str | None:
        return self.identifier(message) if self.take("as") else None

    def _parenthesised_table(self, first: int) -> Table:
        if self.keys[self.at] != "select":
            inner = self.table()
            self._close()
            return inner
        query = self.statement()
        self._close()
        alias = self._alias("Expected identifier after the subtable AS clause")
        return SubSelect(query, alias, span=self.span_from(first))

    def _close(self) -> None:
        self.expect(")", "Expected to find a ')' parsing a table expression." + self.remedy_here())

    def _table_call(self, first: int) -> Table:
        name = self.identifier("Expected table expression")
        self.at += 1
        if name in ("row_dataset", "atom_dataset"):
            # Only an operand may stand here, as in MLDB: `row_dataset((a + b))` needs its own parentheses.
            expression = self.operand()
            self._close()
            alias = self._alias("Expected identifier after the row_dataset(...) AS clause")
            kind = cast(OneOf["row_dataset", "atom_dataset"], name)
            return RowTable(kind, expression, alias, span=self.span_from(first))
        tables, options = self._table_arguments()
        alias = self._alias("Expected identifier after the AS clause")
        return TableCall(name, tables, options, alias, span=self.span_from(first))

    def _table_arguments(self) -> tuple[tuple[Table, ...], RowLiteral | None]:
        tables: list[Table] = []
        options: RowLiteral | None = None
        if self.take(")"):
            return (), None
        while True:
            if self.keys[self.at] == "{":
                options = self._options()
                if self.keys[self.at] == ",":
                    self.fail("options to table expression should be last argument")
                break
            if self.keys[self.at] == "select":
                self.fail(
                    "Expected to find a ')' parsing a table expression. A sub-select needs parentheses of its own"
                )
            tables.append(self.table())
            if not self.take(","):
                break
        self._close()
        return tuple(tables), options

    def _options(self) -> RowLiteral:
        first = self.at
        self.at += 1
        return RowLiteral(self.clauses_until("}"), span=self.span_from(first))
