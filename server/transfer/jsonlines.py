"""Lines with one JSON object each, read block by block (entity-types.md §3.3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from server.errors import MldbError
from server.transfer.jsoncolumns import Arrays, JsonColumn, columns_of
from server.transfer.lines import LineSource

BLOCK_BYTES = 2 << 20  # Python's objects take some twenty times as much
_SHOWN = 10_000  # characters of a bad line that its error repeats
_BLANKS = b" \t\r\f\v"


@dataclass(frozen=True)
class JsonBlock:
    """Good lines by their numbers in the file, and their columns."""

    lines: npt.NDArray[np.int64]
    columns: Sequence[JsonColumn]


class JsonLines:
    """Reads ``limit`` lines (negative: all) after ``offset``. ``rows`` and ``errors`` count the good lines and
    the bad ones, which are left out, as the reading goes on.
    """

    def __init__(self, source: LineSource, *, offset: int, limit: int, ignore_bad: bool, arrays: Arrays) -> None:
        self._source = source
        self._offset = offset
        self._limit = limit
        self._ignore_bad = ignore_bad
        self._arrays = arrays
        self.rows = 0
        self.errors = 0

    def blocks(self) -> Iterator[JsonBlock]:
        for first, lines in self._chosen():
            block = self._block(first, lines)
            self.rows += len(block.lines)
            yield block

    def _chosen(self) -> Iterator[tuple[int, list[bytes]]]:
        """Number of the first line, and lines."""
        skip, left = self._offset, self._limit
        while left != 0:
            first, block = self._source.next_block()
            if not block:
                return
            lines = block.split(b"\n")[:-1]
            chosen = lines[skip:]
            first, skip = first + skip, max(skip - len(lines), 0)
            if left > 0:
                chosen = chosen[:left]
                left -= len(chosen)
            if chosen:
                yield first, chosen

    def _block(self, first: int, lines: list[bytes]) -> JsonBlock:
        try:
            # Each object is gone before the next is there: keeping them would double what the reading takes.
            columns = columns_of(map(orjson.loads, lines), self._arrays)
            return JsonBlock(np.arange(first, first + len(lines)), columns)
        except (ValueError, RecursionError):
            good = dict(self._one_by_one(first, lines))
            return JsonBlock(np.fromiter(good, np.int64), columns_of(good.values(), self._arrays))

    def _one_by_one(self, first: int, lines: list[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, line in enumerate(lines, first):
            try:
                value = parsed(line)
                columns_of([value], self._arrays)
                yield number, value
            except (ValueError, RecursionError) as error:
                if not self._ignore_bad:
                    raise _bad_line(error, number, line) from None
                self.errors += 1


def _bad_line(error: ValueError | RecursionError, number: int, line: bytes) -> MldbError:
    """What the caller sees of a line that holds no object."""
    reason = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
    details: dict[str, Any] = {"lineNumber": number, "line": line.decode("utf-8", "replace")[:_SHOWN]}
    if isinstance(error, orjson.JSONDecodeError):
        reason = error.msg  # without the number of the line, which counts within this one
        details["columnNumber"] = error.pos + 1
    return MldbError(f"Error parsing JSON row: {reason}", details=details)


def parsed(line: bytes) -> dict[str, Any]:
    """The object of a line; ``ValueError`` when it holds none."""
    if not line.strip(_BLANKS):
        raise ValueError("empty line")
    value = orjson.loads(line)
    if not isinstance(value, dict):
        raise ValueError("a line must be a JSON object")
    return value
