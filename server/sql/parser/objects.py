"""Queries as configs give them: one string, or an object with a member per clause (sql-dialect.md §4.3)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from server.errors import MldbError
from server.sql.parser.tables import Parser
from server.sql.parser.texts import (
    parse_expression,
    parse_expressions,
    parse_order,
    parse_select_list,
    parse_statement,
    parse_table,
)
from server.sql.tree import DatasetRef, Expression, OrderKey, Select, Table

TableOf = Callable[[Mapping[str, Any]], Table]

MEMBERS = ("select", "named", "from", "when", "where", "groupBy", "having", "orderBy", "limit", "offset")

# An id that needs quotes in SQL only for its dots or hyphens stands for itself in a `from` member.
_PLAIN_ID = re.compile(r"[\w-]+(?:[.-][\w-]+)*")


def parse_query(query: str | Mapping[str, Any], table_of: TableOf | None = None) -> Select:
    """A query from a config, in either form."""
    if isinstance(query, str):
        return parse_statement(query)
    if isinstance(query, Mapping):
        return query_from_object(query, table_of)
    raise MldbError(f"a query is a SELECT statement or an object of clauses, not {query!r}")


def query_from_object(query: Mapping[str, Any], table_of: TableOf | None = None) -> Select:
    """A query given clause by clause. ``select`` is ``*`` when left out.

    ``from`` is a table expression, a dataset's id, or a dataset config, for which ``table_of`` is asked; without it
    only configs that merely name a dataset (``{"id": …}``) are understood.
    """
    unknown = sorted(set(query) - set(MEMBERS))
    if unknown:
        raise MldbError(f"unknown member '{unknown[0]}' of a query; it may have {', '.join(MEMBERS)}")
    distinct, clauses = parse_select_list(_joined(query, "select") or "*")
    order_by = _order(query)
    Parser("").check_distinct(distinct, order_by, 0)
    return Select(
        clauses,
        distinct,
        _expression(query, "named"),
        _source(query.get("from"), table_of),
        _expression(query, "when"),
        _expression(query, "where"),
        _group(query),
        _expression(query, "having"),
        order_by,
        _count(query, "limit"),
        _count(query, "offset") or 0,
    )


def _joined(query: Mapping[str, Any], member: str) -> str:
    """A member that may be a string, or a list of strings which commas would separate."""
    value = query.get(member)
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return ", ".join(value)
    if value is None or isinstance(value, str):
        return (value or "").strip()
    raise MldbError(f"member '{member}' of a query must be a string, not {value!r}")


def _expression(query: Mapping[str, Any], member: str) -> Expression | None:
    value = query.get(member)
    if isinstance(value, bool | int):
        value = str(value).lower()
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise MldbError(f"member '{member}' of a query must be a string, not {value!r}")
    return parse_expression(value)


def _group(query: Mapping[str, Any]) -> tuple[Expression, ...]:
    text = _joined(query, "groupBy")
    return parse_expressions(text) if text else ()


def _order(query: Mapping[str, Any]) -> tuple[OrderKey, ...]:
    text = _joined(query, "orderBy")
    return parse_order(text) if text else ()


def _count(query: Mapping[str, Any], member: str) -> int | None:
    """LIMIT or OFFSET; -1 stands for none, as in MLDB."""
    value = query.get(member)
    if value is None or value == -1:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise MldbError(f"member '{member}' of a query must be a non-negative integer, not {value!r}")
    return value


def _source(value: Any, table_of: TableOf | None) -> Table | None:
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return _source_of_text(value.strip())
    if isinstance(value, Mapping):
        if set(value) == {"id"} and isinstance(value["id"], str):
            return DatasetRef(value["id"])
        if table_of is not None:
            return table_of(value)
    raise MldbError(f"member 'from' of a query must be a dataset's id or a table expression, not {value!r}")


def _source_of_text(text: str) -> Table:
    return DatasetRef(text) if _PLAIN_ID.fullmatch(text) else parse_table(text)
