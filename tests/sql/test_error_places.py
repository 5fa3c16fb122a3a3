"""Errors of a query say where: numbers for editors, a caret for people, and the nearest name."""

from __future__ import annotations

from typing import Any

import pytest

from server.sql.parser import parse_query
from server.sql.tokens import SqlSyntaxError
from tests.conftest import Client
from tests.sql.test_queries import load


@pytest.fixture(scope="module")
def loaded(client: Client) -> Client:
    load(client)
    return client


def failure(client: Client, query: str) -> dict[str, Any]:
    answer = client.get_json("/v1/query", {"q": query})
    assert answer.status_code >= 400, answer.text
    found: dict[str, Any] = answer.json()
    return found


PLACES = [
    ("SELECT x FROM d WHERE nosuch(x) = 1", "nosuch(x)"),
    ("SELECT x,\n  hello(1) FROM d", "hello(1)"),
    ("SELECT x + sqrt(1, 2) FROM d", "sqrt(1, 2)"),
    ("SELECT x FROM d GROUP BY y", "x"),
    ("SELECT y FROM d GROUP BY y ORDER BY zzz", "zzz"),
    ("SELECT x AS * FROM d", "x AS *"),
    ("SELECT * FROM d JOIN nowhere ON d.x = nowhere.x", "nowhere"),
    ("SELECT * FROM (SELECT bad(1) FROM d)", "bad(1)"),
    ("SELECT {a: 1}[b]", "b"),
    ("SELECT CAST(x AS tutu) FROM d", "CAST(x AS tutu)"),
    ("SELECT x, me({x: 1}) FROM d", "me({x: 1})"),
    ("SELECT x FROM d t", "t"),
    ("SELECT 'é' + x IS FOO FROM d", "FOO"),
]


@pytest.mark.parametrize(("query", "culprit"), PLACES)
def test_place(loaded: Client, query: str, culprit: str) -> None:
    details = failure(loaded, query)["details"]
    start, length = details["offset"], details["length"]
    assert query[start : start + length] == culprit
    line = query.splitlines()[details["line"] - 1]
    assert line[details["column"] - 1 :].startswith(culprit.splitlines()[0])
    shown, carets = details["caret"].split("\n")
    assert shown == line
    assert carets == " " * (details["column"] - 1) + "^" * length


def test_long_lines_are_cut_around_the_place(loaded: Client) -> None:
    query = "SELECT " + "1, " * 500 + "nosuch(1)" + ", 1" * 500
    shown, carets = failure(loaded, query)["details"]["caret"].split("\n")
    assert len(shown) <= 160
    assert shown[carets.index("^") :].startswith("nosuch(1)")


RUNTIME_PLACES = [
    ("SELECT y, x - s AS bad FROM d WHERE x = 2", "x - s"),
    ("SELECT x FROM d WHERE x - s > 1 AND x = 1", "x - s > 1 AND x = 1"),
    ("SELECT *\nFROM (SELECT 1 AS one, x - s AS inner FROM d WHERE x = 2)", "x - s"),
    ("SELECT count(*) FROM d WHERE x = 2 GROUP BY x - s", "x - s"),
    ("SELECT 1, sqrt('é')", "sqrt('é')"),
    ("SELECT count(*), avg( s ) + 1 AS mean FROM d", "avg( s )"),
    ("SELECT sum({*}) FROM t_d", "sum({*})"),
    ("SELECT 5 % 0 AS zero", "5 % 0"),
    ("SELECT x FROM d WHERE x = 2 ORDER BY x - s DESC", "x - s DESC"),
    ("SELECT x FROM d WHERE x = 2 ORDER BY y, x - s", None),
    ("SELECT y AS a FROM (SELECT x - s AS a, 1 AS y FROM d WHERE x = 2) AS t WHERE t.a > 1", None),
]


@pytest.mark.parametrize(("query", "culprit"), RUNTIME_PLACES)
def test_place_of_runtime_errors(loaded: Client, query: str, culprit: str | None) -> None:
    details = failure(loaded, query)["details"]
    if culprit is None:  # not certain: rather no place than a wrong one
        assert "offset" not in details
    else:
        assert query[details["offset"] : details["offset"] + details["length"]] == culprit


WORDS = [
    ("SELECT x + FROM d", "'FROM' is read as a name here"),
    ("SELECT x AS FROM d", "'FROM' is read as a name here"),
    ("SELECT x FROM d ORDER BY x DESC foo", "Unexpected 'foo'"),
    ("SELECT x FROM d WHERE x = AND y", "'AND' is read as a name here"),
    ("SELECT x FROM d t", "an alias is written with AS"),
]


@pytest.mark.parametrize(("query", "remedy"), WORDS)
def test_words_that_were_read_as_names(loaded: Client, query: str, remedy: str) -> None:
    assert remedy in failure(loaded, query)["error"]


RUNTIME = [
    ("SELECT x - s AS bad FROM d WHERE x = 2", "r2", "bad"),
    ("SELECT exp(s) FROM d WHERE x = 2", "r2", "exp(s)"),
    ("SELECT y % (x - 2) AS m FROM (SELECT x, 7 AS y FROM d)", "r2", "m"),
    ("SELECT parse_json(s) AS p FROM d WHERE rowName() = 'r1'", "r1", "p"),
    ("SELECT x FROM d WHERE x - s > 1 AND x = 1", "r1", "WHERE"),
    ("SELECT * FROM (SELECT x - s AS inner FROM d WHERE x = 2)", "r2", "inner"),
    ("SELECT x FROM d WHERE x = 2 ORDER BY x - s", "r2", "ORDER BY"),
    ("SELECT count(*) FROM d WHERE x = 2 GROUP BY x - s", "r2", "GROUP BY"),
    ("SELECT sum(s) AS total FROM d WHERE x = 2", "r2", "sum(s)"),
]


@pytest.mark.parametrize(("query", "row", "expression"), RUNTIME)
def test_runtime_errors_name_row_and_expression(loaded: Client, query: str, row: str, expression: str) -> None:
    error = failure(loaded, query)
    assert error["details"]["row"] == row
    assert error["details"]["expression"] == expression
    assert "^" in error["details"]["caret"]
    assert error["error"].endswith(f" (in row '{row}', at '{expression}')")


def test_runtime_errors_without_a_table_name_the_expression(loaded: Client) -> None:
    error = failure(loaded, "SELECT 1 AS fine, exp('a') AS bad")
    assert (error["details"]["row"], error["details"]["expression"]) == ("result", "bad")
    assert error["error"].endswith("to double")


@pytest.mark.parametrize(
    ("query", "near"),
    [
        ("SELECT horizontal_summ({x: 1})", "horizontal_sum"),
        ("SELECT * FROM mixde", "mixed"),
        ("SELECT {label: 1}[lable]", "label"),
        ("SELECT dd.x FROM d JOIN e ON dd.x = e.id", "d"),
        ("SELECT lable FROM (SELECT x AS label FROM d) GROUP BY label", "label"),
    ],
)
def test_nearest_name(loaded: Client, query: str, near: str) -> None:
    assert failure(loaded, query)["error"].endswith(f" Did you mean '{near}'?")


@pytest.mark.parametrize("name", ["reverse", "nofun"])
def test_a_function_that_is_like_none_is_not_guessed(loaded: Client, name: str) -> None:
    assert failure(loaded, f"SELECT {name}(x) FROM d")["error"].endswith("in the scope of the expression.")


@pytest.mark.parametrize(
    ("call", "remedy"),
    [
        ("median(x)", "summary.statistics"),
        ("round(x, 2)", "quantize(x, 0.01)"),
        ("strptime(x, '%d.%m.%Y')", "to_timestamp(regex_replace(x, "),
    ],
)
def test_functions_of_other_dialects(loaded: Client, call: str, remedy: str) -> None:
    assert remedy in failure(loaded, f"SELECT {call} FROM d")["error"]


def test_the_error_of_a_long_text_repeats_its_beginning() -> None:
    text = "SELECT " + "1 + " * 100_000 + "1 AS x"
    with pytest.raises(SqlSyntaxError) as raised:
        parse_query(text)
    assert raised.value.message.startswith(text[:4000] + "…:1:8: ")
    assert len(raised.value.message) < 4200
