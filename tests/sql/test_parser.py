"""The parser against sql-dialect.md §4, §7.4, §12."""

from __future__ import annotations

import pytest

from server.errors import MldbError
from server.sql.parser import (
    SqlSyntaxError,
    parse_clauses,
    parse_expression,
    parse_order,
    parse_query,
    parse_statement,
    parse_table,
    query_from_object,
)
from server.sql.tree import (
    Binary,
    Call,
    ColumnRef,
    Constant,
    DatasetRef,
    Flatten,
    InList,
    Is,
    Item,
    Join,
    OrderKey,
    Select,
    Unary,
    Wildcard,
)

A, B, C = ColumnRef(("a",)), ColumnRef(("b",)), ColumnRef(("c",))


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a + b * c", Binary("+", A, Binary("*", B, C))),
        ("a - b - c", Binary("-", Binary("-", A, B), C)),
        ("a + b @ c", Binary("+", A, Binary("@", B, C))),
        ("a * b @ c", Binary("@", Binary("*", A, B), C)),
        ("a + b IS NOT NULL", Binary("+", A, Is(B, "null", True))),
        ("-a * b", Unary("-", Binary("*", A, B))),
        ("-a + b", Binary("+", Unary("-", A), B)),
        ("a * -3", Binary("*", A, Constant(-3))),
        ("-3", Unary("-", Constant(3))),
        ("NOT a = b", Unary("not", Binary("=", A, B))),
        ("NOT a IN (b)", Unary("not", InList(A, (B,)))),
        ("NOT a AND b OR c", Binary("or", Binary("and", Unary("not", A), B), C)),
        ("a <> b", Binary("!=", A, B)),
        ("~a + b", Binary("+", Unary("~", A), B)),
        ("TIMESTAMP a @ b", Binary("@", Call("to_timestamp", (A,)), B)),
        ("timestamp", ColumnRef(("timestamp",))),
        ("1 % 2IN (4)", InList(Binary("%", Constant(1), Constant(2)), (Constant(4),))),
        ("1--2\n", Constant(1)),
    ],
)
def test_precedence(text: str, tree: object) -> None:
    assert parse_expression(text) == tree


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("*", (Wildcard(),)),
        ("x.*, x*", (Wildcard(("x",)), Wildcard(("x",)))),
        ("a* AS b*, a*: b*", (Wildcard(("a",), (), ("b",)), Wildcard(("a",), (), ("b",)))),
        ("a.* AS *", (Wildcard(("a",), (), ()),)),
        ("a*b", (Item(Binary("*", A, B)),)),
        ("a AS *", (Flatten(A),)),
        ("1 ASx.y", (Item(Constant(1), ("x", "y")),)),
        ("c: a", (Item(A, ("c",)),)),
        ("a,", (Item(A),)),
    ],
)
def test_clauses(text: str, clauses: object) -> None:
    assert parse_clauses(text) == clauses


def test_automatic_names_are_source_text() -> None:
    clauses = parse_clauses(" ( a+ b /* why */ )  ,\n f( {x} ) /* kept */ , 1.50 AS z ")
    assert [clause.text for clause in clauses if isinstance(clause, Item)] == [
        "( a+ b /* why */ )",
        "f( {x} ) /* kept */",
        "1.50",
    ]


def test_joins_associate_by_their_on() -> None:
    a, b, c = DatasetRef("a"), DatasetRef("b"), DatasetRef("c")
    assert parse_table("a JOIN b ON a JOIN c ON b") == Join(Join(a, b, "inner", A), c, "inner", B)
    assert parse_table("a JOIN b LEFT JOIN c") == Join(a, Join(b, c, "left"), "inner")
    assert parse_table("a OUTER JOIN b JOIN c ON a") == Join(a, Join(b, c, "inner", A), "full")


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("SELECT 'abc", (1, 9), "No closing quote character for string"),
        ('SELECT a."b', (1, 11), "No closing quote character for string"),
        ("SELECT\n  a b", (2, 5), "an alias is written with AS"),
        ("FROM t", (1, 1), "Expected SELECT"),
        ("SELECT nullable", (1, 8), 'write it in double quotes, as "nullable"'),
        ("SELECT CASE WHEN a THEN b", (1, 26), "expected keyword END"),
        ("SELECT a IS NICE", (1, 13), "Expected NULL, TRUE, FALSE, STRING, NUMBER, INTEGER, TIMESTAMP or INTERVAL"),
        ("SELECT * EXCLUDING (*)", (1, 21), "can't exclude *"),
        ("SELECT a* AS b", (1, 15), "Expected prefixed wildcard for AS wildcard expression"),
        ("SELECT a FROM", (1, 14), "Expected table expression"),
        ("SELECT a FROM t AS", (1, 19), "Expected identifier after the AS clause"),
        ("SELECT a FROM (SELECT 1) AS", (1, 28), "Expected identifier after the subtable AS clause"),
        ("SELECT a FROM transpose(SELECT 1)", (1, 25), "Expected to find a ')' parsing a table expression."),
        (
            "SELECT DISTINCT a FROM t",
            (1, 8),
            "Generic 'DISTINCT' is not currently supported. Please use 'DISTINCT ON'.",
        ),
        ("SELECT a.b.f()", (1, 8), "Ambiguous function name."),
        ("SELECT $", (1, 9), "Expected identifier as name of variable"),
        ("SELECT cast(a AS 1)", (1, 18), "Expected type name as identifier"),
        ("SELECT a == b", (1, 11), "equality is written ="),
        ("SELECT a !> b", (1, 10), "Unknown comparison op !>"),
        ("SELECT all (a)", (1, 8), "unimplemented operator ALL"),
        ("SELECT é", (1, 8), "in double quotes"),
        ("SELECT INTERVAL '1 fortnight'", (1, 17), "Unexpected symbol parsing time interval"),
        ("SELECT 1 /* open", (1, 12), "No closing */ for comment"),
    ],
)
def test_errors_tell_place_and_reason(text: str, position: tuple[int, int], message: str) -> None:
    with pytest.raises(SqlSyntaxError) as caught:
        parse_statement(text)
    line, column = position
    assert caught.value.message.startswith(f"{text}:{line}:{column}: ")
    assert message in caught.value.message
    assert caught.value.details == {"line": line, "column": column, "offset": caught.value.details["offset"]}
    assert caught.value.code == 400


@pytest.mark.parametrize(
    "text",
    ["(" * 5000 + "1" + ")" * 5000, "1" + "+1" * 5000, " -" * 5000 + "1", "NOT " * 5000 + "1", "{" * 5000,
     "a" + "[a]" * 5000, "a" + " IS NULL" * 5000, "f(" * 5000, "[" * 5000, "CASE WHEN " * 5000],
)  # fmt: skip
def test_hostile_nesting_is_an_error(text: str) -> None:
    with pytest.raises(SqlSyntaxError, match=r"nested too deeply|levels high"):
        parse_expression(text)


def test_nested_tables_are_limited() -> None:
    with pytest.raises(SqlSyntaxError, match="nested too deeply"):
        parse_statement("SELECT 1 FROM " + "(SELECT 1 FROM " * 3000)
    with pytest.raises(SqlSyntaxError, match="nested too deeply"):
        parse_statement("SELECT 1 FROM a" + " JOIN a" * 3000)
    with pytest.raises(SqlSyntaxError, match="levels high"):
        parse_statement("SELECT 1 FROM a" + " JOIN a ON b" * 3000)


def test_query_from_object() -> None:
    query = query_from_object(
        {"select": "a, b", "from": "my.set", "where": "c", "orderBy": ["a DESC", "b"], "limit": 5, "offset": 0}
    )
    assert query == Select(
        (Item(A), Item(B)), source=DatasetRef("my.set"), where=C,
        order_by=(OrderKey(A, True), OrderKey(B)), limit=5,
    )  # fmt: skip
    assert query_from_object({}) == Select((Wildcard(),))
    assert query_from_object({"from": {"id": "x y"}}).source == DatasetRef("x y")
    assert query_from_object({"from": {"type": "t"}}, lambda config: DatasetRef(config["type"])).source == DatasetRef(
        "t"
    )
    assert parse_query("SELECT a") == Select((Item(A),))


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"selct": "a"}, "unknown member 'selct'"),
        ({"limit": -2}, "non-negative integer"),
        ({"where": ["a"]}, "must be a string"),
        ({"from": 3}, "member 'from'"),
        ({"from": {"type": "x"}}, "member 'from'"),
        (7, "a query is a SELECT statement"),
    ],
)
def test_query_from_object_refuses(query: object, message: str) -> None:
    with pytest.raises(MldbError, match=message):
        parse_query(query)  # type: ignore[arg-type]


def test_order_keys() -> None:
    assert parse_order("a DESC, b ASC, c") == (OrderKey(A, True), OrderKey(B), OrderKey(C))
