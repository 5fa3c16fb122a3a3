"""Which values the columns of a query's result hold, and how often each of them occurs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from server.declarations import Progress, QueryResult
from server.transfer.results import named_rows
from server.values import compute as pc
from server.values.atoms import Atom, atom_text
from server.values.batches import RowType
from server.values.kinds import Kind
from server.values.paths import Path
from server.values.texts import column_texts

Places = npt.NDArray[np.int64]
_UNMERGED = 1 << 20
_COUNTABLE = {
    *(Kind.BOOLEAN, Kind.INTEGER, Kind.UNSIGNED, Kind.NUMBER),
    *(Kind.STRING, Kind.TIMESTAMP, Kind.BLOB, Kind.PATH),
}


def occurrences(result: QueryResult, progress: Progress) -> list[tuple[Path, Occurring]]:
    """What each column holds, in the order of the columns."""
    return by_column(result, progress) if is_columnar(result.type) else by_cell(result, progress)


@dataclass(frozen=True)
class Occurring:
    """The values of a column and how often each occurs. ``numbers``: the values, where all of them are numbers.

    ``texts`` gives the texts of the values at some places.
    """

    counts: Places
    nulls: int
    numbers: npt.NDArray[np.float64] | None
    texts: Callable[[Places], list[str]]


def is_columnar(type_: RowType) -> bool:
    """Whether a result has columns of atoms of one kind each, and no others."""
    return not type_.open and all(column.shape is None and column.kind in _COUNTABLE for column in type_.columns)


def by_column(result: QueryResult, progress: Progress) -> list[tuple[Path, Occurring]]:
    """What the columns of a columnar result hold."""
    tallies = {column.path: Tally(column.kind) for column in result.type.columns}
    for batch in result.batches(progress):
        progress.check()
        for tally, values in zip(tallies.values(), batch.rows.values, strict=True):
            tally.add(values)
    return [(path, tally.occurring()) for path, tally in tallies.items()]


class Tally:
    """Counts the values of a column, given array by array. Keeps each value once, and at most ``_UNMERGED`` more."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._nulls = 0
        self._parts: list[tuple[pa.Array, pa.Array]] = []
        self._unmerged = 0

    def add(self, array: pa.Array) -> None:
        self._nulls += array.null_count
        values = array.drop_null()
        found = pc.value_counts(pc.add(values, 0.0) if self._kind is Kind.NUMBER else values)  # -0.0 is 0.0
        self._parts.append((found.field("values"), found.field("counts")))
        self._unmerged += len(found)
        if self._unmerged > _UNMERGED:
            self._merge()

    def _merge(self) -> tuple[pa.Array, pa.Array]:
        values, counts = (pa.chunked_array(list(parts)) for parts in zip(*self._parts, strict=True))
        merged = pa.table({"value": values, "count": counts}).group_by("value").aggregate([("count", "sum")])
        self._parts = [(merged["value"].combine_chunks(), merged["count_sum"].combine_chunks())]
        self._unmerged = 0
        return self._parts[0]

    def occurring(self) -> Occurring:
        if not self._parts:
            return Occurring(np.zeros(0, np.int64), self._nulls, None, lambda places: [])
        values, counts = self._merge()
        numbers = values.cast(pa.float64()).to_numpy(zero_copy_only=False) if self._kind.numeric else None
        return Occurring(
            counts.to_numpy(),
            self._nulls,
            numbers,
            lambda places: column_texts(values.take(places), self._kind).to_pylist(),
        )


def by_cell(result: QueryResult, progress: Progress) -> list[tuple[Path, Occurring]]:
    """What the columns of any result hold."""
    counters: dict[Path, Counter[Atom]] = {column.path: Counter() for column in result.type.columns}
    rows = 0
    for _, cells in named_rows(result, progress):
        rows += 1
        for cell in cells:
            if cell.value is not None:
                value = cell.value if cell.value == cell.value else math.nan  # one object for all NaN, or each counts
                counters.setdefault(cell.path, Counter())[value] += 1
    return [(path, counted(counter, rows - counter.total())) for path, counter in counters.items()]


def counted(counter: Counter[Atom], nulls: int) -> Occurring:
    values = list(counter)
    numbers = [value for value in values if isinstance(value, int | float)]
    numeric = np.array(numbers, float) if len(numbers) == len(values) else None
    return Occurring(
        np.array(list(counter.values()), np.int64),
        nulls,
        numeric,
        lambda places: [atom_text(values[at]) for at in places],
    )
