"""Query results as pandas or polars frames and as Arrow tables."""

from __future__ import annotations

import json
from typing import Any, Final

import pyarrow as pa

ARROW_TYPE: Final = "application/vnd.apache.arrow.stream"
DATAFRAME: Final = "dataframe"
# Formats that are made here, of an Arrow stream.
TYPED: Final = ("arrow", "polars")
_ROW_NAME: Final = "_rowName"
_REST: Final = "_rest"
# Integers beyond 63 bits, some of which may be negative, or none.
_LARGE: Final = {False: pa.float64(), True: pa.uint64()}


def to_pandas(table: list[list[Any]]) -> Any:
    """The rows of a ``table`` answer as a DataFrame by row name; an empty one when there are none."""
    import pandas as pd

    if not table:
        return pd.DataFrame()
    return pd.DataFrame.from_records(table[1:], columns=table[0], index=_ROW_NAME)


def from_stream(stream: bytes, format: str) -> Any:
    """An Arrow stream of the server as an Arrow table, or as a polars frame of the same columns."""
    table = to_arrow(stream)
    if format == "arrow":
        return table
    import polars as pl

    return pl.from_arrow(table)


def to_arrow(stream: bytes) -> pa.Table:
    """One column per column of the query, also of rows whose columns nobody knew before they were read.

    A column of mixed types becomes one of the type that all its values have, of numbers, or of JSON texts.
    """
    table = pa.ipc.open_stream(stream).read_all()
    columns = {name: _plain(table[name]) for name in table.column_names if name != _REST}
    if _REST in table.column_names:
        columns |= _spread(table[_REST])
    return pa.table(columns)


def _plain(column: pa.ChunkedArray) -> Any:
    return _uniform(column.to_pylist()) if pa.types.is_union(column.type) else column


def _spread(rest: pa.ChunkedArray) -> dict[str, pa.Array]:
    """A column per path among the cells; the latest value where a row has several."""
    rows = rest.to_pylist()
    columns: dict[str, list[Any]] = {}
    times: dict[tuple[str, int], float] = {}
    for number, cells in enumerate(rows):
        for cell in cells or ():
            column = columns.setdefault(cell["p"], [None] * len(rows))
            moment = cell["t"] if cell["t"] is not None and cell["t"] == cell["t"] else float("-inf")
            if moment >= times.get((cell["p"], number), float("-inf")):
                times[cell["p"], number] = moment
                column[number] = cell["v"]
    return {path: _uniform(values) for path, values in columns.items()}


def _uniform(values: list[Any]) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} and float in kinds:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    if kinds == {int} and max(value for value in values if value is not None) >= 1 << 63:
        unsigned = all(value is None or value >= 0 for value in values)
        return pa.array(values if unsigned else [value and float(value) for value in values], _LARGE[unsigned])
    if len(kinds) < 2:
        return pa.array(values)
    return pa.array([None if value is None else _text(value) for value in values], pa.string())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
