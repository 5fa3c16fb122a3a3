"""The parser: text of the dialect to the tree of ``server.sql.tree`` (sql-dialect.md §4).

Hand-written precedence climbing and recursive descent, one class per layer of the grammar: ``Cursor`` (tokens),
``ExpressionParser``, ``SelectParser``, ``Parser`` (FROM). For a text that is not of the dialect every function here
raises ``SqlSyntaxError`` and nothing else.
"""

from server.sql.parser.objects import parse_query, query_from_object
from server.sql.parser.texts import (
    parse_clauses,
    parse_expression,
    parse_expressions,
    parse_order,
    parse_select_list,
    parse_statement,
    parse_table,
)
from server.sql.tokens import SqlSyntaxError

__all__ = (
    "SqlSyntaxError",
    "parse_clauses",
    "parse_expression",
    "parse_expressions",
    "parse_order",
    "parse_query",
    "parse_select_list",
    "parse_statement",
    "parse_table",
    "query_from_object",
)
