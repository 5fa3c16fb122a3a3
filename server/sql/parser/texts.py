"""One function per kind of text that callers hold: a statement, an expression, a SELECT list, a table, sort keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from server.sql.parser.height import check_height
from server.sql.parser.tables import Parser
from server.sql.tree import Clause, Expression, Node, OrderKey, Select, Table

Parsed = TypeVar("Parsed", bound=Node | tuple[Node, ...])


def _parse(text: str, read: Callable[[Parser], Parsed]) -> Parsed:
    parser = Parser(text)
    found = read(parser)
    parser.expect_end()
    check_height(parser, found)
    return found


def parse_statement(text: str) -> Select:
    """A whole SELECT statement."""
    return _parse(text, Parser.statement)


def parse_expression(text: str) -> Expression:
    """One expression, as in WHERE."""
    return _parse(text, Parser.expression)


def parse_clauses(text: str) -> tuple[Clause, ...]:
    """A SELECT list without its keyword (and without DISTINCT ON)."""
    return _parse(text, Parser.clauses)


def parse_select_list(text: str) -> tuple[tuple[Expression, ...], tuple[Clause, ...]]:
    """A SELECT list without its keyword: the expressions of DISTINCT ON, and the clauses."""
    parser = Parser(text)
    distinct = parser.distinct_on()
    clauses = parser.clauses()
    parser.expect_end()
    check_height(parser, (*distinct, *clauses))
    return distinct, clauses


def parse_expressions(text: str) -> tuple[Expression, ...]:
    """Expressions separated by commas, as in GROUP BY."""
    return _parse(text, Parser.expressions)


def parse_table(text: str) -> Table:
    """What may follow FROM."""
    return _parse(text, Parser.table)


def parse_order(text: str) -> tuple[OrderKey, ...]:
    """Sort keys, as after ORDER BY."""
    return _parse(text, Parser.order_keys)
