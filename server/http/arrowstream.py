"""Query results as Arrow IPC streams."""

from __future__ import annotations

from collections.abc import Sequence

from server.declarations import QueryResult
from server.values.arrow import pa
from server.values.batches import RowType
from server.values.kinds import Kind
from server.values.paths import format_path


def arrow_stream(result: QueryResult) -> bytes:
    """An Arrow IPC stream: ``_rowName``, a field per known column, and ``_rest`` for rows with further columns.

    The metadata of a field tell what Arrow's type does not: ``mldb.kind``, and ``mldb.shape`` of an embedding.
    """
    sink = pa.BufferOutputStream()
    writer = None
    for batch in result.batches():
        arrays = [batch.names, *batch.rows.values, *([] if batch.rows.rest is None else [batch.rows.rest])]
        if writer is None:
            schema = _arrow_schema(result.type, [array.type for array in arrays])
            writer = pa.ipc.new_stream(sink, schema)
        writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
    if writer is None:
        writer = pa.ipc.new_stream(sink, _arrow_schema(result.type, _arrow_types(result.type)))
    writer.close()
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _arrow_types(type_: RowType) -> list[pa.DataType]:
    """The types of a result without rows."""
    from server.values.arrow_types import ARROW_TYPES, CELLS_ARROW

    known = [
        ARROW_TYPES[column.kind] if column.shape is None else pa.list_(ARROW_TYPES[column.kind])
        for column in type_.columns
    ]
    return [pa.string(), *known, *([CELLS_ARROW] if type_.open else [])]


def _arrow_schema(type_: RowType, types: Sequence[pa.DataType]) -> pa.Schema:
    fields = [pa.field("_rowName", types[0], metadata={"mldb.kind": Kind.PATH.value})]
    for column, own in zip(type_.columns, types[1:], strict=False):
        metadata = {"mldb.kind": column.kind.value}
        if column.shape is not None:
            metadata["mldb.shape"] = ",".join(map(str, column.shape))
        fields.append(pa.field(format_path(column.path), own, metadata=metadata))
    if type_.open:
        fields.append(pa.field("_rest", types[-1], metadata={"mldb.kind": "cells"}))
    return pa.schema(fields)
