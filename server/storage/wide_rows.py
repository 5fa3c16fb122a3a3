"""Recorded cells turned into wide columns: one typed Arrow array per column, one entry per row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from server.storage.pending import Chunk, Pending, joined
from server.storage.stores import STORES, Seen, kind_of
from server.values.arrow_types import ANY_MEMBERS
from server.values.cells import type_codes
from server.values.kinds import EXACT, TAGS, Kind

_TAG_OF_KIND = {
    Kind.UNSIGNED: "u",
    Kind.TIMESTAMP: "t",
    Kind.INTERVAL: "v",
    Kind.BLOB: "b",
    Kind.PATH: "p",
}
_STORE_OF_KIND = {Kind.INTEGER: "int", Kind.STRING: "str"}
Integers = npt.NDArray[np.int64]


class WideRows:
    """The cells of a ``Pending`` (each row named once) by column. The last value of a cell wins."""

    def __init__(self, pending: Pending) -> None:
        self._pending = pending
        self._count = pending.row_count
        self._stores = {store: _Sorted(joined(pending.chunks(store))) for store in STORES if pending.chunks(store)}

    def timestamps(self) -> npt.NDArray[np.float64]:
        """The newest timestamp of each row, -Inf for a row without cells."""
        newest = np.full(self._count, -np.inf)
        for store in self._stores.values():
            np.fmax.at(newest, store.chunk.rows, store.chunk.times)
        return newest

    def column(self, number: int) -> tuple[Kind, pa.Array]:
        """Kind and values of a column by its number in the ``Pending``; null where a row lacks it or holds NULL."""
        seen = Seen(self._pending.seen[number])
        kind = kind_of(seen)
        if kind in _STORE_OF_KIND:
            return kind, self._scatter(_STORE_OF_KIND[kind], number)
        if kind is Kind.NUMBER:
            return kind, self._numbers(number)
        if kind in _TAG_OF_KIND:
            return kind, self._any(number).field(TAGS.index(_TAG_OF_KIND[kind]))
        return kind, self._any(number)

    def _cells(self, store: str, number: int) -> tuple[Integers, pa.Array] | None:
        found = self._stores.get(store)
        return found.column(number) if found is not None else None

    def _scatter(self, store: str, number: int) -> pa.Array:
        cells = self._cells(store, number)
        assert cells is not None
        rows, values = cells
        return _spread(rows, values, self._count)

    def _numbers(self, number: int) -> pa.Array:
        numbers = np.zeros(self._count)
        missing = np.ones(self._count, bool)
        for store in ("int", "num"):
            cells = self._cells(store, number)
            if cells is not None:
                numbers[cells[0]] = cells[1].to_numpy(zero_copy_only=False)
                missing[cells[0]] = False
        return pa.array(numbers, mask=missing)

    def _any(self, number: int) -> pa.Array:
        """The values as ``ANY``; the tag of a missing one is the first."""
        codes = np.zeros(self._count, np.int8)
        places = {tag: np.full(self._count, -1, np.int64) for tag in TAGS}
        sources: dict[str, list[pa.Array]] = {tag: [] for tag in TAGS}
        for store in STORES:
            cells = self._cells(store, number)
            if cells is None:
                continue
            for tag, rows, values in _tagged_parts(store, *cells):
                at = sum(map(len, sources[tag]))
                codes[rows] = TAGS.index(tag)
                places[tag][rows] = np.arange(at, at + len(rows))
                sources[tag].append(values)
        children = [_child(tag, sources[tag], places[tag], codes) for tag in TAGS]
        return pa.UnionArray.from_sparse(pa.array(codes), children, field_names=list(TAGS))


class _Sorted:
    """The cells of one store, sorted by column so that each column is a slice."""

    def __init__(self, chunk: Chunk) -> None:
        self.chunk = chunk
        self._order = np.argsort(chunk.columns, kind="stable")
        self._columns = chunk.columns[self._order]

    def column(self, number: int) -> tuple[Integers, pa.Array] | None:
        start, end = np.searchsorted(self._columns, [number, number + 1])
        if start == end:
            return None
        order = self._order[start:end]
        return self.chunk.rows[order].astype(np.int64), self.chunk.values.take(pa.array(order))


def _spread(rows: Integers, values: pa.Array, count: int) -> pa.Array:
    """Values at their rows, null elsewhere."""
    places = np.full(count, -1, np.int64)
    places[rows] = np.arange(len(rows))
    return values.take(pa.array(places, mask=places < 0))


def _child(tag: str, sources: list[pa.Array], places: Integers, codes: npt.NDArray[np.int8]) -> pa.Array:
    type_ = ANY_MEMBERS[TAGS.index(tag)].type
    if not sources:
        return pa.nulls(len(places), type_)
    hidden = (places < 0) | (codes != TAGS.index(tag))
    return pa.concat_arrays(sources).cast(type_).take(pa.array(places, mask=hidden))


def _tagged_parts(store: str, rows: Integers, values: pa.Array) -> list[tuple[str, Integers, pa.Array]]:
    """Cells of a store by the tag they have in ``ANY``."""
    if store == "str":
        return [("s", rows, values)]
    if store == "num":
        return [("n", rows, values)]
    if store == "int":
        numbers = values.to_numpy(zero_copy_only=False)
        small = np.abs(numbers) <= EXACT
        small &= numbers != -(2**63)
        return [
            ("n", rows[small], pa.array(numbers[small].astype(np.float64))),
            ("i", rows[~small], pa.array(numbers[~small])),
        ]
    codes = type_codes(values)
    parts = []
    for code in np.unique(codes).tolist():
        chosen = np.flatnonzero(codes == code)
        parts.append((TAGS[code], rows[chosen], values.field(code).take(pa.array(chosen))))
    return parts
