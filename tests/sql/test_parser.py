"""The parser against sql-dialect.md §4, §7.4, §12."""

from __future__ import annotations

from pathlib import Path

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
from server.sql.render import render
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
from server.values.atoms import PathValue, Timestamp

FIXTURES = Path(__file__).parent / "fixtures" / "parser"

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
        ("-3", Constant(-3)),
        ("-3 * a", Unary("-", Binary("*", Constant(3), A))),
        ("-18446744073709551615", Constant(-18446744073709551616.0)),
        ("-9223372036854775808", Constant(-9223372036854775808)),
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


def _fixtures(name: str, mark: str) -> list[tuple[str, str]]:
    """The blocks of a fixture file: a text, and what follows its mark."""
    blocks = (FIXTURES / name).read_text().strip().split("\n\n")
    pairs = [block.split(f"\n{mark} ") for block in blocks if not block.startswith("#")]
    return [(text, expected) for text, expected in pairs]


@pytest.mark.parametrize(("text", "same"), _fixtures("precedence.txt", "="))
def test_expressions_that_say_the_same(text: str, same: str) -> None:
    assert parse_expression(text) == parse_expression(same)


@pytest.mark.parametrize(("text", "same"), _fixtures("statements.txt", "="))
def test_statements_that_say_the_same(text: str, same: str) -> None:
    tree = parse_statement(text)
    assert tree == parse_statement(same)
    assert parse_statement(render(tree)) == tree


@pytest.mark.parametrize(("text", "expected"), _fixtures("errors.txt", "!"))
def test_errors_tell_place_and_reason(text: str, expected: str) -> None:
    with pytest.raises(SqlSyntaxError) as caught:
        parse_statement(text)
    position, _, message = expected.partition(" ")
    assert caught.value.message.startswith(f"{text}:{position}: ")
    assert message in caught.value.message
    details = caught.value.details
    assert f"{details['line']}:{details['column']}" == position
    assert len(text[: details["offset"]].splitlines() or [""]) == details["line"]
    assert caught.value.code == 400


@pytest.mark.parametrize(
    "text",
    ["(" * 5000 + "1" + ")" * 5000, "1" + "+1" * 5000, " -" * 5000 + "1", "NOT " * 5000 + "1", "{" * 5000,
     "a" + "[a]" * 5000, "a" + " IS NULL" * 5000, "f(" * 5000, "[" * 5000, "CASE WHEN " * 5000],
)  # fmt: skip
def test_hostile_nesting_is_an_error(text: str) -> None:
    with pytest.raises(SqlSyntaxError, match=r"nested too deeply|levels high"):
        parse_expression(text)


def test_half_of_a_surrogate_pair_is_an_error() -> None:
    for text in ("SELECT 1 /* \ud800 */", "SELECT '\udfff'", 'SELECT 1 AS "\ud83d"'):
        with pytest.raises(SqlSyntaxError, match="Half of a surrogate pair") as caught:
            parse_statement(text)
        assert text[caught.value.details["offset"]] in "\ud800\udfff\ud83d"
        assert caught.value.message.encode()


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


def test_spans_cover_the_source() -> None:
    text = "SELECT  (a + b) * f(c) AS x FROM t JOIN u ON a"
    tree = parse_statement(text)
    item = tree.clauses[0]
    assert isinstance(item, Item)
    assert isinstance(item.expression, Binary)

    def source(span: tuple[int, int]) -> str:
        return text[span[0] : span[1]]

    assert source(tree.span) == text
    assert source(item.span) == "(a + b) * f(c) AS x"
    assert source(item.expression.span) == "(a + b) * f(c)"
    assert source(item.expression.left.span) == "a + b"
    assert source(item.expression.right.span) == "f(c)"
    assert tree.source is not None
    assert source(tree.source.span) == "t JOIN u ON a"


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ('select  - ( a+b )*c,not x in(1) from "t"', "SELECT -(a + b) * c, NOT x IN (1) FROM t"),
        ("select x:\"from\", 'it''s'", "SELECT \"from\" AS x, 'it''s'"),
        ("select interval '-1y2w' as i", "SELECT INTERVAL '-12 month 14 day 0.0 second' AS i"),
    ],
)
def test_canonical_text(text: str, canonical: str) -> None:
    assert render(parse_statement(text)) == canonical


def test_constants_without_a_literal() -> None:
    assert render(Constant(Timestamp(0))) == "TIMESTAMP '1970-01-01T00:00:00Z'"
    assert render(Constant(PathValue(("a", "b.c")))) == "parse_path('a.\"b.c\"')"
    assert render(Constant(b"ab")) == "base64_decode('YWI=')"
