"""Query results as pandas or polars frames and as Arrow tables."""

from __future__ import annotations

import io
import json
from importlib import import_module
from typing import Any, Final

import pyarrow as pa

ARROW_TYPE: Final = "application/vnd.apache.arrow.stream"
DATAFRAME: Final = "dataframe"
# Formats that are made here, of an Arrow stream.
TYPED: Final = ("arrow", "polars")
_ROW_NAME: Final = "_rowName"
_REST: Final = "_rest"
# The years 1 to 9999, which is what Python's own times can be.
_FIRST_SECOND: Final = -62_135_596_800
_LAST_SECOND: Final = 253_402_300_800
# Integers beyond 63 bits, some of which may be negative, or none.
_LARGE: Final = {False: pa.float64(), True: pa.uint64()}


def _library(name: str) -> Any:
    """A library that makes frames; ``ImportError`` with the remedy where it is not installed."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ModuleNotFoundError(
            f"{name} is not installed: the extra 'client' brings it, uv sync --inexact --extra client (or pip install "
            "'.[client]') in the folder of MLDB's sources",
            name=name,
        ) from None


def to_pandas(table: list[list[Any]]) -> Any:
    """The rows of a ``table`` answer as a DataFrame by row name; an empty one when there are none."""
    pd = _library("pandas")
    if not table:
        return pd.DataFrame()
    return pd.DataFrame.from_records(table[1:], columns=table[0], index=_ROW_NAME)


def to_parquet(frame: Any) -> tuple[bytes, str]:
    """A pandas or polars frame or an Arrow table as a Parquet file, and the column that names its rows, "" for none.

    The index of a pandas frame names the rows unless it only counts them; elsewhere a column ``_rowName`` does.
    """
    from pyarrow import parquet

    table = frame if isinstance(frame, pa.Table) else frame.to_arrow() if hasattr(frame, "to_arrow") else None
    if table is None:
        pd = _library("pandas")
        if isinstance(frame.index, pd.MultiIndex):
            raise ValueError("an index of several levels cannot name rows: frame.reset_index() makes columns of it")
        if not isinstance(frame.index, pd.RangeIndex):
            frame = frame.reset_index(names=_ROW_NAME)
        table = pa.Table.from_pandas(frame, preserve_index=False)
    file = io.BytesIO()
    parquet.write_table(table, file)
    return file.getvalue(), _ROW_NAME if _ROW_NAME in table.column_names else ""


def from_stream(stream: bytes, format: str) -> Any:
    """An Arrow stream of the server as an Arrow table, or as a polars frame of the same columns."""
    table = to_arrow(stream)
    if format == "arrow":
        return table
    return _library("polars").from_arrow(table)


def to_arrow(stream: bytes) -> pa.Table:
    """One column per column of the query, also of rows whose columns nobody knew before they were read.

    A column of mixed types becomes one of the type that all its values have, of numbers, or of JSON texts. Timestamps
    are those of Arrow, in UTC.
    """
    table = pa.ipc.open_stream(stream).read_all()
    columns = {field.name: _plain(field, table[field.name]) for field in table.schema if field.name != _REST}
    if _REST in table.column_names:
        columns |= _spread(table[_REST])
    return pa.table(columns)


def _plain(field: pa.Field, column: pa.ChunkedArray) -> Any:
    if (field.metadata or {}).get(b"mldb.kind") == b"timestamp":
        return _moments(column)
    return _uniform(column.to_pylist()) if pa.types.is_union(column.type) else column


def _moments(seconds: pa.ChunkedArray) -> Any:
    """Seconds since 1970 as timestamps, null for what is no date; seconds where one is beyond the years 1 to 9999."""
    values = seconds.to_numpy().astype(float)
    if ((values < _FIRST_SECOND) | (values >= _LAST_SECOND)).any():
        return seconds
    missing = values != values
    values[missing] = 0
    return pa.array((values * 1e6).round().astype("int64"), pa.timestamp("us", "UTC"), mask=missing)


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
