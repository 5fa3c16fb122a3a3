"""Query results as JSON text: full, table, aos, soa, sparse, atom (rest-api.md §6, sql-dialect.md §13)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, compress, repeat
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa

from server.declarations import QueryResult
from server.errors import MldbError
from server.values import compute as pc
from server.values.atoms import Atom, atom_to_json, atom_to_table_json, number_text, sort_key, timestamp_text
from server.values.batches import Column, RowBatch, iterate_paths
from server.values.cells import atoms_of, type_codes
from server.values.cityhash import hash_path
from server.values.kinds import KIND_OF_TAG, TAGS, Kind
from server.values.natural import natural_order
from server.values.numbers import numbers_to_json
from server.values.paths import Path, format_path, natural_key, natural_key_of, parse_path

_PLAIN = {Kind.INTEGER, Kind.UNSIGNED, Kind.STRING}  # JSON as they are
_MANY = 1000  # so many names are sorted sooner by Arrow than by keys of their own


@dataclass(frozen=True)
class _Options:
    headers: bool
    row_names: bool
    row_hashes: bool
    sort_columns: bool


class _Block(NamedTuple):
    """Rows that have the same columns: the rows' names, and by column in natural order JSON values and timestamp texts.

    All work on a block is done column by column, for Python is slow at what it does cell by cell.
    """

    names: Sequence[str]
    columns: Sequence[str]
    values: Sequence[Sequence[Any]]
    times: Sequence[Sequence[Any]]

    def lines(self) -> Sequence[Sequence[Any]]:
        """The values of each row."""
        return list(zip(*self.values, strict=True)) if self.columns else [()] * len(self.names)

    def pairs(self) -> Sequence[Sequence[Any]]:
        """Column and value of each cell, by row."""
        return list(zip(*map(zip, map(repeat, self.columns), self.values), strict=True))

    def cells(self) -> Iterable[Sequence[Any]]:
        """Column, value and timestamp of each cell, by row."""
        return zip(*map(zip, map(repeat, self.columns), self.values, self.times), strict=True)

    def with_before(self, columns: Mapping[str, Sequence[Any]]) -> _Block:
        """The block with further columns before its own, for formats that show no timestamps."""
        return _Block(self.names, (*columns, *self.columns), (*columns.values(), *self.values), ())


class _Row(NamedTuple):
    """One row, which may have many columns. It does what a block does."""

    name: str
    columns: Sequence[str]
    line: Sequence[Any]
    when: Sequence[Any]

    @property
    def names(self) -> Sequence[str]:
        return (self.name,)

    @property
    def values(self) -> Sequence[Sequence[Any]]:
        return [(value,) for value in self.line]

    def lines(self) -> Sequence[Sequence[Any]]:
        return (self.line,)

    def pairs(self) -> Sequence[Sequence[Any]]:
        return (list(zip(self.columns, self.line, strict=True)),)

    def cells(self) -> Iterable[Sequence[Any]]:
        return (list(zip(self.columns, self.line, self.when, strict=True)),)

    def taken(self, places: Sequence[int]) -> _Row:
        """The cells at these places."""
        columns, line, when = (
            [part[place] for place in places] if part else part for part in (self.columns, self.line, self.when)
        )
        return _Row(self.name, columns, line, when)

    def with_before(self, columns: Mapping[str, Sequence[Any]]) -> _Row:
        return _Row(self.name, (*columns, *self.columns), (*(value for (value,) in columns.values()), *self.line), ())


_Rows = _Block | _Row


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
    if format not in _LISTS and format not in _OTHERS:
        raise MldbError(f"Unknown output format '{format}'")
    encode = _with_our_digits(atom_to_table_json if format == "table" else atom_to_json)
    blocks = _blocks(result, encode, format == "full")
    if format in _OTHERS:
        return _dumped(_OTHERS[format](blocks, options))
    # Block by block: Python's garbage collector walks again and again through what lives long.
    return b"[%b]" % b",".join(_dumped(rows)[1:-1] for rows in _LISTS[format](blocks, options) if rows)


def _with_our_digits(encode: Callable[[Atom], Any]) -> Callable[[Atom], Any]:
    """The encoding of an atom, where the floats that the library would write in another way are texts."""

    def encoded(atom: Atom) -> Any:
        found = encode(atom)
        return orjson.Fragment(number_text(found)) if type(found) is float else found

    return encoded


def _dumped(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_PASSTHROUGH_DATETIME)


def _blocks(result: QueryResult, encode: Callable[[Atom], Any], timed: bool) -> Iterator[_Rows]:
    names = _Names()
    for batch in result.batches():
        columns = _columns(batch.rows, encode, timed, names)
        texts, values, times = zip(*columns, strict=True) if columns else ((), (), ())
        block = _Block(batch.names.to_pylist(), texts, values, times)
        if batch.rows.rest is not None:
            yield from _with_rest(block, batch.rows.rest, encode, timed, names)
        elif any(map(_may_lack, batch.rows.type.columns)):
            yield from _present(block)
        else:
            yield block


def _may_lack(column: Column) -> bool:
    """Whether there are rows without the column, or without all of its elements."""
    return column.sparse or column.shape is not None


def _present(block: _Block) -> Iterator[_Rows]:
    """The rows without the cells that they lack."""
    if not any(_ABSENT in values for values in block.values):
        yield block
        return
    for index in range(len(block.names)):
        yield _row(block, index)


def _row(block: _Block, index: int) -> _Row:
    """One row of a block, without the columns that it lacks."""
    line = [values[index] for values in block.values]
    when = [times[index] for times in block.times]
    there = [value is not _ABSENT for value in line]
    columns, line, when = (list(compress(part, there)) for part in (block.columns, line, when))
    return _Row(block.names[index], columns, line, when)


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
            key = self._keys[text] = natural_key_of(text)
        return key

    def order(self, texts: Sequence[str]) -> list[int]:
        """The places of names in natural order."""
        if len(texts) >= _MANY:
            places: list[int] = natural_order(pa.array(texts, pa.string())).tolist()
            return places
        return sorted(range(len(texts)), key=[self.key(text) for text in texts].__getitem__)


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
        values = _values(rows, index, column.kind, encode)
        if column.sparse:
            values = [_ABSENT if value is None else value for value in values]
        found.append((names.text(column.path), values, times))
    found.sort(key=lambda item: names.key(item[0]))
    return found


def _values(rows: RowBatch, index: int, kind: Kind, encode: Callable[[Atom], Any]) -> list[Any]:
    listed = rows.listed(index)
    if listed is not None and kind in _PLAIN:
        return list(listed)
    if listed is not None and kind is Kind.NUMBER:
        return numbers_to_json(list(listed), encode=encode)
    return _encoded(rows.values[index], kind, encode)


def _encoded(array: pa.Array, kind: Kind, encode: Callable[[Atom], Any]) -> list[Any]:
    if kind in _PLAIN:
        return list(array.to_pylist())
    if kind is Kind.NUMBER:
        return numbers_to_json(array.to_pylist(), np.asarray(array), encode)
    if kind is Kind.BOOLEAN:
        return [None if value is None else int(value) for value in array.to_pylist()]
    if kind is Kind.ANY and pa.types.is_union(array.type):
        return _mixed(array, encode)
    return [encode(atom) for atom in atoms_of(array, kind)]


def _mixed(array: pa.Array, encode: Callable[[Atom], Any]) -> list[Any]:
    """Values of several kinds, each kind by itself."""
    codes = type_codes(array)
    values: list[Any] = [None] * len(array)
    for code in np.unique(codes).tolist():
        rows = np.flatnonzero(codes == code)
        whole = len(rows) == len(array)
        part = array.field(code) if whole else array.field(code).take(pa.array(rows))
        found = _encoded(part, KIND_OF_TAG[TAGS[code]], encode)
        if whole:
            return found
        for row, value in zip(rows.tolist(), found, strict=True):
            values[row] = value
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
    lengths = [length or 0 for length in pc.list_value_length(array).to_pylist()]
    starts = list(accumulate(lengths, initial=0))
    variable = column.shape is not None and -1 in column.shape and column.names is None
    paths = (
        [(*column.path, str(i)) for i in range(max(lengths, default=0))] if variable else list(iterate_paths(column))
    )
    for position, path in enumerate(paths):
        values = [
            flat[start + position] if position < length else _ABSENT
            for start, length in zip(starts, lengths, strict=False)
        ]
        yield names.text(path), values, times


def _with_rest(
    block: _Block, rest: pa.Array, encode: Callable[[Atom], Any], timed: bool, names: _Names
) -> Iterator[_Rows]:
    """The rows with the cells whose columns nobody knew."""
    cells = rest.flatten()
    texts = cells.field("p").to_pylist()
    values = _encoded(cells.field("v"), Kind.ANY, encode)
    times = _times(cells.field("t"), len(cells)) if timed else ()
    end = 0
    for index, length in enumerate(rest.value_lengths().to_pylist()):
        own, start, end = _row(block, index), end, end + (length or 0)
        row = _Row(
            own.name,
            [*own.columns, *texts[start:end]],
            [*own.line, *values[start:end]],
            [*own.when, *times[start:end]] if timed else (),
        )
        if len(set(row.columns)) < len(row.columns):
            known = range(len(own.columns))
            row = row.taken([*known, *(len(known) + place for place in _by_age(cells.slice(start, end - start)))])
        yield row.taken(names.order(row.columns))


def _by_age(cells: pa.Array) -> list[int]:
    """The places of cells by their timestamp and value."""
    values = atoms_of(cells.field("v"), Kind.ANY)
    ages = [-math.inf if time is None else time for time in cells.field("t").to_pylist()]
    return sorted(range(len(cells)), key=lambda place: (ages[place], sort_key(values[place])))


# ── the formats ──────────────────────────────────────────────────────────────────────────────────────────────


def _full(blocks: Iterator[_Rows], options: _Options) -> Iterator[list[Any]]:
    for block in blocks:
        if block.columns:
            cells = zip(block.names, block.cells(), strict=True)
            yield [{"rowName": name, "columns": row} for name, row in cells]
        else:
            yield [{"rowName": name} for name in block.names]


def _extras(names: Sequence[str], options: _Options) -> dict[str, Sequence[Any]]:
    """The columns that the options add, for rows of these names."""
    extras: dict[str, Sequence[Any]] = {}
    if options.row_names:
        extras["_rowName"] = names
    if options.row_hashes:
        extras["_rowHash"] = [f"{hash_path(parse_path(name)):016x}" for name in names]
    return extras


def _extended(block: _Rows, options: _Options) -> _Rows:
    return block.with_before(_extras(block.names, options))


def _table(blocks: Iterator[_Rows], options: _Options) -> Iterator[list[Any]]:
    listed = [_extended(block, options) for block in blocks]
    extras = list(_extras((), options))
    order = list(dict.fromkeys(chain(extras, *(block.columns for block in listed))))
    if options.sort_columns:
        order[len(extras) :] = sorted(order[len(extras) :], key=natural_key_of)
    if options.headers:
        yield [order]
    places: dict[str, int] = {}
    for block in listed:
        if list(block.columns) == order:
            yield list(block.lines())
            continue
        places = places or {column: index for index, column in enumerate(order)}
        own = [places[column] for column in block.columns]
        yield [_placed(line, own, len(order)) for line in block.lines()]


def _placed(line: Sequence[Any], places: list[int], width: int) -> list[Any]:
    """A line with its values at other places; of several values of a column the last one counts."""
    placed = [None] * width
    for place, value in zip(places, line, strict=True):
        placed[place] = value
    return placed


def _aos(blocks: Iterator[_Rows], options: _Options) -> Iterator[list[Any]]:
    keys: dict[str, Any] = {}
    for block in blocks:
        block = _extended(block, options)
        places = {column: index for index, column in enumerate(block.columns)}
        for text in places:
            if text not in keys:
                keys[text] = _member_key(text)
        order = sorted(places, key=keys.__getitem__)
        yield [{text: line[places[text]] for text in order} for line in block.lines()]


def _member_key(text: str) -> Any:
    return natural_key((text,)) if text in ("_rowName", "_rowHash") else natural_key_of(text)


def _soa(blocks: Iterator[_Rows], options: _Options) -> Any:
    columns: dict[str, list[Any]] = {}
    count = 0
    for block in blocks:
        block = _extended(block, options)
        for column, added in zip(block.columns, block.values, strict=True):
            known = columns.setdefault(column, [])
            known.extend([None] * (count - len(known)))
            known[count:] = added
        count += len(block.names)
    for known in columns.values():
        known.extend([None] * (count - len(known)))
    return {key: columns[key] for key in sorted(columns, key=_member_key)}


def _sparse(blocks: Iterator[_Rows], options: _Options) -> Iterator[list[Any]]:
    for block in blocks:
        block = _extended(block, options)
        yield list(block.pairs()) if block.columns else [[] for _ in block.names]


def _atom(blocks: Iterator[_Rows], options: _Options) -> Any:
    first = next(blocks, None)
    if first is None:
        raise MldbError("Query with atom format returned no rows.")
    if len(first.names) > 1 or next(blocks, None) is not None:
        raise MldbError("Query with atom format returning multiple rows. Consider using limit.")
    if len(first.columns) != 1:
        raise MldbError(f"Query with atom format returned {'multiple' if first.columns else 'no'} columns.")
    return first.values[0][0]


_LISTS: dict[str, Callable[[Iterator[_Rows], _Options], Iterator[list[Any]]]] = {
    "full": _full,
    "table": _table,
    "aos": _aos,
    "sparse": _sparse,
}
_OTHERS: dict[str, Callable[[Iterator[_Rows], _Options], Any]] = {"soa": _soa, "atom": _atom}
