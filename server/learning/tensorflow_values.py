"""Columns of a row batch to what a graph is fed with, and a graph's tensors to columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from server.errors import MldbError
from server.values.arrow_types import ARROW_TYPES
from server.values.atoms import NEVER, Atom
from server.values.batches import Column, RowBatch, Timestamps, one_array
from server.values.cells import atoms_of, cells_of
from server.values.kinds import Kind
from server.values.paths import Path

Feed = Sequence[Any] | np.ndarray  # bytes, None or an array per row; or one array with a row per entry


def feed_of(batch: RowBatch, path: Path, node: str, textual: bool) -> tuple[Feed, Timestamps]:
    """The values for a node: the column ``path``, or the elements below it; ``MldbError`` when there are none."""
    for index, column in enumerate(batch.type.columns):
        if column.path == path:
            return _column_feed(batch.values[index], column, node, textual), batch.timestamp(index)
    rows, times = _elements(batch, path)
    if not any(rows):
        raise MldbError(f"Unable to run model: the input has no '{'.'.join(path)}' for node '{node}'")
    return [_assemble(row, node, textual) for row in rows], pa.array(times, pa.float64())


def _column_feed(values: pa.Array, column: Column, node: str, textual: bool) -> Feed:
    if column.shape is None:
        return _atom_feed(values, column.kind, node, textual)
    values = one_array(values)
    if -1 not in column.shape and not values.null_count and not textual:
        flat = values.flatten()
        if not flat.null_count and len(flat) == len(values) * int(np.prod(column.shape)):
            return np.asarray(_numbers(flat)).reshape(len(values), *column.shape)
    return [None if row is None else _tensor(row, column.shape, node, textual) for row in values.to_pylist()]


def _numbers(flat: pa.Array) -> np.ndarray:
    array: np.ndarray = flat.to_numpy(zero_copy_only=False)
    return array


def _atom_feed(values: pa.Array, kind: Kind, node: str, textual: bool) -> Feed:
    if kind is Kind.BLOB and textual:
        blobs: list[Any] = values.to_pylist()
        return blobs
    if kind is Kind.NUMBER and not textual and not values.null_count:
        return _numbers(values)
    return [_element(atom, node, textual) for atom in atoms_of(values, kind)]


def _element(atom: Atom, node: str, textual: bool) -> Any:
    """One atom as bytes or as a number without dimensions."""
    if atom is None:
        return None
    if textual:
        return atom if isinstance(atom, bytes) else str(atom).encode()
    if isinstance(atom, int | float):
        return np.asarray(atom, np.float64 if isinstance(atom, float) else None)
    raise MldbError(f"Unable to run model: the value of '{node}' must be numbers, not '{atom!s}'")


def _tensor(row: Sequence[Any], shape: tuple[int, ...], node: str, textual: bool) -> np.ndarray:
    if textual:
        raise MldbError(f"Unable to run model: the value of '{node}' must be a blob or a string")
    try:
        array = np.asarray(row, np.float64)
    except (TypeError, ValueError):
        raise MldbError(f"Unable to run model: the value of '{node}' must be numbers") from None
    return array if -1 in shape else array.reshape(shape)


def _elements(batch: RowBatch, prefix: Path) -> tuple[list[list[tuple[Path, Atom]]], list[float]]:
    """Row by row: what lies at or below a path, with the path's rest, and the newest timestamp."""
    rows: list[list[tuple[Path, Atom]]] = [[] for _ in range(batch.length)]
    times = [NEVER] * batch.length
    size = len(prefix)
    for index, column in enumerate(batch.type.columns):
        if column.path[:size] == prefix and column.shape is None:
            stamps = _per_row(batch.timestamp(index), batch.length)
            for row, atom in enumerate(atoms_of(batch.values[index], column.kind)):
                rows[row].append((column.path[size:], atom))
                times[row] = max(times[row], stamps[row])
    for row, cells in enumerate(cells_of(batch.rest) if batch.rest is not None else ()):
        for cell in cells:
            if cell.path[:size] == prefix:
                rows[row].append((cell.path[size:], cell.value))
                times[row] = max(times[row], cell.timestamp)
    return rows, times


def _per_row(stamps: Timestamps, length: int) -> list[float]:
    if isinstance(stamps, float):
        return [stamps] * length
    return [NEVER if stamp is None else stamp for stamp in stamps.to_pylist()]


def _assemble(row: list[tuple[Path, Atom]], node: str, textual: bool) -> Any:
    """An atom, or elements with index paths (``0.1``) as one tensor."""
    if not row:
        return None
    if row[0][0] == ():
        return _element(row[0][1], node, textual)
    try:
        indexes = [tuple(int(element) for element in path) for path, _ in row]
        array = np.full([max(axis) + 1 for axis in zip(*indexes, strict=True)], np.nan)
        for index, (_, atom) in zip(indexes, row, strict=True):
            array[index] = atom
    except (TypeError, ValueError):
        raise MldbError(f"Unable to run model: the value of '{node}' must be an embedding of numbers") from None
    return array


def output_column(path: Path, dtype: str, shape: tuple[int, ...] | None) -> Column:
    """How a node's value appears in rows: an atom, or one embedding column."""
    return Column(path, _kind(dtype), None if shape == () else (-1,) if shape is None else shape)


def _kind(dtype: str) -> Kind:
    if dtype == "string":
        return Kind.BLOB
    if dtype.startswith(("float", "bfloat", "half")):
        return Kind.NUMBER
    if dtype.startswith(("int", "uint", "bool")):
        return Kind.UNSIGNED if dtype == "uint64" else Kind.INTEGER
    raise MldbError("Unable to run model: Can't return tensor of this type from TensorFlow")


def output_values(column: Column, rows: Sequence[np.ndarray]) -> pa.Array:
    """A node's tensors, one per row, as the Arrow array of its column."""
    element = ARROW_TYPES[column.kind]
    if column.shape is None:
        return pa.array([row.item() for row in rows], element)
    if len({row.shape for row in rows}) == 1 and -1 not in column.shape:
        flat = np.concatenate([row.ravel() for row in rows])
        return pa.FixedSizeListArray.from_arrays(_flat(flat, element), rows[0].size)
    offsets = np.concatenate([[0], np.cumsum([row.size for row in rows])]).astype(np.int32)
    flat = np.concatenate([row.ravel() for row in rows])
    return pa.ListArray.from_arrays(pa.array(offsets), _flat(flat, element))


def _flat(values: np.ndarray, element: pa.DataType) -> pa.Array:
    if values.dtype == object:
        return pa.array(values.tolist(), element)
    return pa.array(values.astype(element.to_pandas_dtype(), copy=False), element)


def empty_values(column: Column) -> pa.Array:
    """The array of a batch without rows."""
    element = ARROW_TYPES[column.kind]
    if column.shape is None:
        return pa.array([], element)
    fixed = -1 not in column.shape
    return pa.array([], pa.list_(element, int(np.prod(column.shape))) if fixed else pa.list_(element))
