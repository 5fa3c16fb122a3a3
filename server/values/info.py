"""What is known of values, as ``/info`` of functions tells it (rest-api.md §8.4)."""

from __future__ import annotations

from typing import Any

from server.values.batches import Column, RowType
from server.values.kinds import Kind

TYPE_NAMES = {  # upstream's classes
    Kind.BOOLEAN: "MLDB::BooleanValueInfo",
    Kind.INTEGER: "MLDB::IntegerValueInfo",
    Kind.UNSIGNED: "MLDB::Uint64ValueInfo",
    Kind.NUMBER: "MLDB::Float64ValueInfo",
    Kind.STRING: "MLDB::Utf8StringValueInfo",
    Kind.TIMESTAMP: "MLDB::TimestampValueInfo",
    Kind.INTERVAL: "MLDB::IntervalValueInfo",
    Kind.BLOB: "MLDB::BlobValueInfo",
    Kind.PATH: "MLDB::PathValueInfo",
    Kind.NULL: "MLDB::EmptyValueInfo",
}
_SCALARS = {
    Kind.BOOLEAN: "boolean", Kind.INTEGER: "integer", Kind.UNSIGNED: "integer", Kind.NUMBER: "float",
    Kind.STRING: "string", Kind.TIMESTAMP: "timestamp", Kind.INTERVAL: "interval", Kind.BLOB: "blob", Kind.PATH: "path",
}  # fmt: skip


def row_info(type_: RowType) -> dict[str, Any]:
    """A row and its known columns, nested by path."""
    return {
        "kind": "row",
        "isConstant": False,
        "hasUnknownColumns": type_.open and () in type_.opened,
        "hasUnknownColumnsRecursive": type_.open,
        "knownColumns": [_column_info(name, type_) for name in _names(type_)],
        "type": "MLDB::RowValueInfo",
    }


def function_info(input_: RowType, output: RowType) -> dict[str, Any]:
    """The whole ``/info`` object of a function."""
    return {"input": [value_info(input_)], "output": value_info(output)}


def value_info(type_: RowType) -> dict[str, Any]:
    """A row, or the bare value that a single column with an empty path stands for."""
    if len(type_.columns) == 1 and not type_.columns[0].path:
        return _leaf_info(type_.columns[0])
    return row_info(type_)


def _names(type_: RowType) -> list[str]:
    opened = type_.opened if type_.open else ()
    return list(dict.fromkeys(path[0] for path in (*(column.path for column in type_.columns), *opened) if path))


def _column_info(name: str, type_: RowType) -> dict[str, Any]:
    own = type_.column((name,))
    opened = tuple(prefix[1:] for prefix in type_.opened if prefix[:1] == (name,)) if type_.open else ()
    below = RowType(type_.under((name,)).columns, bool(opened), opened)
    info = _leaf_info(own) if own is not None else row_info(below)
    sparse = own is not None and own.sparse
    return {"columnName": name, "valueInfo": info, "sparsity": "sparse" if sparse else "dense"}


def _leaf_info(column: Column) -> dict[str, Any]:
    if column.names is not None:
        return row_info(RowType(tuple(Column(name, column.kind) for name in column.names)))
    if column.shape is not None:
        return {
            "kind": "embedding",
            "isConstant": False,
            "shape": list(column.shape),
            "scalar": _SCALARS.get(column.kind, "any"),
            "type": "MLDB::EmbeddingValueInfo",
        }
    if column.kind not in _SCALARS:
        return {"isConstant": False, "type": "MLDB::AnyValueInfo"}
    return {
        "kind": "scalar",
        "scalar": _SCALARS[column.kind],
        "isConstant": False,
        "type": TYPE_NAMES[column.kind],
    }
