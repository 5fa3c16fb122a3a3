"""Whatever the text, it parses or is a syntax error; whatever parses, its canonical text parses to the same tree."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from server.sql.parser import SqlSyntaxError, parse_clauses, parse_expression, parse_statement, parse_table
from server.sql.render import render, render_all
from tests.effort import cases

WORDS = (
    *(
        "SELECT",
        "FROM",
        "WHERE",
        "WHEN",
        "GROUP",
        "BY",
        "HAVING",
        "ORDER",
        "LIMIT",
        "OFFSET",
        "NAMED",
        "DISTINCT",
        "ON",
    ),
    *("ON", "AS", "EXCLUDING", "COLUMN", "EXPR", "STRUCTURED", "JOIN", "LEFT", "OUTER", "FULL", "IN", "KEYS", "VALUES"),
    *("OF", "NOT", "AND", "OR", "LIKE", "BETWEEN", "IS", "NULL", "TRUE", "NUMBER", "CASE", "THEN", "ELSE", "END"),
    *("CAST", "INTERVAL", "TIMESTAMP", "ALL", "ANY", "nan", "inf", "asx", "info", "row_dataset", "transpose", "count"),
    *("x", "y", "t.x", '"a b"', '"a""b".c', '"', "'", "'it''s'", "''", "'1 day'", "1", "2.5", "0", "1e400", "01", ".5"),
    *("(", ")", "[", "]", "{", "}", ",", ".", ":", "*", "/", "+", "-", "%", "&", "|", "^", "~", "@", "$x", "$1", "$"),
    *("=", "!=", "<>", "<", "<=", "!>", "--", "/*", "*/", "\n", "é", ";", "\x00"),
)
soup = st.lists(st.sampled_from(WORDS), max_size=30).flatmap(
    lambda words: st.sampled_from(("", " ")).map(lambda blank: blank.join(words))
)


def _joined(*parts: str | st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*(st.just(part) if isinstance(part, str) else part for part in parts)).map("".join)


names = st.sampled_from(("x", "y", "t.x", '"a b"', '"from"', '"null"', '"a""b".c', "timestamp"))
PLAIN_TABLES = (
    *("t", '"a.b" AS u', "row_dataset({x: 1}) AS r", "(SELECT 1 AS x) AS s", "merge(t, u)"),
    "sample(t, {rows: 3})",
)
JOINS = (" JOIN ", " LEFT JOIN ", " FULL OUTER JOIN ")
tables = st.recursive(
    st.sampled_from(PLAIN_TABLES),
    lambda inner: (
        _joined(inner, st.sampled_from(JOINS), inner, st.sampled_from(("", " ON x = y"))) | _joined("(", inner, ")")
    ),
    max_leaves=5,
)
LITERALS = (
    *("null", "TRUE", "nan", "-inf", "'it''s'", "INTERVAL '-2 month 3.25 s'", "$x", '$"a b"', "count(*)", "{}", "[]"),
)
atoms = st.one_of(
    names,
    st.integers(0, 2**65).map(str),
    st.floats(allow_nan=False, allow_infinity=False, min_value=0).map(repr),
    st.sampled_from(LITERALS),
)
OPERATORS = (" + ", "-", " * ", " / ", " % ", " & ", " | ", " ^ ", " @ ", " = ", " <> ", " < ", " >= ", " AND ", " OR ")
TESTS = (" IS NULL", " IS NOT NUMBER", " IN (KEYS OF {x})", " NOT IN (1, y)", " IN (SELECT x FROM t)")
COLUMN_EXPR = "COLUMN EXPR (AS 'a' + columnName() WHERE value() > 1 ORDER BY rowCount() DESC LIMIT 3)"
CLAUSES = ("x.*", "a* AS b*", "* EXCLUDING (x, y*)", "y: 1", "2 AS p.q", COLUMN_EXPR)


def _combine(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    of = _joined
    operators, tests, clauses = map(st.sampled_from, (OPERATORS, TESTS, CLAUSES))
    return st.one_of(
        of(inner, operators, inner),
        of(st.sampled_from((" -", "+", "~", "NOT ", "TIMESTAMP ")), inner),
        of("(", inner, ")"),
        of(inner, tests),
        of(inner, st.sampled_from((" LIKE ", " NOT LIKE ")), inner),
        of(inner, st.sampled_from((" BETWEEN ", " NOT BETWEEN ")), inner, " AND ", inner),
        of(inner, "[", inner, "]"),
        of("f(", inner, ", t.g(", inner, "))"),
        of("CASE ", inner, " WHEN ", inner, " THEN ", inner, " ELSE ", inner, " END"),
        of("CAST (", inner, " AS integer)"),
        of("{", inner, " AS *, ", clauses, ", z: ", inner, "}"),
        of("[", inner, ", ", inner, "]"),
    )


expressions = st.recursive(atoms, _combine, max_leaves=12)
statements = st.tuples(expressions, tables, expressions, st.sampled_from((
    "", " GROUP BY x, y + 1 HAVING count(*) > 1", " ORDER BY x DESC, y LIMIT 3 OFFSET 4", " WHEN value_timestamp() < x"
))).map(lambda parts: f"SELECT {parts[0]}, * FROM {parts[1]} WHERE {parts[2]}{parts[3]}")  # fmt: skip


def _tree_or_none(parse: Any, text: str) -> Any:
    try:
        return parse(text)
    except SqlSyntaxError as error:
        details = error.details
        assert details["line"] >= 1
        assert 0 <= details["offset"] <= len(text)
        return None


@settings(max_examples=cases(400))
@given(soup)
def test_soup_parses_or_is_a_syntax_error(text: str) -> None:
    for parse in (parse_statement, parse_expression, parse_table, parse_clauses):
        tree = _tree_or_none(parse, text)
        if tree is not None:
            canonical = render_all(tree) if isinstance(tree, tuple) else render(tree)
            assert parse(canonical) == tree


@settings(max_examples=cases(200))
@given(st.text(max_size=60))
def test_any_text_parses_or_is_a_syntax_error(text: str) -> None:
    _tree_or_none(parse_statement, "SELECT " + text)


@settings(max_examples=cases(300))
@given(expressions)
@example("x LIKE (x NOT BETWEEN x AND x)")
def test_expressions_survive_their_canonical_text(text: str) -> None:
    tree = _tree_or_none(parse_expression, text)
    if tree is not None:
        assert parse_expression(render(tree)) == tree


@settings(max_examples=cases(300))
@given(statements, st.data())
def test_mutated_statements(text: str, data: st.DataObject) -> None:
    tree = _tree_or_none(parse_statement, text)
    if tree is not None:
        assert parse_statement(render(tree)) == tree
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 8)))
    mutated = text[:start] + data.draw(st.sampled_from(("", *WORDS))) + text[end:]
    changed = _tree_or_none(parse_statement, mutated)
    if changed is not None:
        assert parse_statement(render(changed)) == changed
