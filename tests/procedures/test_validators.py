"""Checks of input queries (entity-types.md §1.3)."""

from __future__ import annotations

import pytest

from server.errors import MldbError
from server.procedures import validators
from server.sql.parser import parse_statement


@pytest.mark.parametrize(
    "select",
    [
        "*",
        "a, b.c",
        "{a + 1, b*} AS features, lower(x) AS y",
        "x = 1 AS label",
        "NOT a AS label, a AND b AS c, x IS NULL AS d",
        "COLUMN EXPR (SELECT columnName())",
        "f({*})[score] AS s, 'x' AS y",
    ],
)
def test_plain_columns_accepts(select):
    validators.plain_columns(parse_statement(f"SELECT {select} FROM t"), "classifier.train")


@pytest.mark.parametrize("select", ["a + 1 AS x", "CASE WHEN a THEN 1 END AS x", "a BETWEEN 1 AND 2 AS x", "-a AS x"])
def test_plain_columns_refuses(select):
    with pytest.raises(MldbError, match=r"^classifier\.train only accepts wildcard and column names at ") as caught:
        validators.plain_columns(parse_statement(f"SELECT {select} FROM t"), "classifier.train")
    assert caught.value.code == 400


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("SELECT a FROM t GROUP BY a", "x does not support groupBy clause"),
        ("SELECT a FROM t GROUP BY a HAVING a", "x does not support groupBy clause"),
        ("SELECT a FROM t WHERE a", "x does not support where"),
        ("SELECT a FROM t LIMIT 0", "x does not support limit"),
        ("SELECT a FROM t OFFSET 3", "x does not support offset"),
    ],
)
def test_refused_clauses(query, text):
    with pytest.raises(MldbError) as caught:
        validators.refuse(parse_statement(query), "x", "groupBy", "having", "where", "limit", "offset")
    assert caught.value.message == text


def test_from_is_required():
    validators.require_from(parse_statement("SELECT 1 FROM t"), "melt")
    with pytest.raises(MldbError) as caught:
        validators.require_from(parse_statement("SELECT 1"), "melt")
    assert caught.value.message == "melt must contain a FROM clause"


@pytest.mark.parametrize(
    "select",
    ["{a, b} AS features, c AS label", "x.* AS features.*, t.label", "*", "{*} AS features, label, w AS weight"],
)
def test_features_and_label_accepts(select):
    validators.features_and_label(parse_statement(f"SELECT {select} FROM t"), "classifier.train")


@pytest.mark.parametrize(
    "select", ["a AS features", "c AS label", "1 AS features, c AS label", "{a} AS features, {b} AS label"]
)
def test_features_and_label_refuses(select):
    with pytest.raises(MldbError) as caught:
        validators.features_and_label(parse_statement(f"SELECT {select} FROM t"), "classifier.train")
    assert caught.value.message == "classifier.train expects a row named 'features' and a scalar named 'label'"


def test_score_and_label():
    validators.score_and_label(parse_statement("SELECT f({*})[score] AS score, y AS label FROM t"), "classifier.test")
    with pytest.raises(MldbError, match="expects a scalar named 'score' and a scalar named 'label'"):
        validators.score_and_label(parse_statement("SELECT {a} AS score, y AS label FROM t"), "classifier.test")


def test_whole_columns():
    validators.whole_columns(parse_statement("SELECT a, b*, c AS d FROM t"), "summary.statistics")
    with pytest.raises(MldbError, match=r"max\(a\) is not a supported SELECT value expression for summary.statistics"):
        validators.whole_columns(parse_statement("SELECT max(a) FROM t"), "summary.statistics")
