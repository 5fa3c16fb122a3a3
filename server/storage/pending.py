"""Cells that were recorded and are not in DuckDB yet: Python atoms and whole query batches, column by column."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from server.declarations import NamedBatch, Recorded
from server.storage.stores import STORE_TYPES, STORES, Part, Seen, split
from server.values import compute as pc
from server.values.atoms import Atom, Interval, PathValue, Timestamp, collapse
from server.values.batches import Column, one_array
from server.values.cells import any_array
from server.values.kinds import EXACT, Kind
from server.values.paths import Path, format_path, refuse_nul

Numbers = npt.NDArray[np.int32]
Times = npt.NDArray[np.float64]


@dataclass(slots=True)
class Chunk:
    """Cells of one store, as arrays of equal length; ``rows`` and ``columns`` are numbers within the ``Pending``."""

    rows: Numbers
    columns: Numbers
    times: Times
    values: pa.Array


def joined(chunks: Sequence[Chunk]) -> Chunk:
    """Chunks of one store as one, whose values DuckDB takes."""
    values = one_array(pa.chunked_array([chunk.values for chunk in chunks]))
    if len(chunks) == 1:
        return replace(chunks[0], values=values)
    return Chunk(
        np.concatenate([chunk.rows for chunk in chunks]),
        np.concatenate([chunk.columns for chunk in chunks]),
        np.concatenate([chunk.times for chunk in chunks]),
        values,
    )


@dataclass(slots=True)
class _Recorded:
    """Cells of one store as Python lists."""

    rows: list[int] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    values: list[Atom] = field(default_factory=list)


class Pending:
    """Not thread-safe: its dataset holds a lock.

    Rows are numbered as they come, one number per time a row is named; columns once per path.
    """

    def __init__(self, *, nulls: bool = True) -> None:
        """``nulls``: whether a NULL of a query is kept as a cell."""
        self.cells = 0
        self._nulls = nulls
        self.row_count = 0
        self.columns: dict[str, int] = {}
        self.seen: list[int] = []  # Seen flags per column
        self._column_numbers: dict[Path, int] = {}
        self._names: list[str] = []
        self._name_chunks: list[pa.Array] = []
        self._recorded = {store: _Recorded() for store in STORES}
        self._chunks: dict[str, list[Chunk]] = {store: [] for store in STORES}

    def __bool__(self) -> bool:
        return self.row_count > 0

    def add_row(self, path: Path, cells: Iterable[tuple[Path, Atom, float]]) -> None:
        """A recorded row; one without cells still is a row."""
        row = self.row_count
        self.row_count += 1
        name = format_path(path)
        refuse_nul("row", name)
        self._names.append(name)
        for column, value, time in cells:
            number = self._column_numbers.get(column)
            if number is None:
                number = self._column_numbers[column] = self.column_number(format_path(column))
            store, seen, stored = _place(value)
            self.seen[number] |= seen
            target = self._recorded[store]
            target.rows.append(row)
            target.columns.append(number)
            target.times.append(time)
            target.values.append(stored)
            self.cells += 1

    def add_column(self, column: Recorded) -> None:
        path, cells = column
        for row, value, time in cells:
            self.add_row(row, ((path, value, time),))

    def column_number(self, name: str) -> int:
        number = self.columns.get(name)
        if number is None:
            refuse_nul("column", name)
            number = self.columns[name] = len(self.columns)
            self.seen.append(0)
        return number

    @property
    def recorded_only(self) -> bool:
        """Whether all of it was recorded cell by cell and is still in Python lists."""
        return not self._name_chunks and not any(self._chunks.values())

    def recorded(self) -> dict[str, Any]:
        """What was recorded as plain lists, for ``add_recorded`` of another one. Only where ``recorded_only``."""
        cells = {
            store: [found.rows, found.columns, found.times, found.values]
            for store, found in self._recorded.items()
            if found.rows
        }
        return {"rows": self._names, "columns": list(self.columns), "seen": self.seen, "cells": cells}

    def add_recorded(self, recorded: dict[str, Any]) -> None:
        """Rows of another one, as ``recorded`` gave them."""
        start = self.row_count
        self._names.extend(recorded["rows"])
        self.row_count += len(recorded["rows"])
        numbers = [self.column_number(name) for name in recorded["columns"]]
        for number, seen in zip(numbers, recorded["seen"], strict=True):
            self.seen[number] |= seen
        for store, (rows, columns, times, values) in recorded["cells"].items():
            target = self._recorded[store]
            target.rows.extend(start + row for row in rows)
            target.columns.extend(numbers[column] for column in columns)
            target.times.extend(times)
            target.values.extend(values)
            self.cells += len(rows)

    def add_batch(self, batch: NamedBatch) -> None:
        """A batch of query rows: known columns, embeddings and the open rest.

        A NULL is a cell, but in a sparse column, where it says that the row has none.
        """
        rows = batch.rows
        start = self._add_names(batch.names)
        numbers = np.arange(start, start + rows.length, dtype=np.int32)
        for index, column in enumerate(rows.type.columns):
            times = rows.seconds(index)
            values = one_array(rows.values[index])
            if column.shape is None:
                self._add_atoms(format_path(column.path), column.kind, values, numbers, times, nulls=not column.sparse)
            else:
                self._add_embedding(column, values, numbers, times)
        if rows.rest is not None:
            self._add_rest(one_array(rows.rest), numbers)

    def _add_names(self, names: pa.Array | pa.ChunkedArray) -> int:
        self._seal_names()
        start = self.row_count
        given = names.chunks if isinstance(names, pa.ChunkedArray) else [names]
        chunks = [chunk.cast(pa.string()) for chunk in given]
        for chunk in chunks:
            for name in chunk.filter(pc.match_substring(chunk, "\0")).slice(0, 1).to_pylist():
                refuse_nul("row", name)
        self._name_chunks.extend(chunks)
        self.row_count += len(names)
        return start

    def _seal_names(self) -> None:
        if self._names:
            self._name_chunks.append(pa.array(self._names, pa.string()))
            self._names = []

    def _add_atoms(
        self,
        name: str,
        kind: Kind,
        values: pa.Array,
        rows: Numbers,
        times: Times,
        *,
        nulls: bool = True,
    ) -> None:
        for part in split(values, kind):
            if part.seen == Seen.NULL and not (nulls and self._nulls):
                continue
            number = self.column_number(name)
            self.seen[number] |= part.seen
            self._add_part(part, rows, np.full(len(values), number, np.int32), times)

    def _add_part(
        self,
        part: Part,
        rows: Numbers,
        columns: Numbers,
        times: Times,
    ) -> None:
        if part.where is not None:
            rows, columns, times = rows[part.where], columns[part.where], times[part.where]
        self._chunks[part.store].append(Chunk(rows, columns, times, part.values))
        self.cells += len(rows)

    def _add_embedding(self, column: Column, values: pa.Array, rows: Numbers, times: Times) -> None:
        """One cell per element, named by its place; a null embedding is a null under its own name."""
        missing = values.is_null().to_numpy(zero_copy_only=False)
        if missing.any():
            nulls = pa.nulls(int(missing.sum()), pa.float64())
            self._add_atoms(format_path(column.path), Kind.NUMBER, nulls, rows[missing], times[missing])
            values, rows, times = values.drop_null(), rows[~missing], times[~missing]
        lengths = _list_lengths(values)
        numbers = self._element_numbers(column, int(lengths.max(initial=0)))
        places = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        self._add_mixed(
            values.flatten(), column.kind, np.repeat(rows, lengths), numbers[places], np.repeat(times, lengths)
        )

    def _add_mixed(
        self,
        values: pa.Array,
        kind: Kind,
        rows: Numbers,
        columns: Numbers,
        times: Times,
    ) -> None:
        """Cells of many columns at once."""
        for part in split(values, kind):
            if part.seen == Seen.NULL and not self._nulls:
                continue
            for piece in _by_column(part, columns) if part.store == "num" else (part,):
                self._note(piece, columns)
                self._add_part(piece, rows, columns, times)

    def _note(self, part: Part, columns: Numbers) -> None:
        touched = columns if part.where is None else columns[part.where]
        for number in np.flatnonzero(np.bincount(touched)).tolist():
            self.seen[number] |= part.seen

    def _element_numbers(self, column: Column, size: int) -> Numbers:
        """Column numbers of an embedding's first ``size`` elements, row-major."""
        inner = [max(extent, 1) for extent in (column.shape or ())[1:]]
        numbers = []
        for place in range(size):
            index = np.unravel_index(place, (size, *inner))
            numbers.append(self.column_number(format_path((*column.path, *(str(int(at)) for at in index)))))
        return np.array(numbers, np.int32)

    def _add_rest(self, rest: pa.Array, rows: Numbers) -> None:
        lengths = _list_lengths(rest)
        cells = rest.flatten()
        if not len(cells):
            return
        encoded = cells.field("p").dictionary_encode()
        indices = encoded.indices.to_numpy(zero_copy_only=False)
        kept = indices if self._nulls else np.delete(indices, _null_places(cells.field("v")))
        numbers = np.full(len(encoded.dictionary), -1, np.int32)
        for index in np.flatnonzero(np.bincount(kept)).tolist():
            numbers[index] = self.column_number(encoded.dictionary[index].as_py())
        columns = numbers[indices]
        times = cells.field("t").fill_null(-np.inf).to_numpy(zero_copy_only=False)
        self._add_mixed(cells.field("v"), Kind.ANY, np.repeat(rows, lengths), columns, times)

    def row_names(self) -> pa.ChunkedArray:
        """Path texts of rows 0 to ``row_count``."""
        self._seal_names()
        return pa.chunked_array(self._name_chunks, pa.string())

    def column_names(self) -> list[str]:
        return list(self.columns)

    def chunks(self, store: str) -> Sequence[Chunk]:
        """The cells of one value table."""
        recorded = self._recorded[store]
        if recorded.rows:
            values = any_array(recorded.values) if store == "any" else pa.array(recorded.values, STORE_TYPES[store])
            self._chunks[store].append(
                Chunk(
                    np.array(recorded.rows, np.int32),
                    np.array(recorded.columns, np.int32),
                    np.array(recorded.times, np.float64),
                    values,
                )
            )
            self._recorded[store] = _Recorded()
        return self._chunks[store]


# As plain numbers: flags of an enumeration cost more than all else that is done for a cell.
_INTEGER, _NUMBER, _STRING, _UNSIGNED = map(int, (Seen.INTEGER, Seen.NUMBER, Seen.STRING, Seen.UNSIGNED))
_WIDE_INTEGER = int(Seen.INTEGER | Seen.WIDE)
_SEEN_OF = {
    type(None): int(Seen.NULL),
    Timestamp: int(Seen.TIMESTAMP),
    Interval: int(Seen.INTERVAL),
    bytes: int(Seen.BLOB),
    PathValue: int(Seen.PATH),
}


def _place(value: Atom) -> tuple[str, int, Atom]:
    """Store, ``Seen`` flags and stored form of an atom."""
    if isinstance(value, float):
        value = collapse(value)
    if isinstance(value, str):
        return "str", _STRING, value
    if isinstance(value, int):
        if -EXACT <= value <= EXACT:
            return "int", _INTEGER, int(value)
        if -(2**63) <= value < 2**63:
            return "int", _WIDE_INTEGER, value
        return _place_huge(value)
    if isinstance(value, float):
        return "num", _NUMBER, value
    return "any", _SEEN_OF[type(value)], value


def _place_huge(value: int) -> tuple[str, int, Atom]:
    if 0 <= value < 2**64:
        return "any", _UNSIGNED, value
    number = float(value) if abs(value) < 1 << 1023 else float("inf") if value > 0 else float("-inf")
    return "num", _NUMBER, number


def _by_column(part: Part, columns: Numbers) -> Iterator[Part]:
    """Doubles of many columns: those of columns without fractions are stored as integers."""
    numbers = part.values.to_numpy(zero_copy_only=False)
    where = np.arange(len(columns)) if part.where is None else part.where
    fractions = ~((np.abs(numbers) <= EXACT) & (np.floor(numbers) == numbers))
    fractional = np.bincount(columns[where], weights=fractions)[columns[where]] > 0
    if not fractional.all():
        whole = pa.array(numbers[~fractional].astype(np.int64))
        yield Part("int", Seen.INTEGER, whole, where[~fractional])
    if fractional.any():
        yield Part("num", Seen.NUMBER, part.values.filter(pa.array(fractional)), where[fractional])


def _null_places(values: pa.Array) -> npt.NDArray[np.int64]:
    """Where an ``ANY`` array is null."""
    places = [part.where for part in split(values, Kind.ANY) if part.seen == Seen.NULL and part.where is not None]
    return np.concatenate(places) if places else np.array([], np.int64)


def _list_lengths(lists: pa.Array) -> npt.NDArray[np.int64]:
    if pa.types.is_fixed_size_list(lists.type):
        return np.full(len(lists), lists.type.list_size, np.int64)
    lengths = lists.value_lengths().fill_null(0)
    return np.asarray(lengths.to_numpy(zero_copy_only=False), np.int64)
