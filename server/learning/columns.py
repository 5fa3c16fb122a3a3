"""Columns of row batches as numbers and texts: what training and application read features from.

A batch's features come as *pieces*: an atom column, an embedding (a block of columns, never spelled out cell by
cell), or the open rest (cells).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from server.errors import MldbError
from server.learning.matrix import Floats
from server.values import compute as pc
from server.values.atoms import collapse, number_text
from server.values.batches import Column, RowBatch, iterate_paths, one_array
from server.values.cells import type_codes
from server.values.kinds import TAGS, Kind
from server.values.paths import format_path

_NUMBER_TAGS = "niut"
_TEXT_TAGS = "sp"
_KIND_NAMES = {Kind.INTERVAL: "a time interval", Kind.BLOB: "a blob"}
_OTHER_TAGS = {"v": Kind.INTERVAL, "b": Kind.BLOB}


@dataclass(frozen=True)
class Values:
    """Atoms of one array: ``numbers`` (NaN where there is none) and ``codes`` into ``texts`` (-1 where none)."""

    numbers: NDArray[np.float64]
    codes: NDArray[np.int32] | None
    texts: Sequence[str]

    @property
    def present(self) -> NDArray[np.bool_]:
        there: NDArray[np.bool_] = ~np.isnan(self.numbers)
        return there if self.codes is None else there | (self.codes >= 0)

    def text_of(self, at: int) -> str:
        """The atom as text (there is one)."""
        if self.codes is not None and self.codes[at] >= 0:
            return self.texts[int(self.codes[at])]
        return number_text(collapse(float(self.numbers[at])))


@dataclass(frozen=True)
class AtomPiece:
    """One column of atoms, a value per row."""

    name: str
    values: Values


@dataclass(frozen=True)
class BlockPiece:
    """An embedding: a number per row and element, NaN where missing; ``names`` are the elements' column names."""

    names: Sequence[str]
    numbers: NDArray[Any]


@dataclass(frozen=True)
class CellsPiece:
    """The open rest: the row, the column (an index into ``names``) and the value of each cell."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int32]
    names: list[str]
    values: Values
    times: NDArray[np.float64]


Piece = AtomPiece | BlockPiece | CellsPiece


def pieces_of(batch: RowBatch) -> Iterator[Piece]:
    """The columns of a batch, named relative to it."""
    for column, array in zip(batch.type.columns, batch.values, strict=True):
        if column.shape is None:
            name = format_path(column.path)
            yield AtomPiece(name, values_of(array, column.kind, name))
        elif -1 in column.shape:
            yield _ragged(column, array)
        else:
            yield BlockPiece(element_names(column), block_of(array, math.prod(column.shape)))
    if batch.rest is not None:
        yield _cells(batch.rest)


def element_names(column: Column) -> list[str]:
    return [format_path(path) for path in iterate_paths(column)]


def block_of(array: pa.Array | pa.ChunkedArray, width: int) -> NDArray[Any]:
    """An array of fixed-size embeddings as a matrix, without a copy where it has no nulls."""
    array = one_array(array)
    if pa.types.is_fixed_size_list(array.type):
        flat = array.values.slice(array.offset * width, len(array) * width)
        matrix = flat.to_numpy(zero_copy_only=False).reshape(len(array), width)
    else:
        matrix = _even_lists(array, width)
    if array.null_count:
        matrix = np.where(pc.is_null(array).to_numpy(zero_copy_only=False)[:, None], np.nan, matrix)
    return np.asarray(matrix if matrix.dtype.kind == "f" else matrix.astype(np.float64))


def _even_lists(array: pa.Array, width: int) -> NDArray[Any]:
    """Lists that must all have ``width`` elements (or be null)."""
    lengths = pc.fill_null(array.value_lengths(), 0).to_numpy(zero_copy_only=False)
    full = lengths == width
    if not (full | (lengths == 0)).all():
        raise MldbError(f"an embedding has {int(lengths[~full][0])} elements where {width} were expected")
    out = np.full((len(array), width), np.nan)
    out[full] = array.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    return out


def _ragged(column: Column, array: Any) -> CellsPiece:
    """An embedding of varying length: cells named by position."""
    array = one_array(array)
    lengths = pc.fill_null(array.value_lengths(), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    flat = array.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    rows = np.repeat(np.arange(len(array)), lengths)
    places = np.arange(len(flat)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    names = [format_path((*column.path, str(place))) for place in range(int(lengths.max(initial=0)))]
    return CellsPiece(rows, places.astype(np.int32), names, Values(flat, None, []), np.full(len(flat), -np.inf))


def _cells(rest: Any) -> CellsPiece:
    rest = one_array(rest)
    lengths = pc.fill_null(rest.value_lengths(), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    flat = rest.flatten()
    encoded = flat.field("p").dictionary_encode()
    return CellsPiece(
        np.repeat(np.arange(len(rest)), lengths),
        encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32),
        encoded.dictionary.to_pylist(),
        values_of(flat.field("v"), Kind.ANY, "features"),
        flat.field("t").to_numpy(zero_copy_only=False),
    )


def values_of(array: pa.Array | pa.ChunkedArray, kind: Kind, name: str) -> Values:
    """An array of a kind as numbers and texts; ``MldbError`` for atoms that are neither."""
    array = one_array(array)
    if pa.types.is_union(array.type):
        return _union_values(array, name)
    if kind in (Kind.STRING, Kind.PATH):
        encoded = array.dictionary_encode()
        codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
        return Values(np.full(len(array), np.nan), codes.astype(np.int32), encoded.dictionary.to_pylist())
    if kind.numeric or kind is Kind.TIMESTAMP:
        return Values(_numbers(array), None, [])
    raise MldbError(f"Column '{name}' holds {_KIND_NAMES.get(kind, kind.value)}, which cannot be a feature")


def _numbers(array: pa.Array) -> NDArray[np.float64]:
    out: NDArray[np.float64] = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return out


def _union_values(array: pa.Array, name: str) -> Values:
    tags = type_codes(array)
    numbers = np.full(len(array), np.nan)
    codes: NDArray[np.int32] | None = None
    texts: dict[str, int] = {}
    for code in np.unique(tags).tolist():
        rows = np.flatnonzero(tags == code)
        member = array.field(code).take(pa.array(rows))
        if TAGS[code] in _NUMBER_TAGS:
            numbers[rows] = _numbers(member)
        elif TAGS[code] in _TEXT_TAGS:
            codes = np.full(len(array), -1, np.int32) if codes is None else codes
            codes[rows] = _code_texts(member, texts)
        elif member.null_count < len(member):
            raise MldbError(f"Column '{name}' holds {_KIND_NAMES[_OTHER_TAGS[TAGS[code]]]}, which cannot be a feature")
    return Values(numbers, codes, list(texts))


def _code_texts(member: pa.Array, texts: dict[str, int]) -> NDArray[np.int32]:
    encoded = member.dictionary_encode()
    place = [texts.setdefault(text, len(texts)) for text in encoded.dictionary.to_pylist()]
    indices = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    return np.asarray(np.array([*place, -1], np.int32)[indices])


def single(numbers: NDArray[Any]) -> Floats:
    """Single precision; numbers beyond it become infinite."""
    with np.errstate(over="ignore"):
        return numbers.astype(np.float32)
