"""Reading a CSV stream: header, then blocks of typed rows with their line numbers (entity-types.md §3.2).

Lines are numbered from 1 as in the file, the header counts. A block is read at once where that is safe
(``csvblocks``), else line by line; both give the same rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from server.errors import MldbError
from server.transfer.csvblocks import Block, block_of_rows, parse_block
from server.transfer.csvformat import BLANKS, NOT_ENOUGH, UNCLOSED, CsvFormat, RowError, row_error
from server.transfer.lines import LineSource, count_lines
from server.values.kinds import Kind
from server.values.paths import Path, parse_path
from server.values.regexes import Pattern

_JOINABLE = (UNCLOSED, NOT_ENOUGH)


@dataclass(frozen=True)
class ReadOptions:
    """What to read: the parameters of import.text that are not about cells. ``limit`` -1 is none."""

    headers: Sequence[str] = ()
    generate_headers: bool = False
    structured: bool = False
    pre_header_offset: int = 0
    offset: int = 0
    limit: int = -1
    ignore_bad: bool = False
    skip: Pattern | None = None


@dataclass
class CsvReader:
    """Rows of a stream. ``paths`` are the columns; ``rows`` and ``errors`` count as the reading goes on.

    Construction reads the header. The kinds that columns had so far are the guess for the next block.
    """

    source: LineSource
    csv: CsvFormat
    options: ReadOptions
    paths: list[Path] = field(default_factory=list)
    rows: int = 0
    errors: int = 0
    processed: int = 0

    def __post_init__(self) -> None:
        self._trailing = False  # the header ends with a delimiter, and so may the rows
        for _ in range(self.options.pre_header_offset):
            self.source.next_line()
        self.paths = [self._path(name) for name in self._names()]
        if len(set(self.paths)) < len(self.paths):
            raise MldbError("Duplicate column name in CSV file")
        self._kinds = [Kind.NULL] * len(self.paths)
        self._pending: str | None = None
        self._logical = 1 if self.options.headers or self.options.generate_headers or not self.csv.delimiter else 2
        self._to_skip = self.options.offset if self._by_line_only() else 0
        for _ in range(self.options.offset - self._to_skip):
            self.source.next_line()

    def blocks(self) -> Iterator[Block]:
        """All rows; ``MldbError`` for a bad line unless bad lines are ignored."""
        while self._left() != 0:
            first, data = self.source.next_block()
            if not data:
                break
            block = self._block(data if self._by_line_only() else _first_lines(data, self._left()), first)
            if len(block.lines):
                self.rows += len(block.lines)
                yield block
        self._finish_pending()

    def _left(self) -> int:
        return -1 if self.options.limit < 0 else max(self.options.limit - self.processed, 0)

    def _by_line_only(self) -> bool:
        return self.csv.multi_line or self.options.skip is not None

    def _block(self, data: bytes, first: int) -> Block:
        width = len(self.paths)
        if width and not self._by_line_only():
            block = parse_block(data, first, self.csv, width, self._kinds, trailing_delimiter=self._trailing)
            if block is not None:
                self.processed += len(block.lines)
                self._learn(block)
                return block
        block = self._by_line(data, first)
        self._learn(block)
        return block

    def _learn(self, block: Block) -> None:
        if not len(block.lines):
            return
        for index, (kind, _) in enumerate(block.columns):
            if kind is not Kind.NULL:
                self._kinds[index] = kind

    # ── header ────────────────────────────────────────────────────────────────────────────────────────────────

    def _names(self) -> list[str]:
        options = self.options
        if not self.csv.delimiter:
            if len(options.headers) > 1:
                raise MldbError("Custom CSV header must have exactly one element if there is no delimiter")
            return list(options.headers) or ["lineText"]
        if options.headers:
            return list(options.headers)
        if options.generate_headers:
            return self._generated_names()
        cells = self._header_cells()
        if len(cells) > 1 and not cells[-1]:
            self._trailing = True
            return cells[:-1]
        return cells

    def _generated_names(self) -> list[str]:
        """Names 0, 1, …: as many as the first line has cells. The line stays to be read."""
        consumed: list[bytes] = []
        cells = self._header_cells(consumed)
        self.source.unread(consumed)
        return [str(index) for index in range(len(cells))]

    def _header_cells(self, consumed: list[bytes] | None = None) -> list[str]:
        """Cells of the next line, joined with those after it while a quote is open and that is allowed."""
        number, text = self.source.line, ""
        while (raw := self.source.next_line()) is not None:
            if consumed is not None:
                consumed.append(raw)
            try:
                line = self.csv.decode(raw)
                if self._skipped(line):
                    continue
                text = f"{text} {line}" if text else line
                return self.csv.split(text.rstrip(BLANKS)) if text.strip(BLANKS) else []
            except RowError as error:
                if not (self.csv.multi_line and error.why == UNCLOSED):
                    raise row_error(error, number, text, joined=self.csv.multi_line) from None
        if text:
            raise row_error(RowError(UNCLOSED, len(text)), number, text, joined=True)
        return []

    def _path(self, name: str) -> Path:
        return parse_path(name) if self.options.structured else (name,)

    # ── line by line ──────────────────────────────────────────────────────────────────────────────────────────

    def _skipped(self, line: str) -> bool:
        skip = self.options.skip
        return skip is not None and skip.matches(line.removesuffix("\r"))

    def _by_line(self, data: bytes, first: int) -> Block:
        lines: list[int] = []
        rows: list[list[str]] = []
        for number, raw in enumerate(data.removesuffix(b"\n").split(b"\n"), first):
            if self._left() == 0:
                break
            row = self._row_of(number, raw)
            if row is not None:
                lines.append(row[0])
                rows.append(row[1])
        return block_of_rows(lines, rows, len(self.paths), self.csv.nulls)

    def _row_of(self, number: int, raw: bytes) -> tuple[int, list[str]] | None:
        """The row that this line completes; None when it is skipped, bad and ignored, or waits for the next."""
        text = raw.decode("latin-1")
        number = self._logical if self.csv.multi_line else number
        try:
            text = self.csv.decode(raw)
            if self._pending is None and self._skipped(text):
                return None
            text = text if self._pending is None else f"{self._pending} {text}"
            cells = self.csv.row(text.rstrip(BLANKS), len(self.paths), trailing=self._trailing)
        except RowError as error:
            if self.csv.multi_line and error.why in _JOINABLE:
                self._pending = text.removesuffix("\r")
            else:
                self._bad(error, number, text)
            return None
        return (number, cells) if self._counts() else None

    def _counts(self) -> bool:
        """Count a logical line; False when it is one of those that ``offset`` leaves out."""
        self._pending = None
        self._logical += 1
        if self._to_skip:
            self._to_skip -= 1
            return False
        self.processed += 1
        return True

    def _bad(self, error: RowError, number: int, text: str) -> None:
        if not self._counts():
            return
        if not self.options.ignore_bad:
            raise row_error(error, number, text.rstrip(BLANKS), joined=self.csv.multi_line)
        self.errors += 1

    def _finish_pending(self) -> None:
        """A row that is still open at the end of the file is a bad line."""
        if self._pending is None or self._left() == 0:
            return
        text, number = self._pending, self._logical
        try:
            self.csv.row(text.rstrip(BLANKS), len(self.paths), trailing=self._trailing)
        except RowError as error:
            self._bad(error, number, text)


def _first_lines(data: bytes, count: int) -> bytes:
    """The block, cut to its first ``count`` lines (-1: all)."""
    if count < 0 or count_lines(data) <= count:
        return data
    at = 0
    for _ in range(count):
        at = data.index(b"\n", at) + 1
    return data[:at]
