"""Dense analytic queries against raw DuckDB on the same file, and what the server adds to a small query."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import duckdb

from benchmarks.processes import Client, mldb, uvicorn_peer
from benchmarks.runner import Comparison, Contender, compare
from server.sql.plan import Result
from tests.inprocess import in_process

ROWS = 5_000_000
COLUMNS = ("id", "k", "g", "x", "y")
QUERIES = {
    "count": "SELECT count(*) AS n FROM t",
    "four aggregates": "SELECT sum(x) AS a, avg(y) AS b, min(x) AS c, max(y) AS d FROM t",
    "filter": "SELECT count(*) AS n FROM t WHERE x > 0.5 AND k < 500",
    "group by 10 texts": "SELECT g, count(*) AS n, avg(x) AS a FROM t GROUP BY g",
    "group by 1000 integers": "SELECT k, sum(y) AS a FROM t GROUP BY k",
    "arithmetic": "SELECT avg(sqrt(x * x + y * y)) AS a FROM t",
    "having": "SELECT k, count(*) AS n FROM t GROUP BY k HAVING avg(x) > 0.5",
    "order by, limit": "SELECT x FROM t ORDER BY x DESC LIMIT 10",
    "case": "SELECT sum(CASE WHEN g = 'g3' THEN x ELSE y END) AS a FROM t",
    "like": "SELECT count(*) AS n FROM t WHERE g LIKE 'g1%'",
}
GOAL = "at most 1.1 times over REST, 1.05 without HTTP"
# MLDB's answers name their rows, which costs something where they are rows of the table.
WITH_NAMES = {"order by, limit": "SELECT row_name, x FROM t ORDER BY x DESC LIMIT 10"}


def dense_queries() -> Iterator[Comparison]:
    """Ten queries on 5 million rows; raw DuckDB reads a copy of the very file that the server wrote.

    The SQL service alone (text to Python values, no HTTP) shows what the dialect costs above the engine.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        fill(folder)
        copy = Path(shutil.copy(folder / "data" / "mldb.duckdb", folder / "copy.duckdb"))
        with duckdb.connect(str(copy)) as raw:
            _as_view(raw)
        served = shutil.copy(copy, folder / "served.duckdb")
        shutil.copytree(folder / "data", folder / "service")
        with (
            mldb(folder / "data") as client,
            in_process(folder / "service") as service,
            uvicorn_peer("bare_starlette:app", {"PEER_DATABASE": served}) as bare,
            duckdb.connect(str(copy)) as raw,
        ):
            ways = {
                "MLDB over REST": client.query,
                "raw DuckDB, same file": lambda q: raw.execute(q).fetchall(),
                "MLDB's SQL service, no HTTP": lambda q: values(service.engine.query(q)),
                "raw DuckDB behind bare Starlette": lambda q: bare.json(
                    "GET", "/query?" + urlencode({"q": q}, quote_via=quote)
                ),
            }
            for name, text in QUERIES.items():
                _same_answer(client, raw, text)
                contenders = [_asking(way, ask, text) for way, ask in ways.items()]
                if name in WITH_NAMES:
                    ask = ways["raw DuckDB, same file"]
                    contenders.append(_asking("raw DuckDB, with the rows' names", ask, WITH_NAMES[name]))
                yield compare(f"{name}: `{text}`", "ms", contenders, goal=GOAL)
            together = [_asking(way, ask, *QUERIES.values()) for way, ask in ways.items()]
            yield compare("The ten, one after another", "ms", together, goal=GOAL)


def _asking(way: str, ask: Callable[[str], object], *queries: str) -> Contender:
    return Contender(way, lambda: milliseconds(lambda: [ask(query) for query in queries]))


def small_query() -> Iterator[Comparison]:
    """A cached query over 100 rows: REST against a Starlette route that runs the same query in DuckDB."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ours = stack.enter_context(mldb(folder))
        ours.request("PUT", "/v1/datasets/small", {"type": "tabular"})
        rows = [[str(number), [["x", number, 0]]] for number in range(100)]
        ours.request("POST", "/v1/datasets/small/multirows", rows)
        ours.request("POST", "/v1/datasets/small/commit")
        bare = stack.enter_context(uvicorn_peer("bare_starlette:app"))
        calls = 500
        contenders = [
            Contender("MLDB", lambda: each(lambda: ours.query("SELECT sum(x) AS s FROM small"), calls)),
            Contender("Starlette and DuckDB", lambda: each(lambda: bare.request("GET", "/small"), calls)),
        ]
        yield compare("Cached small query, one connection", "ms", contenders, goal="at most 0.5 ms more")


def fill(folder: Path) -> None:
    """Write the table as CSV, import it as a client would, and stop the server so that its file is whole."""
    source = folder / "t.csv"
    duckdb.sql(f"""
        COPY (SELECT range AS id, (hash(range) % 1000)::INT AS k, 'g' || (hash(range * 7) % 10) AS g,
                     (hash(range * 13) % 1000003) / 1000003 AS x, (hash(range * 17) % 1000003) / 1000003 AS y
              FROM range({ROWS})) TO '{source}' (HEADER)
    """)
    with mldb(folder / "data", "--file-root", str(folder)) as client:
        parameters = {"dataFileUrl": f"file://{source}", "outputDataset": {"id": "t", "type": "tabular"}}
        client.request("PUT", "/v1/procedures/import", {"type": "import.text", "params": parameters})


def values(result: Result) -> list[tuple[Any, ...]]:
    """The rows with their names, as Python values."""
    return [
        row
        for batch in result.batches()
        for row in zip(batch.names.to_pylist(), *(column.to_pylist() for column in batch.rows.values), strict=True)
    ]


def _as_view(raw: duckdb.DuckDBPyConnection) -> None:
    """Give the stored table its column names back; a wide table keeps them in order behind its own columns."""
    tables = raw.execute(
        "SELECT table_name FROM duckdb_tables() WHERE estimated_size = ? ORDER BY column_count DESC", [ROWS]
    ).fetchall()
    table = tables[0][0]
    stored = [row[0] for row in raw.execute(f'DESCRIBE "{table}"').fetchall() if not row[0].startswith("_")]
    renamed = ", ".join(f'"{name}" AS "{column}"' for name, column in zip(stored, COLUMNS, strict=True))
    raw.execute(f'CREATE VIEW t AS SELECT {renamed}, _row AS row_name FROM "{table}"')


def _same_answer(client: Client, raw: duckdb.DuckDBPyConnection, text: str) -> None:
    """A comparison is worth nothing when the answers differ."""
    header, *rows = client.query(text)
    theirs = raw.execute(text)
    names = [column[0] for column in theirs.description]
    order = [header.index(name) for name in names]
    ours = sorted([_rounded(row[at]) for at in order] for row in rows)
    expected = sorted([_rounded(value) for value in row] for row in theirs.fetchall())
    if ours != expected:
        raise RuntimeError(f"{text}: {ours[:3]} is not {expected[:3]}")


def _rounded(value: object) -> object:
    return round(value, 6) if isinstance(value, float) else value


def milliseconds(call: object) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1000


def each(call: object, times: int) -> float:
    """Milliseconds of one of many calls in a row."""
    start = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) * 1000 / times
