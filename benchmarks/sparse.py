"""Queries over a sparse dataset of a million columns, and one column's aggregate against SQL written by hand."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import duckdb

from benchmarks.processes import Client, mldb
from benchmarks.runner import Comparison, Contender, compare
from benchmarks.sql import each, milliseconds, values
from tests.inprocess import in_process

ROWS, COLUMNS, CELLS_PER_ROW = 100_000, 1_000_000, 215
MEMORY = "4GB"
ROUNDS = 3
CALLS = 50  # of the aggregate, which takes milliseconds
QUERIES = (
    "SELECT * FROM s LIMIT 100",
    "SELECT COLUMN EXPR (WHERE rowCount() > 5000) FROM s LIMIT 100",
    "SELECT count({*}) AS * FROM s",
    "SELECT horizontal_sum({a1*}) AS h FROM s ORDER BY h DESC LIMIT 10",
    "SELECT a5 FROM s ORDER BY a5 DESC LIMIT 10",
    "SELECT pivot(rowName(), a5) AS * FROM (SELECT a5 FROM s WHERE a5 IS NOT NULL)",
    "SELECT * FROM transpose(s) LIMIT 2",
    "SELECT columnCount() AS n FROM transpose(s) ORDER BY n DESC LIMIT 5",
    "SELECT * FROM merge(s, s) LIMIT 100",
    "SELECT sum(a5) AS x FROM merge(s, s)",
)
AGGREGATE = "SELECT sum(a5) AS x FROM s"


def sparse_queries() -> Iterator[Comparison]:
    """Some 21 million cells; the first columns are in many rows, the last ones in few."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        file = write_cells(folder / "cells.parquet")
        with mldb(folder / "data", "--file-root", str(folder), "--database-memory", MEMORY) as client:
            client.request("PUT", "/v1/datasets/s", {"type": "beh.binary", "params": {"dataFileUrl": f"file://{file}"}})
        copy = Path(shutil.copy(folder / "data" / "mldb.duckdb", folder / "copy.duckdb"))
        shutil.copytree(folder / "data", folder / "service")
        client = stack.enter_context(mldb(folder / "data", "--file-root", str(folder), "--database-memory", MEMORY))
        for text in QUERIES:
            ours = Contender("MLDB over REST", lambda q=text: milliseconds(lambda: client.query(q)) / 1000)
            yield compare(f"`{text}`", "s", [ours], goal="seconds", rounds=ROUNDS)
        memory = Contender("MLDB", lambda: resident(client))
        yield compare("Resident memory of the server after these", "MB", [memory], rounds=1, warm=False)
        raw = stack.enter_context(duckdb.connect(str(copy), read_only=True))
        by_hand = written_by_hand(raw)
        if abs(client.query(AGGREGATE)[1][-1] - raw.execute(by_hand).fetchall()[0][0]) > 1e-6:
            raise RuntimeError("the sums differ")
        hand = Contender("DuckDB, by hand, same tables", lambda: each(lambda: raw.execute(by_hand).fetchall(), CALLS))
        rest = Contender("MLDB over REST", lambda: each(lambda: client.query(AGGREGATE), CALLS))
        yield compare(f"`{AGGREGATE}`", "ms", [rest, hand], goal="at most 1.5 times")
        service = stack.enter_context(in_process(folder / "service"))
        alone = Contender(
            "MLDB's SQL service, no HTTP", lambda: each(lambda: values(service.engine.query(AGGREGATE)), CALLS)
        )
        yield compare(f"`{AGGREGATE}`, without HTTP", "ms", [alone, hand], goal="at most 1.5 times")


def write_cells(file: Path) -> Path:
    """A dataset file: the column of a cell is the cube of a number that is equally likely everywhere."""
    column = f"floor({COLUMNS} * pow((hash(r * 7919 + k * 104729) % 1000000007) / 1000000007.0, 3))::BIGINT"
    with duckdb.connect() as connection:
        connection.execute("SET memory_limit = '3GB'")
        connection.execute(f"""
            COPY (
                SELECT 'r' || r AS "row", 'a' || col AS "column", (1400000000 + r)::DOUBLE AS timestamp,
                       'number' AS kind, NULL::BIGINT AS integer, NULL::UBIGINT AS "unsigned",
                       (hash(r * 1000003 + min(k)) % 1000) / 1000.0 AS number,
                       NULL::VARCHAR AS text, NULL::BLOB AS blob, NULL AS interval
                FROM (SELECT r, k, {column} AS col FROM range({ROWS}) t(r), range({CELLS_PER_ROW}) u(k))
                GROUP BY r, col ORDER BY r
            ) TO '{file}' (FORMAT parquet, KV_METADATA {{"mldb.type": 'beh.binary'}})
        """)
    return file


def written_by_hand(raw: duckdb.DuckDBPyConnection) -> str:
    """The same sum over the tables of cells."""
    names = [row[0] for row in raw.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
    prefix = next(name.removesuffix("_cols") for name in names if name.endswith("_cols"))
    (id_,) = raw.execute(f"SELECT id FROM \"{prefix}_cols\" WHERE name = 'a5'").fetchall()[0]
    stores = " UNION ALL ".join(f'SELECT value FROM "{prefix}_{store}" WHERE col = {id_}' for store in ("int", "num"))
    return f"SELECT sum(value) FROM ({stores})"


def resident(client: Client) -> float:
    """MB, as the server's own metrics tell."""
    found = re.search(r"^process_resident_memory_bytes ([\d.e+]+)", client.request("GET", "/metrics").decode(), re.M)
    assert found is not None
    return float(found[1]) / 1e6
