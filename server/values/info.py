"""What is known of values, as ``/info`` of functions tells it (rest-api.md §8.4)."""

from __future__ import annotations

from typing import Any

from server.values.batches import Column, RowType
from server.values.kinds import Kind

_SCALARS = {
    Kind.BOOLEAN: ("boolean", "MLDB::BooleanValueInfo"),
    Kind.INTEGER: ("integer", "MLDB::IntegerValueInfo"),
    Kind.UNSIGNED: ("integer", "MLDB::Uint64ValueInfo"),
    Kind.NUMBER: ("float", "MLDB::Float64ValueInfo"),
    Kind.STRING: ("string", "MLDB::Utf8StringValueInfo"),
    Kind.TIMESTAMP: ("timestamp", "MLDB::TimestampValueInfo"),
    Kind.INTERVAL: ("interval", "MLDB::IntervalValueInfo"),
    Kind.BLOB: ("blob", "MLDB::BlobValueInfo"),
    Kind.PATH: ("path", "MLDB::PathValueInfo"),
}


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
        scalar = _SCALARS.get(column.kind, ("any", ""))[0]
        return {
            "kind": "embedding",
            "isConstant": False,
            "shape": list(column.shape),
            "scalar": scalar,
            "type": "MLDB::EmbeddingValueInfo",
        }
    if column.kind not in _SCALARS:
        return {"isConstant": False, "type": "MLDB::AnyValueInfo"}
    scalar, name = _SCALARS[column.kind]
    return {"kind": "scalar", "scalar": scalar, "isConstant": False, "type": name}
