"""Reading a model's features from rows of a known shape: places are looked up once, rows are read as whole arrays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from server.errors import MldbError
from server.learning.columns import CellsPiece, Piece, block_of, element_names, pieces_of, single, values_of
from server.learning.feature_space import FeatureSpace
from server.learning.function_inputs import require_row
from server.learning.matrix import Floats
from server.learning.table import Encoder, encode_cells
from server.values.atoms import NEVER
from server.values.batches import Column, RowBatch, RowType
from server.values.kinds import Kind
from server.values.paths import Path, format_path

FEATURES = ("features",)
Times = NDArray[np.float64]


@dataclass(frozen=True)
class FeatureReader:
    """Reads the features of one input shape (``type``, below ``features``) into matrices of a space."""

    space: FeatureSpace
    type: RowType

    @staticmethod
    def bind(space: FeatureSpace, given: RowType, row: Path = FEATURES) -> FeatureReader:
        """``MldbError`` when the input has no such row."""
        below = require_row(given, row)
        for column in below.columns:
            if column.path == () and column.shape is None and column.kind not in (Kind.NULL, Kind.ANY):
                raise MldbError(f"The input '{format_path(row)}' must be a row, not a single value")
        return FeatureReader(space, below)

    @cached_property
    def _places(self) -> list[NDArray[np.int64]]:
        """The numbers of the features that each column (or its elements) holds; -1 for what the model does not know."""
        return [np.array([self.space.index.get(name, -1) for name in _names(column)]) for column in self.type.columns]

    @cached_property
    def _encoder(self) -> Encoder:
        return Encoder(self.space)

    def read(self, batch: RowBatch) -> tuple[Floats, Times]:
        """Feature values, NaN where missing, and the time of the newest present feature of each row."""
        return self.read_rows(batch.under(FEATURES))

    def read_rows(self, rows: RowBatch) -> tuple[Floats, Times]:
        """What ``read`` gives, for rows that are the features themselves."""
        out = np.full((rows.length, len(self.space)), np.nan, np.float32)
        times = np.full(rows.length, NEVER)
        for number, (column, array) in enumerate(zip(rows.type.columns, rows.values, strict=True)):
            places = self._places[number]
            if not (places >= 0).any():
                continue
            there = self._read_column(out, column, array, places)
            _newest(times, there, rows.timestamp(number))
        for piece in pieces_of(RowBatch(RowType((), True), rows.length, (), (), rows.rest)):
            self._read_cells(out, times, piece)
        return out, times

    def _read_column(self, out: Floats, column: Column, array: Any, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Fill in a column; which rows have it."""
        if column.shape is None:
            feature = int(places[0])
            values = self._encoder.encode(feature, values_of(array, column.kind, self.space.features[feature].name))
            there: NDArray[np.bool_] = ~np.isnan(values)
            out[there, feature] = values[there]
            return there
        numbers = single(block_of(array, len(places)))
        if (places >= 0).all() and (np.diff(places) == 1).all():
            out[:, places[0] : places[-1] + 1] = numbers
        else:
            out[:, places[places >= 0]] = numbers[:, places >= 0]
        return np.asarray(~np.isnan(numbers).all(axis=1))

    def _read_cells(self, out: Floats, times: Times, piece: Piece) -> None:
        assert isinstance(piece, CellsPiece)
        rows, features, values = encode_cells(piece, self.space, self._encoder)
        out[rows, features] = values
        known = np.array([name in self.space.index for name in piece.names], np.bool_)
        if known.any():
            mine = known[piece.columns] & piece.values.present
            np.maximum.at(times, piece.rows[mine], np.nan_to_num(piece.times[mine], nan=NEVER))


def _names(column: Column) -> list[str]:
    return [format_path(column.path)] if column.shape is None else element_names(column)


def _newest(times: Times, there: NDArray[np.bool_], given: pa.Array | pa.ChunkedArray | float) -> None:
    """Raise the times of the rows that have a column to that column's. "Not a date" wins: nothing is known then."""
    own = given if isinstance(given, float | int) else given.to_numpy(zero_copy_only=False)[there]
    times[there] = np.maximum(times[there], own)


def number_cells(
    length: int, rows: NDArray[np.int64], names: pa.Array, values: NDArray[Any], times: NDArray[Any]
) -> pa.Array:
    """Numbers as an array of cells: the row of each (ascending), its path's text, value and time."""
    from server.values.arrow_types import CELL_ARROW, CELLS_ARROW

    union = CELL_ARROW.field("v").type
    members = [pa.array(values, pa.float64())]
    members += [pa.nulls(len(values), union.field(at).type) for at in range(1, union.num_fields)]
    tagged = pa.UnionArray.from_sparse(
        pa.array(np.zeros(len(values), np.int8)), members, [union.field(at).name for at in range(union.num_fields)]
    )
    cells = pa.StructArray.from_arrays([names, tagged, pa.array(times, pa.float64())], fields=list(CELL_ARROW))
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=length))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(starts), cells).cast(CELLS_ARROW)
