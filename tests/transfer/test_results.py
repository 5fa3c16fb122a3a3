"""Query results row by row: the cells of a row are atoms of their kinds, also those of an embedding."""

from __future__ import annotations

import pytest

from server.sql.engine import Engine
from server.storage.database import Database
from server.transfer.results import named_rows
from server.values.atoms import PathValue, Timestamp
from tests.sql.catalogs import EmptyCatalog


@pytest.fixture(scope="module")
def engine():
    database = Database()
    yield Engine(database, EmptyCatalog())
    database.close()


def cells(engine, expression):
    ((_, row),) = named_rows(engine.query(f"SELECT {expression} AS x", timestamps=True, whole=True))
    return {cell.path[1:]: cell.value for cell in row}


@pytest.mark.parametrize(
    ("expression", "elements"),
    [
        ("[to_timestamp(5), NULL]", {("0",): Timestamp(5.0), ("1",): None}),
        ("[parse_path('a.b')]", {("0",): PathValue(("a", "b"))}),
        ("['a', 1, to_timestamp(7)]", {("0",): "a", ("1",): 1, ("2",): Timestamp(7.0)}),
        ("[[1, 2.5], [3, NULL]]", {("0", "0"): 1, ("0", "1"): 2.5, ("1", "0"): 3, ("1", "1"): None}),
        ("flatten(parse_json('[8, \"b\"]'))", {("0",): 8, ("1",): "b"}),
    ],
)
def test_elements_of_embeddings_keep_their_kinds(engine, expression, elements):
    assert cells(engine, expression) == elements
