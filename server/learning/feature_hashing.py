"""The function ``feature_hasher``: rows of any columns as vectors of one length (entity-types.md §4.3)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from server.declarations import BoundFunction, Creation, EntityType, Params
from server.learning.cell_arrays import cells_below
from server.learning.cell_functions import rows_below
from server.learning.function_inputs import require_row, row_input
from server.values.atoms import NEVER, atom_text
from server.values.batches import Column, RowBatch, RowType
from server.values.cityhash import hash_texts
from server.values.distinct import distinct
from server.values.highwayhash import ATOM_KEY
from server.values.kinds import Kind
from server.values.paths import Path, format_path, parse_path
from server.values.siphash import sip_hashes

Mode = Literal["columns", "columnsAndValues"]
_COLUMNS = ("columns",)
_WORD = 64  # bits of a hash


class HasherParams(Params):
    numBits: int = Field(default=8, ge=1, le=16, description="The vector has two to the power of so many numbers")
    mode: Mode = Field(default="columns", description="Whether only the names of columns count, or their values too")


@dataclass(frozen=True)
class FeatureHasher:
    """Makes rows vectors: of each hash of a row, slices of ``bits`` bits are places that get +1 and -1 by turns."""

    bits: int
    mode: Mode

    input = row_input(_COLUMNS)

    @property
    def output(self) -> RowType:
        names = tuple((f"hashColumn{number}",) for number in range(1 << self.bits))
        return RowType((Column(("hash",), Kind.NUMBER, (1 << self.bits,), names=names),))

    def bind(self, given: RowType) -> BoundFunction:
        require_row(given, _COLUMNS)
        return self

    def apply(self, batch: RowBatch) -> RowBatch:
        rows, texts, times = self._hashed(batch)
        codes = texts.dictionary_encode()
        hashes = self._hashes(codes.dictionary)
        # Each hash counts once in a row.
        different = distinct(rows * len(hashes) + codes.indices.to_numpy(zero_copy_only=False))
        row, hash_ = different // max(len(hashes), 1), hashes[different % max(len(hashes), 1)]
        vectors = np.zeros(batch.length << self.bits)
        for number in range(math.ceil(_WORD / self.bits)):  # the last slice may be a short one
            places = (hash_ >> np.uint64(number * self.bits)) & np.uint64((1 << self.bits) - 1)
            at = (row << self.bits) + places.astype(np.int64)
            np.add.at(vectors, at, -1.0 if number % 2 else 1.0)
        array = pa.FixedSizeListArray.from_arrays(pa.array(vectors), 1 << self.bits)
        newest = np.full(batch.length, NEVER)
        np.fmax.at(newest, rows, times)
        return RowBatch(self.output, batch.length, [array], [pa.array(newest)])

    def _hashes(self, texts: pa.Array) -> NDArray[np.uint64]:
        """MLDB hashes values by another function than names."""
        if self.mode == "columns":
            return hash_texts(texts)
        return sip_hashes([text.encode("utf-8", "surrogatepass") for text in texts.to_pylist()], ATOM_KEY[:2])

    def _hashed(self, batch: RowBatch) -> tuple[NDArray[np.int64], pa.Array, NDArray[np.float64]]:
        """Row, text and time of what is hashed: names of columns that are not null, with values where they count."""
        if self.mode == "columns":
            cells = cells_below(batch, "columns")
            names = pa.array([parse_path(name)[0] for name in cells.names], pa.string())  # a row in the row counts once
            return cells.rows, names.take(pa.array(cells.codes)), cells.times
        found = [
            (at, f"{_name(cell.path)}::{atom_text(cell.value)}", cell.timestamp)
            for at, row in enumerate(rows_below(batch, "columns"))
            for cell in row
            if cell.value is not None
        ]
        rows = np.array([at for at, _, _ in found], np.int64)
        times = np.array([time for _, _, time in found], np.float64)
        return rows, pa.array([text for _, text, _ in found], pa.string()), times


def _name(path: Path) -> str:
    """The name of a column: without quotes where it is one element, whatever that is."""
    return path[0] if len(path) == 1 else format_path(path)


def _create(creation: Creation) -> FeatureHasher:
    return FeatureHasher(creation.params.numBits, creation.params.mode)


TYPES = [
    EntityType(
        "function",
        "feature_hasher",
        HasherParams,
        "Makes rows of any columns vectors of one length",
        _create,
        "`columns` is a row; gives `hash`, with the columns `hashColumn0`, `hashColumn1`, …",
    )
]
