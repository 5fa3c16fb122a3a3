"""Whole blocks of lines at once, by Arrow's CSV reader, wherever it provably agrees with ``CsvFormat``.

``parse_block`` gives None when it cannot vouch for a block (broken quoting, missing cells, odd blanks, bad text, …);
the block then goes through the line reader, which is slower and knows every rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from server.transfer.celltypes import any_number, plain_doubles, typed_column
from server.transfer.csvformat import BLANKS, CsvFormat
from server.values.kinds import Kind

Positions = npt.NDArray[np.int64]
_NEWLINE = 0x0A
_READ_BYTES = 1 << 20
_IS_BLANK = np.zeros(256, dtype=bool)
_IS_BLANK[np.frombuffer(BLANKS.encode() + b"\n", np.uint8)] = True
_NUMBERS = (Kind.INTEGER, Kind.UNSIGNED, Kind.NUMBER)
_TYPES = {
    Kind.INTEGER: pa.int64(),
    Kind.UNSIGNED: pa.uint64(),
    Kind.NUMBER: pa.float64(),
    Kind.STRING: pa.string(),
}


@dataclass(frozen=True)
class Block:
    """Rows of a block: their line numbers and, column by column, a kind and the values (``Kind.NULL``: all null).

    ``times``: seconds of each row, where these are not the same for all.
    """

    lines: npt.NDArray[np.int64]
    columns: Sequence[tuple[Kind, pa.Array]]
    times: pa.Array | None = None


def block_of_rows(lines: Sequence[int], rows: Sequence[Sequence[str]], width: int, nulls: Sequence[str]) -> Block:
    """A block from rows of cells as the line reader gives them."""
    absent = {"", *nulls}
    columns = []
    for index in range(width):
        texts = pa.array([None if row[index] in absent else row[index] for row in rows], pa.string())
        columns.append(typed_column(texts))
    return Block(np.array(lines, np.int64), columns)


def parse_block(
    data: bytes, first_line: int, csv: CsvFormat, width: int, guess: Sequence[Kind], *, trailing_delimiter: bool
) -> Block | None:
    """Read lines (each ended by a newline). ``guess``: kinds that the columns had so far.

    ``trailing_delimiter``: each line has one empty cell more than the header names columns.
    """
    if not _can_vouch(csv):
        return None
    cleaned = _clean(data, csv)
    if cleaned is None:
        return None
    seen = _Bytes(cleaned, csv)
    if seen.lines_end_blank():
        cleaned = b"\n".join(line.rstrip(BLANKS.encode()) for line in cleaned.split(b"\n"))
        seen = _Bytes(cleaned, csv)
    if not seen.quotes_are_clean():
        return None
    columns = _Reader(cleaned, seen, csv, width + trailing_delimiter).columns(width, guess)
    if columns is None:
        return None
    return Block(np.arange(first_line, first_line + len(seen.newlines), dtype=np.int64), columns)


def _can_vouch(csv: CsvFormat) -> bool:
    plain = csv.delimiter.isascii() and csv.quote.isascii() and bool(csv.delimiter)
    strict = not (csv.multi_line or csv.ignore_extra or csv.replacement)
    return (
        plain
        and strict
        and csv.delimiter not in "\n\r"
        and csv.delimiter != csv.quote
        and csv.quote not in BLANKS + "\n"
    )


def _clean(data: bytes, csv: CsvFormat) -> bytes | None:
    """The block in UTF-8 with bare newlines and no trailing blanks, None when it must be read line by line."""
    if csv.encoding != "utf-8" and not data.isascii():
        if csv.encoding == "ascii":
            return None
        data = data.decode(csv.encoding).encode()
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n")
    if b"\r" in data or b"\0" in data or (csv.excel and b"=" in data and b'="' in data):
        return None
    return data


class _Bytes:
    """A block as an array of bytes. Looking for single bytes here is far quicker than for substrings."""

    def __init__(self, data: bytes, csv: CsvFormat) -> None:
        self._data = data
        self._raw = np.frombuffer(data, np.uint8)
        self._delimiter = ord(csv.delimiter)
        self._quote = ord(csv.quote) if csv.quote else self._delimiter
        self.newlines = np.flatnonzero(self._raw == _NEWLINE)

    def _neighbour(self, at: Positions, distance: int) -> npt.NDArray[np.uint8]:
        """The bytes at a distance; beyond the block there are newlines."""
        found = self._raw[np.clip(at + distance, 0, len(self._raw) - 1)]
        found[(at + distance < 0) | (at + distance >= len(self._raw))] = _NEWLINE
        return found

    def _ends_cell(self, found: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        return np.isin(found, (self._delimiter, self._quote, _NEWLINE))

    def lines_end_blank(self) -> bool:
        """Whether some line is empty or ends with a blank."""
        return bool(_IS_BLANK[self._neighbour(self.newlines, -1)].any())

    def quotes_are_clean(self) -> bool:
        """Whether every quote opens, closes or doubles as it should, and no quoted cell crosses a line.

        Quotes are taken in pairs. An opening one stands at the start of a cell or (the second of a doubled one)
        behind another, a closing one stands at the end of a cell or before another.
        """
        if self._quote == self._delimiter or bytes((self._quote,)) not in self._data:
            return True
        quotes = np.flatnonzero(self._raw == self._quote)
        if len(quotes) % 2:
            return False
        opening, closing = quotes[0::2], quotes[1::2]
        if not self._ends_cell(self._neighbour(opening, -1)).all():
            return False
        if not self._ends_cell(self._neighbour(closing, 1)).all():
            return False
        inside = np.searchsorted(self.newlines, opening) != np.searchsorted(self.newlines, closing)
        return not bool(inside.any())

    def odd_numbers(self) -> bool:
        """Whether Arrow might read some number otherwise than C: blanks behind it, hexadecimal, an integer -0."""
        return self._blanks_behind(0x20) or self._blanks_behind(0x09) or self._hexadecimal() or self._minus_zero()

    def _at(self, byte: int) -> Positions:
        return np.flatnonzero(self._raw == byte) if bytes((byte,)) in self._data else np.empty(0, np.int64)

    def _blanks_behind(self, blank: int) -> bool:
        if blank == self._delimiter:
            return False
        at = self._at(blank)
        before = self._neighbour(at, -1)
        behind_number = (before - 0x30 < 10) | (before == 0x2E) | (before <= 0x20)
        return bool((behind_number & self._ends_cell(self._neighbour(at, 1))).any())

    def _hexadecimal(self) -> bool:
        return any(bool((self._neighbour(self._at(x), -1) == 0x30).any()) for x in (0x78, 0x58))

    def _minus_zero(self) -> bool:
        at = self._at(0x2D)
        at = at[(self._neighbour(at, 1) == 0x30) & (self._neighbour(at, 2) != 0x2E)]
        before = self._neighbour(at, -1)
        return bool((self._ends_cell(before) | (before <= 0x20)).any())


class _Reader:
    """One cleaned block; ``cells`` are the cells of a line."""

    def __init__(self, data: bytes, seen: _Bytes, csv: CsvFormat, cells: int) -> None:
        self._data = data
        self._seen = seen
        self._csv = csv
        self._names = [f"c{index}" for index in range(cells)]

    def columns(self, width: int, guess: Sequence[Kind]) -> list[tuple[Kind, pa.Array]] | None:
        """The typed columns, None when some line does not fit. Cells beyond ``width`` must be empty."""
        odd = any(kind in _NUMBERS for kind in guess) and self._seen.odd_numbers()
        wanted = [kind if kind in _NUMBERS and not odd else Kind.STRING for kind in guess]
        table = self._read([_TYPES[kind] for kind in wanted])
        if table is None:
            wanted = [Kind.STRING] * width
            table = self._read([pa.string()] * width)
        if table is None or table.num_rows != len(self._seen.newlines):
            return None
        if any(extra.null_count < len(extra) for extra in table.columns[width:]):
            return None
        return self._checked(table, width, wanted, guess)

    def _checked(
        self, table: pa.Table, width: int, wanted: Sequence[Kind], guess: Sequence[Kind]
    ) -> list[tuple[Kind, pa.Array]] | None:
        columns: list[tuple[Kind, pa.Array]] = []
        texts: pa.Table | None = None
        for index in range(width):
            values = _one(table.column(index))
            kind = wanted[index]
            if kind is Kind.NUMBER and not plain_doubles(values):
                texts = texts or self._read([pa.string()] * width)
                assert texts is not None
                columns.append(typed_column(_one(texts.column(index))))
            elif kind is Kind.STRING and (guess[index] is not Kind.STRING or any_number(values)):
                columns.append(typed_column(values))
            else:
                columns.append((kind, values))
        return columns

    def _read(self, types: Sequence[pa.DataType]) -> pa.Table | None:
        extra = [pa.string()] * (len(self._names) - len(types))
        try:
            return pyarrow.csv.read_csv(
                pa.BufferReader(self._data),
                pyarrow.csv.ReadOptions(column_names=self._names, block_size=_READ_BYTES),
                pyarrow.csv.ParseOptions(
                    delimiter=self._csv.delimiter, quote_char=self._csv.quote or False, newlines_in_values=False
                ),
                pyarrow.csv.ConvertOptions(
                    column_types=dict(zip(self._names, [*types, *extra], strict=True)),
                    null_values=["", *self._csv.nulls],
                    strings_can_be_null=True,
                ),
            )
        except pa.ArrowInvalid:
            return None


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
