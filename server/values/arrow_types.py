"""The Arrow types of atoms and cells. Importing them loads pyarrow (server.values.arrow says who avoids that)."""

from __future__ import annotations

import pyarrow as pa

from server.values.kinds import Kind

INTERVAL_ARROW = pa.struct([("months", pa.int32()), ("days", pa.int32()), ("seconds", pa.float64())])
ANY_MEMBERS = [
    pa.field("n", pa.float64()),
    pa.field("i", pa.int64()),
    pa.field("u", pa.uint64()),
    pa.field("s", pa.string()),
    pa.field("t", pa.float64()),
    pa.field("v", INTERVAL_ARROW),
    pa.field("b", pa.binary()),
    pa.field("p", pa.string()),
]
ANY_ARROW = pa.sparse_union(ANY_MEMBERS)
CELL_ARROW = pa.struct([("p", pa.string()), ("v", ANY_ARROW), ("t", pa.float64())])
CELLS_ARROW = pa.list_(CELL_ARROW)

ARROW_TYPES: dict[Kind, pa.DataType] = {
    Kind.NULL: ANY_ARROW,
    Kind.BOOLEAN: pa.bool_(),
    Kind.INTEGER: pa.int64(),
    Kind.UNSIGNED: pa.uint64(),
    Kind.NUMBER: pa.float64(),
    Kind.STRING: pa.string(),
    Kind.TIMESTAMP: pa.float64(),
    Kind.INTERVAL: INTERVAL_ARROW,
    Kind.BLOB: pa.binary(),
    Kind.PATH: pa.string(),
    Kind.ANY: ANY_ARROW,
}
