"""A byte stream cut into lines and blocks of lines."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

BLOCK_BYTES = 32 << 20
FIRST_BYTES = 1 << 20  # the first block teaches what the columns are
_BOM = b"\xef\xbb\xbf"
_NEWLINE = 0x0A
_WINDOW = 1 << 16
_BLANKS = b"\n \t\r\f\v"


class LineSource:
    """A stream as lines, singly and in blocks. Empty lines at the very end are left out, and so is a UTF-8 mark.

    ``line`` is the number of the next line, from 1.
    """

    def __init__(self, stream: BinaryIO, block_bytes: int = BLOCK_BYTES) -> None:
        self._stream = stream
        self._size = block_bytes
        self._next_size = min(block_bytes, FIRST_BYTES)
        self._ended = False
        self._held: list[bytes] = []
        self._block = self._read_block().removeprefix(_BOM)
        self._at = 0
        self.line = 1

    def next_line(self) -> bytes | None:
        """One line without its newline, None at the end."""
        if not self._fill():
            return None
        end = self._block.index(b"\n", self._at)
        line, self._at = self._block[self._at : end], end + 1
        self.line += 1
        return line

    def next_block(self) -> tuple[int, bytes]:
        """Number of the first line and lines, each ended by a newline; no bytes at the end."""
        if not self._fill():
            return self.line, b""
        first, block = self.line, self._block[self._at :]
        self._at = len(self._block)
        self.line += count_lines(block)
        return first, block

    def unread(self, lines: list[bytes]) -> None:
        """Put lines back in front."""
        self._block = b"".join(line + b"\n" for line in lines) + self._block[self._at :]
        self._at = 0
        self.line -= len(lines)

    def _fill(self) -> bool:
        if self._at == len(self._block):
            self._block, self._at = self._read_block(), 0
        return bool(self._block)

    def _read_block(self) -> bytes:
        """Whole lines. What cannot be given yet is held: the part after the last newline, and empty lines before it
        (the file may end with them)."""
        while not self._ended:
            chunk = self._read()
            self._ended = not chunk
            if b"\n" not in chunk:
                self._held.append(chunk)
                continue
            whole = b"".join((*self._held, chunk))
            text_end = _text_end(whole, whole.rindex(b"\n"))
            end = whole.index(b"\n", text_end) + 1 if text_end else 0
            self._held = [whole[end:]]
            if end:
                return whole[:end]
        rest = b"".join(self._held).rstrip(_BLANKS)
        self._held = []
        return rest + b"\n" if rest else b""

    def _read(self) -> bytes:
        chunk = self._stream.read(self._next_size)
        self._next_size = self._size
        return chunk


def count_lines(block: bytes) -> int:
    """Newlines in a block."""
    return int(np.count_nonzero(np.frombuffer(block, np.uint8) == _NEWLINE))


def _text_end(data: bytes, end: int) -> int:
    """Where the last text before ``end`` ends, blanks and newlines left out; 0 if there is none."""
    while end:
        begin = max(end - _WINDOW, 0)
        text = data[begin:end].rstrip(_BLANKS)
        if text:
            return begin + len(text)
        end = begin
    return 0
