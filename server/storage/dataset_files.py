"""Dataset files: Parquet with one line per cell (entity-types.md §2.7).

    row, column    path texts; the column is NULL on the one line of a row without cells
    timestamp      seconds since 1970
    kind           null, integer, unsigned, number, string, timestamp, interval, blob, path
    integer, unsigned, number, text, blob, interval     the value, in the member of its kind (timestamps: number;
                   paths: text)

The type of the dataset stands in the file's metadata under ``mldb.type``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from server.declarations import NamedBatch
from server.errors import MldbError
from server.storage.database import identifier, text_literal
from server.storage.layouts import ROW, TIME, TIMESTAMP, Cells, Wide, WideColumn, times_joined
from server.values import compute as pc
from server.values.arrow_types import ANY_MEMBERS, CELL_ARROW
from server.values.batches import RowBatch, RowType
from server.values.kinds import INTERVAL_TYPE, KIND_OF_TAG, TAGS, Kind
from server.values.paths import element_paths, format_path

TYPE_KEY = "mldb.type"
_MEMBERS = ("integer", "unsigned", "number", "text", "blob", "interval")
# The name of each kind, and the member that holds its values.
_KINDS = {
    Kind.BOOLEAN: ("integer", "integer"),
    Kind.INTEGER: ("integer", "integer"),
    Kind.UNSIGNED: ("unsigned", "unsigned"),
    Kind.NUMBER: ("number", "number"),
    Kind.STRING: ("string", "text"),
    Kind.TIMESTAMP: ("timestamp", "number"),
    Kind.INTERVAL: ("interval", "interval"),
    Kind.BLOB: ("blob", "blob"),
    Kind.PATH: ("path", "text"),
}
_TAGS = {tag: _KINDS[kind] for tag, kind in KIND_OF_TAG.items()}
_SQL_TYPES = {
    "integer": "BIGINT",
    "unsigned": "UBIGINT",
    "number": "DOUBLE",
    "text": "VARCHAR",
    "blob": "BLOB",
    "interval": INTERVAL_TYPE,
}
_BATCH = 100_000
Integers = npt.NDArray[np.int64]


def save(cursor: duckdb.DuckDBPyConnection, layout: Cells | Wide, file: Path, type_name: str) -> None:
    """Write a dataset's cells, rows in listing order."""
    lines = _cells_lines(layout) if isinstance(layout, Cells) else _wide_lines(layout)
    cursor.execute(
        f"COPY ({lines}) TO {text_literal(str(file))}"
        f" (FORMAT parquet, COMPRESSION zstd, KV_METADATA {{{text_literal(TYPE_KEY)}: {text_literal(type_name)}}})"
    )


def _cells_lines(layout: Cells) -> str:
    prefix = layout.prefix
    return (
        f'SELECT r.name AS "row", c.name AS "column", v.ts AS "timestamp", v.* EXCLUDE ("row", col, ts)'
        f' FROM {prefix}_rows r LEFT JOIN ({_stored_values(layout)}) v ON v."row" = r.id'
        f" LEFT JOIN {prefix}_cols c ON c.id = v.col ORDER BY r.ord, c.id, v.ts"
    )


def cell_lines(layout: Cells, since: Mapping[str, int]) -> str:
    """SQL of the lines of all cells but the first ``since[store]`` of each value table, in the order of the rows."""
    prefix = layout.prefix
    return (
        f'SELECT r.name, c.name, v.ts, v.* EXCLUDE ("row", col, ts) FROM ({_stored_values(layout, since)}) v'
        f' JOIN {prefix}_rows r ON r.id = v."row" JOIN {prefix}_cols c ON c.id = v.col ORDER BY r.id, c.id, v.ts'
    )


def _stored_values(layout: Cells, since: Mapping[str, int] | None = None) -> str:
    values = {
        "int": _columns(Kind.INTEGER, '"value"'),
        "num": _columns(Kind.NUMBER, '"value"'),
        "str": _columns(Kind.STRING, '"value"'),
        "any": _any_columns('"value"'),
    }
    return " UNION ALL ".join(
        f'SELECT "row", col, {TIME} AS ts, {columns} FROM {layout.prefix}_{store} AS s{times_joined(layout.prefix)}'
        + (f" WHERE s.rowid >= {since[store]}" if since else "")
        for store, columns in values.items()
    )


def _wide_lines(layout: Wide) -> str:
    table = identifier(layout.table)
    start = f'SELECT rowid AS place, {ROW}::VARCHAR AS "row"'
    parts = [
        f'{start}, {text_literal(name)} AS "column", {TIMESTAMP} AS "timestamp", {_value_columns(column, value)}'
        f" FROM {table}{f' WHERE {value} IS NOT NULL' if column.sparse else ''}"
        for column in layout.columns
        for name, value in _elements(column)
    ]
    if not parts:
        empty = {"column": "VARCHAR", "timestamp": "DOUBLE", "kind": "VARCHAR", **_SQL_TYPES}
        nulls = ", ".join(f'NULL::{type_} AS "{name}"' for name, type_ in empty.items())
        parts = [f"{start}, {nulls} FROM {table}"]
    return f"SELECT * EXCLUDE (place) FROM ({' UNION ALL '.join(parts)}) ORDER BY place"


def _elements(column: WideColumn) -> list[tuple[str, str]]:
    """Path text and SQL value of each cell of a row's column."""
    name = identifier(column.name)
    if column.shape is None:
        return [(format_path(column.path), name)]
    paths = column.names or element_paths(column.shape)
    return [(format_path((*column.path, *path)), f"{name}[{place + 1}]") for place, path in enumerate(paths)]


def _value_columns(column: WideColumn, value: str) -> str:
    return _any_columns(value) if column.kind in (Kind.ANY, Kind.NULL) else _columns(column.kind, value)


def _columns(kind: Kind, value: str) -> str:
    """The kind and member columns of a value of one kind."""
    name, filled = _KINDS[kind]
    members = (
        f'CAST({value if member == filled else "NULL"} AS {_SQL_TYPES[member]}) AS "{member}"' for member in _MEMBERS
    )
    return f"if({value} IS NULL, 'null', '{name}') AS kind, {', '.join(members)}"


def _any_columns(value: str) -> str:
    kinds = " ".join(f"WHEN '{tag}' THEN '{kind}'" for tag, (kind, _) in _TAGS.items())
    items = [f"if({value} IS NULL, 'null', CASE union_tag({value})::VARCHAR {kinds} END) AS kind"]
    for member in _MEMBERS:
        tags = [tag for tag, (_, target) in _TAGS.items() if target == member]
        items.append(f'coalesce({", ".join(f"{value}.{tag}" for tag in tags)}) AS "{member}"')
    return ", ".join(items)


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────


class DatasetFile:
    """An open dataset file as a query result: its rows, one cell per line."""

    type = RowType((), open=True)

    def __init__(self, file: Path, url: str) -> None:
        from pyarrow.parquet import ParquetFile  # 8 MB that most servers never need

        try:
            self._file = ParquetFile(file)
        except (pa.ArrowInvalid, OSError) as error:
            raise MldbError(
                f"'{url}' is no dataset file (Parquet with rows, columns and timestamps; "
                f"MLDB's own .beh files are not read: export their rows there): {error}"
            ) from None
        metadata = self._file.schema_arrow.metadata or self._file.metadata.metadata or {}
        self.dataset_type = (self._file.metadata.metadata or metadata).get(TYPE_KEY.encode(), b"").decode()
        expected = {"row", "column", "timestamp", "kind", *_MEMBERS}
        if not expected <= set(self._file.schema_arrow.names):
            raise MldbError(f"'{url}' is no dataset file: it lacks columns that say row, column, timestamp and value")

    def batches(self, progress: object = None) -> Iterator[NamedBatch]:
        """Neighbouring lines of one row make a row; the last one of a read is held back, as it may go on."""
        held: pa.Table | None = None
        for lines in self._file.iter_batches(_BATCH):
            table = pa.Table.from_batches([lines])
            table = pa.concat_tables([held, table]) if held is not None else table
            starts = _run_starts(table["row"].combine_chunks())
            held = table.slice(starts[-1])
            if len(starts) > 1:
                yield self._rows(table.slice(0, starts[-1]), starts[:-1])
        if held is not None:
            yield self._rows(held, np.zeros(1, np.int64))

    def _rows(self, table: pa.Table, starts: Integers) -> NamedBatch:
        names = table["row"].combine_chunks().take(pa.array(starts)).cast(pa.string())
        return NamedBatch(names, RowBatch(self.type, len(starts), [], rest=_rest(table, starts)))

    def close(self) -> None:
        self._file.close()


def _run_starts(names: pa.Array) -> Integers:
    """Where a name differs from the one before it."""
    codes = names.dictionary_encode().indices.to_numpy(zero_copy_only=False)
    return np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1]]))


def _rest(table: pa.Table, starts: Integers) -> pa.Array:
    """The cells of each row; a line without column only names its row."""
    present = table["column"].is_valid().to_numpy()
    lines = table.filter(pa.array(present)).combine_chunks()
    times = lines["timestamp"].combine_chunks().cast(pa.float64())
    cells = pa.StructArray.from_arrays(
        [lines["column"].combine_chunks().cast(pa.string()), _values(lines), times], fields=list(CELL_ARROW)
    )
    before = np.concatenate([[0], np.cumsum(present)])
    offsets = before[np.append(starts, table.num_rows)]
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), cells)


def _values(lines: pa.Table) -> pa.Array:
    kinds = lines["kind"].to_pylist()
    tag_of = {kind: tag for tag, (kind, _) in _TAGS.items()} | {"null": "n"}
    unknown = set(kinds) - set(tag_of)
    if unknown:
        raise MldbError(f"a dataset file has values of the unknown kind '{unknown.pop()}'")
    codes = np.array([TAGS.index(tag_of[kind]) for kind in kinds], np.int8)
    children = []
    for index, (tag, member) in enumerate(zip(TAGS, ANY_MEMBERS, strict=True)):
        values = lines[_TAGS[tag][1]].combine_chunks().cast(member.type)
        hidden = pa.array(codes != index)
        children.append(pc.if_else(hidden, pa.scalar(None, member.type), values))
    return pa.UnionArray.from_sparse(pa.array(codes), children, field_names=list(TAGS))
