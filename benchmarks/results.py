"""What a query costs beside its data: compiling its text, and its result as JSON and Arrow."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import duckdb
import orjson

from benchmarks.processes import Client, mldb
from benchmarks.runner import Comparison, Contender, compare
from benchmarks.sql import COLUMNS, fill

JSON_ROWS, ARROW_ROWS = 200_000, 5_000_000
ARROW = "application/vnd.apache.arrow.stream"
TWENTY_LINES = """\
SELECT
    t.user AS user,
    count(*) AS visits,
    sum(t.price * t.amount) / count(t.amount) AS mean_price,
    latest(t.price) AS newest,
    CASE WHEN max(t.price) > 100 THEN 'rich' ELSE 'poor' END AS class,
    sum(horizontal_sum({t.x, t.y, z: t.z + 1})) AS total,
    CAST (min(t.code) AS integer) AS code,
    max({u.* EXCLUDING (label, x*)}) AS profile,
    avg(score({features: {x: t.x, y: t.y}})[score]) AS score
NAMED t.user + '-' + CAST (t.day AS string)
FROM (SELECT * FROM visits WHERE day BETWEEN 1 AND 31) AS t
    LEFT JOIN users AS u ON t.user = u.rowName() AND u.active = 1
WHEN value_timestamp() > TIMESTAMP '2015-01-01'
WHERE t.price IS NOT NULL AND t.kind IN ('a', 'b', 'c')
    AND NOT (t.name LIKE '%test%' OR t.name LIKE 'tmp_')
GROUP BY t.user, t.day, date_trunc('month', t.at)
HAVING count(*) > 3
ORDER BY count(*) DESC, t.user
LIMIT 100 OFFSET 10
"""
TEXTS = ("user", "kind", "name", "label")
USED = (*TEXTS, "price", "amount", "x", "y", "z", "code", "day", "at", "active")


def results() -> Iterator[Comparison]:
    """Cells a second, the query and HTTP included."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        fill(folder)
        raw = duckdb.connect()
        raw.execute(f"CREATE TABLE t AS SELECT * FROM '{folder / 't.csv'}'")
        with mldb(folder / "data") as client:
            text = f"SELECT * FROM t LIMIT {JSON_ROWS}"
            cells = JSON_ROWS * len(COLUMNS)
            contenders = [
                Contender(f"MLDB, {name}", _rate(cells, lambda n=name: _json(client, text, n)))
                for name in ("table", "full", "aos", "soa", "sparse")
            ]
            contenders.append(
                Contender("DuckDB and orjson", _rate(cells, lambda: orjson.dumps(raw.execute(text).fetchall())))
            )
            yield compare("Result as JSON", "million cells/s", contenders, goal="1", better="more")
            whole, cells = "SELECT k, x, y FROM t", ARROW_ROWS * 3
            contenders = [
                Contender("MLDB over REST", _rate(cells, lambda: client.arrow(whole))),
                Contender("DuckDB", _rate(cells, lambda: raw.sql(whole).to_arrow_table())),
            ]
            yield compare("Result as Arrow", "million cells/s", contenders, goal="20", better="more")
        raw.close()


def compiling() -> Iterator[Comparison]:
    """Twenty lines over two datasets: parsed, bound and compiled; and found among those that were before."""
    with tempfile.TemporaryDirectory() as scratch, mldb(Path(scratch)) as client:
        for name in ("visits", "users"):
            client.request("PUT", f"/v1/datasets/{name}", {"type": "tabular"})
            row = ["r", [[column, column if column in TEXTS else 1, 0] for column in USED]]
            client.request("POST", f"/v1/datasets/{name}/multirows", [row])
            client.request("POST", f"/v1/datasets/{name}/commit")
        client.request(
            "PUT", "/v1/functions/score", {"type": "sql.expression", "params": {"expression": "features[x] AS score"}}
        )
        numbers = itertools.count()
        empty = "/v1/query/check?q=" + quote("SELECT 1")
        contenders = [
            Contender("twenty lines", lambda: _each(lambda: _check(client, f"{TWENTY_LINES} -- {next(numbers)}"))),
            Contender("SELECT 1", lambda: _each(lambda: client.request("GET", empty))),
        ]
        yield compare("Compiling a query, over REST", "ms", contenders, goal="at most 2 ms more")


def _rate(cells: int, work: Callable[[], object]) -> Callable[[], float]:
    def measure() -> float:
        began = time.perf_counter()
        work()
        return cells / (time.perf_counter() - began) / 1e6

    return measure


def _json(client: Client, text: str, format: str) -> bytes:
    return client.request("GET", f"/v1/query?format={format}&q={quote(text)}")


def _check(client: Client, text: str) -> None:
    answer = orjson.loads(client.request("GET", f"/v1/query/check?q={quote(text)}"))
    if answer["error"] is not None:
        raise RuntimeError(answer["error"])


def _each(call: Callable[[], object], times: int = 100) -> float:
    began = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - began) * 1000 / times
