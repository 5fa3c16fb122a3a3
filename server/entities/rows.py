"""Row values between JSON, Python and Arrow: the input and output of function application (rest-api.md §8).

A row read from JSON is a list of ``Field``: a path and an atom, or a path and the numbers of an embedding. Rows of
one *shape* (paths, kinds, dimensions) make one ``RowBatch``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from server.errors import MldbError
from server.values.arrow import pa
from server.values.atoms import Atom, Interval, PathValue, Timestamp, atom_from_json
from server.values.batches import Cell, Column, RowBatch, RowType, iterate_paths, one_array
from server.values.cells import any_array, atoms_of, cells_of
from server.values.kinds import Kind
from server.values.paths import Path, format_path

_TAGGED = frozenset({"ts", "num", "interval", "blob", "path"})


@dataclass(slots=True)
class Field:
    """A leaf of a row read from JSON. ``shape`` is None for an atom; else ``value`` is the flat list of numbers.

    ``empty``: a null that stands for a row without columns.
    """

    path: Path
    kind: Kind
    value: Any
    shape: tuple[int, ...] | None = None
    empty: bool = False


def read_row(value: Any) -> list[Field]:
    """The leaves of a JSON object; ``MldbError`` when it is none."""
    if not isinstance(value, Mapping):
        raise MldbError("the input of a function must be an object: {name: value, …}")
    fields: list[Field] = []
    for name, member in value.items():
        before = len(fields)
        _read_value((name,), member, fields)
        if len(fields) == before:
            fields.append(Field((name,), Kind.NULL, None, empty=True))
    return fields


def _read_value(path: Path, value: Any, fields: list[Field]) -> None:
    if isinstance(value, dict):
        if len(value) == 1 and next(iter(value)) in _TAGGED:
            fields.append(_atom_field(path, atom_from_json(value)))
            return
        for name, member in value.items():
            _read_value((*path, name), member, fields)
    elif isinstance(value, list):
        _read_array(path, value, fields)
    else:
        fields.append(_atom_field(path, atom_from_json(value)))


def _read_array(path: Path, value: list[Any], fields: list[Field]) -> None:
    shape = embedding_shape(value)
    if shape is None:
        for index, item in enumerate(value):
            _read_value((*path, str(index)), item, fields)
        return
    fields.append(Field(path, Kind.NUMBER, np.asarray(value, dtype=np.float64).ravel(), shape))


def embedding_shape(value: Any) -> tuple[int, ...] | None:
    """Dimensions of nested lists of numbers of equal lengths; None for anything else."""
    if not isinstance(value, list) or not value:
        return None
    if all(type(item) in (int, float) for item in value):
        return (len(value),)
    inner = embedding_shape(value[0])
    if inner is None or any(embedding_shape(item) != inner for item in value[1:]):
        return None
    return (len(value), *inner)


def _atom_field(path: Path, atom: Atom) -> Field:
    return Field(path, kind_of(atom), atom)


def kind_of(atom: Atom) -> Kind:
    match atom:
        case None:
            return Kind.NULL
        case int():
            return Kind.INTEGER if -(2**63) <= atom < 2**63 else Kind.UNSIGNED if atom < 2**64 else Kind.NUMBER
        case float():
            return Kind.NUMBER
        case str():
            return Kind.STRING
        case Timestamp():
            return Kind.TIMESTAMP
        case Interval():
            return Kind.INTERVAL
        case bytes():
            return Kind.BLOB
        case PathValue():
            return Kind.PATH


def row_type(fields: Sequence[Field]) -> RowType:
    """The shape of a row."""
    return RowType(tuple(Column(field.path, field.kind, field.shape) for field in fields))


def batch_of(type_: RowType, rows: Sequence[Sequence[Field]], timestamp: float) -> RowBatch:
    """Rows of one shape as a batch; every value carries the same timestamp."""
    values = [_array(column, [row[index].value for row in rows]) for index, column in enumerate(type_.columns)]
    return RowBatch(type_, len(rows), values, [timestamp] * len(values))


def _array(column: Column, values: list[Any]) -> pa.Array:
    from server.values.arrow_types import ARROW_TYPES

    if column.shape is not None:
        flat = np.concatenate(values)
        return pa.FixedSizeListArray.from_arrays(pa.array(flat, pa.float64()), math.prod(column.shape))
    match column.kind:
        case Kind.NULL | Kind.ANY:
            return any_array(values)
        case Kind.TIMESTAMP:
            return pa.array([value.seconds for value in values], pa.float64())
        case Kind.PATH:
            return pa.array([format_path(value.path) for value in values], pa.string())
        case Kind.INTERVAL:
            fields = [{"months": v.months, "days": v.days, "seconds": v.seconds} for v in values]
            return pa.array(fields, ARROW_TYPES[Kind.INTERVAL])
        case Kind.NUMBER:
            return pa.array([float(value) for value in values], pa.float64())
        case _:
            return pa.array(values, ARROW_TYPES[column.kind])


# ── output ───────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Embedding:
    """One embedding value on its way out: numbers row-major, or nested lists of any atoms."""

    shape: tuple[int, ...]
    element: str
    values: list[Any]


Leaf = tuple[Any, float]  # an atom or an Embedding, and its timestamp
_ELEMENTS = {"float": "FLOAT32", "double": "FLOAT64", "string": "UTF8STRING", "binary": "BLOB", "bool": "BOOL"}


def leaves(batch: RowBatch) -> list[list[tuple[Path, Leaf]]]:
    """The leaves of every row."""
    rows: list[list[tuple[Path, Leaf]]] = [[] for _ in range(batch.length)]
    for index, column in enumerate(batch.type.columns):
        times = _times(batch.timestamp(index), batch.length)
        if column.names is not None:
            _add_named(rows, column, batch.values[index], times)
            continue
        values = _column_values(column, batch.values[index])
        for row, value, time in zip(rows, values, times, strict=True):
            if value is not None or not column.sparse:
                row.append((column.path, (value, time)))
    if batch.rest is not None:
        for row, cells in zip(rows, cells_of(batch.rest), strict=True):
            row.extend((cell.path, (cell.value, cell.timestamp)) for cell in cells)
    return rows


def _add_named(rows: list[list[tuple[Path, Leaf]]], column: Column, values: pa.Array, times: list[float]) -> None:
    """The elements of an embedding that have names, as atoms."""
    paths = list(iterate_paths(column))
    for row, numbers, time in zip(rows, values.to_pylist(), times, strict=True):
        row.extend((path, (number, time)) for path, number in zip(paths, numbers or (), strict=False))


def _times(times: pa.Array | float, length: int) -> list[float]:
    if isinstance(times, float | int):
        return [float(times)] * length
    return [-math.inf if time is None else time for time in times.to_pylist()]


def _column_values(column: Column, array: pa.Array) -> list[Any]:
    if column.shape is None:
        return list(atoms_of(array, column.kind))
    array = one_array(array)
    name = str(array.type.value_type)
    element = "ATOM" if pa.types.is_union(array.type.value_type) else _ELEMENTS.get(name, name.upper())
    return [None if flat is None else _embedding(column.shape, element, flat) for flat in array.to_pylist()]


def _embedding(shape: tuple[int, ...], element: str, flat: list[Any]) -> Embedding:
    """``-1`` dimensions are what is left: one of them at most."""
    if any(size < 0 for size in shape):
        known = math.prod(size for size in shape if size >= 0) or 1
        shape = tuple(len(flat) // known if size < 0 else size for size in shape)
    return Embedding(shape, element, flat)


def to_cells(row: Sequence[tuple[Path, Leaf]]) -> list[Cell]:
    """A row's leaves as cells, embeddings spelled out."""
    cells: list[Cell] = []
    for path, (value, time) in row:
        if isinstance(value, Embedding):
            indexes = np.ndindex(*value.shape)
            spelled = ((*path, *map(str, index)) for index in indexes)
            cells.extend(Cell(where, item, time) for where, item in zip(spelled, value.values, strict=True))
        else:
            cells.append(Cell(path, value, time))
    return cells
