"""import.text against DuckDB's own CSV reader, both into a table on disk."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb

from benchmarks.processes import Client, mldb
from benchmarks.runner import Comparison, Contender, compare

MEGABYTES = 500


def text_import() -> Iterator[Comparison]:
    """A CSV of 500 MB with integers, numbers, texts and dates."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        source = folder / "large.csv"
        rows = _write(source)
        with mldb(folder / "data", "--file-root", str(folder)) as client:
            contenders = [
                Contender("MLDB `import.text`", lambda: _import(client, source, rows)),
                Contender("DuckDB `read_csv` into a table", lambda: _read_csv(folder, source, rows)),
            ]
            title = f"CSV of {source.stat().st_size / 1e6:,.0f} MB, {rows:,} rows"
            yield compare(title, "s", contenders, goal="at most 1 / 0.6 = 1.67 times")


def _write(file: Path) -> int:
    """As many rows as give the wanted size (a row has 53 bytes, on average)."""
    rows = MEGABYTES * 1_000_000 // 53
    duckdb.sql(f"""
        COPY (SELECT range AS id, (hash(range) % 100000)::INT AS customer, 'city' || (hash(range * 7) % 5000) AS city,
                     round((hash(range * 13) % 100000007) / 1000, 3) AS amount,
                     round((hash(range * 17) % 1000003) / 1000003, 6) AS score,
                     'note ' || (hash(range * 19) % 1000000) AS note
              FROM range({rows})) TO '{file}' (HEADER)
    """)
    return rows


def _import(client: Client, source: Path, rows: int) -> float:
    parameters = {"dataFileUrl": f"file://{source}", "outputDataset": {"id": "large", "type": "tabular"}}
    start = time.perf_counter()
    client.request("PUT", "/v1/procedures/import", {"type": "import.text", "params": parameters})
    took = time.perf_counter() - start
    _check(client.query("SELECT count(*) AS n FROM large")[1][-1], rows)
    return took


def _read_csv(folder: Path, source: Path, rows: int) -> float:
    file = folder / "peer.duckdb"
    start = time.perf_counter()
    with duckdb.connect(str(file)) as database:
        database.execute(f"CREATE OR REPLACE TABLE large AS FROM read_csv('{source}')")
        took = time.perf_counter() - start
        _check(database.execute("SELECT count(*) FROM large").fetchall()[0][0], rows)
    file.unlink()
    return took


def _check(found: int, expected: int) -> None:
    if found != expected:
        raise RuntimeError(f"{found} rows came in, not {expected}")
