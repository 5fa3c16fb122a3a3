"""Sparse datasets with more columns than are listed: queries read the cells that they need, and answer as for all."""

from __future__ import annotations

import math
import random

import pytest

from server.sql.cells import PIVOT_COLUMNS
from tests.conftest import Client

COLUMNS, ROWS = PIVOT_COLUMNS + 400, 60
NOTHING = -math.inf


def cells() -> dict[str, dict[str, float]]:
    """Row → column → value. Column n is in about one row of n + 1, so that the counts differ."""
    chance = random.Random(5)
    return {
        f"r{row}": {
            f"a{column}": (row * 31 + column) % 17 / 4
            for column in range(COLUMNS)
            if chance.random() < 1 / (column % 50 + 1)
        }
        for row in range(ROWS)
    }


DATA = cells()


@pytest.fixture(scope="module")
def wide(server) -> Client:
    with server.client() as client:
        rows = [[name, [[column, value, 1000] for column, value in row.items()]] for name, row in DATA.items()]
        rows.append(["twice", [["t", 1, 1], ["t", 5, 2], ["é.x", "text", 3]]])
        for dataset, part in (("wide", rows[:-1]), ("odd", [*rows[:5], rows[-1]])):
            client.put(f"/v1/datasets/{dataset}", json={"type": "sparse.mutable"})
            client.post(f"/v1/datasets/{dataset}/multirows", json=part)
            assert client.post(f"/v1/datasets/{dataset}/commit").status_code == 200
        yield client


def asked(client: Client, query: str) -> list[dict]:
    answer = client.get("/v1/query", params={"q": query, "format": "aos"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def by_name(rows: list[dict]) -> dict[str, dict]:
    return {row.pop("_rowName"): row for row in rows}


def counted() -> dict[str, int]:
    found: dict[str, int] = {}
    for row in DATA.values():
        for column in row:
            found[column] = found.get(column, 0) + 1
    return found


def test_all_columns_of_some_rows(wide):
    listed = [row["_rowName"] for row in asked(wide, "SELECT 1 FROM wide")]
    assert by_name(asked(wide, "SELECT * FROM wide LIMIT 3 OFFSET 2")) == {name: DATA[name] for name in listed[2:5]}
    wanted = {name: row for name, row in DATA.items() if row.get("a0", 0) > 3}
    assert by_name(asked(wide, "SELECT * FROM wide WHERE a0 > 3")) == wanted
    best = max(DATA, key=lambda name: DATA[name].get("a0", NOTHING))
    assert asked(wide, "SELECT * FROM wide ORDER BY a0 DESC LIMIT 1")[0]["a0"] == DATA[best]["a0"]
    assert asked(wide, "SELECT * FROM wide WHERE FALSE") == []
    assert asked(wide, "SELECT * FROM wide LIMIT 0") == []


def test_a_condition_on_the_cells_themselves(wide):
    wanted = {name for name, row in DATA.items() if len(row) > 130}
    assert {row["_rowName"] for row in asked(wide, "SELECT * FROM wide WHERE columnCount() > 130 LIMIT 100")} == wanted


def test_how_many_columns_a_row_has(wide):
    rows = by_name(asked(wide, "SELECT columnCount() AS n FROM wide"))
    assert {name: row["n"] for name, row in rows.items()} == {name: len(row) for name, row in DATA.items()}
    (row,) = asked(wide, "SELECT columnCount() AS n FROM odd WHERE rowName() = 'twice'")
    assert row["n"] == 2
    rows = asked(wide, "SELECT columnCount() AS n FROM transpose(wide) ORDER BY n DESC LIMIT 1")
    assert [row["n"] for row in rows] == [max(counted().values())]


def test_columns_chosen_by_how_many_rows_have_them(wide):
    often = {column for column, rows in counted().items() if rows > 50}
    assert often
    for query in (
        "SELECT COLUMN EXPR (WHERE rowCount() > 50) FROM wide",
        "SELECT COLUMN EXPR (WHERE rowCount() > 50) FROM wide LIMIT 5",
    ):
        for name, row in by_name(asked(wide, query)).items():
            assert {c: v for c, v in row.items() if v is not None} == {
                c: v for c, v in DATA[name].items() if c in often
            }


def test_columns_chosen_by_order_and_limit(wide):
    often = sorted(counted(), key=lambda column: (-counted()[column], int(column[1:])))[:4]
    rows = by_name(asked(wide, "SELECT COLUMN EXPR (ORDER BY rowCount() DESC LIMIT 4) FROM wide"))
    assert {column for row in rows.values() for column in row} == set(often)
    rows = by_name(
        asked(
            wide,
            "SELECT COLUMN EXPR (WHERE columnName() LIKE 'a1_' ORDER BY columnName() DESC OFFSET 1 LIMIT 2) FROM wide",
        )
    )
    assert {column for row in rows.values() for column in row} == {"a17", "a18"}


def test_columns_chosen_by_their_values(wide):
    rows = by_name(asked(wide, "SELECT COLUMN EXPR (WHERE value() > 3.5) FROM wide"))
    assert rows == {name: {c: v for c, v in row.items() if v > 3.5} for name, row in DATA.items()}


@pytest.mark.parametrize(("function", "fold"), [("count", len), ("sum", sum), ("min", min), ("max", max)])
def test_aggregates_by_column(wide, function, fold):
    values: dict[str, list[float]] = {}
    for row in DATA.values():
        for column, value in row.items():
            values.setdefault(column, []).append(value)
    (row,) = asked(wide, f"SELECT {function}({{*}}) AS * FROM wide")
    del row["_rowName"]
    assert row == pytest.approx({column: fold(found) for column, found in values.items()})


def test_aggregates_by_column_of_some_rows(wide):
    names = [name for name, row in DATA.items() if row.get("a0", 0) > 3]
    (row,) = asked(wide, "SELECT count({a1*}) AS * FROM wide WHERE a0 > 3")
    del row["_rowName"]
    wanted: dict[str, int] = {}
    for name in names:
        for column in DATA[name]:
            if column.startswith("a1"):
                wanted[column] = wanted.get(column, 0) + 1
    assert row == wanted
    assert asked(wide, "SELECT max({*}) AS * FROM wide WHERE FALSE") == []


def test_folds_across(wide):
    folds = "horizontal_sum({a1*}) AS s, horizontal_count({* EXCLUDING (a0)}) AS n, horizontal_avg({b*}) AS none"
    query = f"SELECT {folds} FROM wide"
    for name, row in by_name(asked(wide, query)).items():
        assert row["s"] == pytest.approx(sum(v for c, v in DATA[name].items() if c.startswith("a1")))
        assert row["n"] == len(DATA[name].keys() - {"a0"})
        assert row["none"] is None


def test_only_the_latest_of_several_values_counts_across(wide):
    rows = by_name(asked(wide, "SELECT horizontal_sum({t*}) AS s, horizontal_count({*}) AS n FROM odd"))
    assert rows["twice"] == {"s": 5, "n": 2}
    (row,) = asked(wide, "SELECT max({t*}) AS * FROM odd")
    assert row["t"] == 5


def test_transposed(wide):
    (row,) = asked(wide, "SELECT count(*) AS n FROM transpose(wide)")
    assert row["n"] == len(counted())
    rows = by_name(asked(wide, "SELECT * FROM transpose(wide) LIMIT 3"))
    assert rows == {f"a{n}": {name: row[f"a{n}"] for name, row in DATA.items() if f"a{n}" in row} for n in range(3)}
    rows = by_name(asked(wide, "SELECT r7 FROM transpose(wide) WHERE rowName() IN ('a0', 'a1')"))
    assert rows == {name: {"r7": DATA["r7"].get(name)} for name in ("a0", "a1")}
    rows = by_name(asked(wide, "SELECT * FROM transpose(transpose(wide)) WHERE rowName() = 'r7'"))
    assert rows == {"r7": DATA["r7"]}
    assert by_name(asked(wide, "SELECT * FROM transpose(odd) WHERE rowName() = 'é.x'")) == {"é.x": {"twice": "text"}}


def test_merged(wide):
    rows = by_name(asked(wide, "SELECT * FROM merge(wide, odd) WHERE rowName() = 'twice' OR rowName() = 'r59'"))
    assert rows["r59"] == DATA["r59"]
    assert rows["twice"]["é.x"] == "text"
    (row,) = asked(wide, "SELECT sum(a0) AS s, count(a7) AS n FROM merge(wide, odd)")
    assert row["s"] == pytest.approx(sum(row.get("a0", 0) for row in DATA.values()))
    assert row["n"] == counted()["a7"]
    limited = by_name(asked(wide, "SELECT * FROM merge(wide, odd) LIMIT 2"))
    assert all(row == DATA.get(name, row) for name, row in limited.items())
    assert len(limited) == 2


def test_the_row_count_of_a_chosen_column(wide):
    rows = by_name(asked(wide, "SELECT COLUMN EXPR (SELECT rowCount() WHERE columnName() = 'a0') FROM wide LIMIT 1"))
    assert list(rows.values()) == [{"a0": counted()["a0"]}]
