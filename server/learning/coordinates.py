"""Coordinates of points: columns are matched by name, whatever their order; a bare vector gives them in order."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from server.errors import MldbError
from server.learning.columns import block_of
from server.learning.feature_reader import FeatureReader
from server.learning.feature_space import Feature, FeatureSpace
from server.learning.function_inputs import row_input
from server.learning.matrix import Floats
from server.values.batches import Column, RowBatch, RowType
from server.values.kinds import Kind
from server.values.paths import parse_path

EMBEDDING = ("embedding",)  # the input of functions of one point


def embedding_type(columns: Sequence[str]) -> RowType:
    """The input of functions that take an ``embedding`` of these columns."""
    return row_input(EMBEDDING, (Column((*EMBEDDING, *parse_path(name)), Kind.NUMBER) for name in columns))


def read_embedding(columns: Sequence[str], batch: RowBatch) -> Floats:
    """The point in each row, [row, column]; ``MldbError`` when it lacks one of the columns."""
    return require_all(read_coordinates(columns, batch.under(EMBEDDING)), columns, "The embedding")


def read_coordinates(columns: Sequence[str], rows: RowBatch) -> Floats:
    """A point per row, NaN where a coordinate is missing; other columns are ignored."""
    space = FeatureSpace(tuple(Feature(name) for name in columns))
    plain = _plain(rows, columns)
    return FeatureReader(space, plain.type).read_rows(plain)[0]


def require_all(points: Floats, columns: Sequence[str], what: str) -> Floats:
    """``MldbError`` naming the first column that some point lacks, or has an infinite number for."""
    lacking = np.flatnonzero(~np.isfinite(points).all(axis=0))
    if len(lacking):
        at = int(lacking[0])
        missing = "number" if np.isnan(points[:, at]).any() else "finite number in single precision"
        raise MldbError(f"{what} lacks a {missing} for the column '{columns[at]}'")
    return points


def _plain(rows: RowBatch, columns: Sequence[str]) -> RowBatch:
    """Without an atom that stands for the whole row (the name of one), and with a bare vector spelled out."""
    keep = [at for at, column in enumerate(rows.type.columns) if column.path or column.shape is not None]
    kept = tuple(rows.type.columns[at] for at in keep)
    if len(kept) == 1 and kept[0].path == () and not _numbered(columns):
        return _as_columns(rows, keep[0], columns)
    return RowBatch(
        RowType(kept, rows.type.open), rows.length, [rows.values[at] for at in keep],
        [rows.timestamp(at) for at in keep], rows.rest,
    )  # fmt: skip


def _numbered(columns: Sequence[str]) -> bool:
    return list(columns) == [str(number) for number in range(len(columns))]


def _as_columns(rows: RowBatch, at: int, names: Sequence[str]) -> RowBatch:
    size = math.prod(rows.type.columns[at].shape or ())
    if size >= 0 and size != len(names):
        raise MldbError(f"an embedding has {size} elements where {len(names)} were expected: {', '.join(names)}")
    block = block_of(rows.values[at], len(names))
    columns = tuple(Column(parse_path(name), Kind.NUMBER) for name in names)
    values = [pa.array(block[:, number].astype(np.float64)) for number in range(len(columns))]
    return RowBatch(RowType(columns), rows.length, values)
