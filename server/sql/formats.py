"""Query results as JSON text: full, table, aos, soa, sparse, atom (rest-api.md §6, sql-dialect.md §13)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
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
from server.values.numbers import numbers_to_json
from server.values.paths import Path, format_path, natural_key, parse_path

_PLAIN = {Kind.INTEGER, Kind.UNSIGNED, Kind.STRING}  # JSON as they are


@dataclass(frozen=True)
class _Options:
    headers: bool
    row_names: bool
    row_hashes: bool
    sort_columns: bool


class _Block(NamedTuple):
    """Rows that have the same columns: their names, and by column in natural order its JSON values and timestamp texts.

    All work on a block is done column by column, for Python is slow at what it does cell by cell.
    """

    names: Sequence[str]
    columns: tuple[str, ...]
    values: Sequence[Sequence[Any]]
    times: Sequence[Sequence[Any]]


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
    format = format or "full"
    if format not in _LISTS and format not in _OTHERS:
        raise MldbError(f"Unknown output format '{format}'")
    encode = atom_to_table_json if format == "table" else atom_to_json
    blocks = _blocks(result, encode, format == "full")
    if format in _OTHERS:
        return _dumped(_OTHERS[format](blocks, options))
    # Block by block: Python's garbage collector walks again and again through what lives long.
    return b"[%b]" % b",".join(_dumped(rows)[1:-1] for rows in _LISTS[format](blocks, options) if rows)


def _dumped(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_PASSTHROUGH_DATETIME)


def _blocks(result: QueryResult, encode: Callable[[Atom], Any], timed: bool) -> Iterator[_Block]:
    names = _Names()
    for batch in result.batches():
        columns = _columns(batch.rows, encode, timed, names)
        texts, values, times = zip(*columns, strict=True) if columns else ((), (), ())
        block = _Block(batch.names.to_pylist(), texts, values, times)
        if batch.rows.rest is not None:
            yield from _with_rest(block, cells_of(batch.rows.rest), encode, timed, names)
        elif any(_may_lack(column) for column in batch.rows.type.columns):
            yield from _present(block)
        else:
            yield block


def _may_lack(column: Column) -> bool:
    """Whether there are rows without the column, or without all of its elements."""
    return column.sparse or column.shape is not None


def _present(block: _Block) -> Iterator[_Block]:
    """The rows without the cells that they lack."""
    if not any(_ABSENT in values for values in block.values):
        yield block
        return
    for index, name in enumerate(block.names):
        yield _row(name, _cells(block, index))


def _cells(block: _Block, index: int) -> list[tuple[str, Any, Any]]:
    """The cells that a row has: column, value, timestamp."""
    return [
        (column, values[index], times[index])
        for column, values, times in zip(*block[1:], strict=True)
        if values[index] is not _ABSENT
    ]


def _row(name: str, cells: list[tuple[str, Any, Any]]) -> _Block:
    """One row as a block."""
    columns = tuple(column for column, _, _ in cells)
    return _Block((name,), columns, [(value,) for _, value, _ in cells], [(time,) for _, _, time in cells])


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
        return numbers_to_json(array.to_pylist(), np.asarray(array), encode)
    if kind is Kind.BOOLEAN:
        return [None if value is None else int(value) for value in array.to_pylist()]
    return [encode(atom) for atom in atoms_of(array, kind)]


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


def _with_rest(
    block: _Block, rests: list[list[Any]], encode: Callable[[Atom], Any], timed: bool, names: _Names
) -> Iterator[_Block]:
    """The rows with the cells whose columns nobody knew."""
    for index, name in enumerate(block.names):
        found = _cells(block, index)
        rest = rests[index]
        if len({cell.path for cell in rest}) < len(rest):
            rest = sorted(rest, key=lambda cell: (cell.timestamp, _value_key(cell.value)))
        for cell in rest:
            found.append((names.text(cell.path), encode(cell.value), timestamp_text(cell.timestamp) if timed else None))
        found.sort(key=lambda cell: names.key(cell[0]))
        yield _row(name, found)


def _value_key(value: Atom) -> Any:
    return sort_key(value)


# ── the formats ──────────────────────────────────────────────────────────────────────────────────────────────


def _full(blocks: Iterator[_Block], options: _Options) -> Iterator[list[Any]]:
    del options
    for names, columns, values, times in blocks:
        if not columns:
            yield [{"rowName": name} for name in names]
            continue
        cells = map(zip, map(repeat, columns), values, times)
        yield [{"rowName": name, "columns": row} for name, row in zip(names, zip(*cells, strict=True), strict=True)]


def _extras(names: Sequence[str], options: _Options) -> dict[str, Sequence[Any]]:
    """The columns that the options add, for rows of these names."""
    extras: dict[str, Sequence[Any]] = {}
    if options.row_names:
        extras["_rowName"] = names
    if options.row_hashes:
        extras["_rowHash"] = [f"{hash_path(parse_path(name)):016x}" for name in names]
    return extras


def _table(blocks: Iterator[_Block], options: _Options) -> Iterator[list[Any]]:
    listed = list(blocks)
    order = list(dict.fromkeys(column for block in listed for column in block.columns))
    if options.sort_columns:
        order.sort(key=lambda text: natural_key(parse_path(text)))
    if options.headers:
        yield [[*_extras((), options), *order]]
    places = {column: index for index, column in enumerate(order)}
    for names, columns, values, _ in listed:
        nothing = [None] * len(names)
        lines: list[Sequence[Any]] = [nothing] * len(order)
        for column, own in zip(columns, values, strict=True):
            lines[places[column]] = own  # of several values of a column the last one counts
        yield _lines(names, [*_extras(names, options).values(), *lines])


def _lines(names: Sequence[str], columns: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Columns as rows."""
    return list(zip(*columns, strict=True)) if columns else [()] * len(names)


def _aos(blocks: Iterator[_Block], options: _Options) -> Iterator[list[Any]]:
    keys: dict[str, Any] = {}
    for names, columns, values, _ in blocks:
        members = {**_extras(names, options), **dict(zip(columns, values, strict=True))}
        for text in members:
            if text not in keys:
                keys[text] = _member_key(text)
        order = sorted(members, key=keys.__getitem__)
        yield [dict(zip(order, line, strict=True)) for line in _lines(names, [members[text] for text in order])]


def _member_key(text: str) -> Any:
    return natural_key((text,)) if text in ("_rowName", "_rowHash") else natural_key(parse_path(text))


def _soa(blocks: Iterator[_Block], options: _Options) -> Any:
    columns: dict[str, list[Any]] = {}
    count = 0
    for names, own, values, _ in blocks:
        for column, added in [*_extras(names, options).items(), *zip(own, values, strict=True)]:
            known = columns.setdefault(column, [])
            known.extend([None] * (count - len(known)))
            known[count:] = added
        count += len(names)
    for known in columns.values():
        known.extend([None] * (count - len(known)))
    return {key: columns[key] for key in sorted(columns, key=_member_key)}


def _sparse(blocks: Iterator[_Block], options: _Options) -> Iterator[list[Any]]:
    for names, columns, values, _ in blocks:
        extras = _extras(names, options)
        cells = map(zip, map(repeat, (*extras, *columns)), (*extras.values(), *values))
        yield _lines(names, [list(column) for column in cells])


def _atom(blocks: Iterator[_Block], options: _Options) -> Any:
    del options
    prefix = "Query with atom format returning"
    first = next(blocks, None)
    if first is None:
        raise MldbError(f"{prefix} no rows.".replace("returning", "returned"))
    if len(first.names) > 1 or next(blocks, None) is not None:
        raise MldbError(f"{prefix} multiple rows. Consider using limit.")
    if len(first.values) != 1:
        raise MldbError(f"Query with atom format returned {'multiple' if first.values else 'no'} columns.")
    return first.values[0][0]


_LISTS: dict[str, Callable[[Iterator[_Block], _Options], Iterator[list[Any]]]] = {
    "full": _full,
    "table": _table,
    "aos": _aos,
    "sparse": _sparse,
}
_OTHERS: dict[str, Callable[[Iterator[_Block], _Options], Any]] = {"soa": _soa, "atom": _atom}
