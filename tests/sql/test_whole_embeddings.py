"""Queries of training: an embedding whose elements all leave side by side leaves as it lies."""

from __future__ import annotations

import numpy as np
import pytest

from server.learning.columns import block_of
from server.values.batches import Column
from server.values.kinds import Kind
from tests.inprocess import in_process

ROWS = {"1": (1.5, 2, -3), "2": (0, 0.25, 4), "3": (7, 8, 9)}


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    with in_process(tmp_path_factory.mktemp("server") / "data") as server:
        for name, columns in (("points", ("x", "y", "z")), ("numbered", ("v.0", "v.1", "v.2"))):
            server.must("PUT", f"/v1/datasets/{name}", {"type": "embedding"})
            rows = [[row, [[c, v, 0] for c, v in zip(columns, values, strict=True)]] for row, values in ROWS.items()]
            server.must("POST", f"/v1/datasets/{name}/multirows", rows)
            server.must("POST", f"/v1/datasets/{name}/commit")
        yield server.engine


def one(path, names):
    return Column(path, Kind.NUMBER, (3,), names=names)


@pytest.mark.parametrize(
    ("query", "columns"),
    [
        ("SELECT * FROM points", [one((), (("x",), ("y",), ("z",)))]),
        ("SELECT {*} AS features FROM points", [one(("features",), (("x",), ("y",), ("z",)))]),
        ("SELECT * AS p* FROM points", [one(("p",), (("x",), ("y",), ("z",)))]),
        ("SELECT * FROM numbered", [one(("v",), None)]),
        ("SELECT 1 AS n, x, y, z FROM points", [Column(("n",), Kind.INTEGER), one((), (("x",), ("y",), ("z",)))]),
    ],
)
def test_all_elements_side_by_side_are_one_column(engine, query, columns):
    result = engine.query(query, whole=True)
    assert list(result.type.columns) == columns
    (batch,) = result.batches()
    assert block_of(batch.rows.values[-1], 3).tolist() == [list(row) for row in ROWS.values()]
    assert block_of(batch.rows.values[-1], 3).dtype == np.float32


@pytest.mark.parametrize(
    "query",
    [
        "SELECT y, x, z FROM points",
        "SELECT x, y FROM points",
        "SELECT x, y, z + 0 AS z FROM points",
        "SELECT * EXCLUDING (y) FROM points",
        "SELECT 1 AS features, {*} AS features FROM points",
        "SELECT a.x, b.y, a.z FROM points AS a JOIN points AS b ON a.x = b.x",
    ],
)
def test_anything_else_leaves_column_by_column(engine, query):
    assert all(column.shape is None for column in engine.query(query, whole=True).type.columns)


def test_only_where_it_is_asked_for(engine):
    assert len(engine.query("SELECT * FROM points").type.columns) == 3
    assert len(engine.query("SELECT * FROM points", whole=True).type.columns) == 1
    assert len(engine.query("SELECT * FROM points").type.columns) == 3
