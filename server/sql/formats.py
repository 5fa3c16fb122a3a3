"""Query results as JSON text: full, table, aos, soa, sparse, atom (rest-api.md §6, sql-dialect.md §13)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

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


# One row: its name, and its cells as (column name, JSON value, timestamp text) in natural column order.
_Row = tuple[str, list[tuple[str, Any, Any]]]


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
        for index, name in enumerate(batch.names.to_pylist()):
            row = [
                (text, values[index], times[index]) for text, values, times in columns if values[index] is not _ABSENT
            ]
            if rest is not None and rest[index]:
                row = _with_rest(row, rest[index], encode, timed, names)
            yield name, row


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
    known: dict[Any, str] = {}
    texts = []
    for seconds in times.to_pylist():
        text = known.get(seconds)
        if text is None:
            text = known[seconds] = timestamp_text(-math.inf if seconds is None else seconds)
        texts.append(text)
    return texts


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


def _with_rest(
    row: list[Any], cells: list[Any], encode: Callable[[Atom], Any], timed: bool, names: _Names
) -> list[Any]:
    if len({cell.path for cell in cells}) < len(cells):
        cells = sorted(cells, key=lambda cell: (cell.timestamp, _value_key(cell.value)))
    for cell in cells:
        row.append((names.text(cell.path), encode(cell.value), timestamp_text(cell.timestamp) if timed else None))
    row.sort(key=lambda cell: names.key(cell[0]))
    return row


def _value_key(value: Atom) -> Any:
    return sort_key(value)


# ── the formats ──────────────────────────────────────────────────────────────────────────────────────────────


def _full(rows: Iterator[_Row], options: _Options) -> Any:
    del options
    return [{"rowName": name, "columns": cells} if cells else {"rowName": name} for name, cells in rows]


def _extras(name: str, options: _Options) -> list[tuple[str, Any]]:
    extras: list[tuple[str, Any]] = []
    if options.row_names:
        extras.append(("_rowName", name))
    if options.row_hashes:
        extras.append(("_rowHash", f"{hash_path(parse_path(name)):016x}"))
    return extras


def _table(rows: Iterator[_Row], options: _Options) -> Any:
    places: dict[str, int] = {}
    listed: list[tuple[list[Any], dict[int, Any]]] = []
    for name, cells in rows:
        values = {places.setdefault(column, len(places)): value for column, value, _ in cells}
        listed.append(([value for _, value in _extras(name, options)], values))
    order = list(places)
    if options.sort_columns:
        order.sort(key=lambda text: natural_key(parse_path(text)))
    indexes = [places[column] for column in order]
    table = [[*extras, *(values.get(index) for index in indexes)] for extras, values in listed]
    if options.headers:
        table.insert(0, [*(key for key, _ in _extras("", options)), *order])
    return table


def _aos(rows: Iterator[_Row], options: _Options) -> Any:
    objects = []
    orders: dict[tuple[str, ...], list[str]] = {}  # rows mostly have the same members
    for name, cells in rows:
        members = {**dict(_extras(name, options)), **{column: value for column, value, _ in cells}}
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
    for name, cells in rows:
        for column, value in [*_extras(name, options), *((column, value) for column, value, _ in cells)]:
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
    return [
        [*([key, value] for key, value in _extras(name, options)), *([column, value] for column, value, _ in cells)]
        for name, cells in rows
    ]


def _atom(rows: Iterator[_Row], options: _Options) -> Any:
    del options
    prefix = "Query with atom format returning"
    first = next(rows, None)
    if first is None:
        raise MldbError(f"{prefix} no rows.".replace("returning", "returned"))
    if next(rows, None) is not None:
        raise MldbError(f"{prefix} multiple rows. Consider using limit.")
    _, cells = first
    if len(cells) != 1:
        raise MldbError(f"Query with atom format returned {'multiple' if cells else 'no'} columns.")
    return cells[0][1]


_WRITERS: dict[str, Callable[[Iterator[_Row], _Options], Any]] = {
    "full": _full,
    "table": _table,
    "aos": _aos,
    "soa": _soa,
    "sparse": _sparse,
    "atom": _atom,
}
