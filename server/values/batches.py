"""Batches of rows: what functions take and give, column by column, as Arrow arrays.

A row value is its *known* columns plus an *open* rest. Known columns have a path, a kind and one array each; the
rest is one list of cells ``{p: path text, v: atom (ANY), t: seconds}`` per row. Both may be there at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from server.values.arrow import pa
from server.values.atoms import NEVER
from server.values.cells import Cell as Cell
from server.values.cells import Row as Row
from server.values.cells import narrow_cells
from server.values.kinds import Kind
from server.values.paths import Path, element_paths

Timestamps: TypeAlias = "pa.Array | float"  # seconds for each row, or for all


@dataclass(frozen=True, slots=True)
class Column:
    """A known column: ``shape`` is None for an atom, else the dimensions of an embedding (-1: varies by row).

    An embedding is one column: its elements' paths (``path.0``, ``path.0.1``, …) are spelled out only on output;
    ``names`` lists them (below ``path``) where they are not numbers. NULL in a ``sparse`` column means that the row
    lacks the column, or has NULL there among the open rest.
    """

    path: Path
    kind: Kind
    shape: tuple[int, ...] | None = None
    sparse: bool = False
    names: tuple[Path, ...] | None = None


@dataclass(frozen=True, slots=True)
class RowType:
    """What is known of a row value before any row is seen. ``open``: rows may hold further columns.

    ``opened`` tells below which prefixes these may be, for those who describe the type or check names against it, and
    ``rows`` where a row is for certain, be it empty.
    """

    columns: tuple[Column, ...] = ()
    open: bool = False
    opened: tuple[Path, ...] = field(default=((),), compare=False)
    rows: tuple[Path, ...] = field(default=(), compare=False)

    def column(self, path: Path) -> Column | None:
        return next((column for column in self.columns if column.path == path), None)

    @property
    def top(self) -> frozenset[str] | None:
        """The first elements that paths have in rows of this type; None when they may have any."""
        opened = self.opened if self.open else ()
        if () in opened:
            return None
        return frozenset(path[0] for path in (*(column.path for column in self.columns), *opened) if path)

    def under(self, prefix: Path) -> RowType:
        """The columns below a prefix, the prefix cut off (``features.x`` under ``features`` is ``x``)."""
        size = len(prefix)
        below = (c for c in self.columns if c.path[:size] == prefix)
        return RowType(tuple(replace(c, path=c.path[size:]) for c in below), self.open)


def rows_of_any_columns(*names: str, columns: tuple[Column, ...] = ()) -> RowType:
    """What a function gives that has a row of any columns under each of the names, beside known ``columns``."""
    prefixes = tuple((name,) for name in names)
    return RowType(columns, open=True, opened=prefixes, rows=prefixes)


# Of functions whose input or output shows only when they run.
ANY_ROW: Final = RowType((), open=True)


class ListedArrays(Sequence[Any]):
    """The columns of a few rows, which came as Python lists: arrays where somebody asks for these."""

    def __init__(self, lists: Sequence[Sequence[Any]], types: Sequence[pa.DataType]) -> None:
        self.lists = lists
        self._types = types

    def __len__(self) -> int:
        return len(self._types)

    @overload
    def __getitem__(self, index: int) -> pa.Array: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[pa.Array]: ...
    def __getitem__(self, index: int | slice) -> pa.Array | Sequence[pa.Array]:
        if isinstance(index, slice):
            return ListedArrays(self.lists[index], self._types[index])
        return pa.array(self.lists[index], self._types[index])

    @property
    def nbytes(self) -> int:
        """About as many bytes as the arrays would have."""
        return sum(
            8 * len(one) if pa.types.is_primitive(type_) else sum(8 + len(value or "") for value in one)
            for one, type_ in zip(self.lists, self._types, strict=False)
        )


@dataclass(frozen=True)
class RowBatch:
    """``length`` rows of a ``RowType``.

    ``values[i]`` is the Arrow array of ``type.columns[i]``: the Arrow image of the kind's DuckDB type, an
    embedding a (fixed size) list array with its numbers flattened row-major. ``timestamps[i]`` is an array of
    float64 seconds, or one float for all rows. ``rest`` is a list array of cells, or None.
    """

    type: RowType
    length: int
    values: Sequence[pa.Array]
    timestamps: Sequence[Timestamps] = ()
    rest: pa.Array | None = None

    def listed(self, index: int) -> Sequence[Any] | None:
        """The values of a column as Python objects, if that is what they are."""
        return self.values.lists[index] if isinstance(self.values, ListedArrays) else None

    def timestamp(self, index: int) -> Timestamps:
        return self.timestamps[index] if index < len(self.timestamps) else NEVER

    def times(self, index: int) -> pa.Array:
        """The timestamps of a column, one for each row."""
        times = self.timestamp(index)
        return pa.array(np.full(self.length, float(times))) if isinstance(times, float | int) else one_array(times)

    def seconds(self, index: int) -> npt.NDArray[np.float64]:
        """As ``times``, as numbers; that of what is missing is -Inf."""
        return np.asarray(self.times(index).fill_null(NEVER).to_numpy(zero_copy_only=False), np.float64)

    def under(self, prefix: Path) -> RowBatch:
        """The sub-rows below a prefix, as ``RowType.under``; the rest is narrowed likewise."""
        chosen = [i for i, column in enumerate(self.type.columns) if column.path[: len(prefix)] == prefix]
        rest = None if self.rest is None else narrow_cells(self.rest, prefix)
        return RowBatch(
            self.type.under(prefix),
            self.length,
            [self.values[i] for i in chosen],
            [self.timestamp(i) for i in chosen],
            rest,
        )


def one_array(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One array that DuckDB takes, of an array, a slice of one, or chunks."""
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks == 1 else array.combine_chunks()
    sliced = array.offset and (pa.types.is_union(array.type) or pa.types.is_struct(array.type))  # which it refuses
    return pa.concat_arrays([array]) if sliced else array


def newest(times: Sequence[Timestamps]) -> Timestamps:
    """Row by row the latest of several timestamps; "not a date" where one of them is that."""
    latest: Any = NEVER
    for time in times:
        values = time if isinstance(time, float) else np.asarray(time.fill_null(NEVER))
        latest = np.maximum(latest, values)
    return float(latest) if np.ndim(latest) == 0 else pa.array(latest, pa.float64())


def columns_by_path(type_: RowType) -> Mapping[Path, int]:
    """Index of each known column."""
    return {column.path: index for index, column in enumerate(type_.columns)}


def iterate_paths(column: Column) -> Iterator[Path]:
    """The paths that a known column has when spelled out: itself, or one for each element of an embedding."""
    if column.shape is None:
        yield column.path
        return
    names = column.names if column.names is not None else element_paths(column.shape)
    yield from ((*column.path, *name) for name in names)
