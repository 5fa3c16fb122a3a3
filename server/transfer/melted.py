"""Rows melted a batch at a time: a row for each cell under ``to_melt`` (entity-types.md §3.7)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from server.declarations import NamedBatch, Progress, QueryResult, Recorded
from server.storage.stores import tagged
from server.transfer.results import is_null, rows_of, sliced
from server.values import compute as pc
from server.values.batches import ANY_ROW, Column, RowBatch, RowType, one_array
from server.values.cells import Cell, Row, cells_array
from server.values.kinds import KIND_OF_TAG, Kind
from server.values.paths import Path, format_path, parse_path

_ROWS_AT_ONCE = 4096
_ODD_NAME = r'^$|["\x00-\x1f]|^\.|\.$|\.\.'  # what may not be the text of its path
_TAGS = {kind: tag for tag, kind in KIND_OF_TAG.items()} | {Kind.BOOLEAN: "i", Kind.NULL: "n"}
Places = npt.NDArray[np.int64]


class MeltedRows:
    """A query's rows melted. ``key`` and ``value`` are the columns for the names and the values of melted cells."""

    type = ANY_ROW  # what columns there are shows with the rows

    def __init__(self, inner: QueryResult, key: Path, value: Path) -> None:
        self._inner = inner
        self._key = key
        self._value = value

    def batches(self, progress: Progress | None = None) -> Iterator[NamedBatch]:
        made = 0
        for batch in self._inner.batches(progress):
            for begin in range(0, batch.rows.length, _ROWS_AT_ONCE):
                melted = melted_batch(sliced(batch, begin, _ROWS_AT_ONCE), self._key, self._value)
                yield melted
                made += melted.rows.length
                if progress is not None:
                    progress.update(made)


def melted_batch(batch: NamedBatch, key: Path, value: Path) -> NamedBatch:
    """The rows that a batch's rows become, in their order and that of the melted columns."""
    columns = batch.rows.type.columns
    fixed = [index for index, column in enumerate(columns) if column.path[:1] == ("to_fix",)]
    melted = [index for index, column in enumerate(columns) if column.path[:1] == ("to_melt",) and column.path[1:]]
    names = [*(_kept_path(columns[index].path) for index in fixed), key, value]
    spelled = any(columns[index].shape is not None for index in (*fixed, *melted))
    if _has_rest(batch.rows) or spelled or len(set(names)) < len(names):
        return _cell_by_cell(batch, key, value)
    return _by_column(batch, fixed, melted, names)


def melt_row(name: str, cells: Row, key: Path, value: Path) -> Iterator[Recorded]:
    """A row for each cell under ``to_melt``, named by the row's name and the cell's column."""
    fixed = [(_kept_path(cell.path), cell.value, cell.timestamp) for cell in cells if cell.path[:1] == ("to_fix",)]
    melted = [cell for cell in cells if cell.path[:1] == ("to_melt",) and len(cell.path) > 1]
    newest = max((cell.timestamp for cell in melted), default=0.0)
    row = parse_path(name)
    for cell in melted:
        column = cell.path[1:]
        yield row + column, [*fixed, (key, format_path(column), newest), (value, cell.value, newest)]


def _kept_path(path: Path) -> Path:
    return path[1:] or path


def _has_rest(rows: RowBatch) -> bool:
    return rows.rest is not None and bool(len(one_array(rows.rest).flatten()))


def _cell_by_cell(batch: NamedBatch, key: Path, value: Path) -> NamedBatch:
    """Melt a batch whose rows hold more than its known columns."""
    names, rows = [], []
    for name, cells in zip(batch.names.to_pylist(), rows_of(batch.rows), strict=True):
        for path, made in melt_row(name, cells, key, value):
            names.append(format_path(path))
            rows.append([Cell(*cell) for cell in made])
    return NamedBatch(pa.array(names, pa.string()), RowBatch(ANY_ROW, len(rows), (), (), cells_array(rows)))


def _by_column(batch: NamedBatch, fixed: list[int], melted: list[int], names: list[Path]) -> NamedBatch:
    rows = batch.rows
    columns, count = rows.type.columns, rows.length
    present = np.ones((len(melted), count), bool)
    for at, index in enumerate(melted):
        if columns[index].sparse:
            present[at] = ~is_null(one_array(rows.values[index]))
    # Row by row, in each the columns in their order.
    row, column = np.divmod(np.flatnonzero(present.T), len(melted) or 1)
    newest = pa.array(_newest(present, [rows.seconds(index) for index in melted])[row])
    keys = pa.array([format_path(columns[index].path[1:]) for index in melted], pa.string()).take(pa.array(column))
    kind, values = _joined([(columns[index].kind, one_array(rows.values[index])) for index in melted])
    made: list[tuple[Column, pa.Array, pa.Array | float]] = []
    for index, name in zip(fixed, names, strict=False):
        time = rows.timestamp(index)
        kept = Column(name, columns[index].kind, sparse=columns[index].sparse)
        taken = one_array(rows.values[index]).take(pa.array(row))
        made.append((kept, taken, time if isinstance(time, float | int) else one_array(time).take(pa.array(row))))
    made.append((Column(names[-2], Kind.STRING), keys, newest))
    made.append((Column(names[-1], kind), values.take(pa.array(column * count + row)), newest))
    made.sort(key=lambda part: _first_row(part[0], part[1]))
    type_ = RowType(tuple(part[0] for part in made), open=True)
    texts = pc.binary_join_element_wise(_canonical(batch.names).take(pa.array(row)), keys, ".")
    return NamedBatch(texts, RowBatch(type_, len(row), [part[1] for part in made], [part[2] for part in made]))


def _newest(present: npt.NDArray[np.bool_], times: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """The newest time of each row's cells, as ``max`` finds it: one that is no date counts only as the first."""
    newest = np.full(present.shape[1], -np.inf)
    found = np.zeros(present.shape[1], bool)
    for there, time in zip(present, times, strict=True):
        newest = np.where(there & (~found | (time > newest)), time, newest)
        found |= there
    return newest


def _joined(parts: list[tuple[Kind, pa.Array]]) -> tuple[Kind, pa.Array]:
    """Values of several columns one after another, and their kind: ANY where the columns' differ."""
    kinds = {kind for kind, _ in parts}
    if not kinds:
        return Kind.STRING, pa.array([], pa.string())
    if len(kinds) == 1:
        return kinds.pop(), pa.concat_arrays([values for _, values in parts])
    return Kind.ANY, pa.concat_arrays([_as_any(kind, values) for kind, values in parts])


def _as_any(kind: Kind, values: pa.Array) -> pa.Array:
    if pa.types.is_union(values.type):
        return values
    return tagged(_TAGS[kind], values if kind is not Kind.BOOLEAN else values.cast(pa.int64()))


def _canonical(names: pa.Array) -> pa.Array:
    """Names as the texts of the paths that they are read as."""
    texts = one_array(names).cast(pa.string())
    if not pc.any(pc.match_substring_regex(texts, _ODD_NAME)).as_py():
        return texts
    return pa.array([format_path(parse_path(text)) for text in texts.to_pylist()], pa.string())


def _first_row(column: Column, values: pa.Array) -> int:
    """Where the first cell of a column is: columns are recorded in the order in which their cells come."""
    if not column.sparse:
        return 0
    there = ~is_null(values)
    return int(there.argmax()) if there.any() else len(there)
