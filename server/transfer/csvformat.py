"""The CSV dialect of import.text: how a line is cut into cells (entity-types.md §3.2)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from server.errors import MldbError

BLANKS = " \t\r\f\v"  # cut at the end of a line
_ENCODINGS = {
    "us-ascii": "ascii",
    "ascii": "ascii",
    "latin1": "latin-1",
    "iso8859-1": "latin-1",
    "utf8": "utf-8",
    "utf-8": "utf-8",
}
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")
_EXCEL = re.compile(r'="(.*)"', re.DOTALL)
_SHOWN = 10_000  # characters of a bad line that its error repeats

EMPTY_LINE = "empty line"
TOO_MANY = "too many columns in row"
NOT_ENOUGH = "not enough columns in row"
UNCLOSED = "Unclosed quoted CSV value"
GARBAGE = "Garbage after closing quote"
BAD_TEXT = "invalid character for the encoding"
_REMEDIES = {
    UNCLOSED: "a value that goes on in the next line needs allowMultiLines",
    BAD_TEXT: "name the file's encoding, such as latin1, or a character as replaceInvalidCharactersWith",
}


class RowError(Exception):
    """A line that is not a row: ``why`` and the place of the fault, counted in characters from 1."""

    def __init__(self, why: str, column: int) -> None:
        super().__init__(why)
        self.why = why
        self.column = column


@dataclass(frozen=True)
class CsvFormat:
    """How to read. ``delimiter`` and ``quote`` may be empty; ``replacement`` stands for badly encoded bytes.

    Cells that are one of ``nulls`` are null, as empty ones are.
    """

    delimiter: str = ","
    quote: str = '"'
    encoding: str = "utf-8"
    replacement: str = ""
    multi_line: bool = False
    ignore_extra: bool = False
    excel: bool = True
    nulls: tuple[str, ...] = ()

    def decode(self, raw: bytes) -> str:
        """The text of a line; ``RowError`` for bytes that the encoding does not know."""
        try:
            return raw.decode(self.encoding)
        except UnicodeDecodeError as error:
            if not self.replacement:
                raise RowError(BAD_TEXT, error.start + 1) from None
        return _ESCAPED_BYTE.sub(self.replacement, raw.decode(self.encoding, "surrogateescape"))

    def split(self, line: str) -> list[str]:
        """All cells of a line; ``RowError`` for faulty quoting."""
        if not self.quote or self.quote not in line:
            cells = line.split(self.delimiter) if self.delimiter else [line]
        else:
            cells = self._split_quoted(line)
        return [unwrap_formula(cell) for cell in cells] if self.excel and '="' in line else cells

    def _split_quoted(self, line: str) -> list[str]:
        cells: list[str] = []
        at = 0
        while True:
            if line.startswith(self.quote, at):
                cell, at = self._quoted_cell(line, at)
            else:
                end = line.find(self.delimiter, at)
                end = len(line) if end < 0 else end
                cell, at = line[at:end], end
            cells.append(cell)
            if at == len(line):
                return cells
            at += 1

    def _quoted_cell(self, line: str, begin: int) -> tuple[str, int]:
        """The cell whose opening quote is at ``begin``, and where its delimiter (or the end of the line) is."""
        parts: list[str] = []
        at = begin + 1
        while True:
            end = line.find(self.quote, at)
            if end < 0:
                raise RowError(UNCLOSED, begin + 1)
            parts.append(line[at:end])
            if not line.startswith(self.quote, end + 1):
                break
            parts.append(self.quote)
            at = end + 2
        if end + 1 < len(line) and not line.startswith(self.delimiter, end + 1):
            raise RowError(GARBAGE, end + 2)
        return "".join(parts), end + 1

    def row(self, line: str, width: int, *, trailing: bool = False) -> list[str]:
        """Exactly ``width`` cells of a line whose trailing blanks are cut; empty cells are null.

        ``trailing``: one empty cell more is no fault.
        """
        if not line:
            raise RowError(EMPTY_LINE, 0)
        cells = self.split(line)
        if len(cells) == width:
            return cells
        if len(cells) == width - 1:
            return [*cells, ""]
        if len(cells) < width:
            raise RowError(NOT_ENOUGH, len(line) + 1)
        if self.ignore_extra or (trailing and len(cells) == width + 1 and not cells[-1]):
            return cells[:width]
        raise RowError(TOO_MANY, len(line) + 1)


def unwrap_formula(cell: str) -> str:
    """``="x"`` is how spreadsheets keep ``x`` from being changed."""
    found = _EXCEL.fullmatch(cell)
    return found[1] if found else cell


def checked_format(
    *,
    delimiter: str,
    quote: str,
    encoding: str,
    replacement: str,
    multi_line: bool,
    ignore_extra: bool,
    excel: bool,
    nulls: Sequence[str],
) -> CsvFormat:
    """A format from the parameters of a procedure, with MLDB's errors."""
    if encoding.lower() not in _ENCODINGS:
        raise MldbError(
            f"Unknown encoding '{encoding}'for import.text parser: accepted are 'us-ascii', 'ascii', 'utf-8', 'utf8', "
            "'latin1', 'iso8859-1'",
            details={"encoding": encoding},
        )
    if len(delimiter) > 1:
        raise MldbError("Separator string must have one character")
    if len(quote) > 1:
        raise MldbError("Quoter string must have one character")
    if quote and not delimiter:
        raise MldbError("Separator string must not be empty if we have a quoter string")
    if len(replacement) > 1:
        raise MldbError("replaceInvalidCharactersWith string must have one character")
    return CsvFormat(
        delimiter, quote, _ENCODINGS[encoding.lower()], replacement, multi_line, ignore_extra, excel, tuple(nulls)
    )


def row_error(error: RowError, line_number: int, line: str, *, joined: bool) -> MldbError:
    """What the caller sees of a bad line; ``joined`` when the lines after it have been taken to it."""
    remedy = None if joined and error.why == UNCLOSED else _REMEDIES.get(error.why)
    return MldbError(
        f"Error parsing CSV row: {error.why}{f'; {remedy}' if remedy else ''}",
        details={"lineNumber": line_number, "columnNumber": error.column, "line": line[:_SHOWN]},
    )
