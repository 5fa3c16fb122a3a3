"""A database with what compiled SQL calls."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from server.sql import functions
from server.storage.database import Database


@pytest.fixture(scope="module")
def cursor() -> Iterator[duckdb.DuckDBPyConnection]:
    database = Database()
    database.define(functions.define)
    with database.cursor() as cursor:
        yield cursor
    database.close()
