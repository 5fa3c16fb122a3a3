"""What a timestamped data point costs on disk, and what reading columns and rows of it takes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.processes import Client, mldb
from benchmarks.runner import Comparison, Contender, compare
from benchmarks.tables import clicks, documents, ratings

COUNTS = {"ratings": 20_000_000, "click log": 10_000_000, "texts": 10_000_000}
QUICK = 1_000_000
MAKERS: Mapping[str, Callable[[int], pa.Table]] = {"ratings": ratings, "click log": clicks, "texts": documents}
GOALS = {"ratings": "below 3", "click log": "below 4", "texts": "below 4"}
# How a table of rows, columns, values and times becomes a dataset: the procedure's query and the dataset's type. A row
# of the dense table has three data points, one per column, all of the row's time.
LAYOUTS = {
    "tabular": 'SELECT "row" @ time AS "row", "column" @ time AS "column", value @ time AS value FROM source',
    "sparse.mutable": 'SELECT pivot("column", value @ time) AS * NAMED "row" FROM source GROUP BY "row"',
}
POINTS = {"tabular": 3, "sparse.mutable": 1}
BLOCK = 262_144


def layouts(quick: bool = False) -> Iterator[Comparison]:
    """Bytes per data point and speed of each layout, beside Parquet and a plain DuckDB table."""
    for name, make in MAKERS.items():
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            table = make(QUICK if quick else COUNTS[name])
            pq.write_table(table, folder / "source.parquet", compression="zstd", compression_level=9)
            for layout in LAYOUTS:
                yield from _layout(name, table, layout, folder)


def _layout(name: str, table: pa.Table, layout: str, folder: Path) -> Iterator[Comparison]:
    points = table.num_rows * POINTS[layout]
    data, plain = folder / layout, folder / f"{layout}.duckdb"
    _make(data, folder, layout)
    _plain(plain, folder)
    sizes = {
        f"MLDB `{layout}`": _blocks(data / "mldb.duckdb"),
        "DuckDB, four columns": _blocks(plain),
        "Parquet, zstd": (folder / "source.parquet").stat().st_size,
    }
    title = f"{name}, `{layout}`: {points:,} data points"
    bytes_ = {contender: [size / points] for contender, size in sizes.items()}
    yield Comparison(title, "bytes per data point", bytes_, GOALS[name])
    with mldb(data) as client, duckdb.connect(str(plain), read_only=True) as raw:
        yield from _speed(title, client, raw, layout)


def _make(data: Path, folder: Path, layout: str) -> None:
    """The dataset by itself in a data root: what it was made from is deleted."""
    with mldb(data, "--file-root", str(folder)) as client:
        target = {"id": "source", "type": "tabular"}
        params = {"dataFileUrl": f"file://{folder}/source.parquet", "outputDataset": target}
        client.request("PUT", "/v1/procedures/import", {"type": "import.parquet", "params": params})
        params = {"inputData": LAYOUTS[layout], "outputDataset": {"id": "stored", "type": layout}}
        client.request("PUT", "/v1/procedures/store", {"type": "transform", "params": params})
        client.request("DELETE", "/v1/datasets/source")


def _plain(file: Path, folder: Path) -> None:
    with duckdb.connect(str(file)) as database:
        database.execute(f"CREATE TABLE stored AS FROM '{folder}/source.parquet'")


def _blocks(file: Path) -> int:
    """Bytes of the blocks that hold tables. The file may be larger: what was deleted leaves room for later."""
    with duckdb.connect(str(file)) as database:
        database.execute("CHECKPOINT")
        used: set[int] = set()
        for (table,) in database.execute("SELECT table_name FROM duckdb_tables()").fetchall():
            found = database.execute(
                f"SELECT block_id, additional_block_ids FROM pragma_storage_info('{table}') WHERE persistent"
            ).fetchall()
            for block, more in found:
                used.update([block, *(more or ())])
        return len(used - {-1, None}) * BLOCK


def _speed(title: str, client: Client, raw: duckdb.DuckDBPyConnection, layout: str) -> Iterator[Comparison]:
    (column, row), *_ = raw.execute('SELECT mode("column"), mode("row") FROM stored').fetchall()
    if layout == "tabular":
        aggregate = f'SELECT avg(value) AS a FROM stored WHERE "column" = {column}'
        fetch = f'SELECT * FROM stored WHERE "row" = {row}'
    else:
        aggregate = f'SELECT avg("{column}") AS a FROM stored'
        fetch = f"SELECT * FROM stored WHERE rowName() = '{row}'"
    plain = f'SELECT avg(value) FROM stored WHERE "column" = {column}'
    yield compare(
        f"{title}: mean of a column, `{aggregate}`",
        "ms",
        [
            Contender("MLDB over REST", lambda: _milliseconds(lambda: client.query(aggregate))),
            Contender("DuckDB, four columns", lambda: _milliseconds(lambda: raw.execute(plain).fetchall())),
        ],
    )
    whole = f'SELECT * FROM stored WHERE "row" = {row}'
    yield compare(
        f"{title}: a row, `{fetch}`",
        "ms",
        [
            Contender("MLDB over REST", lambda: _milliseconds(lambda: client.query(fetch))),
            Contender("DuckDB, four columns", lambda: _milliseconds(lambda: raw.execute(whole).fetchall())),
        ],
    )


def _milliseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1000
