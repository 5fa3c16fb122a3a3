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
from server.storage.stores import one_array
from server.storage.wide_load import is_array, loosen
from server.storage.wide_rows import WideRows
from server.values.batches import Column, iterate_paths
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
    parts = [((parse_path(name),), _column(rows, number, name)) for name, number in pending.columns.items()]
    return _joined(names, rows.timestamps(), parts)


def vectors_of_batch(batch: NamedBatch) -> VectorRows:
    """A query batch as vectors: arrays of numbers as they are, everything else column by column."""
    arrays = [column for column in batch.rows.type.columns if is_array(column)]
    loose, values = loosen(batch, arrays)
    pending = Pending()
    pending.add_batch(loose)
    rest = vectors_of_recorded(pending)
    parts: list[tuple[tuple[Path, ...], npt.NDArray[np.float64]]] = [(rest.paths, rest.vectors.astype(np.float64))]
    times = rest.times
    for column, array in zip(arrays, values, strict=True):
        parts.append((tuple(iterate_paths(column)), _matrix(column, array)))
        stamp = batch.rows.timestamp(batch.rows.type.columns.index(column))
        times = np.fmax(times, stamp if isinstance(stamp, float) else one_array(stamp).to_numpy(zero_copy_only=False))
    return _joined(rest.names, times, parts)


def _column(rows: WideRows, number: int, name: str) -> npt.NDArray[np.float64]:
    kind, values = rows.column(number)
    if kind not in (Kind.INTEGER, Kind.NUMBER, Kind.UNSIGNED):
        raise MldbError(f"Values of an embedding are numbers: column '{name}' holds something else")
    if values.null_count:
        raise MldbError(f"All rows of an embedding must have exactly the same columns: '{name}' is missing or null")
    return np.asarray(values.to_numpy(zero_copy_only=False), np.float64).reshape(-1, 1)


def _matrix(column: Column, array: pa.Array) -> npt.NDArray[np.float64]:
    if array.null_count:
        raise MldbError(f"Values of an embedding are numbers: '{format_path(column.path)}' is null")
    flat = np.asarray(one_array(array.flatten()).to_numpy(zero_copy_only=False), np.float64)
    return flat.reshape(len(array), -1)


def _joined(
    names: pa.Array,
    times: npt.NDArray[np.float64],
    parts: Sequence[tuple[tuple[Path, ...], npt.NDArray[np.float64]]],
) -> VectorRows:
    paths = [path for part, _ in parts for path in part]
    if not paths:
        return VectorRows(names, times, (), np.empty((len(names), 0), np.float32))
    matrix = np.concatenate([values for _, values in parts], axis=1)
    with np.errstate(over="ignore"):
        single = matrix.astype(np.float32)
    if not np.isfinite(single).all():
        raise MldbError("Values of an embedding are finite numbers of single precision")
    order = sorted(range(len(paths)), key=lambda index: natural_key(paths[index]))
    if order != list(range(len(paths))):
        single = single[:, order]
    return VectorRows(names, times, tuple(paths[index] for index in order), single)
