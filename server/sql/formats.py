"""Query results as JSON text: full, table, aos, soa, sparse, atom (rest-api.md §6, sql-dialect.md §13)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa

from server.declarations import QueryResult
from server.errors import MldbError
from server.sql.functions.openaggregates import sort_key
from server.values.atoms import Atom, atom_to_json, atom_to_table_json, timestamp_text
from server.values.batches import Column, RowBatch, iterate_paths
from server.values.cells import atoms_of, cells_of
from server.values.cityhash import hash_path
from server.values.kinds import Kind
from server.values.paths import Path, format_path, natural_key, parse_path

_ORDERS_KEPT = 256
_PLAIN = {Kind.INTEGER, Kind.UNSIGNED, Kind.STRING}  # JSON as they are


@dataclass(frozen=True)
class _Options:
    headers: bool
    row_names: bool
    row_hashes: bool
    sort_columns: bool


class _Row(NamedTuple):
    """A row: its name, and its cells in natural column order: column names, JSON values, timestamp texts.

    Rows with the same columns mostly share one tuple of names: what depends on names only is done once for it.
    """

    name: str
    columns: tuple[str, ...]
    values: Sequence[Any]
    times: Sequence[Any]


def render(
    result: QueryResult,
    format: str = "full",
    *,
    headers: bool = True,
    row_names: bool = True,
    row_hashes: bool = False,
    sort_columns: bool = False,
) -> bytes:
    """Run a query and give its rows in a format. ``full`` needs a result bound with timestamps."""
    options = _Options(headers, row_names, row_hashes, sort_columns)
    writer = _WRITERS.get(format or "full")
    if writer is None:
        raise MldbError(f"Unknown output format '{format}'")
    encode = atom_to_table_json if format == "table" else atom_to_json
    return orjson.dumps(
        writer(_rows(result, encode, format in ("full", "")), options), option=orjson.OPT_PASSTHROUGH_DATETIME
    )


def _rows(result: QueryResult, encode: Callable[[Atom], Any], timed: bool) -> Iterator[_Row]:
    names = _Names()
    for batch in result.batches():
        columns = _columns(batch.rows, encode, timed, names)
        rest = cells_of(batch.rows.rest) if batch.rows.rest is not None else None
        texts = tuple(text for text, _, _ in columns)
        length = batch.rows.length
        values: Iterable[tuple[Any, ...]] = zip(*(values for _, values, _ in columns), strict=True)
        times: Iterable[tuple[Any, ...]] = zip(*(times for _, _, times in columns), strict=True)
        if not columns:
            values = times = [()] * length
        whole = not any(column.sparse or column.shape is not None for column in batch.rows.type.columns)
        for index, row in enumerate(map(_Row, batch.names.to_pylist(), repeat(texts), values, times)):
            if not whole:
                row = _present(row)
            if rest is not None and rest[index]:
                row = _with_rest(row, rest[index], encode, timed, names)
            yield row


def _present(row: _Row) -> _Row:
    """The row without the cells that it lacks."""
    if _ABSENT not in row.values:
        return row
    cells = [cell for cell in zip(*row[1:], strict=True) if cell[1] is not _ABSENT]
    return _row(row.name, cells)


def _row(name: str, cells: list[tuple[str, Any, Any]]) -> _Row:
    columns, values, times = zip(*cells, strict=True) if cells else ((), (), ())
    return _Row(name, columns, values, times)


_ABSENT = object()


class _Names:
    """Column names seen, with their sort keys."""

    def __init__(self) -> None:
        self._keys: dict[str, Any] = {}
        self._texts: dict[Path, str] = {}

    def text(self, path: Path) -> str:
        text = self._texts.get(path)
        if text is None:
            text = self._texts[path] = format_path(path)
            self._keys[text] = natural_key(path)
        return text

    def key(self, text: str) -> Any:
        key = self._keys.get(text)
        if key is None:
            key = self._keys[text] = natural_key(parse_path(text))
        return key


def _columns(
    rows: RowBatch, encode: Callable[[Atom], Any], timed: bool, names: _Names
) -> list[tuple[str, list[Any], list[Any]]]:
    """The known columns of a batch in natural order: name, encoded values, timestamp texts."""
    found: list[tuple[str, list[Any], list[Any]]] = []
    for index, column in enumerate(rows.type.columns):
        times = _times(rows.timestamp(index), rows.length) if timed else [None] * rows.length
        if column.shape is not None:
            found.extend(_elements(column, rows.values[index], encode, times, names))
            continue
        values = _encoded(rows.values[index], column.kind, encode)
        if column.sparse:
            values = [_ABSENT if value is None else value for value in values]
        found.append((names.text(column.path), values, times))
    found.sort(key=lambda item: names.key(item[0]))
    return found


def _encoded(array: pa.Array, kind: Kind, encode: Callable[[Atom], Any]) -> list[Any]:
    if kind in _PLAIN:
        return list(array.to_pylist())
    if kind is Kind.NUMBER:
        return _numbers(array, encode)
    if kind is Kind.BOOLEAN:
        return [None if value is None else int(value) for value in array.to_pylist()]
    return [encode(atom) for atom in atoms_of(array, kind)]


def _numbers(array: pa.Array, encode: Callable[[Atom], Any]) -> list[Any]:
    """Fractions are JSON as they are; whole numbers, infinities and NaN are not."""
    values: list[Any] = array.to_pylist()
    numbers = np.asarray(array)
    for index in np.flatnonzero(~np.isfinite(numbers) | (np.trunc(numbers) == numbers)).tolist():
        if values[index] is not None:
            values[index] = encode(values[index])
    return values


def _times(times: Any, length: int) -> list[str]:
    if isinstance(times, float):
        return [timestamp_text(times)] * length
    encoded = times.dictionary_encode(null_encoding="encode")
    texts = [timestamp_text(-math.inf if seconds is None else seconds) for seconds in encoded.dictionary.to_pylist()]
    if len(texts) == 1:
        return texts * length
    found: list[str] = np.array(texts, dtype=object)[np.asarray(encoded.indices)].tolist()
    return found


def _elements(
    column: Column, array: pa.Array, encode: Callable[[Atom], Any], times: list[Any], names: _Names
) -> Iterator[tuple[str, list[Any], list[Any]]]:
    """An embedding spelled out, one column per element."""
    flat = _encoded(array.flatten(), column.kind, encode)
    lengths = [length or 0 for length in array.value_lengths().to_pylist()] if not _fixed(array) else None
    if lengths is None:
        size = array.type.list_size
        lengths = [size if valid else 0 for valid in array.is_valid().to_pylist()]
        flat = _encoded(array.flatten(), column.kind, encode)
    starts, at = [], 0
    for length in lengths:
        starts.append(at)
        at += length
    variable = column.shape is not None and -1 in column.shape and column.names is None
    paths = (
        [(*column.path, str(i)) for i in range(max(lengths, default=0))] if variable else list(iterate_paths(column))
    )
    for position, path in enumerate(paths):
        values = [
            flat[start + position] if position < length else _ABSENT
            for start, length in zip(starts, lengths, strict=True)
        ]
        yield names.text(path), values, times


def _fixed(array: pa.Array) -> bool:
    return bool(pa.types.is_fixed_size_list(array.type))


def _with_rest(row: _Row, cells: list[Any], encode: Callable[[Atom], Any], timed: bool, names: _Names) -> _Row:
    if len({cell.path for cell in cells}) < len(cells):
        cells = sorted(cells, key=lambda cell: (cell.timestamp, _value_key(cell.value)))
    found: list[tuple[str, Any, Any]] = list(zip(*row[1:], strict=True))
    for cell in cells:
        found.append((names.text(cell.path), encode(cell.value), timestamp_text(cell.timestamp) if timed else None))
    found.sort(key=lambda cell: names.key(cell[0]))
    return _row(row.name, found)


def _value_key(value: Atom) -> Any:
    return sort_key(value)


# ── the formats ──────────────────────────────────────────────────────────────────────────────────────────────


def _full(rows: Iterator[_Row], options: _Options) -> Any:
    del options
    return [
        {"rowName": name, "columns": list(zip(columns, values, times, strict=True))} if columns else {"rowName": name}
        for name, columns, values, times in rows
    ]


def _extras(name: str, options: _Options) -> list[tuple[str, Any]]:
    extras: list[tuple[str, Any]] = []
    if options.row_names:
        extras.append(("_rowName", name))
    if options.row_hashes:
        extras.append(("_rowHash", f"{hash_path(parse_path(name)):016x}"))
    return extras


def _table(rows: Iterator[_Row], options: _Options) -> Any:
    places: dict[str, int] = {}
    listed: list[tuple[list[Any], tuple[int, ...], Sequence[Any]]] = []
    known: tuple[str, ...] = ()
    indexes: tuple[int, ...] = ()
    for name, columns, values, _ in rows:
        if columns is not known:
            known = columns
            indexes = tuple(places.setdefault(column, len(places)) for column in columns)
        listed.append(([value for _, value in _extras(name, options)], indexes, values))
    order = list(places)
    if options.sort_columns:
        order.sort(key=lambda text: natural_key(parse_path(text)))
    target = [0] * len(places)
    for index, column in enumerate(order):
        target[places[column]] = index
    table = [[*extras, *_placed(indexes, values, target)] for extras, indexes, values in listed]
    if options.headers:
        table.insert(0, [*(key for key, _ in _extras("", options)), *order])
    return table


def _placed(indexes: tuple[int, ...], values: Sequence[Any], target: list[int]) -> Sequence[Any]:
    """The values at their places in a line of the table. Of several values of a column the last one counts."""
    line: list[Any] = [None] * len(target)
    for index, value in zip(indexes, values, strict=True):
        line[target[index]] = value
    return line


def _aos(rows: Iterator[_Row], options: _Options) -> Any:
    objects = []
    orders: dict[tuple[str, ...], list[str]] = {}  # rows mostly have the same members
    for name, columns, values, _ in rows:
        members = {**dict(_extras(name, options)), **dict(zip(columns, values, strict=True))}
        names = tuple(members)
        order = orders.get(names)
        if order is None:
            order = sorted(names, key=_member_key)
            if len(orders) < _ORDERS_KEPT:
                orders[names] = order
        objects.append({key: members[key] for key in order})
    return objects


def _member_key(text: str) -> Any:
    return natural_key((text,)) if text in ("_rowName", "_rowHash") else natural_key(parse_path(text))


def _soa(rows: Iterator[_Row], options: _Options) -> Any:
    columns: dict[str, list[Any]] = {}
    count = 0
    for name, own, cells, _ in rows:
        for column, value in [*_extras(name, options), *zip(own, cells, strict=True)]:
            values = columns.setdefault(column, [])
            if len(values) > count:
                values[count] = value
                continue
            values.extend([None] * (count - len(values)))
            values.append(value)
        count += 1
    for values in columns.values():
        values.extend([None] * (count - len(values)))
    return {key: columns[key] for key in sorted(columns, key=_member_key)}


def _sparse(rows: Iterator[_Row], options: _Options) -> Any:
    return [[*_extras(name, options), *zip(columns, values, strict=True)] for name, columns, values, _ in rows]


def _atom(rows: Iterator[_Row], options: _Options) -> Any:
    del options
    prefix = "Query with atom format returning"
    first = next(rows, None)
    if first is None:
        raise MldbError(f"{prefix} no rows.".replace("returning", "returned"))
    if next(rows, None) is not None:
        raise MldbError(f"{prefix} multiple rows. Consider using limit.")
    if len(first.values) != 1:
        raise MldbError(f"Query with atom format returned {'multiple' if first.values else 'no'} columns.")
    return first.values[0]


_WRITERS: dict[str, Callable[[Iterator[_Row], _Options], Any]] = {
    "full": _full,
    "table": _table,
    "aos": _aos,
    "soa": _soa,
    "sparse": _sparse,
    "atom": _atom,
}
