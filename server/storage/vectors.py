"""Rows that are vectors of numbers: from recorded cells, and from query batches (entity-types.md §2.6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from server.declarations import NamedBatch
from server.errors import MldbError
from server.storage.pending import Pending
from server.storage.wide_load import is_array, loosen
from server.storage.wide_rows import WideRows
from server.values.batches import Column, iterate_paths, one_array
from server.values.kinds import Kind
from server.values.paths import Path, format_path, natural_key, parse_path

Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True)
class VectorRows:
    """``vectors`` is rows by ``paths``, which stand in natural order."""

    names: pa.Array
    times: npt.NDArray[np.float64]
    paths: tuple[Path, ...]
    vectors: Matrix


def vectors_of_recorded(pending: Pending) -> VectorRows:
    """Recorded rows as vectors; ``MldbError`` where a cell is missing or no finite number."""
    names = pending.row_names().combine_chunks() if pending.row_count else pa.array([], pa.string())
    rows = WideRows(pending)
    parts = [_part(parse_path(name), *rows.column(number)) for name, number in pending.columns.items()]
    return _joined(names, rows.timestamps(), parts)


def vectors_of_batch(batch: NamedBatch) -> VectorRows:
    """A query batch as vectors: arrays and columns of numbers as they are, everything else cell by cell."""
    type_ = batch.rows.type
    plain = [column for column in type_.columns if is_array(column) or (not column.shape and column.kind in _NUMBERS)]
    loose, values = loosen(batch, plain)
    names, times, parts = one_array(batch.names).cast(pa.string()), np.full(batch.rows.length, -np.inf), []
    if type_.open or len(plain) < len(type_.columns):
        pending = Pending()
        pending.add_batch(loose)
        rest = vectors_of_recorded(pending)
        times, parts = rest.times, [(rest.paths, rest.vectors)]
    positions = {column: index for index, column in enumerate(type_.columns)}
    for column, array in zip(plain, values, strict=True):
        parts.append(_matrix(column, array) if column.shape else _part(column.path, column.kind, array))
        times = np.fmax(times, batch.rows.seconds(positions[column]))
    return _joined(names, times, parts)


_NUMBERS = (Kind.INTEGER, Kind.NUMBER, Kind.UNSIGNED)
_Part = tuple[tuple[Path, ...], Matrix]


def _part(path: Path, kind: Kind, values: pa.Array) -> _Part:
    if kind not in _NUMBERS:
        raise MldbError(f"Values of an embedding are numbers: column '{format_path(path)}' holds something else")
    if values.null_count:
        name = format_path(path)
        raise MldbError(f"All rows of an embedding must have exactly the same columns: '{name}' is missing or null")
    return (path,), _single(values).reshape(-1, 1)


def _matrix(column: Column, array: pa.Array) -> _Part:
    if array.null_count:
        raise MldbError(f"Values of an embedding are numbers: '{format_path(column.path)}' is null")
    return tuple(iterate_paths(column)), _single(one_array(array.flatten())).reshape(len(array), -1)


def _single(values: pa.Array) -> Matrix:
    with np.errstate(over="ignore"):
        return np.asarray(values.to_numpy(zero_copy_only=False), np.float32)


def _joined(names: pa.Array, times: npt.NDArray[np.float64], parts: Sequence[_Part]) -> VectorRows:
    paths = [path for part, _ in parts for path in part]
    if not paths:
        return VectorRows(names, times, (), np.empty((len(names), 0), np.float32))
    matrix = parts[0][1] if len(parts) == 1 else np.concatenate([values for _, values in parts], axis=1)
    if not np.isfinite(matrix).all():
        raise MldbError("Values of an embedding are finite numbers of single precision")
    order = sorted(range(len(paths)), key=lambda index: natural_key(paths[index]))
    if order != list(range(len(paths))):
        matrix = matrix[:, order]
    return VectorRows(names, times, tuple(paths[index] for index in order), matrix)
