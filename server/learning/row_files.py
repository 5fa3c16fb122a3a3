"""Rows of a query in an Arrow file: how a job process gets them, memory-mapped, without a copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.ipc

from server.declarations import NamedBatch, Progress, QueryResult
from server.values import compute as pc
from server.values.batches import Column, RowBatch, RowType, one_array
from server.values.kinds import Kind
from server.values.paths import Path as ColumnPath
from server.values.paths import parse_path

_META = b"mldb.rows"


def write_rows(file: Path, result: QueryResult, progress: Progress) -> int:
    """Run a query into a file; the number of rows (0: no file is written)."""
    count = 0
    writer: pa.ipc.RecordBatchFileWriter | None = None
    try:
        for batch in result.batches(progress):
            record = _record(batch)
            if writer is None:
                writer = pa.ipc.new_file(str(file), record.schema)
            writer.write_batch(record)
            count += batch.rows.length
    finally:
        if writer is not None:
            writer.close()
    return count


def _record(batch: NamedBatch) -> pa.RecordBatch:
    arrays = {"names": batch.names}
    arrays |= {f"c{number}": values for number, values in enumerate(batch.rows.values)}
    if batch.rows.rest is not None:
        arrays["rest"] = batch.rows.rest
    fields = [pa.field(name, array.type) for name, array in arrays.items()]
    schema = pa.schema(fields, metadata={_META: _type_json(batch.rows.type)})
    plain = [one_array(array) for array in arrays.values()]
    return pa.RecordBatch.from_arrays(plain, schema=schema)


def read_rows(file: Path, tick: Callable[[float], None] = lambda _: None) -> Iterator[NamedBatch]:
    """The batches of a file that ``write_rows`` wrote; ``tick`` is told which share of them is done with."""
    with pa.memory_map(str(file)) as source, pa.ipc.open_file(source) as reader:
        type_ = _type_from(reader.schema.metadata[_META])
        for number in range(reader.num_record_batches):
            record = reader.get_batch(number)
            values = [record.column(f"c{at}") for at in range(len(type_.columns))]
            rest = record.column("rest") if "rest" in record.schema.names else None
            yield NamedBatch(record.column("names"), RowBatch(type_, record.num_rows, values, (), rest))
            tick((number + 1) / reader.num_record_batches)


def row_names(file: Path) -> pa.Array:
    """The path texts of the names of a file's rows."""
    return pa.concat_arrays([one_array(batch.names) for batch in read_rows(file)])


def open_columns(file: Path) -> set[ColumnPath]:
    """The columns of a file's rows that only the rows tell."""
    texts: set[str] = set()
    for batch in read_rows(file):
        if batch.rows.rest is not None:
            texts.update(pc.unique(batch.rows.rest.flatten().field("p")).to_pylist())
    return {parse_path(text) for text in texts}


def _type_json(type_: RowType) -> bytes:
    columns = [[column.path, column.kind.value, column.shape, column.names] for column in type_.columns]
    return orjson.dumps({"columns": columns, "open": type_.open})


def _type_from(data: bytes) -> RowType:
    state = orjson.loads(data)
    columns = tuple(
        Column(
            tuple(path),
            Kind(kind),
            None if shape is None else tuple(shape),
            names=None if names is None else tuple(map(tuple, names)),
        )
        for path, kind, shape, names in state["columns"]
    )
    return RowType(columns, state["open"])
