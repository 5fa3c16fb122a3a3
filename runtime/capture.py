"""Capture of prints in a worker (plugin-runtime.md §7.3).

Each run of plugin code has a ``Recorder``; the one of the current context gets what ``sys.stdout`` and ``sys.stderr``
are given, threads that the code started included. Every finished entry also goes to the server log.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

# A runaway print loop must fill neither the worker's memory nor the answer.
CAPTURE_ENTRIES: Final = 10_000
CAPTURE_CHARACTERS: Final = 4 * 2**20

# Lines a second that one worker may send to the server log, with bursts of as many.
LOG_RATE: Final = 2000

Content = str | list[str | int] | None
Sink = Callable[[str, float, str | None], None]


class Recorder:
    """The captured output of one run, entry by entry: ``[seconds, stream, content]``."""

    def __init__(self, sink: Sink) -> None:
        self.entries: list[list[Any]] = []
        self._sink = sink
        self._partial: dict[str, list[str]] = {}
        self._characters = 0
        self._full = False
        self._lock = threading.Lock()

    def write(self, stream: str, text: str) -> None:
        """Take text; a write that ends in a newline finishes an entry."""
        with self._lock:
            if not text.endswith("\n"):
                self._partial.setdefault(stream, []).append(text)
                return
            parts = self._partial.pop(stream, [])
            if text != "\n":
                parts.append(text[:-1])
            elif not parts:
                return
            entry = self._keep(stream, "".join(parts))
        self._sink(*entry)

    def add(self, stream: str, content: Content) -> None:
        """Take a whole entry."""
        with self._lock:
            entry = self._keep(stream, content)
        self._sink(*entry)

    def close(self) -> None:
        """Finish the entries that wait for their newline."""
        with self._lock:
            partial, self._partial = self._partial, {}
            entries = [self._keep(stream, "".join(parts)) for stream, parts in partial.items()]
        for entry in entries:
            self._sink(*entry)

    def _keep(self, stream: str, content: Content) -> tuple[str, float, str | None]:
        seconds = time.time()
        shown = content if content is None or isinstance(content, str) else _shown(content)
        if not self._full:
            self._characters += len(shown or "")
            self._full = self._characters > CAPTURE_CHARACTERS or len(self.entries) == CAPTURE_ENTRIES
            kept = "(further output is in the server log only)" if self._full else content
            self.entries.append([seconds, stream, kept])
        return stream, seconds, shown


def _shown(content: list[str | int]) -> str:
    return "".join(part if isinstance(part, str) else f"\\x{part:02x}" for part in content)


def split_invalid(data: bytes) -> Content:
    """Text of UTF-8 bytes; with invalid bytes a list of texts and byte values."""
    parts: list[str | int] = []
    while data:
        try:
            parts.append(data.decode("utf-8"))
            break
        except UnicodeDecodeError as error:
            if error.start:
                parts.append(data[: error.start].decode("utf-8"))
            parts.extend(data[error.start : error.end])
            data = data[error.end :]
    if len(parts) == 1 and isinstance(parts[0], str):
        return parts[0]
    return parts or ""


current: ContextVar[Recorder] = ContextVar("recorder")


class CapturedStream(io.TextIOBase):
    """Stands for ``sys.stdout`` or ``sys.stderr``: writes to no file, so closing descriptors does not touch it."""

    def __init__(self, name: str, fallback: Recorder) -> None:
        self._name = name
        self._fallback = fallback
        self.buffer = CapturedBytes(name, fallback)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        """The descriptor that child processes and native code write to; the host reads it line by line."""
        return 1 if self._name == "stdout" else 2

    def write(self, text: str, /) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if text:
            current.get(self._fallback).write(self._name, text)
        return len(text)

    def close(self) -> None:
        """Prints after ``sys.stdout.close()`` are captured all the same."""


class CapturedBytes(io.RawIOBase):
    """The ``buffer`` of a captured stream: each write of bytes is an entry unless it is text."""

    def __init__(self, name: str, fallback: Recorder) -> None:
        self._name = name
        self._fallback = fallback

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        raw = bytes(data)
        recorder = current.get(self._fallback)
        content = split_invalid(raw)
        if isinstance(content, str):
            if content:
                recorder.write(self._name, content)
        else:
            recorder.add(self._name, split_invalid(raw.removesuffix(b"\n")))
        return len(raw)

    def close(self) -> None:
        """As ``CapturedStream.close``."""


class RateLimit:
    """Lets ``LOG_RATE`` lines a second through; says how many were dropped when it lets lines through again."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._allowance = float(LOG_RATE)
        self._last = time.monotonic()
        self._dropped = 0
        self._lock = threading.Lock()

    def drop(self, lines: int) -> None:
        """Count lines that are not even offered."""
        with self._lock:
            self._dropped += max(lines, 0)

    def __call__(self, stream: str, seconds: float, text: str | None) -> None:
        with self._lock:
            now = time.monotonic()
            self._allowance = min(self._allowance + (now - self._last) * LOG_RATE, float(LOG_RATE))
            self._last = now
            if self._allowance < 1:
                self._dropped += 1
                return
            self._allowance -= 1
            dropped, self._dropped = self._dropped, 0
        if dropped:
            self._sink("stderr", seconds, f"({dropped} lines were dropped: more than {LOG_RATE} a second)")
        self._sink(stream, seconds, text)
